//! A template: text with paths in braces, `{range PATH}…{end}`, and quoted text for line ends.

use std::borrow::Cow;
use std::str::FromStr;

use serde_json::Value;

use super::parse::{JsonPathError, Reader};
use super::path::JsonPath;

/// A template of `-o jsonpath=`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JsonTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Path(JsonPath),
    Range(JsonPath, Vec<Part>),
}

impl JsonTemplate {
    /// The text for a value. What comes from the value is not safe for a terminal yet.
    #[must_use]
    pub(crate) fn render(&self, value: &Value) -> String {
        let mut out = String::new();
        render(&self.0, value, &mut out);
        out
    }
}

fn render(parts: &[Part], value: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let found: Vec<Cow<'_, str>> = path.find(value).into_iter().map(shown).collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(path, inner) => {
                for item in path.find(value) {
                    render(inner, item, out);
                }
            }
        }
    }
}

/// A text as it is, and anything else as JSON on one line.
pub(crate) fn shown(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

impl FromStr for JsonTemplate {
    type Err = JsonPathError;

    fn from_str(text: &str) -> Result<Self, JsonPathError> {
        // `kubectl` would print a path without braces as it stands, which nobody means.
        if !text.contains('{') {
            return Ok(Self(vec![Part::Path(text.parse()?)]));
        }
        let mut reader = Reader::new(text);
        let parts = parts(&mut reader, false)?;
        Ok(Self(parts))
    }
}

fn parts(reader: &mut Reader<'_>, within_range: bool) -> Result<Vec<Part>, JsonPathError> {
    let mut parts = Vec::new();
    loop {
        let text = reader.until('{');
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        if !reader.take("{") {
            let missing = reader.error("`{end}` is missing");
            return if within_range { Err(missing) } else { Ok(parts) };
        }
        reader.skip_spaces();
        if reader.rest().starts_with("end}") {
            if !within_range {
                return Err(reader.error("`{end}` without `{range}`"));
            }
            reader.take("end}");
            return Ok(parts);
        }
        let part = if reader.take("range ") {
            reader.skip_spaces();
            let path = reader.path()?;
            close(reader)?;
            Part::Range(path, self::parts(reader, true)?)
        } else {
            let part = match reader.quoted()? {
                Some(text) => Part::Text(text),
                None => Part::Path(reader.path()?),
            };
            close(reader)?;
            part
        };
        parts.push(part);
    }
}

fn close(reader: &mut Reader<'_>) -> Result<(), JsonPathError> {
    reader.skip_spaces();
    if reader.take("}") { Ok(()) } else { Err(reader.error("`}` is missing")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(template: &str) -> String {
        let value = json!({"items": [
            {"metadata": {"name": "a"}, "status": {"phase": "Failed", "n": 1}},
            {"metadata": {"name": "b"}, "status": {}},
        ]});
        template
            .parse::<JsonTemplate>()
            .map_or_else(|error| error.to_string(), |parsed| parsed.render(&value))
    }

    #[test]
    fn text_paths_and_ranges_are_rendered() {
        assert_eq!(rendered("{.items[*].metadata.name}"), "a b");
        assert_eq!(rendered(".items[0].status"), r#"{"phase":"Failed","n":1}"#);
        assert_eq!(
            rendered(r#"{range .items[*]}{.metadata.name}{"\t"}{@.status.phase}{"\n"}{end}done"#),
            "a\tFailed\nb\t\ndone"
        );
    }

    #[test]
    fn a_template_that_cannot_be_read_says_where() {
        assert!(rendered("{range .items[*]}{.a}").ends_with("`{end}` is missing at character 22"));
        assert!(rendered("{.items").ends_with("`}` is missing at character 8"));
        assert!(rendered("x{end}").ends_with("`{end}` without `{range}` at character 3"));
    }
}
