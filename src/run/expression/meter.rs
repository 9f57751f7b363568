//! The budget of an evaluation. The `cel` crate has none, so the tree is rewritten before it is first evaluated: every
//! variable that is read, every concatenation and every loop goes through a function that charges for it.
//!
//! What is charged bounds all that can be expensive. A value comes from a variable (charged by its size each time), from
//! the text (bounded by `scan`), from a concatenation (charged by the size of its result) or from a macro, whose loop is
//! charged in advance with the number of items times the size of its body. Everything else takes time in proportion to the
//! values it is given. `matches` is done here: the library lets a pattern of 20 bytes take 10 MB and a tenth of a second
//! to compile, again at each evaluation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::common::types::{CelBool, CelBytes, CelInt, CelList, CelMap, CelString};
use cel::common::value::{CowVal, Val};
use cel::{Context, ExecutionError, FunctionContext, IdedExpr};
use regex::RegexBuilder;

use super::names::is_index;

const READ: &str = "@read";
const RANGE: &str = "@range";
const MATCHES: &str = "@matches";

/// The price of compiling a regular expression, and the most memory that one may take, in bytes.
const REGEX_PRICE: u64 = 5_000;
const REGEX_BYTES: usize = 256 * 1024;

/// How much work evaluations may still do. One unit is about one step, or 64 bytes of text.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    left: Arc<AtomicU64>,
}

impl Budget {
    /// The budget of one expression, or of one whole template: a fraction of a second, and 32 MB of text at most.
    pub(crate) const STANDARD: u64 = 500_000;

    /// A budget of so many units.
    #[must_use]
    pub(crate) fn new(units: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(units)) }
    }

    /// Whether nothing is left. An evaluation that came to this has no result: `||` and `exists` swallow errors, so that
    /// the result may even look like one.
    #[must_use]
    pub(crate) fn is_spent(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Takes `units`; false, and nothing left, when there are not enough.
    pub(super) fn charge(&self, units: u64) -> bool {
        // Not one step, and it need not be: an evaluation stays on its thread, and the functions only have to be `Sync`
        // for the library.
        let left = self.left.load(Ordering::Relaxed);
        let rest = left.saturating_sub(units);
        self.left.store(rest, Ordering::Relaxed);
        rest > 0
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Self::STANDARD)
    }
}

/// Makes the functions that charge known to an evaluation.
pub(super) fn install(context: &mut Context<'_, '_>, budget: &Budget) {
    type Charged = Box<
        dyn for<'c, 'v> Fn(&mut FunctionContext<'c, 'v>) -> Result<CowVal<'c, 'v>, ExecutionError>
            + Send
            + Sync,
    >;
    let spent = || ExecutionError::function_error("budget", "spent");
    let own = budget.clone();
    let read: Charged = Box::new(move |call| {
        let value = call.args.pop().ok_or_else(spent)?;
        // Spent once is spent for good: `||` and `exists` swallow the error, and the evaluation goes on.
        let affordable = !own.is_spent() && weigh(value.as_ref(), &own);
        if affordable { Ok(value) } else { Err(spent()) }
    });
    let own = budget.clone();
    let range: Charged = Box::new(move |call| {
        let value = call.args.pop().ok_or_else(spent)?;
        let body =
            call.args.first().and_then(|body| body.as_ref().downcast_ref::<CelInt>().map(|i| *i.inner()));
        let items = length(value.as_ref());
        let price = items.saturating_mul(u64::try_from(body.unwrap_or(1)).unwrap_or(u64::MAX));
        if own.charge(price.saturating_add(1)) { Ok(in_order(value)) } else { Err(spent()) }
    });
    let own = budget.clone();
    let matches: Charged = Box::new(move |call| match call.args.as_slice() {
        [text, pattern] if own.charge(REGEX_PRICE) => search(text.as_ref(), pattern.as_ref()),
        [_, _] => Err(spent()),
        other => Err(ExecutionError::invalid_argument_count(2, other.len())),
    });
    for (name, function) in [(READ, read), (RANGE, range), (MATCHES, matches)] {
        // The names cannot clash: no function of the library starts with `@` but the operators.
        let _ = context.add_function(name, function);
    }
}

/// The keys of a map, sorted; anything else as it is. The library keeps maps in hash tables and hands their keys to macros
/// in another order each time, and planning has to come to the same result from the same input (Invariant 5).
fn in_order<'c, 'v>(value: CowVal<'c, 'v>) -> CowVal<'c, 'v> {
    let Some(map) = value.as_ref().downcast_ref::<CelMap>() else { return value };
    let mut keys: Vec<_> = map.inner().keys().collect();
    keys.sort_unstable();
    let keys: Vec<Box<dyn Val + 'v>> = keys.into_iter().map(|key| key.inner().clone_as_boxed()).collect();
    CowVal::owned(CelList::from(keys))
}

/// Whether a pattern is found in a text.
fn search<'c, 'v>(text: &dyn Val, pattern: &dyn Val) -> Result<CowVal<'c, 'v>, ExecutionError> {
    let (Some(text), Some(pattern)) = (text.downcast_ref::<CelString>(), pattern.downcast_ref::<CelString>())
    else {
        let types = [text, pattern].map(|value| value.get_type().name().to_owned());
        return Err(ExecutionError::no_such_overload("matches", types.to_vec()));
    };
    let regex =
        RegexBuilder::new(pattern.inner()).size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES).build();
    let regex = regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            ExecutionError::function_error("matches", "the pattern is too large")
        }
        // The library's message shows the pattern over several lines.
        _ => ExecutionError::function_error("matches", "the pattern is not a regular expression"),
    })?;
    Ok(CowVal::owned(CelBool::from(regex.is_match(text.inner()))))
}

/// Charges for the size of a value, as far as the budget goes.
fn weigh(value: &dyn Val, budget: &Budget) -> bool {
    let bytes = |len: usize| budget.charge(1 + (len as u64) / 64);
    if let Some(text) = value.downcast_ref::<CelString>() {
        return bytes(text.inner().len());
    }
    if let Some(data) = value.downcast_ref::<CelBytes>() {
        return bytes(data.inner().len());
    }
    if let Some(list) = value.downcast_ref::<CelList>() {
        return budget.charge(1) && list.inner().iter().all(|item| weigh(item.as_ref(), budget));
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        let mut entries = map.inner().iter();
        return budget.charge(1)
            && entries.all(|(key, item)| weigh(key.inner(), budget) && weigh(item.as_ref(), budget));
    }
    budget.charge(1)
}

fn length(value: &dyn Val) -> u64 {
    if let Some(list) = value.downcast_ref::<CelList>() {
        return list.inner().len() as u64;
    }
    value.downcast_ref::<CelMap>().map_or(1, |map| map.inner().len() as u64)
}

/// Rewrites the tree so that its evaluation charges a budget.
pub(super) fn instrument(at: &mut IdedExpr) {
    match &mut at.expr {
        // What a macro builds up grows with each round; to weigh it each time would charge for its square.
        Expr::Ident(name) if name.starts_with('@') => {}
        Expr::Ident(_) => wrap(at, READ, None),
        Expr::Select(select) => {
            let test = select.test;
            // `has(…)` gives a boolean, whatever the size of the field that it asks for.
            if chain(at) && !test {
                wrap(at, READ, None);
            }
        }
        Expr::Call(call) if is_index(&call.func_name) => {
            if chain(at) {
                wrap(at, READ, None);
            }
        }
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| instrument(target));
            call.args.iter_mut().for_each(instrument);
            if call.func_name == "matches" {
                call.func_name = MATCHES.to_owned();
                // `text.matches(p)` and `matches(text, p)` become one form, so that neither goes by the library's own.
                call.args.splice(0..0, call.target.take().map(|text| *text));
            }
            // The sum that a macro builds up is recognised, and done in place, by the library.
            if call.func_name == operators::ADD && !call.args.first().is_some_and(is_accumulator) {
                wrap(at, READ, None);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(instrument),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(pair) = &mut entry.expr {
                    instrument(&mut pair.key);
                    instrument(&mut pair.value);
                }
            }
        }
        Expr::Comprehension(comprehension) => {
            // Before it is rewritten, or the counters would be charged for. The other parts of a macro are written by
            // the parser, and cost nothing that an author decides.
            let body = size(&comprehension.loop_step);
            instrument(&mut comprehension.loop_step);
            instrument(&mut comprehension.iter_range);
            wrap(&mut comprehension.iter_range, RANGE, Some(body));
        }
        Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

fn is_accumulator(at: &IdedExpr) -> bool {
    matches!(&at.expr, Expr::Ident(name) if name.starts_with('@'))
}

/// Instruments what is inside a chain of fields and indexes. True when the chain starts at a variable, whose parts are
/// then charged for where the chain ends, and not on the way.
fn chain(at: &mut IdedExpr) -> bool {
    match &mut at.expr {
        Expr::Ident(name) => !name.starts_with('@'),
        Expr::Select(select) => chain(&mut select.operand),
        Expr::Call(call) if is_index(&call.func_name) => {
            let [operand, index] = call.args.as_mut_slice() else { return false };
            instrument(index);
            chain(operand)
        }
        _ => {
            instrument(at);
            false
        }
    }
}

/// Puts a call of `function` around a part of the tree.
fn wrap(at: &mut IdedExpr, function: &str, price: Option<i64>) {
    let inner = std::mem::take(at);
    at.id = inner.id;
    let price =
        price.map(|price| IdedExpr { id: inner.id, expr: Expr::Literal(LiteralValue::Int(price.into())) });
    let args = price.into_iter().chain(Some(inner)).collect();
    at.expr = Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args });
}

/// The number of parts of a tree, which is what one evaluation costs without its loops.
fn size(at: &IdedExpr) -> i64 {
    let parts: i64 = match &at.expr {
        Expr::Select(select) => size(&select.operand),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).map(size).sum(),
        Expr::List(list) => list.elements.iter().map(size).sum(),
        Expr::Map(map) => map
            .entries
            .iter()
            .map(|entry| match &entry.expr {
                EntryExpr::MapEntry(pair) => size(&pair.key) + size(&pair.value),
                EntryExpr::StructField(field) => size(&field.value),
            })
            .sum(),
        Expr::Comprehension(inner) => size(&inner.iter_range) + size(&inner.loop_step),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => 0,
    };
    parts + 1
}
