//! See [`duet_fuzz::kernel`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| duet_fuzz::kernel::run(bytes));
