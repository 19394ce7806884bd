#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tandem_proto::fuzz::token(bytes));
