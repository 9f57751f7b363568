//! Expressions: CEL in `when` and `${{ … }}`, compiled once, evaluated under a budget, checked against a plan.
//! Knows nothing of transitions; what `when` means for a node is decided in `plan`.
//!
//! A text is refused before it reaches the parser when it is long or deep (`scan`), and an evaluation is stopped
//! when it has done too much work (`meter`), so that no expression can hang a pass or exhaust the stack.

mod check;
mod compile;
mod context;
pub(crate) mod describe;
mod json;
mod meter;
mod names;
mod need;
mod scan;
mod template;

pub(crate) use check::check;
pub(crate) use compile::Expression;
pub(crate) use context::{InstanceScope, ROOTS, Scope};
pub(crate) use names::{Mention, Segment};
pub(crate) use template::{
    ExpressionAt, OPEN, Template, TemplateError, first_expression, without_expressions,
};

/// How much of an expression is quoted in the message of a node, in characters.
const SHOWN_TEXT: usize = 80;

/// Why an expression cannot be compiled or evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}{}", in_expression(.expression.as_ref()), to_do(.hint.as_ref()))]
pub(crate) struct ExpressionError {
    /// The byte offset in the text where it goes wrong; in a template, in the string that holds the expression.
    pub offset: usize,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to write instead, when that is known.
    pub hint: Option<String>,
    /// The expression, where it went wrong while it was evaluated: nobody sees its place in the manifest then.
    pub expression: Option<String>,
}

fn in_expression(text: Option<&String>) -> String {
    text.map(|text| format!(" in `{text}`")).unwrap_or_default()
}

fn to_do(hint: Option<&String>) -> String {
    hint.map(|hint| format!(" ({hint})")).unwrap_or_default()
}

impl ExpressionError {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into(), hint: None, expression: None }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error of an evaluation of this text.
    fn of(mut self, text: &str) -> Self {
        // One line, and short: the message is a part of a sentence about a node.
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = words.join(" ");
        let cut: String = line.chars().filter(|c| !c.is_control()).take(SHOWN_TEXT).collect();
        self.expression = Some(if line.chars().count() > SHOWN_TEXT { format!("{cut}…") } else { cut });
        self
    }

    /// The same error in a longer text, in which the expression starts at `by`.
    fn shifted(mut self, by: usize) -> Self {
        self.offset = self.offset.saturating_add(by);
        self
    }
}
