//! Records of the scheduler as a journal may give them back.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybreak_fuzz::stored::records(data));
