//! The output file of a process: `key=value` lines, `key<<END` blocks, or one JSON object.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use crate::model::JsonMap;
use crate::provider::process::is_machine_fault;
use crate::provider::settings::did_you_mean;
use crate::run::json;

/// The largest output file, in bytes.
// Outputs are written into the record, and hosts recommend objects of less than 1 MB.
pub(in crate::provider) const LIMIT: u64 = 1 << 20;

/// The longest name of an output.
const NAME_LIMIT: usize = 128;

/// Why outputs are refused. Values are never part of a message.
#[derive(Debug, thiserror::Error)]
pub(in crate::provider) enum OutputError {
    #[error("the output file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the output file is not a regular file")]
    NotAFile,
    #[error("the output file has more than {LIMIT} bytes")]
    TooLarge,
    #[error("output file, line {line}: not valid UTF-8")]
    NotUtf8 { line: usize },
    #[error("output file, line {line}: expected `name=value` or `name<<END`")]
    NotAPair { line: usize },
    #[error(
        "output file, line {line}: the name before `{separator}` must start with a letter or `_` and contain only letters, digits, `_` and `-`"
    )]
    BadName { line: usize, separator: &'static str },
    #[error("output file, line {line}: the delimiter is missing after `<<`")]
    NoEndWord { line: usize },
    #[error("output file, line {line}: the block that starts here has no closing delimiter on its own line")]
    OpenBlock { line: usize },
    #[error("output file, line {line}: not a JSON object: {problem}")]
    BadJson { line: usize, problem: String },
    #[error("output file, line {line}: what follows `:=` is not JSON: {problem}")]
    NotJson { line: usize, problem: String },
    #[error(
        "`{name}` is not an output name: it must start with a letter or `_` and contain only letters, digits, `_` and `-`"
    )]
    NotAName { name: String },
    #[error("output `{name}` contains a control character; only tabs and line ends are allowed")]
    Control { name: String },
    #[error("output `{name}` is not declared by the node{hint}")]
    Undeclared { name: String, hint: String },
    #[error(
        "declared {} not given: {}; {}",
        if .names.len() == 1 { "output is" } else { "outputs are" },
        .names.join(", "),
        .form.how(.names)
    )]
    Missing { names: Vec<String>, form: OutputForm },
}

/// How the work hands its outputs over, which a message about a missing one has to say.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) enum OutputForm {
    /// The file of a local process.
    File,
    /// A JSON answer of a service or a program.
    Reply,
    /// The result of an MCP tool.
    ToolResult,
    /// The data of an agent that is spoken to with A2A.
    AgentData,
    /// What a person wrote in an issue.
    Answer,
}

impl OutputForm {
    /// What to write, with the first name that is missing.
    fn how(self, names: &[String]) -> String {
        let name = names.first().map_or("NAME", String::as_str);
        match self {
            Self::File => format!("write `{name}=TEXT` or `{name}:=JSON` to the file \"$PLANSPEC_OUTPUT\""),
            Self::Reply => format!("the answer needs `\"outputs\": {{\"{name}\": …}}`"),
            Self::ToolResult => format!("the `structuredContent` of the result needs `\"{name}\"`"),
            Self::AgentData => format!("an artifact needs a part of data with `{{\"{name}\": …}}`"),
            Self::Answer => format!("write `{name}: …` into a block between lines of ```"),
        }
    }
}

impl OutputError {
    /// Whether the machine is to blame, and not what was written.
    pub(in crate::provider) fn is_machine_fault(&self) -> bool {
        matches!(self, Self::Unreadable(error) if is_machine_fault(error))
    }
}

/// Reads the outputs at `path` and checks them against what the node declares; no file, no outputs.
pub(in crate::provider) fn read_outputs(path: &Path, declared: &[String]) -> Result<JsonMap, OutputError> {
    let outputs = match open(path)? {
        Some(file) => {
            let mut bytes = Vec::new();
            // One byte more than is allowed tells that there was more; a size that was asked for before could have
            // changed.
            file.take(LIMIT + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > LIMIT {
                return Err(OutputError::TooLarge);
            }
            parse(&bytes)?
        }
        None => JsonMap::new(),
    };
    check(&outputs, declared, OutputForm::File)?;
    Ok(outputs)
}

/// Opens without following a link, and without waiting for the other end of a pipe.
fn open(path: &Path) -> Result<Option<File>, OutputError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => {
            let file = File::from(fd);
            if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(OutputError::NotAFile) }
        }
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(rustix::io::Errno::LOOP) => Err(OutputError::NotAFile),
        Err(error) => Err(OutputError::Unreadable(error.into())),
    }
}

/// Reads the outputs in one of their two forms.
pub(in crate::provider) fn parse(bytes: &[u8]) -> Result<JsonMap, OutputError> {
    // Some editors and shells begin every text with a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| OutputError::NotUtf8 {
        line: 1 + bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count(),
    })?;
    // No name begins with `{`, so the first character decides between the forms.
    if text.trim_start().starts_with('{') { parse_json(text) } else { parse_lines(text) }
}

fn parse_json(text: &str) -> Result<JsonMap, OutputError> {
    let bad = |line, problem: String| OutputError::BadJson { line, problem };
    // Not by serde alone, which takes the last of two values with one name and says nothing.
    let json::CheckedJson { value, faults } = json::check(text, json::DEPTH).map_err(|error| {
        let kind = match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Syntax => "syntax error",
            serde_json::error::Category::Data | serde_json::error::Category::Io => "it cannot be used",
        };
        bad(error.line(), format!("{kind} at column {}", error.column()))
    })?;
    if let Some((fault, _)) = faults.first() {
        return Err(bad(1, fault.to_string()));
    }
    let Value::Object(outputs) = value else { return Err(bad(1, "it is not an object".to_owned())) };
    match outputs.keys().find(|name| !is_name(name)) {
        Some(_) => Err(bad(1, "a name holds characters other than letters, digits, `_` and `-`".to_owned())),
        None => Ok(outputs),
    }
}

fn parse_lines(text: &str) -> Result<JsonMap, OutputError> {
    let mut outputs = JsonMap::new();
    let mut lines = text.lines().zip(1..);
    while let Some((content, line)) = lines.next() {
        if content.trim().is_empty() {
            continue;
        }
        // As in GitHub Actions, whichever comes first decides: a value may hold `<<`, and the end word of a block `=`.
        let pair = content.find('=');
        let block = content.find("<<");
        let is_block = block.is_some_and(|block| pair.is_none_or(|pair| block < pair));
        let separator = if is_block { "<<" } else { "=" };
        let (name, rest) = content.split_once(separator).ok_or(OutputError::NotAPair { line })?;
        let name = name.trim();
        // As with `-p` and `complete`: `NAME=TEXT` stays what was written, and a list is asked for.
        let typed = if is_block { None } else { name.strip_suffix(':') };
        let name = typed.map_or(name, str::trim_end);
        if !is_name(name) {
            return Err(OutputError::BadName { line, separator });
        }
        let value = if is_block {
            let end = rest.trim();
            if end.is_empty() {
                return Err(OutputError::NoEndWord { line });
            }
            let mut block = Vec::new();
            loop {
                match lines.next() {
                    // The whole line, as a shell ends its here-documents: an indented word is part of the value.
                    Some((content, _)) if content == end => break block.join("\n"),
                    Some((content, _)) => block.push(content),
                    None => return Err(OutputError::OpenBlock { line }),
                }
            }
        } else if typed.is_some() {
            outputs.insert(name.to_owned(), json_value(rest, line)?);
            continue;
        } else {
            rest.to_owned()
        };
        outputs.insert(name.to_owned(), Value::String(value));
    }
    Ok(outputs)
}

/// The value of `NAME:=JSON`, checked like a file of JSON: one that is ambiguous would be another value elsewhere.
fn json_value(text: &str, line: usize) -> Result<Value, OutputError> {
    let bad = |problem: String| OutputError::NotJson { line, problem };
    let json::CheckedJson { value, faults } = json::check(text, json::DEPTH)
        .map_err(|error| bad(format!("syntax error at column {}", error.column())))?;
    match faults.first() {
        Some((fault, _)) => Err(bad(fault.to_string())),
        None => Ok(value),
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_LIMIT
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// Outputs that came as JSON, checked against what the node declares.
pub(in crate::provider) fn check_outputs(
    outputs: JsonMap,
    declared: &[String],
    form: OutputForm,
) -> Result<JsonMap, OutputError> {
    match outputs.keys().find(|name| !is_name(name)) {
        Some(name) => Err(OutputError::NotAName { name: name.clone() }),
        None => check(&outputs, declared, form).map(|()| outputs),
    }
}

/// Whether a value holds what a terminal or a log would obey, at any depth.
fn has_control(value: &Value) -> bool {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    match value {
        Value::String(text) => text.contains(obeyed),
        Value::Array(items) => items.iter().any(has_control),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains(obeyed) || has_control(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn check(outputs: &JsonMap, declared: &[String], form: OutputForm) -> Result<(), OutputError> {
    // An error and not a clean copy: what a later task is given has to be what this one said (Invariant 8).
    if let Some((name, _)) = outputs.iter().find(|(_, value)| has_control(value)) {
        return Err(OutputError::Control { name: name.clone() });
    }
    if declared.is_empty() {
        return Ok(());
    }
    // Before what is missing: a misspelt output is both, and this message says what was meant.
    if let Some(name) = outputs.keys().find(|name| !declared.contains(name)) {
        let known: Vec<&str> = declared.iter().map(String::as_str).collect();
        return Err(OutputError::Undeclared { name: name.clone(), hint: did_you_mean(name, &known) });
    }
    let missing: Vec<String> = declared.iter().filter(|name| !outputs.contains_key(*name)).cloned().collect();
    if missing.is_empty() { Ok(()) } else { Err(OutputError::Missing { names: missing, form }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check_ok(text: &str, expected: &Value) {
        assert_eq!(&Value::Object(parse(text.as_bytes()).unwrap()), expected, "{text}");
    }

    fn check_err(bytes: &[u8], expected: &str) {
        assert_eq!(parse(bytes).unwrap_err().to_string(), format!("output file, {expected}"));
    }

    #[test]
    fn json_is_asked_for() {
        check_ok("names:=[\"a\", 2]\nn := 7\nt=7\n", &json!({"names": ["a", 2], "n": 7, "t": "7"}));
        check_err(b"a=1\nb:=[1,\n", "line 2: what follows `:=` is not JSON: syntax error at column 3");
        assert!(parse(b"a:={\"x\": 1, \"x\": 2}").unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn pairs_stay_strings() {
        check_ok("a=1\n\nb = {\"x\": 2}\r\nc=\n", &json!({"a": "1", "b": " {\"x\": 2}", "c": ""}));
        check_ok("url=https://x.example/?a=b<<c\n", &json!({"url": "https://x.example/?a=b<<c"}));
        check_ok("a=1\na=2", &json!({"a": "2"}));
        check_ok("", &json!({}));
        check_ok("\u{feff}a=ä", &json!({"a": "ä"}));
    }

    #[test]
    fn blocks_keep_their_lines() {
        check_ok("a<<EOF\none\n\n two=2\nEOF\nb=3\n", &json!({"a": "one\n\n two=2", "b": "3"}));
        check_ok("a<<EOF\r\none\r\nEOF\r\n", &json!({"a": "one"}));
        check_ok("a<<E=F\nx\nE=F", &json!({"a": "x"}));
        check_ok("a<<EOF\nEOF", &json!({"a": ""}));
    }

    #[test]
    fn a_json_object_keeps_its_types() {
        check_ok(" {\"a\": 1, \"b\": [true, null]}\n", &json!({"a": 1, "b": [true, null]}));
    }

    #[test]
    fn what_is_malformed_is_named_by_its_line() {
        check_err(b"a=1\nnonsense\n", "line 2: expected `name=value` or `name<<END`");
        check_err(
            b"a b=1",
            "line 1: the name before `=` must start with a letter or `_` and contain only letters, digits, `_` and `-`",
        );
        check_err(
            b"a=1\nb<<EOF\nx\n",
            "line 2: the block that starts here has no closing delimiter on its own line",
        );
        check_err(b"a<<\n", "line 1: the delimiter is missing after `<<`");
        check_err(b"a=1\nb=\xff\n", "line 2: not valid UTF-8");
        check_err(b"{\"a\": 1,\n\"b\": }", "line 2: not a JSON object: syntax error at column 6");
        check_err(b"{\"a\": 1", "line 1: not a JSON object: it ends too early at column 7");
        check_err(
            b"{\"a/b\": 1}",
            "line 1: not a JSON object: a name holds characters other than letters, digits, `_` and `-`",
        );
    }

    #[test]
    fn what_a_terminal_would_obey_is_no_output_at_any_depth() {
        for text in ["a=x\u{1b}[2J\n", r#"{"ok": "x", "a": [{"b": "\u0007"}]}"#] {
            let refused =
                check(&parse(text.as_bytes()).unwrap(), &[], OutputForm::File).unwrap_err().to_string();
            assert_eq!(
                refused,
                "output `a` contains a control character; only tabs and line ends are allowed"
            );
        }
        assert!(check(&parse(b"a=x\ty\n").unwrap(), &[], OutputForm::File).is_ok());
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert!(matches!(parse(deep.as_bytes()), Err(OutputError::BadJson { .. })));
    }

    fn read_message(outputs: &JsonMap, declared: &[String], form: OutputForm) -> String {
        check(outputs, declared, form).unwrap_err().to_string()
    }

    #[test]
    fn what_is_declared_must_be_given_and_nothing_else() {
        let declared = ["version".to_owned(), "digest".to_owned()];
        let message =
            |text: &str| read_message(&parse(text.as_bytes()).unwrap(), &declared, OutputForm::File);
        assert_eq!(
            message("versoin=1\ndigest=2"),
            "output `versoin` is not declared by the node; did you mean `version`?"
        );
        let how = "write `digest=TEXT` or `digest:=JSON` to the file \"$PLANSPEC_OUTPUT\"";
        assert_eq!(message("version=1"), format!("declared output is not given: digest; {how}"));
        assert!(
            message("").starts_with("declared outputs are not given: version, digest; write `version=TEXT`")
        );
        assert!(check(&parse(b"anything=1").unwrap(), &[], OutputForm::File).is_ok());
        for (form, how) in [
            (OutputForm::Reply, "the answer needs `\"outputs\": {\"version\": …}`"),
            (OutputForm::ToolResult, "the `structuredContent` of the result needs `\"version\"`"),
            (OutputForm::AgentData, "an artifact needs a part of data with `{\"version\": …}`"),
            (OutputForm::Answer, "write `version: …` into a block between lines of ```"),
        ] {
            let message = read_message(&JsonMap::new(), &declared, form);
            assert_eq!(message, format!("declared outputs are not given: version, digest; {how}"));
        }
    }

    #[test]
    fn only_ordinary_files_of_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        assert_eq!(read_outputs(&path, &[]).unwrap(), JsonMap::new());
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(read_outputs(&path, &[]), Err(OutputError::NotAFile)));
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::from(0o600)).unwrap();
        assert!(matches!(read_outputs(&path, &[]), Err(OutputError::NotAFile)));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, format!("a={}", "x".repeat(LIMIT as usize - 2))).unwrap();
        assert!(read_outputs(&path, &[]).is_ok());
        std::fs::write(&path, format!("a={}", "x".repeat(LIMIT as usize - 1))).unwrap();
        assert!(matches!(read_outputs(&path, &[]), Err(OutputError::TooLarge)));
    }
}
