//! See [`duet_fuzz::scan_program`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| duet_fuzz::scan_program::run(bytes));
