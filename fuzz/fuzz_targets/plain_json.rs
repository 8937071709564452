//! Arguments of calls in plain JSON, for every method.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybreak_fuzz::wire::plain(data));
