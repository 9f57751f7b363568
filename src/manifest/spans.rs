//! The tree of spans of a YAML or JSON text: where each key and value stands. Built only when something is
//! wrong, or when there are aliases to be counted before anything expands them.

use saphyr_parser::{Event, Marker, Parser, ScanError};

use super::lines::{LineIndex, Position};
use super::pointer;
use super::value::MERGE_KEY;
use crate::config::Limits;
use crate::diagnostic::Span;

/// How many values aliases may bring in over those that are written: a file that honestly uses anchors stays far
/// below, and a bomb cannot grow past it.
const EXPANSION: u64 = 10_000;

/// A text counts as one value more for each of so many bytes, so that one long text cannot be the bomb.
const TEXT_UNIT: u64 = 100;

/// The spans of all documents of a file.
#[derive(Debug)]
pub(super) struct SpanTree {
    nodes: Vec<SpanNode>,
    roots: Vec<usize>,
}

#[derive(Debug)]
struct SpanNode {
    span: Span,
    content: SpanContent,
    /// The number of values that this one stands for once aliases are expanded.
    weight: u64,
}

#[derive(Debug)]
enum SpanContent {
    Scalar(String),
    Sequence(Vec<usize>),
    Mapping(Vec<(usize, usize)>),
    Alias(usize),
}

/// Why there is no tree.
#[derive(Debug)]
pub(super) enum SpanError {
    /// The text is malformed.
    Syntax { at: Span, message: String },
    /// Aliases are too many, expand too far, or hold themselves.
    Aliases { at: Span, document: usize, message: String, hint: &'static str },
    /// Mappings and lists are nested deeper than the limit.
    Depth { at: Span, document: usize },
}

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpanLocation {
    /// The key, when it is an entry of a mapping.
    pub(super) key: Option<Span>,
    /// The value; for a mapping or list, what stands first in it.
    pub(super) value: Span,
    /// Whether the value is a scalar.
    pub(super) scalar: bool,
}

impl SpanTree {
    /// Parses `lines`' text.
    ///
    /// # Errors
    /// The first thing that is malformed, or aliases beyond the limits.
    pub(super) fn build(text: &str, lines: &LineIndex<'_>, limits: &Limits) -> Result<Self, SpanError> {
        let mut builder = SpanTreeBuilder {
            lines,
            tree: Self { nodes: Vec::new(), roots: Vec::new() },
            open: Vec::new(),
            anchors: Vec::new(),
            aliases: 0,
            most_aliases: limits.aliases,
            most_open: usize::try_from(limits.depth).unwrap_or(usize::MAX),
            written: 0,
            expanded: 0,
        };
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| builder.syntax(&error))?;
            builder.event(event, span)?;
        }
        Ok(builder.tree)
    }

    /// Where the value at `pointer` stands. Where there is no such value, `None`.
    pub(super) fn find(&self, document: usize, pointer: &str, occurrence: usize) -> Option<SpanLocation> {
        let mut node = *self.roots.get(document)?;
        let mut key = None;
        let mut segments = pointer::segments(pointer).peekable();
        while let Some(segment) = segments.next() {
            let skip = if segments.peek().is_none() { occurrence } else { 0 };
            (key, node) = self.step(node, &segment, skip)?;
        }
        Some(self.place(key, node))
    }

    /// Where the value at `pointer` stands, or the nearest thing around it that is there.
    pub(super) fn nearest(&self, document: usize, pointer: &str) -> Option<SpanLocation> {
        let mut at = pointer;
        loop {
            if let Some(place) = self.find(document, at, 0) {
                return Some(place);
            }
            at = pointer::split_last(at)?.0;
        }
    }

    fn place(&self, key: Option<usize>, node: usize) -> SpanLocation {
        let key = key.and_then(|key| self.nodes.get(key)).map(|node| node.span);
        let target = self.resolve(node);
        let scalar = matches!(self.content(target), Some(SpanContent::Scalar(_)));
        SpanLocation { key, value: self.first(node), scalar }
    }

    fn content(&self, node: usize) -> Option<&SpanContent> {
        self.nodes.get(node).map(|node| &node.content)
    }

    /// Follows an alias. Aliases of aliases do not exist, and none holds itself: `build` has seen to it.
    fn resolve(&self, node: usize) -> usize {
        match self.content(node) {
            Some(SpanContent::Alias(target)) => *target,
            _ => node,
        }
    }

    /// The span of what stands first in a node.
    fn first(&self, mut node: usize) -> Span {
        loop {
            let below = match self.content(node) {
                Some(SpanContent::Mapping(entries)) => entries.first().map(|(key, _)| *key),
                Some(SpanContent::Sequence(items)) => items.first().copied(),
                _ => None,
            };
            match below {
                Some(below) => node = below,
                None => return self.nodes.get(node).map(|node| node.span).unwrap_or_default(),
            }
        }
    }

    fn step(&self, node: usize, segment: &str, skip: usize) -> Option<(Option<usize>, usize)> {
        match self.content(self.resolve(node))? {
            SpanContent::Sequence(items) => Some((None, *items.get(segment.parse::<usize>().ok()?)?)),
            SpanContent::Mapping(entries) => {
                let own = entries.iter().filter(|(key, _)| self.text(*key) == Some(segment)).nth(skip);
                if let Some((key, value)) = own {
                    return Some((Some(*key), *value));
                }
                let merges = entries.iter().filter(|(key, _)| self.text(*key) == Some(MERGE_KEY));
                merges.flat_map(|(_, value)| self.merged(*value)).find_map(|map| self.step(map, segment, 0))
            }
            _ => None,
        }
    }

    /// The mappings that the value of a merge key names.
    fn merged(&self, node: usize) -> Vec<usize> {
        match self.content(self.resolve(node)) {
            Some(SpanContent::Sequence(items)) => items.clone(),
            Some(SpanContent::Mapping(_)) => vec![node],
            _ => Vec::new(),
        }
    }

    fn text(&self, node: usize) -> Option<&str> {
        match self.content(self.resolve(node))? {
            SpanContent::Scalar(text) => Some(text),
            _ => None,
        }
    }
}

/// A mapping or list whose end has not been seen.
struct OpenCollection {
    node: usize,
    key: Option<usize>,
}

struct SpanTreeBuilder<'l, 't> {
    lines: &'l LineIndex<'t>,
    tree: SpanTree,
    open: Vec<OpenCollection>,
    /// Node by anchor id.
    anchors: Vec<Option<usize>>,
    /// Aliases in this document.
    aliases: u32,
    most_aliases: u32,
    most_open: usize,
    /// The weight of everything that is written.
    written: u64,
    /// The weight of all finished documents, aliases expanded.
    expanded: u64,
}

impl SpanTreeBuilder<'_, '_> {
    fn position(marker: &Marker) -> Position {
        Position { line: marker.line(), column: marker.col() + 1 }
    }

    fn syntax(&self, error: &ScanError) -> SpanError {
        let at = self.lines.point(Self::position(error.marker()));
        if error.info().contains("recursion limit") {
            return SpanError::Depth { at, document: self.tree.roots.len() };
        }
        SpanError::Syntax { at, message: error.info().to_owned() }
    }

    fn event(&mut self, event: Event<'_>, span: saphyr_parser::Span) -> Result<(), SpanError> {
        let span = self.lines.span(Self::position(&span.start), Self::position(&span.end));
        match event {
            Event::Scalar(text, _, anchor, _) => {
                let node = self.add(span, SpanContent::Scalar(text.into_owned()), anchor);
                self.attach(node);
            }
            Event::SequenceStart(anchor, _) => self.start(span, SpanContent::Sequence(Vec::new()), anchor)?,
            Event::MappingStart(anchor, _) => self.start(span, SpanContent::Mapping(Vec::new()), anchor)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(done) = self.open.pop() {
                    self.weigh(done.node, span)?;
                    self.attach(done.node);
                }
            }
            Event::Alias(id) => self.alias(id, span)?,
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.aliases = 0;
            }
            Event::DocumentEnd => {
                let root = self.tree.roots.last().and_then(|root| self.tree.nodes.get(*root));
                self.expanded = self.expanded.saturating_add(root.map_or(0, |root| root.weight));
                self.check_growth(self.expanded, span)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
        }
        Ok(())
    }

    fn add(&mut self, span: Span, content: SpanContent, anchor: usize) -> usize {
        let node = self.tree.nodes.len();
        let weight = match &content {
            SpanContent::Scalar(text) => 1 + text.len() as u64 / TEXT_UNIT,
            _ => 1,
        };
        self.written += weight;
        self.tree.nodes.push(SpanNode { span, content, weight });
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

    fn start(&mut self, span: Span, content: SpanContent, anchor: usize) -> Result<(), SpanError> {
        if self.open.len() >= self.most_open {
            return Err(SpanError::Depth { at: span, document: self.tree.roots.len() });
        }
        let node = self.add(span, content, anchor);
        self.open.push(OpenCollection { node, key: None });
        Ok(())
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), SpanError> {
        let document = self.tree.roots.len();
        let refuse = |message: String, hint| Err(SpanError::Aliases { at: span, document, message, hint });
        self.aliases += 1;
        if self.aliases > self.most_aliases {
            let hint = "write some of them out, or raise `limits.aliases` in .planspec.yaml";
            return refuse(format!("more than {} aliases", self.most_aliases), hint);
        }
        let Some(target) = self.anchors.get(id).copied().flatten() else {
            return refuse("an alias of an anchor that is not there".to_owned(), "write the value out");
        };
        if self.open.iter().any(|open| open.node == target) {
            return refuse(
                "an alias of something that it is itself a part of".to_owned(),
                "write the value out",
            );
        }
        let node = self.add(span, SpanContent::Alias(target), 0);
        let weight = self.tree.nodes.get(target).map_or(1, |node| node.weight);
        if let Some(node) = self.tree.nodes.get_mut(node) {
            node.weight = weight;
        }
        self.attach(node);
        Ok(())
    }

    /// Sums up a finished mapping or list.
    fn weigh(&mut self, node: usize, span: Span) -> Result<(), SpanError> {
        let of = |node: &usize| self.tree.nodes.get(*node).map_or(0, |node| node.weight);
        let weight = match self.tree.content(node) {
            Some(SpanContent::Sequence(items)) => items.iter().map(of).fold(1, u64::saturating_add),
            Some(SpanContent::Mapping(entries)) => entries
                .iter()
                .map(|(key, value)| of(key).saturating_add(of(value)))
                .fold(1, u64::saturating_add),
            _ => 1,
        };
        self.check_growth(weight, self.tree.nodes.get(node).map_or(span, |node| node.span))?;
        if let Some(node) = self.tree.nodes.get_mut(node) {
            node.weight = weight;
        }
        Ok(())
    }

    fn check_growth(&self, weight: u64, at: Span) -> Result<(), SpanError> {
        if weight <= self.written.saturating_add(EXPANSION) {
            return Ok(());
        }
        let message = format!("aliases expand to more than {EXPANSION} values");
        Err(SpanError::Aliases { at, document: self.tree.roots.len(), message, hint: "write the values out" })
    }

    /// Puts a finished node where it belongs.
    fn attach(&mut self, node: usize) {
        let Some(open) = self.open.last_mut() else {
            self.tree.roots.push(node);
            return;
        };
        match self.tree.nodes.get_mut(open.node).map(|node| &mut node.content) {
            Some(SpanContent::Sequence(items)) => items.push(node),
            Some(SpanContent::Mapping(entries)) => match open.key.take() {
                Some(key) => entries.push((key, node)),
                None => open.key = Some(node),
            },
            _ => {}
        }
    }
}
