//! A path into a value, and what it finds there.

use std::cmp::Ordering;

use serde_json::Value;

/// A path; it finds any number of values, in the order of the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JsonPath {
    pub(super) steps: Vec<PathStep>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PathStep {
    /// `.name`, `['name']`.
    Field(String),
    /// `[0]`, `[-1]` from the end.
    Index(i64),
    /// `[from:to:by]`.
    Slice { from: Option<i64>, to: Option<i64>, by: usize },
    /// `.*`, `[*]`.
    Every,
    /// `..`: the value itself and all that is in it.
    Below,
    /// `['a','b']`, `[0,2]`.
    Union(Vec<PathStep>),
    /// `[?(…)]`.
    Filter(PathFilter),
}

/// What a filter asks of each item.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PathFilter {
    pub(super) left: Operand,
    /// Absent where it is enough that something is there.
    pub(super) test: Option<(PathComparison, Operand)>,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// Relative to the item.
    Path(JsonPath),
    Literal(Value),
}

/// How two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathComparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// What the path leads to; nothing where a step leads nowhere, as with `kubectl get`.
    #[must_use]
    pub(crate) fn find<'v>(&self, root: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![root];
        for step in &self.steps {
            found = found.into_iter().flat_map(|value| step.of(value)).collect();
        }
        found
    }
}

impl PathStep {
    fn of<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(items)) => {
                position(*index, items.len()).and_then(|at| items.get(at)).into_iter().collect()
            }
            (Self::Slice { from, to, by }, Value::Array(items)) => {
                let bound = |given: Option<i64>, default: usize| {
                    given.map_or(default, |index| clamped(index, items.len()))
                };
                let from = bound(*from, 0);
                let to = bound(*to, items.len());
                items.iter().take(to).skip(from).step_by(*by).collect()
            }
            (Self::Every, value) => inner(value).collect(),
            (Self::Below, value) => {
                let mut all = vec![value];
                all.extend(inner(value).flat_map(|value| Self::Below.of(value)));
                all
            }
            (Self::Union(steps), value) => steps.iter().flat_map(|step| step.of(value)).collect(),
            (Self::Filter(filter), value) => inner(value).filter(|item| filter.holds(item)).collect(),
            _ => Vec::new(),
        }
    }
}

fn inner(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// Where an index is; a negative one counts from the end.
fn position(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

fn clamped(index: i64, length: usize) -> usize {
    position(index, length).unwrap_or(0).min(length)
}

impl PathFilter {
    fn holds(&self, item: &Value) -> bool {
        let left = self.left.of(item);
        let Some((comparison, right)) = &self.test else { return !left.is_empty() };
        let right = right.of(item);
        match (left.first(), right.first()) {
            (Some(left), Some(right)) => comparison.holds(left, right),
            // What is not there differs from everything, and is neither less nor more.
            (None, None) => false,
            _ => *comparison == PathComparison::NotEqual,
        }
    }
}

impl Operand {
    fn of<'v>(&'v self, item: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Path(path) => path.find(item),
            Self::Literal(value) => vec![value],
        }
    }
}

impl PathComparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = order(left, right);
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// The order of two values of one type; none between types. Times in our records are texts that sort as they are.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => (left == right).then_some(Ordering::Equal),
    }
}

impl JsonPath {
    /// The order of two objects by what the path finds first; those where it finds nothing come first, as with `kubectl`.
    #[must_use]
    pub(crate) fn compare(&self, left: &Value, right: &Value) -> Ordering {
        match (self.find(left).first(), self.find(right).first()) {
            (Some(left), Some(right)) => order(left, right).unwrap_or(Ordering::Equal),
            (left, right) => left.is_some().cmp(&right.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(path: &str, expected: &Value) {
        let value = json!({
            "a": {"b-c": 1, "x.io/y": "dotted"},
            "list": [{"n": "one", "v": 1}, {"n": "two", "v": 2}, {"n": "three"}],
        });
        let path: JsonPath = path.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(&json!(path.find(&value)), expected, "{path:?}");
    }

    #[test]
    fn the_forms_of_kubectl_find_what_they_find_there() {
        check(".a.b-c", &json!([1]));
        check("$.a.b-c", &json!([1]));
        check(r".a.x\.io/y", &json!(["dotted"]));
        check(".a['x.io/y']", &json!(["dotted"]));
        check(".list[*].n", &json!(["one", "two", "three"]));
        check(".list[-1].n", &json!(["three"]));
        check(".list[0:2].n", &json!(["one", "two"]));
        check(".list[::2].n", &json!(["one", "three"]));
        check(".list[0,2].n", &json!(["one", "three"]));
        check(".list[0]['n','v']", &json!(["one", 1]));
        check("..v", &json!([1, 2]));
        check(".a.*", &json!([1, "dotted"]));
        check(".nothing.here[3]", &json!([]));
    }

    #[test]
    fn a_filter_keeps_the_items_of_which_it_holds() {
        check(r#".list[?(@.n=="two")].v"#, &json!([2]));
        check(".list[?(@.n != 'two')].n", &json!(["one", "three"]));
        check(".list[?(@.v)].n", &json!(["one", "two"]));
        check(".list[?(@.v>=2)].n", &json!(["two"]));
    }

    #[test]
    fn numbers_are_ordered_as_numbers_and_what_is_missing_comes_first() {
        let path: JsonPath = ".v".parse().unwrap();
        let mut values = vec![json!({"v": 10}), json!({"v": 9}), json!({})];
        values.sort_by(|a, b| path.compare(a, b));
        assert_eq!(values, [json!({}), json!({"v": 9}), json!({"v": 10})]);
    }
}
