//! Verbs, tables, progress, exit codes. No scheduling rules.
