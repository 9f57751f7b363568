//! Reads the message of a status commit.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| planspec::cli::foreign::parse("message", bytes));
