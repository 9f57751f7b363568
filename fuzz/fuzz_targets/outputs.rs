//! Reads the outputs of a task.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| planspec::cli::foreign::parse("outputs", bytes));
