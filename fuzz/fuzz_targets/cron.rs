//! Cron expressions and their next times.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybreak_fuzz::text::cron(data));
