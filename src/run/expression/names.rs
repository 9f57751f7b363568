//! What an expression mentions: the variables it reads, with the way into them and the place in the text.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue, SourceInfo, operators};

/// One step of the way into a variable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    /// A field, written `.name`, `['name']` or `` .`name` ``.
    Field(String),
    /// An index that is known only when the expression is evaluated, or is a number.
    Computed,
}

/// A variable that an expression mentions: `nodes.build.outputs.image`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    /// The variable: `nodes`.
    pub root: String,
    /// The way into it: `build`, `outputs`, `image`.
    pub path: Vec<Segment>,
    /// The byte offset of the variable in the text.
    pub offset: usize,
    /// Whether the last step is only asked for, by `has(…)`.
    pub presence: bool,
}

impl Mention {
    /// The field at a step, if there is such a step and it is known.
    #[must_use]
    pub(crate) fn field(&self, step: usize) -> Option<&str> {
        match self.path.get(step) {
            Some(Segment::Field(name)) => Some(name),
            _ => None,
        }
    }
}

/// A call of a function, with the offset of the call in the text.
pub(super) struct FunctionCall<'e> {
    pub(super) name: &'e str,
    pub(super) id: u64,
}

/// Everything that is mentioned.
#[derive(Default)]
pub(super) struct Names<'e> {
    pub(super) mentions: Vec<Mention>,
    pub(super) calls: Vec<FunctionCall<'e>>,
    /// The ids of nodes of the tree that must not be evaluated.
    pub(super) refused: Vec<u64>,
}

/// The byte offset in `text` of a node of the tree.
pub(super) fn offset_of(text: &str, source: &SourceInfo, id: u64) -> usize {
    let offset = source.offset_for(id).map_or(0, |(start, _)| start as usize);
    // The parser's offset may point into the middle of a character; a slice there would panic.
    (0..=offset.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// The byte offset in `text` of a call: of the function's name, where the parser gives that of the bracket behind it.
pub(super) fn offset_of_call(text: &str, source: &SourceInfo, call: &FunctionCall<'_>) -> usize {
    let offset = offset_of(text, source, call.id);
    let before = text.get(..offset).unwrap_or_default().trim_end();
    before.strip_suffix(call.name).map_or(offset, str::len)
}

/// Walks over the tree.
pub(super) struct Walk<'e> {
    pub(super) text: &'e str,
    pub(super) source: &'e SourceInfo,
    pub(super) names: Names<'e>,
    /// The variables of the macros around the current place.
    pub(super) local: Vec<&'e str>,
}

impl<'e> Walk<'e> {
    pub(super) fn over(text: &'e str, source: &'e SourceInfo, expr: &'e IdedExpr) -> Names<'e> {
        let mut walk = Self { text, source, names: Names::default(), local: Vec::new() };
        walk.visit(expr);
        walk.names
    }

    fn visit(&mut self, at: &'e IdedExpr) {
        match &at.expr {
            Expr::Ident(_) => self.chain(at),
            Expr::Select(_) => self.chain(at),
            Expr::Call(call) if is_index(&call.func_name) => self.chain(at),
            Expr::Call(call) => {
                self.names.calls.push(FunctionCall { name: &call.func_name, id: at.id });
                for part in call.target.as_deref().into_iter().chain(&call.args) {
                    self.visit(part);
                }
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(pair) = &entry.expr {
                        self.visit(&pair.key);
                        self.visit(&pair.value);
                    } else {
                        // Optional entries (`{?key: value}`) are an extension that is switched off in the environment
                        // and would fail only at run time.
                        self.names.refused.push(entry.id);
                    }
                }
            }
            Expr::Comprehension(loop_) => {
                // The range and the start value are evaluated outside of the macro, where its variable does not exist
                // yet.
                self.visit(&loop_.iter_range);
                self.visit(&loop_.accu_init);
                let outer = self.local.len();
                self.local.push(&loop_.iter_var);
                self.local.extend(loop_.iter_var2.as_deref());
                self.visit(&loop_.loop_cond);
                self.visit(&loop_.loop_step);
                self.visit(&loop_.result);
                self.local.truncate(outer);
            }
            Expr::Literal(_) => {}
            Expr::Struct(_) | Expr::Unspecified => self.names.refused.push(at.id),
        }
    }

    /// A variable with the fields and indexes behind it, or fields and indexes of a computed value.
    fn chain(&mut self, outermost: &'e IdedExpr) {
        let mut path = Vec::new();
        let mut presence = false;
        let mut at = outermost;
        loop {
            match &at.expr {
                Expr::Select(select) => {
                    presence |= select.test;
                    path.push(Segment::Field(select.field.clone()));
                    at = &select.operand;
                }
                Expr::Call(call) if is_index(&call.func_name) => {
                    let [operand, index] = call.args.as_slice() else { return };
                    // An id with a dash can only be written like this, and must be checked like any other.
                    if let Expr::Literal(LiteralValue::String(name)) = &index.expr {
                        path.push(Segment::Field(name.inner().to_owned()));
                    } else {
                        path.push(Segment::Computed);
                        self.visit(index);
                    }
                    at = operand;
                }
                Expr::Ident(name) => {
                    let name = name.strip_prefix('.').unwrap_or(name);
                    // Names with `@` are the parser's own accumulators of macros.
                    if !name.starts_with('@') && !self.local.contains(&name) {
                        path.reverse();
                        let offset = offset_of(self.text, self.source, at.id);
                        self.names.mentions.push(Mention { root: name.to_owned(), path, offset, presence });
                    }
                    return;
                }
                _ => return self.visit(at),
            }
        }
    }
}

/// Whether a call is `a[b]`.
pub(super) fn is_index(function: &str) -> bool {
    function == operators::INDEX
}
