//! Reads the output of a task, without secrets.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| planspec::cli::foreign::parse("redactor", bytes));
