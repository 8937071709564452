//! Launcher, supervisor and the running of one task. Knows no other task.
