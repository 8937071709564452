//! Measures the journal: groups per second and recovery.
fn main() {}
