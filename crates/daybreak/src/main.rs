//! The multi-call binary: chooses by the name it was called by. No logic of its own.

fn main() {}
