//! Adapters for programs: the Thrift endpoint and statistics. Thin translations that never decide.
