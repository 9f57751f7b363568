//! The usual part of YAML, read line by line: block mappings and lists, one-line scalars and flow collections, literal
//! and folded text. Whatever is in the least unusual is left to the walk over events, which decides what a text
//! means: a property test compares the two.
//!
//! It is here for one figure: the 10,000 manifests of the benchmark, 11.6 MB, take 0.13 s this way, 0.52 s by events with
//! their tree, and 0.67 s by serde_yaml, each to `serde_json::Value`, on one core.

mod flow;
mod scalar;
mod text_block;

use serde_json::{Map, Value};

/// The documents of a text, or nothing where the text has to be read by its events.
pub(super) fn read(text: &str, depth: u32, documents: u32) -> Option<Vec<Value>> {
    if !is_usual(text) {
        return None;
    }
    let mut lines = YamlLines::new(text);
    let mut values = Vec::new();
    loop {
        lines.skip_separator();
        values.push(document(&mut lines, depth)?);
        // Whatever is wrong is left to the walk, which has the places to report it with.
        if values.len() as u64 > u64::from(documents) {
            return None;
        }
        match lines.peek() {
            None => return Some(values),
            Some(line) if line.is_separator() => {}
            Some(_) => return None,
        }
    }
}

/// No tabs, carriage returns or other control characters, and nothing that YAML takes for a line break of its own.
fn is_usual(text: &str) -> bool {
    let plain = |byte: &u8| (0x20..0x7f).contains(byte) || *byte == b'\n';
    text.as_bytes().iter().all(plain)
        || text.chars().all(|c| {
            matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}')
        })
}

fn document(lines: &mut YamlLines<'_>, depth: u32) -> Option<Value> {
    // Empty documents and roots that are indented are legal, and read by the walk.
    let first = lines.peek().filter(|line| line.indent == 0 && !line.is_separator())?;
    if first.text.starts_with("- ") { list(lines, 0, depth) } else { mapping(lines, 0, depth) }
}

/// A line that holds something.
#[derive(Debug, Clone, Copy)]
struct YamlLine<'t> {
    indent: usize,
    /// Without its indentation, and without blanks at its end.
    text: &'t str,
}

impl YamlLine<'_> {
    fn is_separator(self) -> bool {
        self.indent == 0 && self.text == "---"
    }
}

/// The lines of a text; the next one that holds something can be read before it is taken.
struct YamlLines<'t> {
    rest: &'t str,
    next: Option<YamlLine<'t>>,
    /// What follows the next line.
    after: &'t str,
}

impl<'t> YamlLines<'t> {
    fn new(text: &'t str) -> Self {
        let mut lines = Self { rest: text, next: None, after: text };
        lines.advance();
        lines
    }

    fn peek(&self) -> Option<YamlLine<'t>> {
        self.next
    }

    /// Goes to the next line that is neither blank nor a comment.
    fn advance(&mut self) {
        self.rest = self.after;
        self.next = None;
        while !self.after.is_empty() {
            let (line, after) = self.after.split_once('\n').unwrap_or((self.after, ""));
            self.after = after;
            let text = line.trim_start_matches(' ');
            // A comment may stand at any indentation, and ends no block.
            if !text.is_empty() && !text.starts_with('#') {
                let indent = line.len() - text.len();
                self.next = Some(YamlLine { indent, text: text.trim_end_matches(' ') });
                return;
            }
            self.rest = after;
        }
    }

    fn skip_separator(&mut self) {
        if self.peek().is_some_and(YamlLine::is_separator) {
            self.advance();
        }
    }

    /// Puts the rest of a line, such as what follows `- `, in the place of the line.
    fn replace(&mut self, line: YamlLine<'t>) {
        self.next = Some(line);
    }

    /// Takes literal or folded text whose head stands in the next line.
    fn text_block(&mut self, head: &str, parent: usize) -> Option<String> {
        let (text, after) = text_block::read(head, self.after, parent)?;
        self.after = after;
        self.advance();
        Some(text)
    }
}

/// The entries at one indentation.
fn mapping(lines: &mut YamlLines<'_>, indent: usize, depth: u32) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut map = Map::new();
    while let Some(line) = lines.peek().filter(|line| line.indent == indent && !line.is_separator()) {
        let (key, rest) = scalar::key(line.text)?;
        let value = entry(lines, rest, indent, depth)?;
        if map.insert(key.to_owned(), value).is_some() {
            // A duplicate key, which the walk reports with both places.
            return None;
        }
    }
    // A line that is deeper goes on with something that is not usual, or is a mistake.
    let ends = lines.peek().is_none_or(|line| line.indent < indent || line.is_separator());
    ends.then_some(Value::Object(map))
}

/// What follows `key:` in the next line, or below it.
fn entry(lines: &mut YamlLines<'_>, rest: &str, indent: usize, depth: u32) -> Option<Value> {
    if rest.starts_with(['|', '>']) {
        return lines.text_block(rest, indent).map(Value::String);
    }
    lines.advance();
    let below = lines.peek().filter(|line| !line.is_separator());
    if !rest.is_empty() {
        // A deeper line would continue the scalar.
        return if below.is_some_and(|line| line.indent > indent) { None } else { inline(rest, depth) };
    }
    match below {
        Some(line) if line.indent >= indent && line.text.starts_with("- ") => list(lines, line.indent, depth),
        Some(line) if line.indent > indent => mapping(lines, line.indent, depth),
        _ => Some(Value::Null),
    }
}

/// The items at one indentation.
fn list(lines: &mut YamlLines<'_>, indent: usize, depth: u32) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut items = Vec::new();
    while let Some(line) = lines.peek().filter(|line| line.indent == indent) {
        let Some(item) = line.text.strip_prefix("- ") else { break };
        let text = item.trim_start_matches(' ');
        let column = indent + 2 + (item.len() - text.len());
        items.push(list_item(lines, text, column, indent, depth)?);
    }
    // At the same indentation only the next key of the mapping around the list may follow. A bare `-` is one
    // more item, of a form that is left to the walk.
    let ends = lines.peek().is_none_or(|line| {
        line.indent < indent || line.is_separator() || (line.indent == indent && !line.text.starts_with('-'))
    });
    ends.then_some(Value::Array(items))
}

fn list_item(
    lines: &mut YamlLines<'_>,
    text: &str,
    column: usize,
    indent: usize,
    depth: u32,
) -> Option<Value> {
    if text.starts_with(['|', '>']) {
        return lines.text_block(text, indent).map(Value::String);
    }
    if text.starts_with("- ") || text == "-" {
        return None;
    }
    // `- key: value` opens a mapping at the column of its key, so what follows the dash is put back as a line
    // with that indentation.
    if !text.starts_with(['[', '{']) && scalar::key(text).is_some() {
        let line = lines.peek()?;
        let text = line.text.get(column - indent..)?;
        lines.replace(YamlLine { indent: column, text });
        return mapping(lines, column, depth);
    }
    lines.advance();
    if lines.peek().is_some_and(|line| line.indent > indent) {
        return None;
    }
    inline(text, depth)
}

/// A value in one line.
fn inline(text: &str, depth: u32) -> Option<Value> {
    match text.as_bytes().first()? {
        b'[' | b'{' => flow::read(text, depth),
        b'"' | b'\'' => {
            let (value, rest) = scalar::quoted(text)?;
            scalar::nothing_follows(rest).then(|| Value::String(value.to_owned()))
        }
        _ => scalar::plain(text),
    }
}

#[cfg(test)]
pub(super) mod tests;
