//! Reads what a person answers in an issue, and a provider of one's own.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| planspec::cli::foreign::parse("answer", bytes));
