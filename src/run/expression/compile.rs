//! One expression: compiled, its names listed, evaluated.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ExecutionError, IdedExpr, ParseErrors};
use serde_json::Value;

use super::context::{self, Scope};
use super::meter::{self, Budget};
use super::names::{self, Mention, Segment, Walk};
use super::need::Need;
use super::{ExpressionError, json, scan};

/// The functions of the standard library, besides operators and macros.
const FUNCTIONS: [&str; 12] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "uint",
];

/// The macros of the standard library; what is still a call of one of them after parsing was written wrongly.
const MACROS: [(&str, &str); 6] = [
    ("all", "LIST.all(x, CONDITION)"),
    ("exists", "LIST.exists(x, CONDITION)"),
    ("exists_one", "LIST.exists_one(x, CONDITION)"),
    ("filter", "LIST.filter(x, CONDITION)"),
    ("has", "has(parameters.x)"),
    ("map", "LIST.map(x, VALUE)"),
];

/// The longest message of an error, in characters: a message may quote the values that do not fit together.
const MAX_MESSAGE: usize = 240;

static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// A compiled CEL expression. Cheap to evaluate again and again, from any thread.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    text: String,
    tree: Arc<IdedExpr>,
    mentions: Vec<Mention>,
    needs: BTreeMap<String, Need>,
}

impl Expression {
    /// Parses an expression. Names are not looked up; see [`super::check`].
    ///
    /// # Errors
    /// When the text is too large, is not CEL, or calls a function that there is not.
    pub(crate) fn compile(text: &str) -> Result<Self, ExpressionError> {
        // Before the parser: it recurses over its input, and a deep or long text would overflow the stack, which no
        // error handling survives.
        scan::check_size(text)?;
        // The macros come with the parser; the environment holds the functions.
        let parser = cel::parser::Parser::new().enable_ident_escape_syntax(true).error_recovery_limit(4);
        let parsed = parser.parse_with_source_info(text);
        let (mut tree, source) = parsed.map_err(|errors| syntax_error(text, &errors))?;
        let names = Walk::over(text, &source, &tree);
        if let Some(&refused) = names.refused.first() {
            let offset = names::offset_of(text, &source, refused);
            return Err(ExpressionError::new(offset, "messages with typed fields are not supported"));
        }
        // Functions are checked when the plan is read; the evaluator would notice only when the call is reached, which
        // may be after a deployment.
        for call in &names.calls {
            check_function(call.name)
                .map_err(|error| error.shifted(names::offset_of_call(text, &source, call)))?;
        }
        let mentions = names.mentions;
        let needs = Need::of(&mentions);
        // Last, because the counters that it adds are calls themselves, and must appear neither among the names nor
        // among the functions.
        meter::instrument(&mut tree);
        Ok(Self { text: text.to_owned(), tree: Arc::new(tree), mentions, needs })
    }

    /// The text as it was written.
    #[must_use]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Every variable that is mentioned, in no particular order; variables of macros are left out.
    #[must_use]
    pub(crate) fn mentions(&self) -> &[Mention] {
        &self.mentions
    }

    /// Whether the outcome may depend on the phase of `node`: such a `when` is evaluated even though the node did
    /// not succeed. A computed index (`nodes[x]`) may mean every node.
    #[must_use]
    pub(crate) fn refers_to_phase_of(&self, node: &str) -> bool {
        self.mentions.iter().filter(|mention| mention.root == "nodes").any(|mention| {
            let same = match mention.path.first() {
                Some(Segment::Field(id)) => id == node,
                // A computed step may name any node. Asking once too often evaluates a condition; asking once too
                // rarely skips a node that was meant to run.
                Some(Segment::Computed) | None => true,
            };
            let phase = match mention.path.get(1) {
                Some(Segment::Field(field)) => field == "phase",
                Some(Segment::Computed) | None => true,
            };
            same && phase
        })
    }

    /// The value.
    ///
    /// # Errors
    /// When types do not fit, something is not there, the budget is spent, or the value is nothing that JSON can hold.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        self.evaluate_within(scope, &Budget::default())
    }

    /// The value, within what is left of a budget that several expressions share.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub(crate) fn evaluate_within(
        &self,
        scope: &Scope<'_>,
        budget: &Budget,
    ) -> Result<Value, ExpressionError> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        meter::install(&mut context, budget);
        context::fill(&mut context, scope, &self.needs);
        let result = cel::Value::resolve(&self.tree, &context);
        // Before the result: a spent budget shows as an ordinary evaluation error inside, whose text would mislead.
        if budget.is_spent() {
            let error = ExpressionError::new(0, "the expression does too much work");
            return Err(error.with_hint("let a task compute it, and use its output").of(&self.text));
        }
        let value = result.map_err(|error| evaluation_error(&error).of(&self.text))?;
        json::from_cel(&value)
            .map_err(|what| ExpressionError::new(0, format!("the result is {what}")).of(&self.text))
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// As [`Self::evaluate`], and when the value is neither true nor false.
    pub(crate) fn holds(&self, scope: &Scope<'_>) -> Result<bool, ExpressionError> {
        match self.evaluate(scope)? {
            Value::Bool(holds) => Ok(holds),
            other => {
                let message = format!("a condition must be true or false, this is {}", type_name(&other));
                Err(ExpressionError::new(0, message).with_hint("compare it with something"))
            }
        }
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn check_function(name: &str) -> Result<(), ExpressionError> {
    let operator = !name.starts_with(|c: char| c.is_ascii_alphabetic()) || name == "type";
    if operator || FUNCTIONS.contains(&name) {
        return Ok(());
    }
    if let Some((_, usage)) = MACROS.iter().find(|(macro_name, _)| *macro_name == name) {
        let error = ExpressionError::new(0, format!("`{name}` is not called like this"));
        return Err(error.with_hint(format!("write `{usage}`")));
    }
    let error = ExpressionError::new(0, format!("there is no function `{}`", clean(name)));
    let known = FUNCTIONS.into_iter().chain(MACROS.map(|(name, _)| name));
    Err(match (name, closest(name, known)) {
        ("success" | "failure" | "always" | "cancelled", _) => {
            error.with_hint("ask for the phase of a node: `nodes.build.phase == 'Failed'`")
        }
        (_, Some(near)) => error.with_hint(format!("did you mean `{near}`?")),
        (_, None) => error,
    })
}

/// The known word that is most like `word`, if one is like it at all.
pub(super) fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let scored = known.into_iter().map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    // A third of the shorter word: more would suggest words that have nothing in common, less would miss swapped
    // letters in long names.
    let allowed = 1.max(word.chars().count().min(candidate.chars().count()) / 3);
    (distance <= allowed).then_some(candidate)
}

fn syntax_error(text: &str, errors: &ParseErrors) -> ExpressionError {
    let Some(first) = errors.errors.first() else {
        return ExpressionError::new(0, "not a CEL expression");
    };
    // The parser counts lines and columns in characters from 1; diagnostics need bytes from 0.
    let (line, column) = first.pos;
    let line = usize::try_from(line.saturating_sub(1)).unwrap_or(0);
    let column = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(before..).unwrap_or_default();
    let within = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
    let offset = before + within;
    let error = ExpressionError::new(offset, clean(&plain_words(&first.msg)));
    match meant(text, offset) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Words that the grammar keeps for itself, so that they are no names behind a dot.
const RESERVED: [&str; 19] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "while",
];

/// What was probably meant where the parser stopped: the spelling of another language.
fn meant(text: &str, offset: usize) -> Option<String> {
    let before = text.get(..offset)?;
    let rest = text.get(offset..)?;
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    // The parser stops at the word or just behind it.
    let start = before.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    for (before, found) in [(before, word(rest)), (text.get(..start)?, word(text.get(start..)?))] {
        if before.ends_with('.') && RESERVED.contains(&found.as_str()) {
            let owner = word_before(before.trim_end_matches('.'));
            return Some(format!("`{found}` is a word of the language here; write `{owner}['{found}']`"));
        }
        match found.as_str() {
            "and" => return Some("write `&&` for and".to_owned()),
            "or" => return Some("write `||` for or".to_owned()),
            "not" => return Some("write `!` for not".to_owned()),
            _ => {}
        }
    }
    let assigns = rest.trim_start().starts_with('=') && !rest.trim_start().starts_with("==");
    // In `===` the third sign is the surprise.
    match (assigns, before.trim_end().ends_with("==")) {
        (true, true) => Some("a comparison is written `==`".to_owned()),
        (true, false) => Some("write `==` to compare".to_owned()),
        _ => None,
    }
}

/// The path that a text ends with, as `nodes` or `nodes.build`.
fn word_before(text: &str) -> &str {
    let start =
        text.rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))).map_or(0, |at| at + 1);
    text.get(start..).unwrap_or_default()
}

/// The parser's message without its list of every token that could follow.
fn plain_words(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let (seen, _) = message.split_once(" expecting ").unwrap_or((message, ""));
    let prefixes = [
        "mismatched input ",
        "extraneous input ",
        "no viable alternative at input ",
        "token recognition error at: ",
    ];
    // The messages are those of the ANTLR runtime. A wording that is not known here is passed on as it is.
    match prefixes.iter().find_map(|prefix| seen.strip_prefix(prefix)) {
        Some("'<EOF>'") => "the expression ends too early".to_owned(),
        Some(token) => format!("`{}` is not expected here", token.trim_matches('\'').trim()),
        None => message.to_owned(),
    }
}

fn evaluation_error(error: &ExecutionError) -> ExpressionError {
    match error {
        ExecutionError::NoSuchKey(key) => {
            let message = format!("there is no `{}`", clean(key));
            ExpressionError::new(0, message).with_hint("ask with `has(…)` first")
        }
        ExecutionError::UndeclaredReference(name) => {
            ExpressionError::new(0, format!("there is no `{}` here", clean(name)))
        }
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            let message =
                format!("`{}` does not work with {} and {}", sign(operator), shown(left), shown(right));
            ExpressionError::new(0, clean(&message))
                .with_hint("`string(…)`, `int(…)` and `double(…)` convert")
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            let message = format!("{} cannot be compared with {}", shown(left), shown(right));
            ExpressionError::new(0, clean(&message))
                .with_hint("`string(…)`, `int(…)` and `double(…)` convert")
        }
        ExecutionError::Overflow(operator, left, right) => {
            let message =
                format!("{} {} {} does not fit into 64 bits", shown(left), sign(operator), shown(right));
            ExpressionError::new(0, clean(&message))
        }
        ExecutionError::UnsupportedIndex(index, value) => {
            ExpressionError::new(0, clean(&format!("{} has no `[{}]`", shown(value), shown(index))))
        }
        ExecutionError::IndexOutOfBounds(index) => {
            ExpressionError::new(0, clean(&format!("the list has no item {}", shown(index))))
        }
        ExecutionError::DivisionByZero(value) | ExecutionError::RemainderByZero(value) => {
            ExpressionError::new(0, clean(&format!("{} is divided by zero", shown(value))))
        }
        other => {
            let text = other.to_string();
            // House style: messages are lower-case fragments, and the library's are sentences.
            let mut letters = text.chars();
            let lower =
                letters.next().map(|first| first.to_lowercase().collect::<String>()).unwrap_or_default();
            ExpressionError::new(0, clean(&format!("{lower}{}", letters.as_str())))
        }
    }
}

/// A value as people write it; the library's own form is that of its source text.
fn shown(value: &cel::Value) -> String {
    json::from_cel(value).map_or_else(|what| format!("something that is {what}"), |value| value.to_string())
}

/// The sign of an operator that the library names by a word.
fn sign(operator: &str) -> &str {
    match operator {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        other => other,
    }
}

/// A text of the library or of a manifest, cut and without control characters.
fn clean(text: &str) -> String {
    let mut kept: String =
        text.chars().take(MAX_MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_MESSAGE).is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeStatuses;
    use proptest::prelude::*;
    use serde_json::json;

    fn nodes() -> NodeStatuses {
        let nodes = json!({
            "build": { "phase": "Succeeded", "attempt": 2, "outputs": { "image": "app:1", "size": 7 } },
            "unit-test": { "phase": "Failed", "attempt": 1 },
            "deploy": { "phase": "Pending" },
        });
        serde_json::from_value(nodes).unwrap()
    }

    fn evaluate(text: &str) -> Result<Value, ExpressionError> {
        let parameters = json!({
            "n": 3, "ratio": 0.5, "big": u64::MAX, "min": i64::MIN, "dry": false, "name": "sso",
            "list": [1, 2.5, "x", null], "map": { "z": 1, "a": [true] }, "none": null, "a-b": 1,
        });
        let goal = json!({ "name": "sso", "constraints": { "idp": "google" } });
        let plan = json!({ "name": "p" });
        let execution = json!({ "name": "e" });
        let nodes = nodes();
        let scope = Scope {
            parameters: parameters.as_object().unwrap(),
            goal: &goal,
            plan: &plan,
            execution: &execution,
            nodes: &nodes,
            inputs: None,
            instances: None,
        };
        Expression::compile(text)?.evaluate(&scope)
    }

    #[track_caller]
    fn check(text: &str, expected: Value) {
        assert_eq!(evaluate(text), Ok(expected), "{text}");
    }

    #[track_caller]
    fn check_error(text: &str, offset: usize, message: &str) {
        let error = evaluate(text).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error:?}");
        assert_eq!(error.offset, offset, "{text}: {error:?}");
    }

    #[test]
    fn the_spelling_of_another_language_is_answered_with_ours() {
        let hint = |text: &str| evaluate(text).unwrap_err().hint.unwrap_or_default();
        assert_eq!(hint("parameters.n = 3"), "write `==` to compare");
        assert_eq!(hint("parameters.dry and true"), "write `&&` for and");
        assert!(
            hint("nodes.in.phase == 'x'").contains("write `nodes['in']`"),
            "{}",
            hint("nodes.in.phase == 'x'")
        );
    }

    #[test]
    fn values_in_errors_are_json() {
        let message = |text: &str| evaluate(text).unwrap_err().message;
        assert_eq!(message("parameters.n + parameters.name"), "`+` does not work with 3 and \"sso\"");
        assert_eq!(message("parameters.n / 0"), "3 is divided by zero");
        assert_eq!(message("parameters.min - 1"), "-9223372036854775808 - 1 does not fit into 64 bits");
    }

    /// What is evaluated shows no line of a manifest, so that the words have to say where it is.
    #[test]
    fn an_error_of_an_evaluation_quotes_the_expression_and_says_what_to_do() {
        assert_eq!(
            evaluate("parameters.n > 2 &&\n  parameters.map.nope == 1").unwrap_err().to_string(),
            "there is no `nope` in `parameters.n > 2 && parameters.map.nope == 1` (ask with `has(…)` first)"
        );
        let long = format!("'{}' + 1", "x".repeat(300));
        assert!(evaluate(&long).unwrap_err().to_string().contains("xxx…` (`string(…)`"));
    }

    #[test]
    fn every_kind_of_value_comes_back_as_it_was() {
        check("parameters.n", json!(3));
        check("parameters.ratio", json!(0.5));
        check("parameters.big", json!(u64::MAX));
        check("parameters.min", json!(i64::MIN));
        check("parameters.list", json!([1, 2.5, "x", null]));
        check("parameters.map", json!({ "a": [true], "z": 1 }));
        check("parameters.none", json!(null));
        check("parameters.n * 2 + 1", json!(7));
        check("parameters['a-b']", json!(1));
        check("{'k': [1, {'v': 2u}]}", json!({ "k": [1, { "v": 2 }] }));
    }

    #[test]
    fn nodes_are_seen_by_id_with_and_without_dashes() {
        check("nodes.build.phase == 'Succeeded' && nodes.build.attempt == 2", json!(true));
        check("nodes['unit-test'].phase", json!("Failed"));
        check("nodes.`unit-test`.phase", json!("Failed"));
        check("nodes.build.outputs.image + '@' + string(nodes.build.outputs.size)", json!("app:1@7"));
        check("has(nodes.deploy.outputs.url)", json!(false));
        check("nodes.exists(id, nodes[id].phase == 'Failed')", json!(true));
        check("size(nodes)", json!(3));
        check(
            "nodes.build",
            json!({
                "attempt": 2, "outputs": { "image": "app:1", "size": 7 }, "phase": "Succeeded",
                "result": { "commit": null, "files": 0, "insertions": 0, "deletions": 0 },
            }),
        );
    }

    #[test]
    fn the_usual_functions_and_macros_are_there() {
        check("[1, 2, 3].filter(x, x > 1).map(x, x * 10)", json!([20, 30]));
        check("parameters.list.all(x, x != 5) && [1, 1].exists_one(x, x == 1) == false", json!(true));
        check("'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.contains('b')", json!(true));
        check("parameters.name.matches('^s+o$') && !matches(parameters.name, 'x')", json!(true));
        check(r"'abc-12'.matches(r'^\w+-\d+$')", json!(true));
        check("size('äö') == 2 && int('7') == 7 && double('1.5') == 1.5 && string(1) == '1'", json!(true));
        check("parameters.dry ? 'dry' : 'wet'", json!("wet"));
        check("'x' in {'x': 1} && 2 in [1, 2]", json!(true));
        check("goal.constraints.idp == \"google\"", json!(true));
    }

    #[test]
    fn errors_say_what_and_where() {
        check_error("", 0, "empty");
        check_error("1 +", 3, "ends too early");
        check_error("1 2", 2, "`2` is not expected here");
        check_error("'ä' + 'ö' + %", 14, "`%` is not expected here");
        check_error("'a\nb'", 0, "no end");
        check_error("'ä' == sizes('x')", 8, "no function `sizes`");
        check_error("failure()", 0, "no function `failure`");
        check_error("size(a, b).all(x)", 11, "`all` is not called like this");
        check_error("Foo{a: 1}", 3, "not supported");
        check_error("parameters.nope", 0, "there is no `nope`");
        check_error("inputs.x", 0, "there is no `inputs` here");
        check_error("1 + 'x'", 0, "`+` does not work with 1 and");
        check_error("1 / 0", 0, "divided by zero");
        check_error("'x'.matches('(')", 0, "the pattern is not a regular expression");
        check_error("'x'.matches('x{1000}{1000}')", 0, "the pattern is too large");
        check_error("'x'.matches(1)", 0, "no matching overload");
        check_error("'x'.matches()", 0, "invalid argument count");
        check_error("9223372036854775807 + 1", 0, "does not fit into 64 bits");
        check_error("b'x'", 0, "the result is bytes");
        check_error("0.0 / 0.0", 0, "infinite or not a number");
    }

    #[test]
    fn mentions_come_with_offsets_and_without_macro_variables() {
        let text =
            "'ä' == nodes['unit-test'].outputs.x && parameters.list.all(p, p < plan.n) && has(inputs.k)";
        let expression = Expression::compile(text).unwrap();
        let mut seen: Vec<String> = expression
            .mentions()
            .iter()
            .map(|mention| {
                assert!(text.split_at(mention.offset).1.starts_with(&mention.root), "{mention:?}");
                let path: Vec<&str> = (0..mention.path.len()).map(|i| mention.field(i).unwrap()).collect();
                format!("{}/{}{}", mention.root, path.join("/"), if mention.presence { "?" } else { "" })
            })
            .collect();
        seen.sort();
        assert_eq!(seen, ["inputs/k?", "nodes/unit-test/outputs/x", "parameters/list", "plan/n"]);
    }

    #[test]
    fn an_expression_knows_whose_phase_it_asks_for() {
        let check = |text: &str, node: &str| Expression::compile(text).unwrap().refers_to_phase_of(node);
        assert!(check("nodes.a.phase == 'Failed'", "a"));
        assert!(check("nodes['a'].phase != 'Failed'", "a"));
        assert!(check("nodes.a == nodes.b", "b"));
        assert!(check("nodes.exists(n, nodes[n].phase == 'Failed')", "b"));
        assert!(!check("nodes.a.outputs.x == 1", "a"));
        assert!(!check("nodes.a.phase == 'Failed'", "b"));
        assert!(!check("parameters.a.phase == 'Failed'", "a"));
    }

    /// A hash table has another order in each process and for each map, so that once would be luck.
    #[test]
    fn macros_go_through_a_map_in_the_order_of_its_keys() {
        let map = "{'d': 4, 'b': 2, 'e': 5, 'a': 1, 'c': 3, 'g': 7, 'f': 6}";
        for _ in 0..20 {
            check(&format!("{map}.map(k, k)"), json!(["a", "b", "c", "d", "e", "f", "g"]));
            check(&format!("{map}.filter(k, k > 'd')"), json!(["e", "f", "g"]));
            check("{10: 'x', 9: 'y', -1: 'z'}.map(k, k)", json!([-1, 9, 10]));
        }
        check("parameters.map(k, k) == parameters.map(k, k)", json!(true));
    }

    /// Nothing that fits into an expression may take long or much memory.
    #[test]
    fn work_without_end_is_stopped() {
        let growing =
            (0..20).fold("['xxxxxxxxxxxxxxxx']".to_owned(), |text, _| format!("{text}.map(x, x + x)"));
        check_error(&growing, 0, "too much work");
        let nested = (0..20).fold("['x']".to_owned(), |text, _| format!("{text}.map(x, [x, x])"));
        check_error(&nested, 0, "too much work");
        let ten = "[1,2,3,4,5,6,7,8,9,0]";
        let loops = format!("{ten}.all(a, {ten}.all(b, {ten}.all(c, {ten}.all(d, {ten}.all(e, true)))))");
        check_error(&loops, 0, "too much work");
        let swallowed = format!("{growing} == [] || true");
        check_error(&swallowed, 0, "too much work");
        let regexes = format!("{ten}.all(a, {ten}.all(b, !'x'.matches('x' + string(a))))");
        check_error(&regexes, 0, "too much work");
    }

    #[test]
    fn deep_and_long_texts_are_refused_or_fit_the_stack() {
        let deep = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
        check_error(&deep("(", ")", 25), 24, "nested deeper");
        check_error(&deep("[", "]", 2000), 24, "nested deeper");
        check(&deep("(", ")", 24), json!(1));
        check_error(&"1+".repeat(200), scan::MAX_TOKENS, "parts");
        check_error(&"x".repeat(scan::MAX_BYTES + 1), 0, "bytes");
        let full = format!("{}1", "1+".repeat(127));
        check(&full, json!(128));
        check(&format!("{}true", "!!".repeat(127)), json!(true));
        assert!(evaluate(&format!("parameters{}", ".x".repeat(127))).is_err());
        assert!(evaluate(&format!("{}1", "true ? 1 : ".repeat(63))).is_ok());
        assert!(evaluate(&"-".repeat(255)).is_err());
        assert!(evaluate(&format!("1{}", ".f()".repeat(60))).is_err());
        let brackets = format!("parameters{}", "['x']".repeat(80));
        assert!(evaluate(&brackets).is_err());
    }

    /// Pieces that tend to get parsers into trouble.
    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("nodes"),
            Just("."),
            Just("'"),
            Just("\""),
            Just("'''"),
            Just("["),
            Just("]"),
            Just("{"),
            Just("}"),
            Just("("),
            Just(")"),
            Just("?"),
            Just(":"),
            Just(","),
            Just("1"),
            Just("0x"),
            Just("1e9"),
            Just("u"),
            Just("r'"),
            Just("b'"),
            Just("\\"),
            Just("\\u12"),
            Just("\\x"),
            Just("`"),
            Just("!"),
            Just("-"),
            Just("&&"),
            Just("||"),
            Just("in"),
            Just("has("),
            Just(".map(x,"),
            Just(".all(x,"),
            Just("//"),
            Just("\n"),
            Just(" "),
            Just("ä"),
            Just("\u{1f600}"),
            Just("\0"),
            Just("@read"),
            Just("9223372036854775808"),
            Just("null"),
            Just("type("),
            Just("size("),
            Just("parameters.list"),
            Just("=="),
            Just("%"),
            Just("{'a':1}"),
            Just("T{}"),
            Just("2.5"),
            Just(".exists("),
            Just("matches('(')"),
            Just("x"),
            Just("+"),
            Just("[?"),
            Just(".?"),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_it_panic(text in prop_oneof![any::<String>(), hostile()]) {
            if let Err(error) = evaluate(&text) {
                prop_assert!(text.is_char_boundary(error.offset), "{error:?}");
            }
        }

        #[test]
        fn integers_survive(n in any::<i64>(), m in any::<u64>()) {
            let back = |value: Value| json::from_cel(&json::to_cel(&value, &Need::ALL));
            prop_assert_eq!(back(json!(n)), Ok(json!(n)));
            prop_assert_eq!(back(json!(m)), Ok(json!(m)));
        }
    }
}
