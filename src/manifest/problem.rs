//! A problem of one document, by JSON pointer; becomes a diagnostic with a position once the spans are known.

use std::ops::Range;

use crate::diagnostic::{Code, Severity};

/// Which part of an entry a problem points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryPart {
    Key,
    Value,
    /// The start of the value: what stands first in a list that is nested too deeply may be far away.
    Start,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) severity: Severity,
    pub(super) pointer: String,
    pub(super) at: EntryPart,
    /// The bytes in the text of the value, where only a part of it is meant; an empty range is the word that begins there.
    pub(super) within: Option<Range<usize>>,
    /// Which of several equal keys is meant, from 0.
    pub(super) occurrence: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Pointers of further places, and what is there.
    pub(super) related: Vec<(String, String)>,
}

impl Problem {
    /// An error in a value.
    pub(super) fn new(code: Code, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            pointer: pointer.into(),
            // Most problems are about a value; what is about a field as such asks for its key.
            at: EntryPart::Value,
            within: None,
            occurrence: 0,
            message: message.into(),
            hint: None,
            related: Vec::new(),
        }
    }

    /// The same as a warning.
    pub(super) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The same, at the key.
    pub(super) fn at_key(mut self) -> Self {
        self.at = EntryPart::Key;
        self
    }

    /// The same, at the start of the value.
    pub(super) fn at_start(mut self) -> Self {
        self.at = EntryPart::Start;
        self
    }

    /// The same, at the word at a byte offset in the text of the value.
    pub(super) fn within(self, offset: usize) -> Self {
        self.part(offset..offset)
    }

    /// The same, at a part of the text of the value that need not be a word.
    pub(super) fn part(mut self, bytes: Range<usize>) -> Self {
        self.within = Some(bytes);
        self
    }

    /// Adds what to do about it, if anything is known.
    pub(super) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds a further place.
    pub(super) fn related(mut self, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        self.related.push((pointer.into(), message.into()));
        self
    }
}
