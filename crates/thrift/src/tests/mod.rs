//! Tests of the codecs that need to see inside the crate.

mod golden;
mod hostile;
mod random;
mod round_trip;
