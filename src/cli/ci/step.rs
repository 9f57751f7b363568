//! What a step of a job leaves: outputs, and the summary that the host shows.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::config::Actions;
use crate::host::FOOT;
use crate::markup::{code, grouped};
use crate::report::markdown::is_address;

/// The largest summary that the host takes, in bytes; a little less.
const LARGEST: usize = (1 << 20) - 1024;

/// Keeps the runner from taking what we print for commands: errors and what work prints may hold the words of strangers,
/// and the runner obeys a line that begins with `::`, or that holds `##[`. It lasts until the step ends.
pub(crate) struct MutedRunner {
    token: String,
}

impl MutedRunner {
    /// From here on.
    pub(crate) fn begin(out: &mut Output) -> Result<Self, CliError> {
        // Text of a stranger could turn commands on again with a token that can be guessed.
        let token = format!("planspec-{}", uuid::Uuid::new_v4().simple());
        out.line(format!("::stop-commands::{token}"))?;
        // Other streams of this process must not overtake the command.
        out.flush()?;
        Ok(Self { token })
    }

    /// Prints commands of our own, lines that hold nothing unescaped.
    pub(crate) fn commands(&self, lines: &str, out: &mut Output) -> Result<(), CliError> {
        if lines.is_empty() {
            return Ok(());
        }
        let token = &self.token;
        out.text(&format!("::{token}::\n{lines}::stop-commands::{token}\n"))?;
        out.flush()
    }
}

/// Sets outputs of the step. Values may hold anything: each stands between marks that nobody can guess.
pub(crate) fn outputs(actions: &Actions, values: &[(&str, String)]) -> Result<(), CliError> {
    let Some(path) = &actions.output else { return Ok(()) };
    let mut text = String::new();
    for (name, value) in values {
        let mark = format!("planspec-{}", uuid::Uuid::new_v4().simple());
        text.push_str(&format!("{name}<<{mark}\n{value}\n{mark}\n"));
    }
    append(path, &text)
}

/// Adds to the summary of the job.
pub(crate) fn summary(actions: &Actions, text: &str) -> Result<(), CliError> {
    let Some(path) = &actions.summary else { return Ok(()) };
    append(path, &format!("{}\n", fitting(text, LARGEST)))
}

/// As many lines as fit, and a note where those are not all: the host refuses a summary that is too large as a whole.
fn fitting(text: &str, most: usize) -> Cow<'_, str> {
    const NOTE: &str = "\n---\n\nThis summary was cut at the host's limit: ";
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    // Room for the note and its number.
    let mut end = most.saturating_sub(NOTE.len() + 40);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    // At a line, because half a row of a table breaks it.
    let kept = text.get(..end).unwrap_or_default();
    let kept = kept.get(..kept.rfind('\n').map_or(0, |at| at + 1)).unwrap_or_default();
    let left = text.get(kept.len()..).unwrap_or_default().lines().count();
    Cow::Owned(format!("{kept}{NOTE}… and {} more lines.", grouped(left)))
}

/// The address of the summary, for whoever reads a comment that was cut.
pub(crate) fn summary_address(actions: &Actions) -> Option<String> {
    Some(format!("{}/actions/runs/{}", repository_address(actions)?, actions.run_id.as_deref()?))
}

/// The address of the repository on the host.
pub(crate) fn repository_address(actions: &Actions) -> Option<String> {
    let server = actions.server.as_deref()?;
    let repository = actions.repository.as_deref()?;
    Some(format!("{server}/{repository}"))
}

/// What a comment ends with: the run that wrote it, the commit that it shows, and where to go from here. Whoever reads a wrong
/// comment has to find the log behind it.
pub(crate) fn foot(run: Option<&str>, commit: Option<&str>) -> String {
    let mut parts = Vec::new();
    if let Some(address) = run.filter(|address| is_address(address)) {
        let number = address.rsplit('/').next().unwrap_or_default();
        parts.push(format!("[run {number}]({address})"));
    }
    parts.extend(
        commit.map(|commit| format!("commit {}", code(&commit.chars().take(12).collect::<String>(), 12))),
    );
    parts.push("`/planspec help` lists the commands".to_owned());
    format!("\n{FOOT}\n\n---\n\n<sub>{}</sub>\n", parts.join(" · "))
}

fn append(path: &Path, text: &str) -> Result<(), CliError> {
    // Appended, because other commands of the same step write to these files too.
    let write = || OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes());
    write().map_err(|error| CliError::caused("cannot write the outputs of the step", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_that_is_cut_says_how_much_is_missing() {
        let text = "ä line of a summary\n".repeat(20);
        assert_eq!(fitting(&text, text.len()), text);
        let cut = fitting(&text, 250);
        assert!(cut.len() <= 250, "{}", cut.len());
        let lines = cut.lines().filter(|line| line.starts_with('ä')).count();
        assert!(cut.ends_with(&format!("… and {} more lines.", 20 - lines)), "{cut}");
    }

    #[test]
    fn no_value_can_set_another_output() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        let actions = Actions { output: Some(path.clone()), ..Actions::default() };
        outputs(&actions, &[("result", "x\nplanspec-\nstatus-commit=evil".to_owned())]).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let mark = first.strip_prefix("result<<").unwrap();
        assert_eq!(rest, format!("x\nplanspec-\nstatus-commit=evil\n{mark}\n"));
    }
}
