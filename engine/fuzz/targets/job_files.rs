#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tandem_jobs::fuzz::job_file(bytes));
