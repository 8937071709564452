#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybreak_fuzz::stream::recordio(data));
