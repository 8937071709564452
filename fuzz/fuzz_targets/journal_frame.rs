//! Frames of the journal as a disk may give them back. No files.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybreak_fuzz::stored::frames(data));
