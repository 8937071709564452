//! The embedded engine: plays the agent for tasks on this machine. Knows no jobs, updates or cron.
