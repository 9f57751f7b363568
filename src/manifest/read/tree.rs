//! The tree of a YAML or JSON text: every key and value with its place, aliases not expanded. Finds the place of a
//! JSON pointer.

use std::ops::Range;

use saphyr_parser::ScalarStyle;

use super::lines::{LineIndex, Position, TextRange};
use super::scalar::ScalarSource;
use crate::run::json::pointer;

/// The documents of a file.
#[derive(Debug, Default)]
pub(in crate::manifest) struct YamlTree {
    pub(super) nodes: Vec<YamlNode>,
    pub(super) roots: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct YamlNode {
    pub(super) range: TextRange,
    /// In full: `tag:yaml.org,2002:str` for `!!str`.
    pub(super) tag: Option<String>,
    pub(super) content: YamlContent,
    /// The number of values that this one stands for once aliases are expanded.
    pub(super) weight: u64,
}

#[derive(Debug)]
pub(super) enum YamlContent {
    Scalar { text: String, style: ScalarStyle },
    Sequence(Vec<usize>),
    Mapping(Vec<(usize, usize)>),
    Alias(usize),
}

/// The location of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manifest) struct EntryLocation {
    /// The key, when it is an entry of a mapping.
    pub(in crate::manifest) key: Option<TextRange>,
    /// The value; for a mapping or list, what stands first in it.
    pub(in crate::manifest) value: TextRange,
    /// The start of the value itself.
    pub(in crate::manifest) start: TextRange,
    /// Whether the value is a scalar.
    pub(in crate::manifest) scalar: bool,
}

impl YamlTree {
    /// Where the value at `pointer` stands; of several equal keys at its end, `occurrence` says which, from 0.
    pub(in crate::manifest) fn find(
        &self,
        document: usize,
        pointer: &str,
        occurrence: usize,
    ) -> Option<EntryLocation> {
        let (key, node) = self.entry(document, pointer, occurrence)?;
        let scalar = matches!(self.target(node)?.content, YamlContent::Scalar { .. });
        let key = key.and_then(|key| self.nodes.get(key)).map(|node| node.range);
        let start = self.nodes.get(node)?.range;
        Some(EntryLocation { key, value: self.first(node)?, start, scalar })
    }

    /// The key and the value at `pointer`.
    fn entry(&self, document: usize, pointer: &str, occurrence: usize) -> Option<(Option<usize>, usize)> {
        let mut node = *self.roots.get(document)?;
        let mut key = None;
        let mut segments = pointer::segments(pointer).peekable();
        while let Some(segment) = segments.next() {
            // Of equal keys on the way, the first is the one whose value counts.
            let skip = if segments.peek().is_none() { occurrence } else { 0 };
            (key, node) = self.step(node, &segment, skip)?;
        }
        Some((key, node))
    }

    /// Where a part of the text of the scalar at `pointer` stands, as a range of bytes. Of an alias, that is in the text
    /// which it repeats.
    pub(in crate::manifest) fn part_of_scalar(
        &self,
        lines: &LineIndex<'_>,
        (document, pointer): (usize, &str),
        part: Range<usize>,
        json: bool,
    ) -> Option<Range<usize>> {
        let (_, node) = self.entry(document, pointer, 0)?;
        let node = self.target(node)?;
        let YamlContent::Scalar { text, style } = &node.content else { return None };
        let (start, source) = lines.from(node.range.from)?;
        let found = ScalarSource { source, style: *style, text, json }.part(part)?;
        Some(start + found.start..start + found.end)
    }

    /// Where the value at `pointer` stands, or the nearest thing around it that is there.
    pub(in crate::manifest) fn nearest(&self, document: usize, pointer: &str) -> Option<EntryLocation> {
        let mut at = pointer;
        loop {
            if let Some(place) = self.find(document, at, 0) {
                return Some(place);
            }
            // A missing field is shown at the mapping that lacks it, a missing mapping at the one around it.
            at = pointer::split_last(at)?.0;
        }
    }

    /// A node, or what it is an alias of. Aliases of aliases do not exist, and none holds itself: the walk refuses both.
    pub(super) fn target(&self, node: usize) -> Option<&YamlNode> {
        match self.nodes.get(node)? {
            YamlNode { content: YamlContent::Alias(target), .. } => self.nodes.get(*target),
            node => Some(node),
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self, node: usize) -> Option<&str> {
        match &self.target(node)?.content {
            YamlContent::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether a key is `<<`, which merges mappings in; in quotes it is a key like any other.
    pub(super) fn is_merge(&self, key: usize) -> bool {
        let content = self.target(key).map(|node| &node.content);
        matches!(content, Some(YamlContent::Scalar { text, style: ScalarStyle::Plain }) if text == "<<")
    }

    pub(super) fn start(&self, node: usize) -> Option<Position> {
        self.nodes.get(node).map(|node| node.range.from)
    }

    /// The range of what stands first in a node.
    fn first(&self, mut node: usize) -> Option<TextRange> {
        loop {
            let this = self.nodes.get(node)?;
            let below = match &this.content {
                YamlContent::Mapping(entries) => entries.first().map(|(key, _)| *key),
                YamlContent::Sequence(items) => items.first().copied(),
                _ => None,
            };
            match below {
                Some(below) => node = below,
                None => return Some(this.range),
            }
        }
    }

    fn step(&self, node: usize, segment: &str, skip: usize) -> Option<(Option<usize>, usize)> {
        match &self.target(node)?.content {
            YamlContent::Sequence(items) => Some((None, *items.get(segment.parse::<usize>().ok()?)?)),
            YamlContent::Mapping(entries) => {
                // A key of the mapping itself wins over a merged one, in its place as in its value.
                let own = entries.iter().filter(|(key, _)| self.text(*key) == Some(segment)).nth(skip);
                if let Some((key, value)) = own {
                    return Some((Some(*key), *value));
                }
                // A field that came by a merge is shown where it is written.
                let merges = entries.iter().filter(|(key, _)| self.is_merge(*key));
                merges.flat_map(|(_, value)| self.merged(*value)).find_map(|map| self.step(map, segment, 0))
            }
            _ => None,
        }
    }

    /// The mappings that the value of a merge key names.
    fn merged(&self, node: usize) -> Vec<usize> {
        match self.target(node).map(|target| &target.content) {
            Some(YamlContent::Sequence(items)) => items.clone(),
            Some(YamlContent::Mapping(_)) => vec![node],
            _ => Vec::new(),
        }
    }
}
