//! Reads what a job of the workflow for commands left: an archive, and a report in it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| planspec::cli::foreign::parse("job", bytes));
