//! `planspec validate` with the real binary.

use std::collections::BTreeSet;
use std::path::Path;

use crate::environment::TestEnvironment;
use crate::fixtures::{SSO, goal, plan};

const BROKEN: &str = "apiVersion: planspec.io/v1alpha1\nkind: Goal\nmetadata:\n  name: broken\n  namespace: \
                      team\nspec:\n  descripton: oops\n";

#[test]
fn the_example_of_the_readme_is_valid_as_a_file_and_from_standard_input() {
    let environment = TestEnvironment::new();
    environment.write("goal.yaml", SSO);
    let outcome = environment.planspec(&["validate", "-f", "goal.yaml"]).succeeds();
    assert!(!outcome.stdout.contains("error["), "{}", outcome.stdout);
    environment.planspec_with_input(&["validate", "-f", "-"], SSO).succeeds();
}

#[test]
fn an_error_is_shown_in_its_source_and_exits_with_1() {
    let environment = TestEnvironment::new();
    environment.write("broken.yaml", BROKEN);
    let outcome = environment.planspec(&["validate", "-f", "broken.yaml"]).exits(1);
    assert!(outcome.stdout.contains("broken.yaml:7:3"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("descripton: oops") && outcome.stdout.contains("description"));
    assert!(!outcome.stdout.contains('\u{1b}'), "no colour in a pipe");
}

#[test]
fn machines_get_json_sarif_and_workflow_commands() {
    let environment = TestEnvironment::new();
    environment.write("broken.yaml", BROKEN);
    let run = |format: &str| environment.planspec(&["validate", "-f", "broken.yaml", "-o", format]).exits(1);
    assert!(run("json").json().to_string().contains("PS2003"));
    assert_eq!(run("sarif").json()["version"], "2.1.0");
    assert!(run("github").stdout.starts_with("::error file=broken.yaml,"), "{}", run("github").stdout);
    assert!(run("name").stdout.contains("broken.yaml:7:3: PS2003"));
}

#[test]
fn a_directory_needs_a_flag_to_be_searched_below() {
    let environment = TestEnvironment::new();
    environment.write("a/b/broken.yaml", BROKEN);
    let outcome = environment.planspec(&["validate", "-f", "a"]).exits(1);
    assert!(outcome.stderr.contains("-R"), "{}", outcome.stderr);
    let outcome = environment.planspec(&["validate", "-f", "a", "-R"]).exits(1);
    assert!(outcome.stdout.contains("a/b/broken.yaml"), "{}", outcome.stdout);
}

#[test]
fn the_working_tree_is_checked_without_what_git_ignores_and_the_configuration_excludes() {
    let environment = TestEnvironment::with_files(&[
        ("planspec/goal.yaml", &goal("good", "Fine")),
        (".gitignore", "build/\n"),
        (".planspec.yaml", "exclude: [\"drafts/**\"]\n"),
    ]);
    environment.write("build/broken.yaml", BROKEN);
    environment.write("drafts/broken.yaml", BROKEN);
    environment.planspec(&["validate"]).succeeds();
    environment.write("new/broken.yaml", BROKEN);
    let outcome = environment.planspec(&["validate"]).exits(1);
    assert!(outcome.stdout.contains("new/broken.yaml"), "{}", outcome.stdout);
    // The commit does not hold it.
    environment.planspec(&["validate", "--ref", "HEAD"]).succeeds();
}

/// The plan of this manifest has an error, and an Execution refers to it.
const BROKEN_PLAN: &str = "apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: { name: p, namespace: team }
spec:
  description: A spelling of an earlier draft
  graph: { nodes: [{ id: a, kind: Task, capabilityRef: { name: c } }] }
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: { name: e, namespace: team }
spec: { planRef: { name: p } }
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: { name: f, namespace: team }
spec: { planRef: { name: q } }
";

#[test]
fn what_refers_to_something_broken_is_not_reported_and_what_refers_to_nothing_is() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", BROKEN_PLAN)]);
    for arguments in [&["validate", "-f", "plan.yaml"][..], &["validate"], &["validate", "--ref", "HEAD"]] {
        let outcome = environment.planspec(arguments).exits(1);
        assert_eq!(outcome.stdout.matches("error[").count(), 2, "{}", outcome.stdout);
        assert!(outcome.stdout.contains("write `capabilityRefs: [{name: c}]`"), "{}", outcome.stdout);
        assert!(outcome.stdout.contains("there is no Plan `q`"), "{}", outcome.stdout);
    }
}

#[test]
fn a_file_may_refer_to_what_the_repository_holds() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("ship"))]);
    let execution = |plan: &str| {
        format!(
            "apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata: {{name: run, namespace: team}}\nspec: \
             {{planRef: {{name: {plan}}}}}\n"
        )
    };
    environment.write("run.yaml", &execution("ship"));
    environment.planspec(&["validate", "-f", "run.yaml"]).succeeds();
    environment.write("run.yaml", &execution("shop"));
    let outcome = environment.planspec(&["validate", "-f", "run.yaml"]).exits(1);
    assert!(outcome.stdout.contains("did you mean `ship`"), "{}", outcome.stdout);
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused_with_its_place() {
    let environment = TestEnvironment::with_files(&[(".planspec.yaml", "statusBranc: x\n")]);
    let outcome = environment.planspec(&["validate"]).exits(1);
    assert!(outcome.stderr.contains(".planspec.yaml:1:1"), "{}", outcome.stderr);
}

#[test]
fn schemas_are_printed_by_kind() {
    let environment = TestEnvironment::new();
    assert!(environment.planspec(&["schema", "goals"]).succeeds().json().is_object());
    assert!(environment.planspec(&["schema"]).succeeds().json().is_object());
    let outcome = environment.planspec(&["schema", "gaol"]).exits(2);
    assert!(outcome.stderr.contains("did you mean `goal`"), "{}", outcome.stderr);
}

/// Findings as `PATH CODE LINE:COLUMN MESSAGE`, whatever form they were printed in.
fn findings<'v>(all: impl Iterator<Item = &'v serde_json::Value>) -> BTreeSet<String> {
    all.map(|found| {
        let place = found.get("location").unwrap_or(found);
        let span = place.get("span").unwrap_or(place);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let number = |field: &str| span.get(field).map(ToString::to_string).unwrap_or_default();
        let message = text(&found["message"]);
        format!(
            "{} {} {}:{} {message}",
            text(&place["path"]),
            text(&found["code"]),
            number("line"),
            number("column")
        )
    })
    .collect()
}

/// What only a look at all resources together can find, which a pass meets as things to wait for.
const ABOUT_OTHERS: [&str; 10] =
    ["PS3002", "PS3003", "PS3005", "PS3010", "PS3011", "PS3012", "PS3013", "PS3016", "PS3018", "PS3021"];

#[test]
fn validate_and_reconcile_judge_every_file_alike() {
    let environment = TestEnvironment::with_repository();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for folder in ["valid", "invalid"] {
        for entry in std::fs::read_dir(fixtures.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let to = environment.repo().join(folder);
            std::fs::create_dir_all(&to).unwrap();
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
    environment.write("dup/a.yaml", &goal("dup", "Once"));
    environment.write("dup/b.yaml", &goal("dup", "Twice"));
    environment.write("package-lock.json", &lock_file(""));
    environment.write("large.json", &lock_file("\"apiVersion\":\"planspec.io/v1alpha1\","));
    std::os::unix::fs::symlink("dup/a.yaml", environment.repo().join("link.yaml")).unwrap();
    environment.commit_files(&[], "Everything");

    let validated = |arguments: &[&str]| {
        let outcome = environment.planspec(&[&["validate", "-o", "json"], arguments].concat()).exits(1);
        findings(outcome.json()["diagnostics"].as_array().unwrap().iter())
    };
    let work_tree = validated(&[]);
    assert_eq!(work_tree, validated(&["--ref", "HEAD"]));
    for _pass in 0..2 {
        let outcome = environment.planspec(&["reconcile", "-o", "json"]).exits(1);
        let events: Vec<serde_json::Value> =
            outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let reconciled = findings(events.iter().filter(|event| event["event"] == "diagnostic"));
        let differ: Vec<&String> = work_tree
            .symmetric_difference(&reconciled)
            // Which of two declarations is in force depends on history, and the one of a link is read once.
            .filter(|found| !found.contains("PS3001") && !found.contains("PS1012"))
            .filter(|found| !ABOUT_OTHERS.iter().any(|code| found.contains(code)))
            // What a provider says of the settings of a rule is no fault of the file: a pass records it in the status of the
            // Binding, and its tasks wait.
            .filter(|found| !found.contains("needs `config."))
            .collect();
        assert_eq!(differ, Vec::<&String>::new());
        assert!(reconciled.iter().any(|found| found.contains("Goal `dup` is declared twice")));
    }
    assert!(work_tree.iter().any(|found| found.starts_with("link.yaml PS1012")));
    assert!(work_tree.iter().any(|found| found.starts_with("large.json PS1005")));
    assert!(!work_tree.iter().any(|found| found.contains("package-lock.json")));
}

/// A file of more than a mebibyte, as package managers write them.
fn lock_file(head: &str) -> String {
    let package = "\"p\":{\"version\":\"1.0.0\",\"integrity\":\"sha512-xxxxxxxxxxxx\"},".repeat(20_000);
    format!("{{{head}\"packages\":{{{package}\"x\":{{}}}}}}")
}

#[test]
fn a_large_file_is_nobody_s_error_unless_it_declares_a_manifest() {
    let environment = TestEnvironment::with_files(&[("package-lock.json", &lock_file(""))]);
    environment.planspec(&["validate", "--deny-warnings"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    environment.write("large.json", &lock_file("\"apiVersion\":\"planspec.io/v1alpha1\","));
    let outcome = environment.planspec(&["validate"]).exits(1);
    assert!(outcome.stdout.contains("more than `limits.fileBytes` (1048576)"), "{}", outcome.stdout);
}

#[test]
fn a_named_file_without_a_manifest_is_an_error_that_says_why() {
    let environment = TestEnvironment::with_repository();
    for (content, reason) in [
        ("apiVersion: planspec/v1alpha1\nkind: Goal\n", "unknown apiVersion `planspec/v1alpha1`"),
        ("kind: Goal\n", "missing field `apiVersion`"),
        ("apiVersion: v1\nkind: List\nitems: []\n", "`kind: List` is not supported"),
    ] {
        environment.write("x.yaml", content);
        let outcome = environment.planspec(&["validate", "-f", "x.yaml"]).exits(1);
        assert!(outcome.stdout.contains(reason), "{}", outcome.stdout);
        let outcome = environment.planspec(&["apply", "-f", "x.yaml"]).exits(1);
        assert!((outcome.stdout + &outcome.stderr).contains(reason));
        // As one file among others of the repository it is somebody else's.
        environment.planspec(&["validate"]).succeeds();
    }
}

#[test]
fn a_configuration_under_another_name_is_an_error() {
    for name in [".planspec.yml", ".planspec.json"] {
        let environment = TestEnvironment::with_files(&[(name, "{}\n")]);
        for arguments in [&["validate"][..], &["validate", "--ref", "HEAD"], &["reconcile"]] {
            let outcome = environment.planspec(arguments).exits(1);
            assert!(outcome.stderr.contains(&format!("`{name}` is not read")), "{}", outcome.stderr);
            assert!(outcome.stderr.contains("rename it to `.planspec.yaml`"), "{}", outcome.stderr);
        }
    }
}

#[test]
fn a_tracked_manifest_in_an_ignored_folder_is_checked_as_it_is_reconciled() {
    let environment =
        TestEnvironment::with_files(&[(".gitignore", "build/\n"), ("a.yaml", &goal("a", "Fine"))]);
    let broken = "apiVersion: planspec.io/v1alpha1\nkind: Goal\n";
    environment.write("build/deep/kept.yaml", broken);
    environment.write("build/deep/left.yaml", broken);
    environment.git(&["add", "--force", "build/deep/kept.yaml"]).succeeds();
    let outcome = environment.planspec(&["validate"]).exits(1);
    let text = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(text.contains("build/deep/kept.yaml") && !text.contains("left.yaml"), "{text}");
}

#[test]
fn a_setting_that_its_provider_does_not_know_is_an_error_in_its_place() {
    let text = "providers:\n  secrets: [TOKEN]\n  mcp:\n    desk:\n      command: serve\n      enw: {}\n  agents:\n    scribe:\n      \
                url: https://a.example\n      secretHeaders: {Authorization: Bearer TOKEN}\n    clerk:\n      stdin: nothing\n";
    let environment = TestEnvironment::with_files(&[(".planspec.yaml", text)]);
    for arguments in [&["validate"][..], &["validate", "--ref", "HEAD"]] {
        let outcome = environment.planspec(arguments).exits(1);
        let shown = &outcome.stdout;
        assert!(shown.contains(".planspec.yaml:6:7") || shown.contains(".planspec.yaml:6:12"), "{shown}");
        assert!(shown.contains("unknown setting `providers.mcp.desk.enw`; did you mean `env`?"), "{shown}");
        assert!(shown.contains("`providers.agents.clerk.stdin` must be `brief` or `none`"), "{shown}");
        assert!(!shown.contains("providers.agents.scribe"), "the secret is not needed for checking: {shown}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_not_taken_for_none() {
    let environment = TestEnvironment::with_files(&[("a.yaml", &goal("a", "Fine"))]);
    environment.write(".planspec.yaml/x", "");
    let outcome = environment.planspec(&["validate"]).exits(3);
    assert!(outcome.stderr.contains("cannot read .planspec.yaml"), "{}", outcome.stderr);
}
