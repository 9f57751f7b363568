//! Reading paths: by hand, so that an error names the character and what would be right there.

use std::str::FromStr;

use serde_json::Value;

use super::path::{JsonPath, Operand, PathComparison, PathFilter, PathStep};

/// Characters that end a bare name, unless a backslash precedes them.
const ENDS_NAME: &str = ".[](){}=!<>,|&'\" \t\n";

/// A path or template that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {why} at character {at}")]
pub(crate) struct JsonPathError {
    text: String,
    at: usize,
    why: &'static str,
}

/// A text that is read from the front.
pub(super) struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
}

impl FromStr for JsonPath {
    type Err = JsonPathError;

    fn from_str(text: &str) -> Result<Self, JsonPathError> {
        let mut reader = Reader::new(text);
        let path = reader.path()?;
        match reader.rest.is_empty() {
            true => Ok(path),
            false => Err(reader.error("unexpected text")),
        }
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, rest: text }
    }

    pub(super) fn error(&self, why: &'static str) -> JsonPathError {
        let read = self.text.len().saturating_sub(self.rest.len());
        let at = self.text.get(..read).map_or(0, |read| read.chars().count()) + 1;
        JsonPathError { text: self.text.to_owned(), at, why }
    }

    pub(super) fn rest(&self) -> &'t str {
        self.rest
    }

    pub(super) fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    pub(super) fn take(&mut self, word: &str) -> bool {
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let mut rest = self.rest.chars();
        let next = rest.next();
        self.rest = rest.as_str();
        next
    }

    /// Takes everything up to `end`, which is left.
    pub(super) fn until(&mut self, end: char) -> &'t str {
        let (taken, rest) = self.rest.split_at(self.rest.find(end).unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Reads a path; it ends where nothing of a path follows.
    pub(super) fn path(&mut self) -> Result<JsonPath, JsonPathError> {
        let mut steps = Vec::new();
        // Both stand for the value that the path is applied to.
        let rooted = self.take("$") || self.take("@");
        // `metadata.name` without a dot at the beginning, as in custom columns.
        if !rooted && !self.rest.starts_with(['.', '[']) {
            steps.push(PathStep::Field(self.name()?));
        }
        loop {
            if self.take("..") {
                steps.push(PathStep::Below);
                if !self.rest.starts_with('[') {
                    steps.push(self.name_or_every()?);
                }
            } else if self.take("[") {
                steps.push(self.brackets()?);
            } else if self.take(".") {
                // `{.}` is the value itself, and `.[0]` is common.
                match self.rest.chars().next() {
                    None | Some('}' | ' ') if steps.is_empty() => {}
                    Some('[') => {}
                    _ => steps.push(self.name_or_every()?),
                }
            } else {
                return Ok(JsonPath { steps });
            }
        }
    }

    fn name_or_every(&mut self) -> Result<PathStep, JsonPathError> {
        if self.take("*") { Ok(PathStep::Every) } else { self.name().map(PathStep::Field) }
    }

    fn name(&mut self) -> Result<String, JsonPathError> {
        let mut name = String::new();
        while let Some(c) = self.rest.chars().next() {
            if c == '\\' {
                self.next();
                name.extend(self.next());
            } else if ENDS_NAME.contains(c) {
                break;
            } else {
                name.push(c);
                self.next();
            }
        }
        if name.is_empty() { Err(self.error("a name is missing")) } else { Ok(name) }
    }

    /// Reads what stands between brackets, the closing one included.
    fn brackets(&mut self) -> Result<PathStep, JsonPathError> {
        if self.take("?(") {
            let filter = self.filter()?;
            self.skip_spaces();
            return match self.take(")") && self.take("]") {
                true => Ok(PathStep::Filter(filter)),
                false => Err(self.error("`)]` is missing")),
            };
        }
        let mut steps = vec![self.selector()?];
        loop {
            self.skip_spaces();
            if self.take(",") {
                steps.push(self.selector()?);
            } else if self.take("]") {
                let only = if steps.len() == 1 { steps.pop() } else { None };
                return Ok(only.unwrap_or(PathStep::Union(steps)));
            } else {
                return Err(self.error("`]` is missing"));
            }
        }
    }

    fn selector(&mut self) -> Result<PathStep, JsonPathError> {
        self.skip_spaces();
        if self.take("*") {
            return Ok(PathStep::Every);
        }
        if let Some(text) = self.quoted()? {
            return Ok(PathStep::Field(text));
        }
        let from = self.integer()?;
        if !self.take(":") {
            return from
                .map(PathStep::Index)
                .ok_or_else(|| self.error("a number or a quoted name is missing"));
        }
        let to = self.integer()?;
        let by = if self.take(":") { self.integer()? } else { None };
        match by.map_or(Ok(1), usize::try_from) {
            Ok(by) if by > 0 => Ok(PathStep::Slice { from, to, by }),
            _ => Err(self.error("the step must be above zero")),
        }
    }

    fn integer(&mut self) -> Result<Option<i64>, JsonPathError> {
        self.skip_spaces();
        let end = self.rest.find(|c: char| !(c.is_ascii_digit() || c == '-')).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        if digits.is_empty() {
            return Ok(None);
        }
        let number = digits.parse().map_err(|_| self.error("this is not a number"))?;
        self.rest = rest;
        self.skip_spaces();
        Ok(Some(number))
    }

    /// A text in single or double quotes, with the escapes of JSON.
    pub(super) fn quoted(&mut self) -> Result<Option<String>, JsonPathError> {
        let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
            return Ok(None);
        };
        let start = self.error("the quote has no end");
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(start),
                Some(c) if c == quote => return Ok(Some(text)),
                Some('\\') => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c) => text.push(c),
                    None => return Err(start),
                },
                Some(c) => text.push(c),
            }
        }
    }

    fn filter(&mut self) -> Result<PathFilter, JsonPathError> {
        let left = self.operand()?;
        self.skip_spaces();
        // The longer ones first: `<` begins `<=` too.
        let known = [
            ("==", PathComparison::Equal),
            ("!=", PathComparison::NotEqual),
            ("<=", PathComparison::LessOrEqual),
            (">=", PathComparison::GreaterOrEqual),
            ("<", PathComparison::Less),
            (">", PathComparison::Greater),
        ];
        match known.into_iter().find(|(sign, _)| self.take(sign)) {
            Some((_, comparison)) => Ok(PathFilter { left, test: Some((comparison, self.operand()?)) }),
            None if self.rest.starts_with('=') => Err(self.error("a comparison is written `==`")),
            None if self.rest.starts_with(['&', '|']) => {
                Err(self.error("a filter has one comparison; write two filters, one after the other,"))
            }
            None => Ok(PathFilter { left, test: None }),
        }
    }

    fn operand(&mut self) -> Result<Operand, JsonPathError> {
        self.skip_spaces();
        if let Some(text) = self.quoted()? {
            return Ok(Operand::Literal(Value::String(text)));
        }
        if self.rest.starts_with(['@', '$', '.']) {
            return self.path().map(Operand::Path);
        }
        let end = self.rest.find(|c: char| ")=!<> ".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        // Numbers, `true`, `false` and `null`, as JSON has them.
        let value = serde_json::from_str(word)
            .map_err(|_| self.error("a path such as `@.phase`, a number or a quoted text is missing"))?;
        self.rest = rest;
        Ok(Operand::Literal(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_character_and_what_would_be_right() {
        for (text, expected) in [
            (".a[", "a number or a quoted name is missing at character 4"),
            (".a[0", "`]` is missing at character 5"),
            (".a['b", "the quote has no end at character 4"),
            (".a..", "a name is missing at character 5"),
            (".a[?(@.b='c')]", "a comparison is written `==` at character 9"),
            (".a[?(@.b=='c']", "`)]` is missing at character 14"),
            (".a[0:1:0]", "the step must be above zero at character 9"),
            (".a b", "unexpected text at character 3"),
            ("", "a name is missing at character 1"),
        ] {
            let error = text.parse::<JsonPath>().unwrap_err().to_string();
            assert_eq!(error, format!("`{text}`: {expected}"));
        }
    }
}
