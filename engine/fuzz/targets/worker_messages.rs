#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tandem_coordinator::fuzz::worker_message(bytes));
