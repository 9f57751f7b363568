//! Tests that need more than the README asks for are skipped where it is missing. In CI that is an error: `.ci/run`
//! installs everything. The unit tests of the sandbox use this file too, so that one place decides.

use std::io::{ErrorKind, Write as _};
use std::process::Command;

/// What a test needs, or nothing where it is missing; then the test returns at once.
///
/// # Panics
/// In CI, where no test may be skipped.
#[track_caller]
pub(crate) fn unless_found<T>(found: Result<T, String>) -> Option<T> {
    let missing = match found {
        Ok(found) => return Some(found),
        Err(missing) => missing,
    };
    #[allow(clippy::disallowed_methods, reason = "an answer about the machine that runs the tests")]
    let ci = std::env::var("CI").is_ok_and(|value| !["", "0", "false"].contains(&value.as_str()));
    assert!(!ci, "no test may be skipped in CI: {missing}");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // `eprintln!` would be captured: the output of a test that passes is not shown.
    let _ = writeln!(std::io::stderr(), "skipped: {missing} ({test})");
    None
}

/// Whether a program is installed and works; `probe` runs it to see.
pub(crate) fn program(probe: &mut Command, package: &str) -> Result<(), String> {
    let name = probe.get_program().to_string_lossy().into_owned();
    match probe.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let why = errors.lines().next().map_or_else(|| output.status.to_string(), str::to_owned);
            Err(format!("{name} does not work here: {why}"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(format!("{name} is not installed; install the package {package}"))
        }
        Err(error) => Err(format!("{name} cannot be started: {error}")),
    }
}
