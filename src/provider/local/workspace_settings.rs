//! The setting `workspace`: what the checkout of a command is like.

use std::num::NonZeroU32;
use std::path::{Component, Path};

use serde_json::Value;

use crate::model::JsonMap;
use crate::provider::settings::{Settings, is_inside};
use crate::provider::{ConfigError, WorkspaceForm};

/// Its keys.
const KEYS: [&str; 4] = ["clean", "sparse", "depth", "submodules"];

/// Reads it.
pub(super) fn read_form(settings: &Settings<'_>) -> Result<WorkspaceForm, ConfigError> {
    let workspace = match settings.value("workspace") {
        None => return Ok(WorkspaceForm::default()),
        Some(Value::Object(workspace)) => workspace,
        Some(_) => {
            let expected = "a map with `clean`, `sparse`, `depth` and `submodules`";
            return Err(ConfigError::WrongType { key: "workspace".to_owned(), expected });
        }
    };
    read_keys(workspace).map_err(|error| error.below("workspace"))
}

fn read_keys(workspace: &JsonMap) -> Result<WorkspaceForm, ConfigError> {
    let settings = Settings::new(workspace, &KEYS)?;
    let keep_ignored = match settings.text("clean")?.as_deref() {
        None | Some("all") => false,
        Some("keep-ignored") => true,
        Some(_) => {
            let expected = "`all` or `keep-ignored`";
            return Err(ConfigError::WrongType { key: "clean".to_owned(), expected });
        }
    };
    let submodules = settings.flag("submodules")?.unwrap_or_default();
    if submodules && keep_ignored {
        let why = "does not go with `clean: keep-ignored`: a workspace with submodules is not used again"
            .to_owned();
        return Err(ConfigError::Invalid { key: "submodules".to_owned(), why });
    }
    let (sparse, depth) = (sparse(&settings)?, depth(&settings)?);
    Ok(WorkspaceForm { keep_ignored, sparse, depth, submodules })
}

/// The paths of `sparse`, as Git has them.
fn sparse(settings: &Settings<'_>) -> Result<Vec<String>, ConfigError> {
    let invalid = |why: &str| ConfigError::Invalid { key: "sparse".to_owned(), why: why.to_owned() };
    let paths = settings.texts("sparse")?;
    if paths.is_empty() && settings.value("sparse").is_some() {
        // Read as "no restriction", it would bring the files that somebody meant to leave out.
        return Err(invalid("names no path; leave it out for all files"));
    }
    let plain = |path: &String| {
        let parts = Path::new(path).components().filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        });
        let parts: Vec<&str> = parts.collect();
        let is_path = is_inside(path) && !parts.is_empty() && !path.contains(char::is_control);
        is_path.then(|| parts.join("/"))
    };
    let plain: Option<Vec<String>> = paths.iter().map(plain).collect();
    plain.ok_or_else(|| invalid("must hold relative paths of files and folders without `..`"))
}

fn depth(settings: &Settings<'_>) -> Result<Option<NonZeroU32>, ConfigError> {
    let Some(value) = settings.value("depth") else { return Ok(None) };
    let depth = value.as_u64().and_then(|number| u32::try_from(number).ok()).and_then(NonZeroU32::new);
    let expected = "a number of commits, at least 1";
    depth.map(Some).ok_or_else(|| ConfigError::WrongType { key: "depth".to_owned(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(workspace: &Value) -> Result<WorkspaceForm, String> {
        let config = json!({ "workspace": workspace });
        let settings = Settings::new(config.as_object().unwrap(), &["workspace"]).unwrap();
        read_form(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_part_of_the_files_and_of_the_history_may_be_asked_for() {
        let form = read(&json!({ "clean": "keep-ignored", "sparse": ["./src/", "a b"], "depth": 3 }));
        let sparse = vec!["src".to_owned(), "a b".to_owned()];
        let expected =
            WorkspaceForm { keep_ignored: true, sparse, depth: NonZeroU32::new(3), submodules: false };
        assert_eq!(form, Ok(expected));
        assert!(read(&json!({ "submodules": true })).unwrap().submodules);
        assert_eq!(read(&json!({ "clean": "all" })), Ok(WorkspaceForm::default()));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let refused = |workspace: Value| read(&workspace).unwrap_err();
        assert_eq!(
            refused(json!({ "submodules": true, "clean": "keep-ignored" })),
            "`config.workspace.submodules` does not go with `clean: keep-ignored`: a workspace with submodules is not used again"
        );
        assert_eq!(
            refused(json!({ "clean": "some" })),
            "`config.workspace.clean` must be `all` or `keep-ignored`"
        );
        assert_eq!(
            refused(json!({ "cleen": "all" })),
            "unknown setting `config.workspace.cleen`; did you mean `clean`?"
        );
        assert_eq!(
            refused(json!({ "sparse": [] })),
            "`config.workspace.sparse` names no path; leave it out for all files"
        );
        for path in ["", ".", "/etc", "a/../b", "a\nb"] {
            assert_eq!(
                refused(json!({ "sparse": ["src", path] })),
                "`config.workspace.sparse` must hold relative paths of files and folders without `..`"
            );
        }
        for depth in [json!(0), json!("1"), json!(-1), json!(1.5)] {
            assert_eq!(
                refused(json!({ "depth": depth })),
                "`config.workspace.depth` must be a number of commits, at least 1"
            );
        }
    }
}
