//! Whole requests to the API, as they come: to the handlers above a real scheduler. No sockets.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybreak_fuzz::world::call(data));
