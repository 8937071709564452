//! Streams of records as Mesos sends them, cut anywhere.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybreak_fuzz::stream::recordio(data));
