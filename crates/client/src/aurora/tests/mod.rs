//! The verbs against a scripted scheduler: what they print, where, the exit code, and what they asked for.

mod cron;
mod grammar;
mod hooks;
mod jobs;
mod legacy;
mod reading;
mod remote;
mod updates;
