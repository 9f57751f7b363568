//! Templates: JSON values whose strings may hold `${{ CEL }}`.

use std::ops::Range;

use serde_json::Value;

use super::context::Scope;
use super::meter::Budget;
use super::{Expression, ExpressionError, scan};
use crate::model::JsonMap;

/// What an expression begins with.
pub(crate) const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// A JSON value in whose strings expressions are replaced; keys are left alone. Where the expression is the whole string,
/// its value keeps its JSON type; beside other text it is written as text: strings as they are, null as nothing, lists and
/// maps as JSON. A literal `${{` is written `${{ '${{' }}`.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    root: TemplatePart,
    expressions: usize,
}

#[derive(Debug, Clone)]
enum TemplatePart {
    /// A value without expressions.
    Plain(Value),
    /// A string that is one expression.
    Whole(Box<ExpressionAt>),
    /// Texts and expressions in turn.
    Mixed(Vec<Piece>),
    List(Vec<TemplatePart>),
    Map(Vec<(String, TemplatePart)>),
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Computed(ExpressionAt),
}

/// An expression and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct ExpressionAt {
    /// The expression.
    pub expression: Expression,
    /// The JSON pointer of the string that holds it, from the root of the template.
    pub pointer: String,
    /// The byte offset in that string at which the text of the expression starts.
    pub offset: usize,
}

/// An error in a template, and the string that it is in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{error}", show_pointer(.pointer))]
pub(crate) struct TemplateError {
    /// The JSON pointer of the string, from the root of the template.
    pub pointer: String,
    /// What is wrong; its offset counts in that string.
    #[source]
    pub error: ExpressionError,
}

fn show_pointer(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!("at `{pointer}`: ") }
}

impl Template {
    /// Compiles every expression in a value.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub(crate) fn compile(value: &Value) -> Result<Self, Vec<TemplateError>> {
        // All errors at once, for a person who fixes them one by one waits for each answer.
        let (template, errors) = Self::compile_all(|at, errors, count| compile(value, at, errors, count));
        if errors.is_empty() { Ok(template) } else { Err(errors) }
    }

    /// Compiles every expression in the values of a map.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub(crate) fn compile_map(map: &JsonMap) -> Result<Self, Vec<TemplateError>> {
        let (template, errors) = Self::compile_map_partly(map);
        if errors.is_empty() { Ok(template) } else { Err(errors) }
    }

    /// Compiles what can be compiled of the values of a map; only good for reading the expressions.
    pub(super) fn compile_map_partly(map: &JsonMap) -> (Self, Vec<TemplateError>) {
        Self::compile_all(|at, errors, count| compile_object(map, at, errors, count))
    }

    fn compile_all(
        compile: impl FnOnce(&mut String, &mut Vec<TemplateError>, &mut usize) -> TemplatePart,
    ) -> (Self, Vec<TemplateError>) {
        let mut errors = Vec::new();
        let mut expressions = 0;
        let root = compile(&mut String::new(), &mut errors, &mut expressions);
        (Self { root, expressions }, errors)
    }

    /// Whether there is nothing to replace.
    #[must_use]
    pub(crate) fn is_plain(&self) -> bool {
        self.expressions == 0
    }

    /// Every expression with its place.
    #[must_use]
    pub(crate) fn expressions(&self) -> Vec<&ExpressionAt> {
        let mut all = Vec::with_capacity(self.expressions);
        self.root.collect(&mut all);
        all
    }

    /// The value with every expression replaced. One budget serves all of them.
    ///
    /// # Errors
    /// The first expression that cannot be evaluated.
    pub(crate) fn render(&self, scope: &Scope<'_>) -> Result<Value, TemplateError> {
        // With a budget for each, a list of a thousand expressions could do a thousand times as much.
        self.root.render(scope, &Budget::default())
    }

    /// As [`Self::render`], for a template that was compiled from a map.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub(crate) fn render_map(&self, scope: &Scope<'_>) -> Result<JsonMap, TemplateError> {
        match self.render(scope)? {
            Value::Object(map) => Ok(map),
            _ => {
                // The template may have been compiled from any value: the type does not say from which.
                let error = ExpressionError::new(0, "a map is expected here");
                Err(TemplateError { pointer: String::new(), error })
            }
        }
    }
}

impl TemplatePart {
    fn collect<'p>(&'p self, into: &mut Vec<&'p ExpressionAt>) {
        match self {
            Self::Plain(_) => {}
            Self::Whole(placed) => into.push(placed),
            Self::Mixed(pieces) => into.extend(pieces.iter().filter_map(|piece| match piece {
                Piece::Computed(placed) => Some(placed),
                Piece::Text(_) => None,
            })),
            Self::List(parts) => parts.iter().for_each(|part| part.collect(into)),
            Self::Map(entries) => entries.iter().for_each(|(_, part)| part.collect(into)),
        }
    }

    fn render(&self, scope: &Scope<'_>, budget: &Budget) -> Result<Value, TemplateError> {
        Ok(match self {
            Self::Plain(value) => value.clone(),
            Self::Whole(placed) => placed.evaluate(scope, budget)?,
            Self::Mixed(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(part) => text.push_str(part),
                        Piece::Computed(placed) => match placed.evaluate(scope, budget)? {
                            Value::Null => {}
                            Value::String(part) => text.push_str(&part),
                            other => text.push_str(&other.to_string()),
                        },
                    }
                }
                Value::String(text)
            }
            Self::List(parts) => {
                let items = parts.iter().map(|part| part.render(scope, budget));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Self::Map(entries) => {
                let entries =
                    entries.iter().map(|(key, part)| Ok((key.clone(), part.render(scope, budget)?)));
                Value::Object(entries.collect::<Result<_, _>>()?)
            }
        })
    }
}

impl ExpressionAt {
    fn evaluate(&self, scope: &Scope<'_>, budget: &Budget) -> Result<Value, TemplateError> {
        self.expression.evaluate_within(scope, budget).map_err(|error| TemplateError {
            pointer: self.pointer.clone(),
            error: error.shifted(self.offset),
        })
    }
}

fn compile(
    value: &Value,
    at: &mut String,
    errors: &mut Vec<TemplateError>,
    count: &mut usize,
) -> TemplatePart {
    match value {
        // Only values: a key that came from an expression could take the place of another one.
        Value::String(text) if text.contains(OPEN) => match compile_string(text, at, count) {
            Ok(part) => part,
            // Its place is kept, so that the others are still found. A template with errors is never rendered.
            Err(error) => {
                errors.push(TemplateError { pointer: at.clone(), error });
                TemplatePart::Plain(Value::Null)
            }
        },
        Value::Array(items) => {
            let before = *count;
            let parts: Vec<TemplatePart> = items
                .iter()
                .enumerate()
                .map(|(index, item)| below(at, &index.to_string(), |at| compile(item, at, errors, count)))
                .collect();
            // A value without expressions stays one value, and rendering does not walk through it.
            if *count == before { TemplatePart::Plain(value.clone()) } else { TemplatePart::List(parts) }
        }
        Value::Object(map) => compile_object(map, at, errors, count),
        other => TemplatePart::Plain(other.clone()),
    }
}

fn compile_object(
    map: &JsonMap,
    at: &mut String,
    errors: &mut Vec<TemplateError>,
    count: &mut usize,
) -> TemplatePart {
    let before = *count;
    let entries: Vec<(String, TemplatePart)> = map
        .iter()
        .map(|(key, item)| (key.clone(), below(at, key, |at| compile(item, at, errors, count))))
        .collect();
    if *count == before {
        TemplatePart::Plain(Value::Object(map.clone()))
    } else {
        TemplatePart::Map(entries)
    }
}

/// Runs `inner` with the pointer of a member.
fn below<T>(at: &mut String, step: &str, inner: impl FnOnce(&mut String) -> T) -> T {
    let length = at.len();
    // One text serves as the pointer of every member in turn; only an expression or an error takes a copy.
    at.push('/');
    // `~` first, or that of `~1` would be escaped once more.
    at.push_str(&step.replace('~', "~0").replace('/', "~1"));
    let result = inner(at);
    at.truncate(length);
    result
}

fn compile_string(text: &str, pointer: &str, count: &mut usize) -> Result<TemplatePart, ExpressionError> {
    let mut pieces = Vec::new();
    let mut done = 0;
    while let Some(found) = text.get(done..).and_then(|rest| rest.find(OPEN)) {
        let open = done + found;
        let start = open + OPEN.len();
        let rest = text.get(start..).unwrap_or_default();
        // Not simply the next `}}`, which may appear in a string or end two maps.
        let Some(length) = scan::find_end(rest) else {
            let error = ExpressionError::new(open, "this `${{` has no `}}`");
            return Err(error.with_hint("a literal `${{` is written `${{ '${{' }}`"));
        };
        if let Some(before) = text.get(done..open).filter(|before| !before.is_empty()) {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let inner = rest.get(..length).unwrap_or_default();
        // Errors point at a character of what was written, blanks included.
        let blank = inner.len() - inner.trim_start().len();
        let offset = start + blank;
        let expression = Expression::compile(inner.trim()).map_err(|error| error.shifted(offset))?;
        *count += 1;
        pieces.push(Piece::Computed(ExpressionAt { expression, pointer: pointer.to_owned(), offset }));
        done = start + length + CLOSE.len();
    }
    if let Some(tail) = text.get(done..).filter(|tail| !tail.is_empty()) {
        pieces.push(Piece::Text(tail.to_owned()));
    }
    // Nothing else may be there: with as much as a blank beside it, the author wrote a text.
    if let [Piece::Computed(_)] = pieces.as_slice()
        && let Some(Piece::Computed(placed)) = pieces.pop()
    {
        return Ok(TemplatePart::Whole(Box::new(placed)));
    }
    Ok(TemplatePart::Mixed(pieces))
}

/// The bytes of the first expression in a text, to the end of the text where it has none.
pub(crate) fn first_expression(text: &str) -> Option<Range<usize>> {
    let start = text.find(OPEN)?;
    let body = start + OPEN.len();
    let length = text.get(body..).and_then(scan::find_end);
    Some(start..length.map_or(text.len(), |length| body + length + CLOSE.len()))
}

/// A text with one word in the place of each expression, as far as these have an end.
pub(crate) fn without_expressions(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once(OPEN) {
        plain.push_str(before);
        plain.push('_');
        let end = scan::find_end(after).map(|length| length + CLOSE.len());
        rest = end.and_then(|end| after.get(end..)).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
mod tests {
    use super::*;
    use crate::model::NodeStatuses;
    use serde_json::json;

    fn render(template: Value) -> Result<Value, TemplateError> {
        let parameters = json!({ "n": 3, "flag": true, "list": [1, "a"], "none": null, "text": "x}}y" });
        let nodes: NodeStatuses = NodeStatuses::new();
        let scope = Scope {
            parameters: parameters.as_object().unwrap(),
            goal: &Value::Null,
            plan: &Value::Null,
            execution: &Value::Null,
            nodes: &nodes,
            inputs: None,
            instances: None,
        };
        Template::compile(&template).map_err(|mut errors| errors.remove(0))?.render(&scope)
    }

    #[track_caller]
    fn check(template: Value, expected: Value) {
        assert_eq!(render(template.clone()), Ok(expected), "{template}");
    }

    #[track_caller]
    fn check_error(template: Value, pointer: &str, offset: usize, message: &str) {
        let error = render(template).unwrap_err();
        assert_eq!((error.pointer.as_str(), error.error.offset), (pointer, offset), "{error}");
        assert!(error.error.message.contains(message), "{error}");
    }

    #[test]
    fn a_whole_string_keeps_the_type() {
        check(json!("${{ parameters.n }}"), json!(3));
        check(json!("${{parameters.list}}"), json!([1, "a"]));
        check(json!({ "a": [{ "b": "${{ parameters.none }}" }, 1] }), json!({ "a": [{ "b": null }, 1] }));
    }

    #[test]
    fn a_part_of_a_string_becomes_text() {
        check(json!("n=${{ parameters.n }}, ${{ parameters.flag }}"), json!("n=3, true"));
        check(json!("${{ parameters.list }}${{ parameters.none }}!"), json!("[1,\"a\"]!"));
        check(json!(" ${{ parameters.n }}"), json!(" 3"));
    }

    #[test]
    fn only_a_closing_outside_of_strings_and_brackets_ends_it() {
        check(json!("${{ {'a': {'b': 1}} }}"), json!({ "a": { "b": 1 } }));
        check(json!("${{ 'x}}y' }}"), json!("x}}y"));
        check(json!("${{ r'\\' + '''it's }}''' }}."), json!("\\it's }}."));
        check(json!("${{ '${{' }} x"), json!("${{ x"));
        check(json!("${{ parameters.text }}"), json!("x}}y"));
        check(json!("costs $5 {{ x }}"), json!("costs $5 {{ x }}"));
    }

    #[test]
    fn errors_name_the_string_and_the_place_in_it() {
        check_error(json!({ "a/b": ["ok", "é ${{  1 + }}"] }), "/a~1b/1", 11, "ends too early");
        check_error(json!({ "a": "x ${{ parameters.zz }}" }), "/a", 6, "there is no `zz`");
        check_error(json!("x ${{ 1"), "", 2, "no `}}`");
        check_error(json!("${{ }}"), "", 4, "empty");
        let errors = Template::compile(&json!(["${{ ( }}", "${{ ) }}"])).unwrap_err();
        assert_eq!(errors.len(), 2);
    }

    #[test]
    fn one_budget_serves_a_whole_template() {
        let ten = "[1,2,3,4,5,6,7,8,9,0]";
        let work = format!("${{{{ {ten}.all(a, {ten}.all(b, {ten}.all(c, true))) }}}}");
        check(json!([work]), json!([true]));
        check_error(json!(vec![work; 200]), "/97", 4, "too much work");
    }
}
