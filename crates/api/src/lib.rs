//! Adapters for programs: the Thrift endpoint, task files and statistics. Thin translations that never decide.

pub mod files;
