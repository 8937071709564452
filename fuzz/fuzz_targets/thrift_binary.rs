//! Calls in the binary protocol of Thrift.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybreak_fuzz::wire::thrift(thrift::Protocol::Binary, data));
