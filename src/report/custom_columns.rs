//! `-o custom-columns=NAME:PATH,…`: a table whose columns the user names.

use std::str::FromStr;

use super::jsonpath::{JsonPath, shown};
use super::object::LiveObject;
use super::table::{Table, TableCell};

/// What stands where a path finds nothing, as in `kubectl`.
const NOTHING: &str = "<none>";

/// The columns, from left to right.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CustomColumns(Vec<(String, JsonPath)>);

impl FromStr for CustomColumns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut columns: Vec<(String, JsonPath)> = Vec::new();
        for part in split(text) {
            let Some((name, path)) =
                part.split_once(':').filter(|(name, path)| !name.is_empty() && !path.is_empty())
            else {
                return Err(format!("`{part}` is no column; write NAME:PATH, as in `NAME:.metadata.name`"));
            };
            // Both with braces and without are common.
            let path = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')).unwrap_or(path);
            columns.push((name.to_owned(), path.parse().map_err(|error| format!("{error}"))?));
        }
        Ok(Self(columns))
    }
}

/// The parts between commas; a comma within brackets belongs to a path.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(move |c| {
        match c {
            '[' => depth = depth.saturating_add(1),
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

impl CustomColumns {
    /// The table of some objects, of whatever kinds.
    #[must_use]
    pub(crate) fn table(&self, objects: &[LiveObject]) -> Table {
        let mut table = Table::new(self.0.iter().map(|(name, _)| name));
        for object in objects {
            let value = object.to_value();
            let cell = |(_, path): &(String, JsonPath)| {
                let found: Vec<_> = path.find(&value).into_iter().map(shown).collect();
                TableCell::from(if found.is_empty() { NOTHING.to_owned() } else { found.join(",") })
            };
            table.row(self.0.iter().map(cell).collect());
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::samples;
    use super::*;

    #[test]
    fn each_column_shows_what_its_path_finds() {
        let columns: CustomColumns =
            "name:.metadata.name,WHO:{.metadata.labels.planspec\\.io/team},x:.spec['a','b'],P:.spec.priority"
                .parse()
                .unwrap();
        let lines = columns.table(&[samples::goal()]).lines();
        assert_eq!(lines, ["NAME   WHO   X        P", "sso    web   <none>   10"]);
    }

    #[test]
    fn a_column_without_a_path_is_explained() {
        let error = "NAME".parse::<CustomColumns>().unwrap_err();
        assert!(error.contains("write NAME:PATH"), "{error}");
    }
}
