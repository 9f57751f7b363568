//! The JSONPath that people know from `kubectl`: paths into a value, and templates made of them. Of RFC 9535 this is another
//! dialect, with bare hyphens and `\.` in names, text around the paths, and `{range}`; no library speaks it.

mod parse;
mod path;
mod template;

pub(crate) use self::path::JsonPath;
pub(crate) use self::template::{JsonTemplate, shown};
