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
pub(crate) use template::{ExpressionAt, OPEN, Template, TemplateError, without_expressions};

/// Why an expression cannot be compiled or evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ExpressionError {
    /// The byte offset in the text where it goes wrong; in a template, in the string that holds the expression.
    pub offset: usize,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to write instead, when that is known.
    pub hint: Option<String>,
}

impl ExpressionError {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into(), hint: None }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error in a longer text, in which the expression starts at `by`.
    fn shifted(mut self, by: usize) -> Self {
        self.offset = self.offset.saturating_add(by);
        self
    }
}
