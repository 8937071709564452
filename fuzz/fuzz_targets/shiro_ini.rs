//! Files of users and roles.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybreak_fuzz::text::shiro_ini(data));
