//! Reads the file that `PLANSPEC_RESULT` names.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| planspec::cli::foreign::parse("result", bytes));
