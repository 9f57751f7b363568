//! The one walk over the events of a YAML text, from which values, places, duplicates and limits are taken.
//!
//! It is iterative, takes time in proportion to the text however deeply that nests, and expands no alias, so that it can
//! be let loose on anything.

use std::borrow::Cow;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::ReadError;
use super::lines::{Position, TextRange};
use super::tree::{YamlContent, YamlNode, YamlTree};
use crate::config::Limits;

/// How many values aliases may bring in over those that are written: a file that honestly uses anchors stays far
/// below, and a bomb cannot grow past it.
const EXPANSION: u64 = 10_000;

/// A text counts as one value more for each of so many bytes, so that one long text cannot be the bomb.
const TEXT_UNIT: u64 = 100;

/// Reads the documents of a text, up to the first thing that is malformed or beyond a limit.
pub(super) fn walk(text: &str, limits: &Limits) -> (YamlTree, Option<ReadError>) {
    let open_end = (!text.ends_with(['\n', '\r'])).then(|| text.chars().count());
    let mut builder = TreeBuilder {
        open_end,
        tree: YamlTree::default(),
        root: None,
        open: Vec::new(),
        anchors: Vec::new(),
        aliases: 0,
        limits,
        written: 0,
        expanded: 0,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let event = event.map_err(|error| refusal(&error));
        // The documents before the fault are kept: a broken one does not take its predecessors along
        // (Invariant 6).
        if let Err(error) = event.and_then(|(event, span)| builder.event(event, span)) {
            return (builder.tree, Some(error));
        }
    }
    (builder.tree, None)
}

/// The tree of a JSON text, for the places of its keys and values.
pub(super) fn walk_json(text: &str, limits: &Limits) -> YamlTree {
    // YAML has no escapes for the halves of a surrogate pair. Other escapes of the same length keep every place.
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while let Some(backslash) = bytes.iter().skip(at).position(|byte| *byte == b'\\') {
        at += backslash + 2;
        if let Some([b'u', digits @ .., _, _]) = bytes.get_mut(at - 1..at + 4)
            && let [b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F'] = digits
        {
            digits.copy_from_slice(b"00");
        }
    }
    String::from_utf8(bytes).map(|text| walk(&text, limits).0).unwrap_or_default()
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

fn refusal(error: &ScanError) -> ReadError {
    let at = position(error.marker());
    // The parser bounds the nesting of brackets by itself, at 255.
    if error.info().contains("recursion limit") {
        return ReadError::TooDeep { at };
    }
    // `while parsing X, found Y`: what is wrong comes first, then where.
    let message = match error.info().split_once(", ") {
        Some((context, what)) if context.starts_with("while ") => format!("{what}, {context}"),
        _ => error.info().to_owned(),
    };
    // The parser quotes the text, and that may come from anybody (Invariant 8).
    ReadError::Syntax { at, message: message.replace(char::is_control, " ") }
}

/// Whether the parser made up the last line break of block text that ends with the file, and the file with no break.
///
/// It adds one where the last line reaches as far as the text is indented, be there anything else in that line or not.
fn has_added_break(text: &str, span: &saphyr_parser::Span) -> bool {
    if text.bytes().all(|byte| byte == b'\n') {
        // Text without content begins at its head. It is given a break for a line of spaces right behind that.
        return span.end.line() == span.start.line() + 1 && span.end.col() > 0;
    }
    // All other text begins with its first character, where it is indented to.
    text.ends_with('\n') && span.end.col() >= span.start.col().max(1)
}

/// A mapping or list whose end has not been seen.
struct OpenCollection {
    node: usize,
    key: Option<usize>,
}

struct TreeBuilder<'l> {
    /// The number of characters, when no line break ends the last line.
    open_end: Option<usize>,
    tree: YamlTree,
    /// The root of the document that is being read.
    root: Option<usize>,
    open: Vec<OpenCollection>,
    /// Node by anchor id.
    anchors: Vec<Option<usize>>,
    /// Aliases in this document.
    aliases: u32,
    limits: &'l Limits,
    /// The weight of everything that is written.
    written: u64,
    /// The weight of all finished documents, aliases expanded.
    expanded: u64,
}

impl TreeBuilder<'_> {
    fn event(&mut self, event: Event<'_>, span: saphyr_parser::Span) -> Result<(), ReadError> {
        let range = TextRange { from: position(&span.start), to: position(&span.end) };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let mut text = text.into_owned();
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                // The parser takes a following `---` for a part of such a text, and a manifest behind it would be left out in
                // silence. No manifest begins like this, so nothing is lost.
                if block && self.open.is_empty() {
                    let message = "block text where a mapping is expected".to_owned();
                    return Err(ReadError::Syntax { at: range.from, message });
                }
                if block
                    && self.open_end.is_some_and(|end| span.end.index() >= end)
                    && has_added_break(&text, &span)
                {
                    text.pop();
                }
                let node = self.add(range, YamlContent::Scalar { text, style }, anchor, tag);
                self.attach(node);
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(range, YamlContent::Sequence(Vec::new()), anchor, tag);
            }
            Event::MappingStart(anchor, tag) => {
                self.start(range, YamlContent::Mapping(Vec::new()), anchor, tag);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(done) = self.open.pop() {
                    self.weigh(done.node)?;
                    self.attach(done.node);
                }
            }
            Event::Alias(id) => self.alias(id, range)?,
            Event::DocumentStart(_) => {
                if self.tree.roots.len() as u64 >= u64::from(self.limits.documents) {
                    return Err(ReadError::TooMany);
                }
                // An anchor names nothing beyond its own document.
                self.anchors.clear();
                self.aliases = 0;
            }
            Event::DocumentEnd => self.end_document(range)?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
        }
        Ok(())
    }

    fn add(
        &mut self,
        range: TextRange,
        content: YamlContent,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
    ) -> usize {
        let node = self.tree.nodes.len();
        let weight = match &content {
            YamlContent::Scalar { text, .. } => 1 + text.len() as u64 / TEXT_UNIT,
            _ => 1,
        };
        self.written += weight;
        let tag = tag.map(|tag| format!("{}{}", tag.handle, tag.suffix));
        self.tree.nodes.push(YamlNode { range, tag, content, weight });
        if anchor > 0 {
            if self.anchors.len() <= anchor {
                self.anchors.resize(anchor + 1, None);
            }
            if let Some(slot) = self.anchors.get_mut(anchor) {
                *slot = Some(node);
            }
        }
        node
    }

    fn start(&mut self, range: TextRange, content: YamlContent, anchor: usize, tag: Option<Cow<'_, Tag>>) {
        let node = self.add(range, content, anchor, tag);
        self.open.push(OpenCollection { node, key: None });
    }

    fn alias(&mut self, id: usize, at: TextRange) -> Result<(), ReadError> {
        let refuse = |message: String, hint| Err(ReadError::Aliases { at, message, hint });
        self.aliases += 1;
        let most = self.limits.aliases;
        if self.aliases > most {
            let hint = "write some of them out, or raise `limits.aliases` in .planspec.yaml";
            return refuse(format!("more than {most} aliases"), hint);
        }
        let Some(target) = self.anchors.get(id).copied().flatten() else {
            return refuse("an alias of an undefined anchor".to_owned(), "write the value out");
        };
        // An anchor is known from the start of its collection, so an alias inside of it would make a value
        // that holds itself.
        if self.open.iter().any(|open| open.node == target) {
            return refuse("an alias that contains itself".to_owned(), "write the value out");
        }
        let node = self.add(at, YamlContent::Alias(target), 0, None);
        // What expanding would cost is known from the target, without expanding anything.
        self.set_weight(node, self.weight(target));
        self.attach(node);
        Ok(())
    }

    /// Sums up a finished mapping or list.
    fn weigh(&mut self, node: usize) -> Result<(), ReadError> {
        let Some(YamlNode { range, content, .. }) = self.tree.nodes.get(node) else { return Ok(()) };
        let range = *range;
        let weight = match content {
            YamlContent::Sequence(items) => {
                items.iter().map(|item| self.weight(*item)).fold(1, u64::saturating_add)
            }
            YamlContent::Mapping(entries) => entries
                .iter()
                .map(|(key, value)| self.weight(*key).saturating_add(self.weight(*value)))
                .fold(1, u64::saturating_add),
            YamlContent::Scalar { .. } | YamlContent::Alias(_) => 1,
        };
        // At the end of every collection, so that a bomb is refused before anybody builds its value.
        self.check_growth(weight, range)?;
        self.set_weight(node, weight);
        Ok(())
    }

    fn weight(&self, node: usize) -> u64 {
        self.tree.nodes.get(node).map_or(0, |node| node.weight)
    }

    fn set_weight(&mut self, node: usize, weight: u64) {
        if let Some(node) = self.tree.nodes.get_mut(node) {
            node.weight = weight;
        }
    }

    fn check_growth(&self, weight: u64, at: TextRange) -> Result<(), ReadError> {
        if weight <= self.written.saturating_add(EXPANSION) {
            return Ok(());
        }
        let message = format!("aliases expand to more than {EXPANSION} values");
        Err(ReadError::Aliases { at, message, hint: "write the values out" })
    }

    fn end_document(&mut self, range: TextRange) -> Result<(), ReadError> {
        let Some(root) = self.root.take() else { return Ok(()) };
        self.expanded = self.expanded.saturating_add(self.weight(root));
        // Each document may be modest, and the file a bomb.
        self.check_growth(self.expanded, range)?;
        self.tree.roots.push(root);
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn attach(&mut self, node: usize) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match self.tree.nodes.get_mut(open.node).map(|node| &mut node.content) {
            Some(YamlContent::Sequence(items)) => items.push(node),
            Some(YamlContent::Mapping(entries)) => match open.key.take() {
                Some(key) => entries.push((key, node)),
                None => open.key = Some(node),
            },
            _ => {}
        }
    }
}
