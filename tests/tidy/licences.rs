//! The licences of everything that is built in, against the list of `deny.toml`; needs no program but cargo.

use std::process::Command;

use serde_json::Value;

use crate::project::root;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The licences that `deny.toml` allows.
fn allowed() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = text.split("\nallow = [").nth(1).unwrap().split(']').next().unwrap();
    list.split(',')
        .map(|entry| entry.trim().trim_matches('"').to_owned())
        .filter(|entry| !entry.is_empty())
        .collect()
}

/// Whether an SPDX expression can be met: every `AND` part has an `OR` alternative that is allowed.
fn permitted(expression: &str, allowed: &[String]) -> bool {
    // Older manifests write `/` for OR.
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    expression
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|licence| allowed.iter().any(|allowed| allowed == licence.trim())))
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let version = cargo(&["--version", "--verbose"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let text = cargo(&["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let allowed = allowed();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "the list of packages is too short to be true: {}", packages.len());
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !permitted(package["license"].as_str().unwrap_or_default(), &allowed))
        .map(|package| format!("{}: {}", package["name"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "licences that deny.toml does not allow:\n{}", refused.join("\n"));
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    let allowed = ["MIT".to_owned(), "Unicode-3.0".to_owned()];
    for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(permitted(good, &allowed), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "", "(MIT OR Apache-2.0) AND MPL-2.0"] {
        assert!(!permitted(bad, &allowed), "{bad}");
    }
}
