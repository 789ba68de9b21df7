//! See [`duet_fuzz::signals`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| duet_fuzz::signals::run(bytes));
