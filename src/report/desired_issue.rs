//! What a pass cannot apply of the desired branch, as the text of one issue: manifests that are invalid, and deletions that it
//! holds back.

use super::markdown::{COMMENT_LIMIT, MarkdownPage, PageLinks, RenderedComment, counted};
use super::preview::{PreviewFinding, findings};
use crate::markup::code;
use crate::model::Digest;

/// What finds the issue again.
pub(crate) const MARKER: &str = "<!-- planspec:desired-branch -->";

/// What cannot be applied.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unapplied {
    /// What is wrong with manifests.
    pub found: Vec<PreviewFinding>,
    /// How many deletions are held back.
    pub held_back: usize,
}

impl Unapplied {
    /// Whether everything is applied.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.held_back == 0
    }

    /// The line by which a text says what it is about: another commit of the branch, and lines that only moved, are nothing new.
    pub(crate) fn fingerprint(&self) -> String {
        let mut lines: Vec<String> = self
            .found
            .iter()
            .map(|found| format!("{}\0{}\0{}\n", found.code, found.file, found.message))
            .collect();
        lines.sort();
        lines.push(format!("{}", self.held_back));
        format!("<!-- planspec:unapplied {} -->", Digest::of_bytes(lines.concat().as_bytes()))
    }

    /// The text of the issue, at a commit of a branch.
    pub(crate) fn render(&self, branch: &str, commit: Option<&str>, links: PageLinks<'_>) -> RenderedComment {
        let head = format!(
            "{}\n{}\nEach pass brings this issue up to date, and closes it once everything is applied.\n",
            self.fingerprint(),
            self.head(&code(branch, 200), "here")
        );
        self.page(head, commit, links)
    }

    /// The same, for the summary of the job that found it.
    pub(crate) fn summary(&self, commit: Option<&str>, links: PageLinks<'_>) -> String {
        let place = "in a pull request or an issue of this repository";
        self.page(self.head("the desired branch", place), commit, links).summary
    }

    fn page(&self, head: String, commit: Option<&str>, links: PageLinks<'_>) -> RenderedComment {
        let sections = findings(&self.found, links.repository, commit).into_iter().collect();
        MarkdownPage { marker: MARKER, head, sections }.render(COMMENT_LIMIT, links)
    }

    /// What everybody has to know; `branch` is Markdown, `place` is where the command is given.
    fn head(&self, branch: &str, place: &str) -> String {
        let mut head = format!("## ⚠️ planspec cannot apply all of {branch}\n\n");
        if !self.found.is_empty() {
            let word = counted(self.found.len(), "error");
            head.push_str(&format!(
                "{word} in manifests. What they declared before stays in force, and everything else goes on.\n"
            ));
        }
        if self.held_back > 0 {
            // The whole branch waits with them, so that this is the first thing that somebody has to know.
            head.push_str(&format!(
                "\n> [!CAUTION]\n> {} held back, because so many at once are rarely meant. To apply them, comment `/planspec allow-mass-delete` {place}.\n",
                match self.held_back {
                    1 => "1 deletion is".to_owned(),
                    many => format!("{} are", counted(many, "deletion")),
                }
            ));
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Severity;
    use crate::report::preview::tests::{blocks, corpus};

    fn unapplied(text: &str, line: u32) -> Unapplied {
        let found = PreviewFinding {
            code: text.to_owned(),
            severity: Severity::Error,
            file: text.to_owned(),
            line: Some(line),
            message: text.to_owned(),
            hint: Some(text.to_owned()),
        };
        Unapplied { found: vec![found], held_back: 2 }
    }

    #[test]
    fn the_issue_says_what_is_wrong_and_how_it_goes_on() {
        let page = unapplied("words", 3).render("main", None, PageLinks::default()).comment;
        let lines: Vec<&str> = page.lines().filter(|line| !line.starts_with("<!--")).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        ## ⚠️ planspec cannot apply all of `main`

        1 error in manifests. What they declared before stays in force, and everything else goes on.

        > [!CAUTION]
        > 2 deletions are held back, because so many at once are rarely meant. To apply them, comment `/planspec allow-mass-delete` here.

        Each pass brings this issue up to date, and closes it once everything is applied.

        ### Findings

        | What | Where | Why |
        | --- | --- | --- |
        | ❌ error `words` | `words:3` | words<br>help&#58; words |
        ");
    }

    #[test]
    fn lines_that_moved_are_nothing_new() {
        assert_eq!(unapplied("a", 3).fingerprint(), unapplied("a", 90).fingerprint());
        assert_ne!(unapplied("a", 3).fingerprint(), unapplied("b", 3).fingerprint());
        assert_ne!(unapplied("a", 3).fingerprint(), Unapplied::default().fingerprint());
    }

    #[test]
    fn hostile_findings_change_no_structure_of_the_issue() {
        let shape = |text: &str| {
            let page = unapplied(text, 3).render(text, None, PageLinks::default()).comment;
            let page: Vec<&str> =
                page.lines().filter(|line| !line.starts_with("<!-- planspec:unapplied")).collect();
            blocks(&page.join("\n"))
        };
        let expected = shape("harmless words");
        for text in corpus() {
            assert_eq!(shape(&text), expected, "{text:?}");
        }
    }
}
