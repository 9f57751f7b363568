//! One transition, and its line in a commit message:
//! `KEY[ NODE]: [FROM -> ]TO[ (REASON)][, attempt N][, by WHO][: MESSAGE]`. Text with special characters is quoted, with the
//! escapes of JSON: a line is always one line, and always parses back.

use std::fmt;
use std::str::FromStr;

use crate::markup::{cut, is_hidden};
use crate::model::{Kind, Name, NodeId, ResourceKey};

/// The longest message in a line, in characters; a longer one is cut and ends in `…`.
pub const MESSAGE_LIMIT: usize = 500;

/// The longest phase, reason or person in a line, in characters.
const WORD_LIMIT: usize = 200;

/// A resource, or a node of an execution, moved from one phase to another, or a person decided on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The resource.
    pub key: ResourceKey,
    /// The node, when it is about one.
    pub node: Option<NodeId>,
    /// The phase before; absent when there was none.
    pub from: Option<String>,
    /// The phase now.
    pub to: String,
    /// Why, as one word for programs.
    pub reason: Option<String>,
    /// Why, in words; may be empty. A line cuts it at [`MESSAGE_LIMIT`] characters.
    pub message: String,
    /// The attempt that this is about, from 1; 0 when it is about none.
    pub attempt: u32,
    /// The person who decided, when one did.
    pub by: Option<String>,
}

/// A line that is not a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a line of the form `NAMESPACE/KIND/NAME[ NODE]: [FROM -> ]TO …`")]
pub struct NotATransition;

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if let Some(node) = &self.node {
            write!(f, " {node}")?;
        }
        f.write_str(": ")?;
        if let Some(from) = &self.from {
            write!(f, "{} -> ", word(from))?;
        }
        f.write_str(&word(&self.to))?;
        if let Some(reason) = &self.reason {
            write!(f, " ({})", word(reason))?;
        }
        // Zero means that no attempt is meant, as for gates and for whole resources.
        if self.attempt > 0 {
            write!(f, ", attempt {}", self.attempt)?;
        }
        if let Some(by) = &self.by {
            write!(f, ", by {}", written(by, WORD_LIMIT, is_person))?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", written(&self.message, MESSAGE_LIMIT, |_| true))?;
        }
        Ok(())
    }
}

fn word(text: &str) -> String {
    written(text, WORD_LIMIT, is_word)
}

/// A character of a phase or reason that needs no quotes.
fn is_word(c: char) -> bool {
    // No blank, no parenthesis and no comma: these end the word when the line is read back.
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// A character of a person's name, login or address that needs no quotes.
fn is_person(c: char) -> bool {
    // Letters of any script, as people have such names; no colon, which begins the message.
    c.is_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | '@' | '+' | '<' | '>')
}

/// The text unchanged when all its characters are `plain` and its ends are safe; else in quotes.
fn written(text: &str, limit: usize, plain: impl Fn(char) -> bool) -> String {
    // Before quoting: cut afterwards, an escape could be split in the middle and the line would not read back.
    let text = cut(text, limit);
    // A bare text must not begin with a quote or lose its ends: the parser would read it as something else.
    let bare = !text.is_empty()
        && text.trim() == text
        && !text.starts_with('"')
        && text.chars().all(|c| plain(c) && !is_hidden(c));
    if bare { text } else { quoted(&text) }
}

fn quoted(text: &str) -> String {
    use fmt::Write as _;
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            // A message with a line break would otherwise continue as a line that looks like another transition
            // (Invariant 8).
            '\n' => quoted.push_str("\\n"),
            // Also what JSON leaves alone: U+202E would reverse the line in a terminal, and U+2028 end it for some tools.
            c if is_hidden(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl FromStr for Transition {
    type Err = NotATransition;

    fn from_str(line: &str) -> Result<Self, NotATransition> {
        // Neither a key nor a node id can hold a colon, so the first one ends them.
        let (subject, rest) = line.split_once(": ").ok_or(NotATransition)?;
        let (key, node) = match subject.split_once(' ') {
            Some((key, node)) => (key, Some(NodeId::new(node).map_err(|_| NotATransition)?)),
            None => (subject, None),
        };
        // Names are checked, although the program wrote them: the branch is an input, and history is shown from it.
        let key = parse_key(key).ok_or(NotATransition)?;
        let mut cursor = Cursor(rest);
        let first = cursor.text(is_word)?;
        // A first word without an arrow is the phase now: a resource that is seen for the first time had none before.
        let (from, to) = match cursor.skip(" -> ") {
            true => (Some(first), cursor.text(is_word)?),
            false => (None, first),
        };
        let mut transition =
            Self { key, node, from, to, reason: None, message: String::new(), attempt: 0, by: None };
        if cursor.skip(" (") {
            transition.reason = Some(cursor.text(is_word)?);
            // An unclosed parenthesis makes it no line of ours. Read leniently, prose in a commit by hand would pass
            // for a transition.
            cursor.skip(")").then_some(()).ok_or(NotATransition)?;
        }
        if cursor.skip(", attempt ") {
            // Digits alone: a sign would parse as a number too, and never was written.
            transition.attempt = cursor.bare(|c| c.is_ascii_digit()).parse().map_err(|_| NotATransition)?;
        }
        if cursor.skip(", by ") {
            transition.by = Some(cursor.text(is_person)?);
        }
        if cursor.skip(": ") {
            transition.message = cursor.text(|_| true)?;
        }
        // Nothing may be left over, for the same reason.
        if cursor.0.is_empty() { Ok(transition) } else { Err(NotATransition) }
    }
}

/// `NAMESPACE/KIND/NAME`, as [`ResourceKey`] shows itself.
fn parse_key(text: &str) -> Option<ResourceKey> {
    let mut parts = text.split('/');
    let namespace = parts.next()?;
    let kind = parts.next()?;
    let name = parts.next()?;
    // Exactly as it is written, unlike the reading of `Kind`, which takes what people type.
    let kind = Kind::ALL.into_iter().find(|known| known.singular() == kind)?;
    let key = ResourceKey::new(kind, Name::new(namespace).ok()?, Name::new(name).ok()?);
    // A fourth part would be a path, and no key.
    parts.next().is_none().then_some(key)
}

/// The part of a line that is not read yet.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip(&mut self, prefix: &str) -> bool {
        match self.0.strip_prefix(prefix) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// As many characters as are `plain`; possibly none.
    fn bare(&mut self, plain: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !plain(c)).unwrap_or(self.0.len());
        let (bare, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        bare
    }

    /// A text as [`written`] wrote it.
    fn text(&mut self, plain: impl Fn(char) -> bool) -> Result<String, NotATransition> {
        if !self.0.starts_with('"') {
            // A bare text is never empty: what is empty was written in quotes, so nothing is lost in between.
            let bare = self.bare(plain);
            return if bare.is_empty() { Err(NotATransition) } else { Ok(bare.to_owned()) };
        }
        // The closing quote by hand, as the JSON reader wants exactly the text up to it.
        let mut escaped = false;
        let end = self.0.char_indices().skip(1).find(|&(_, c)| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let (end, _) = end.ok_or(NotATransition)?;
        let (quoted, rest) = self.0.split_at_checked(end.saturating_add(1)).ok_or(NotATransition)?;
        self.0 = rest;
        // The escapes are those of JSON on purpose, so that another program can read the log without knowing ours.
        serde_json::from_str(quoted).map_err(|_| NotATransition)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::record) fn transition(key: &str, node: &str, from: &str, to: &str) -> Transition {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Transition {
            key: parse_key(key).unwrap(),
            node: some(node).map(|id| NodeId::new(&id).unwrap()),
            from: some(from),
            to: to.to_owned(),
            reason: None,
            message: String::new(),
            attempt: 0,
            by: None,
        }
    }

    fn check_line(transition: &Transition, line: &str) {
        assert_eq!(transition.to_string(), line);
        assert_eq!(line.parse().as_ref(), Ok(transition));
    }

    #[test]
    fn a_line_reads_like_a_sentence() {
        let mut node = transition("team-platform/execution/sso-exec-001", "research", "Running", "Failed");
        node.reason = Some("ProviderFailed".to_owned());
        node.attempt = 2;
        node.message = "exit 1: \"no such file\"".to_owned();
        check_line(
            &node,
            "team-platform/execution/sso-exec-001 research: Running -> Failed (ProviderFailed), attempt 2: exit 1: \"no such file\"",
        );
        let mut gate = transition("team-platform/gate/sso-security-review", "", "Waiting", "Approved");
        gate.by = Some("Wendy <wendy@example.com>".to_owned());
        gate.message = "two\nlines".to_owned();
        check_line(
            &gate,
            "team-platform/gate/sso-security-review: Waiting -> Approved, by Wendy <wendy@example.com>: \"two\\nlines\"",
        );
        check_line(&transition("a/goal/b", "", "", "Pending"), "a/goal/b: Pending");
    }

    #[test]
    fn what_is_no_transition_is_refused() {
        for line in [
            "",
            "a",
            "a/goal/b",
            "a/goal/b:",
            "a/goal/b: ",
            "a/goals/b: X",
            "a/goal/b/c: X",
            "A/goal/b: X",
            "a/goal/b -x: X",
            "a/goal/b: X -> ",
            "a/goal/b: X (",
            "a/goal/b: X ()",
            "a/goal/b: X, attempt x",
            "a/goal/b: X, attempt 99999999999",
            "a/goal/b: \"X",
            "a/goal/b: \"\\x\"",
            "a/goal/b: X, by ",
            "a/goal/b: X: ",
            "a/goal/b: X: \"a\"b",
            "Planspec-Runner: x",
            "… and 3 more",
        ] {
            assert!(line.parse::<Transition>().is_err(), "{line}");
        }
    }

    #[test]
    fn a_long_message_is_cut_and_still_reads_back() {
        let mut long = transition("a/goal/b", "", "", "Pending");
        long.message = "é\n".repeat(1_000);
        let read: Transition = long.to_string().parse().unwrap();
        assert_eq!(read.message.chars().count(), MESSAGE_LIMIT);
        assert!(read.message.ends_with('…'));
        assert_eq!(read.to_string(), long.to_string());
    }

    pub(in crate::record) fn hostile() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "a",
            "Z",
            "0",
            " ",
            "\n",
            "\r",
            "\t",
            "\"",
            "\\",
            "\\n",
            ": ",
            " -> ",
            " (",
            ")",
            ", by ",
            ", attempt 3",
            "\u{0}",
            "\u{1b}]0;x\u{7}",
            "\u{85}",
            "\u{2028}",
            "\u{202e}",
            "\u{200b}",
            "\u{feff}",
            "\u{e0041}",
            "é",
            "🦀",
            "\n\nPlanspec-Runner: evil\n",
            "Planspec-Desired-Commit: 0",
            "a/goal/b: X",
            "# x",
            "<a@b>",
            "…",
        ]);
        prop_oneof![prop::collection::vec(pieces, 0..7).prop_map(|pieces| pieces.concat()), "\\PC{0,40}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_text_survives_on_one_line(
            from in prop::option::of(hostile()), to in hostile(), reason in prop::option::of(hostile()),
            message in hostile(), attempt in any::<u32>(), by in prop::option::of(hostile()), node in any::<bool>(),
        ) {
            let node = node.then(|| NodeId::new("a_b").unwrap());
            let key = parse_key("a/execution/b").unwrap();
            let transition = Transition { key, node, from, to, reason, message, attempt, by };
            let line = transition.to_string();
            prop_assert!(!line.chars().any(is_hidden), "{:?}", line);
            prop_assert_eq!(line.parse(), Ok(transition));
        }
    }
}
