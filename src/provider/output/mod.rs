//! What an attempt writes: its log and its outputs, as plain text and without secrets.

mod derived_forms;
mod log;
mod outputs;
mod plain_text;
mod redact;
mod token_shapes;

pub(super) use self::log::AttemptLog;
pub(super) use self::outputs::{
    LIMIT as OUTPUT_LIMIT, OutputForm, check_outputs, parse as parse_outputs, read_outputs,
};
pub(super) use self::plain_text::plain_line;
pub(super) use self::redact::{Redactor, Stream as RedactedStream};
pub(crate) use self::token_shapes::holds_token;
