//! probe
fn main(){ config::probe(&std::env::args().nth(1).unwrap()); }
