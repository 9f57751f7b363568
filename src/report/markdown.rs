//! A Markdown page for a Git host, made of sections that can be cut at their borders: a comment with a hidden marker and a
//! digest, so that it is found again and only edited when it changes, or the summary of a job.

use crate::markup::grouped;
use crate::model::Digest;

/// The most characters that a host takes in a comment.
pub(crate) const COMMENT_LIMIT: usize = 65_536;

/// The most bytes that a host takes in the summary of a step.
pub(crate) const SUMMARY_LIMIT: usize = 1 << 20;

/// A comment and the summary of a job that say the same; the summary has room for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RenderedComment {
    /// The comment, with its marker.
    pub comment: String,
    /// The summary, without marker and digest: the host keeps one for each run.
    pub summary: String,
}

/// Where a page points to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PageLinks<'a> {
    /// The address of the job's summary, for readers of a comment that was cut.
    pub(crate) full: Option<&'a str>,
    /// The address of the repository on the host.
    pub(crate) repository: Option<&'a str>,
    /// What the comment ends with: where it comes from. Safe already, and no part of the digest.
    pub(crate) foot: &'a str,
}

/// A page in the making. All text in it is safe.
pub(super) struct MarkdownPage {
    /// What finds the comment again: `<!-- planspec:WHAT -->`.
    pub(super) marker: &'static str,
    /// What is always shown.
    pub(super) head: String,
    pub(super) sections: Vec<PageSection>,
}

/// A part of a page.
#[derive(Default)]
pub(super) struct PageSection {
    /// Its heading, if it has one.
    pub(super) title: String,
    /// The line to click on; the section is folded when there is one. HTML.
    pub(super) folded: Option<String>,
    /// What goes before the items, such as the head of a table; with its line end.
    pub(super) lead: String,
    /// Parts between which the section may be cut, each with its line end.
    pub(super) items: Vec<String>,
}

impl PageSection {
    /// A heading alone, for the sections that follow.
    pub(super) fn heading(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    fn open(&self) -> String {
        let mut text = String::new();
        if !self.title.is_empty() {
            text.push_str(&format!("\n### {}\n", self.title));
        }
        match &self.folded {
            Some(summary) => text.push_str(&format!("\n<details><summary>{summary}</summary>\n\n")),
            None if !self.items.is_empty() => text.push('\n'),
            None => {}
        }
        text.push_str(&self.lead);
        text
    }

    fn close(&self) -> &'static str {
        if self.folded.is_some() { "\n</details>\n" } else { "" }
    }

    /// As many items as there is room for, and whether those are all.
    fn render(&self, room: usize, measure: fn(&str) -> usize) -> (String, bool) {
        let mut text = self.open();
        let close = self.close();
        let more = |left: usize| format!("\n… and {} more.\n", grouped(left));
        // Room for the end is kept before anything is written: a fold that is not closed would swallow all
        // that follows.
        let reserve = measure(close) + measure(&more(self.items.len()));
        let mut used = measure(&text);
        if used + reserve > room {
            return (String::new(), false);
        }
        for (index, item) in self.items.iter().enumerate() {
            let size = measure(item);
            if used + size + reserve > room {
                // A heading above nothing is worse than no section.
                if index == 0 {
                    return (String::new(), false);
                }
                return (text + &more(self.items.len() - index) + close, false);
            }
            used += size;
            text.push_str(item);
        }
        (text + close, true)
    }
}

impl MarkdownPage {
    /// The comment and the summary. `limit` is how many characters the comment may have.
    pub(super) fn render(&self, limit: usize, links: PageLinks<'_>) -> RenderedComment {
        // The address is made of variables of a job, and must not be able to end the link (Invariant 8).
        let place = match links.full.filter(|address| is_address(address)) {
            Some(address) => format!("[the summary of the job]({address})"),
            None => "the summary of the job".to_owned(),
        };
        let note =
            format!("\n---\n\nThis comment was cut at the host's limit. The full text is in {place}.\n");
        // The digest has a fixed length, so that the comment can be measured before it is known.
        let frame = self.frame(&Digest::of_bytes(b""));
        let room = limit.saturating_sub(characters(&frame) + characters(links.foot));
        let body = self.cut(room, &note, characters);
        let comment = self.frame(&Digest::of_bytes(body.as_bytes())) + &body + links.foot;
        // The host measures a summary in bytes and a comment in characters.
        let summary =
            self.cut(SUMMARY_LIMIT, "\n---\n\nThis summary was cut at the host's limit.\n", str::len);
        RenderedComment { comment, summary }
    }

    fn frame(&self, digest: &Digest) -> String {
        format!("{}\n<!-- planspec:digest {digest} -->\n", self.marker)
    }

    fn cut(&self, room: usize, note: &str, measure: fn(&str) -> usize) -> String {
        let mut text = self.head.clone();
        for section in &self.sections {
            let left = room.saturating_sub(measure(&text) + measure(note));
            let (part, whole) = section.render(left, measure);
            text.push_str(&part);
            // Sections are in the order of what matters, so that none follows one that was cut.
            if !whole {
                text.push_str(note);
                break;
            }
        }
        text
    }
}

/// As hosts count them that count in UTF-16; never less than the number of characters.
fn characters(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Whether the text is a web address that can appear in a link as it is.
pub(crate) fn is_address(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://"))
        && text.len() <= 500
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:/?#@%=&+".contains(c))
}

/// `1 error`, `2 errors`.
pub(super) fn counted(number: usize, word: &str) -> String {
    format!("{} {word}{}", grouped(number), if number == 1 { "" } else { "s" })
}
