//! What is wrong with manifests, as a table in which each place is a link to its line on the host.

use super::wire::PreviewFinding;
use crate::diagnostic::Severity;
use crate::markup::{code, sentence};
use crate::report::markdown::{PageSection, counted, is_address};

/// How much of a place and a sentence is shown.
const PLACE: usize = 200;
const SENTENCE: usize = 400;

/// Lists with more findings than this are folded.
const OPEN_FINDINGS: usize = 20;

/// The findings; none without any. `commit` is the one that has these lines: a branch moves on, and the lines with it.
pub(in crate::report) fn findings(
    findings: &[PreviewFinding],
    repository: Option<&str>,
    commit: Option<&str>,
) -> Option<PageSection> {
    if findings.is_empty() {
        return None;
    }
    let mut sorted: Vec<&PreviewFinding> = findings.iter().collect();
    // A stable sort: within a severity, findings stay in the order of files.
    sorted.sort_by_key(|found| std::cmp::Reverse(found.severity));
    let row = |found: &&PreviewFinding| {
        let (sign, word) = match found.severity {
            Severity::Error => ("❌", "error"),
            Severity::Warning => ("⚠️", "warning"),
            Severity::Note => ("ℹ️", "note"),
        };
        let line = found.line.map(|line| format!(":{line}")).unwrap_or_default();
        let mut place = code(&format!("{}{line}", found.file), PLACE);
        if let Some(address) = address(found, repository, commit) {
            place = format!("[{place}]({address})");
        }
        let mut message = sentence(&found.message, SENTENCE);
        if let Some(hint) = &found.hint {
            message.push_str(&format!("<br>help&#58; {}", sentence(hint, SENTENCE)));
        }
        format!("| {sign} {word} {} | {place} | {message} |\n", code(&found.code, 20))
    };
    Some(PageSection {
        title: "Findings".to_owned(),
        folded: (findings.len() > OPEN_FINDINGS).then(|| counted(findings.len(), "finding")),
        lead: "| What | Where | Why |\n| --- | --- | --- |\n".to_owned(),
        items: sorted.iter().map(row).collect(),
    })
}

/// Where the host shows the line. The path and the commit may come from a fork's report, and must not be able to end the
/// link or to lead out of the repository (Invariant 8).
fn address(found: &PreviewFinding, repository: Option<&str>, commit: Option<&str>) -> Option<String> {
    let commit = commit.filter(|id| id.len() >= 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let climbs = |part: &str| part.is_empty() || part == "." || part == "..";
    if found.file.split('/').any(climbs) {
        return None;
    }
    let mut path = String::new();
    for byte in found.file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' => {
                path.push(char::from(byte));
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    let line = found.line.map(|line| format!("#L{line}")).unwrap_or_default();
    let address = format!("{}/blob/{commit}/{path}{line}", repository?);
    is_address(&address).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, commit: &str) -> Option<String> {
        let found = PreviewFinding {
            code: "PS3001".to_owned(),
            severity: Severity::Error,
            file: file.to_owned(),
            line: Some(7),
            message: String::new(),
            hint: None,
        };
        address(&found, Some("https://github.example/acme/app"), Some(commit))
    }

    #[test]
    fn a_finding_links_to_its_line_and_no_path_leads_elsewhere() {
        let commit = "9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b";
        let right = format!("https://github.example/acme/app/blob/{commit}/plans/a%20%29b.yaml#L7");
        assert_eq!(at("plans/a )b.yaml", commit), Some(right));
        for file in ["../../x", "/etc", "a//b", "a/./b", ""] {
            assert_eq!(at(file, commit), None, "{file:?}");
        }
        for commit in ["main", "9a8b", "9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0)"] {
            assert_eq!(at("a.yaml", commit), None, "{commit:?}");
        }
    }
}
