//! See [`duet_fuzz::sql_text`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| duet_fuzz::sql_text::run(bytes));
