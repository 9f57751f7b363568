//! The outputs in what somebody wrote: the last fenced block that is JSON or YAML. The text is data: it is read strictly,
//! and no message repeats it.

use serde_json::Value;

use crate::model::JsonMap;
use crate::run::json;

/// The most bytes that are read as YAML, whose reading takes longer than its length.
const LARGEST_YAML: usize = 16 << 10;

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    language: String,
    content: String,
}

/// The outputs in the last block of a text that is meant as an answer; none where there is no such block, or where nothing
/// was filled in. `asked` says whether the task asks for outputs: then a block needs no language.
pub(in crate::provider) fn outputs(text: &str, asked: bool) -> Option<Result<JsonMap, String>> {
    // People correct themselves further down. Without a language a block may be any quotation, so it counts only where
    // values were asked for.
    let block = blocks(text).into_iter().rev().find(|block| match block.language.as_str() {
        "json" | "yaml" | "yml" => true,
        language => language.is_empty() && asked,
    })?;
    let json = block.language == "json" || block.content.trim_start().starts_with('{');
    let read = if json { json_map(&block.content) } else { yaml_map(&block.content) };
    match read {
        Ok(mut outputs) => {
            // What was left empty was not given.
            outputs.retain(|_, value| !value.is_null());
            (!outputs.is_empty()).then_some(Ok(outputs))
        }
        Err(why) => Some(Err(why)),
    }
}

fn json_map(text: &str) -> Result<JsonMap, String> {
    let read = json::check(text, json::DEPTH).map_err(|error| {
        format!("the block is not a JSON object (line {}, column {})", error.line(), error.column())
    })?;
    match (read.faults.first(), read.value) {
        (Some((fault, _)), _) => Err(format!("the block cannot be parsed: {fault}")),
        (None, Value::Object(map)) => Ok(map),
        (None, _) => Err("the block is not a JSON object".to_owned()),
    }
}

fn yaml_map(text: &str) -> Result<JsonMap, String> {
    // Nothing but comments and space is a form that nobody filled in.
    if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
        return Ok(JsonMap::new());
    }
    if text.len() > LARGEST_YAML {
        return Err(format!("the block has more than {LARGEST_YAML} bytes; use JSON instead"));
    }
    if has_anchor(text) {
        return Err("the block uses anchors (`&name`), which are not supported here".to_owned());
    }
    serde_yaml::from_str::<Value>(text)
        // Only the place: the words of the parser repeat the text, which anybody may have written.
        .map_err(|error| match error.location() {
            Some(at) => format!("the block is not valid YAML (line {}, column {})", at.line(), at.column()),
            None => "the block is not valid YAML".to_owned(),
        })
        .and_then(|value| match value {
            Value::Object(map) => Ok(map),
            _ => Err("the block contains no `name: value` lines".to_owned()),
        })
}

/// Whether a node of a YAML text may have an anchor. What refers to anchors can grow without end.
fn has_anchor(text: &str) -> bool {
    text.lines().any(|line| {
        line.match_indices('&').any(|(at, _)| {
            let before = line.get(..at).unwrap_or_default().trim_end();
            before.is_empty() || before.ends_with([':', '-', ',', '[', '{', '?'])
        })
    })
}

/// The fenced blocks of a Markdown text, as a Git host takes them. One that is not closed goes to the end.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((mark, length, info)) = opening(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let mut content = String::new();
        for line in lines.by_ref() {
            if is_end(line, mark, length) {
                break;
            }
            let spaces = line.len() - line.trim_start().len();
            content.push_str(line.get(spaces.min(indent)..).unwrap_or_default());
            content.push('\n');
        }
        let language = info.split_whitespace().next().unwrap_or_default().to_lowercase();
        blocks.push(Block { language, content });
    }
    blocks
}

/// The character of the fence that a line opens, its length, and what stands behind it.
fn opening(line: &str) -> Option<(char, usize, &str)> {
    let line = line.trim();
    let mark = line.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let info = line.trim_start_matches(mark);
    let length = line.len() - info.len();
    (length >= 3 && !(mark == '`' && info.contains('`'))).then_some((mark, length, info))
}

fn is_end(line: &str, mark: char, length: usize) -> bool {
    let line = line.trim();
    line.len() >= length && line.chars().all(|c| c == mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, expected: Option<Result<Value, &str>>) {
        let found = outputs(text, true).map(|read| read.map(Value::from));
        let expected = expected.map(|read| read.map_err(str::to_owned));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn the_last_block_that_is_an_answer_counts() {
        let two =
            "first\n```yaml\nplace: here\n```\nno, rather\n~~~json\n{\"place\": \"there\", \"n\": 3}\n~~~\n";
        check(two, Some(Ok(json!({"place": "there", "n": 3}))));
        check("```yaml\r\nplace: here\r\n```\r\n```sh\nrm -rf /\n```", Some(Ok(json!({"place": "here"}))));
        check("1. so\n   ```yml\n   a:\n     - 1\n   ```\n", Some(Ok(json!({"a": [1]}))));
        check("````\na: |\n  ```\n  x\n  ```\n````", Some(Ok(json!({"a": "```\nx\n```\n"}))));
        check("```yaml\na: salt & pepper, R&D\n```", Some(Ok(json!({"a": "salt & pepper, R&D"}))));
        check("```\nplace: it is never closed", Some(Ok(json!({"place": "it is never closed"}))));
    }

    #[test]
    fn what_is_no_block_or_was_left_empty_is_no_answer() {
        for text in [
            "",
            "place: here",
            "`place: here`",
            "> ```yaml\n> place: here\n> ```",
            "``` not`a fence\na: 1\n```",
            "```yaml\n# place\nplace:\n```",
            "```yaml\n\n```",
        ] {
            check(text, None);
        }
        assert_eq!(outputs("```\nerror: a log, and no outputs are asked for\n```", false), None);
    }

    #[test]
    fn what_is_malformed_is_told_without_repeating_it() {
        check("```json\n{\"a\": @team}\n```", Some(Err("the block is not a JSON object (line 1, column 7)")));
        check("```yaml\na: [1\n```", Some(Err("the block is not valid YAML (line 2, column 1)")));
        check("```\n- 1\n```", Some(Err("the block contains no `name: value` lines")));
        check(
            "```yaml\n!!python/object:os.system x\n```",
            Some(Err("the block contains no `name: value` lines")),
        );
    }

    #[test]
    fn a_block_that_grows_without_end_is_refused() {
        let mut bomb = "```yaml\na0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..30 {
            let before = format!("*a{},", level - 1).repeat(9);
            bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        let refused = Err("the block uses anchors (`&name`), which are not supported here".to_owned());
        assert_eq!(outputs(&bomb, true), Some(refused));
        for (piece, times) in [("[", 16_000), ("- ", 8_000), ("[", 50_000)] {
            let deep = format!("```yaml\na:\n {}\n```", piece.repeat(times));
            assert!(matches!(outputs(&deep, true), Some(Err(_))));
        }
    }
}
