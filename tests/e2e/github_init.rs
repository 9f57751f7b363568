//! `planspec init --github`: what it writes is what the documentation shows.

use std::path::Path;

use serde_json::{Value, json};

use crate::environment::TestEnvironment;

const ACTION: &str = "wendy/planspec/action@08c6903cd8c0fde910a37f88322edcfb5dd907a8";
const VALIDATE: &str = ".github/workflows/planspec-validate.yml";
const REPORT: &str = ".github/workflows/planspec-report.yml";
const APPLY: &str = ".github/workflows/planspec-apply.yml";
const SCHEDULE: &str = ".github/workflows/planspec-schedule.yml";

#[test]
fn workflows_are_written_once_and_only_force_replaces_them() {
    let environment = TestEnvironment::with_repository();
    let arguments = ["init", "--github", "--no-example", "--action", ACTION];
    let outcome = environment.planspec(&arguments).succeeds();
    assert!(outcome.stderr.contains("a branch ruleset for `planspec/status`"), "{}", outcome.stderr);
    let written = environment.read(APPLY);
    environment.write(APPLY, "name: mine\n");
    let outcome = environment.planspec(&arguments).succeeds();
    let kept = ".planspec.yaml kept\n.github/workflows/planspec-validate.yml kept\n.github/workflows/planspec-report.yml kept\n.github/workflows/planspec-apply.yml kept\n";
    assert_eq!(outcome.stdout, kept);
    assert_eq!(environment.read(APPLY), "name: mine\n");
    let outcome = environment.planspec(&[&arguments[..], &["--force"]].concat()).succeeds();
    assert!(outcome.stdout.contains("planspec-validate.yml kept\n"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("planspec-apply.yml replaced\n"), "{}", outcome.stdout);
    assert_eq!(environment.read(APPLY), written);
}

#[test]
fn workflows_follow_the_branch_that_is_there() {
    let environment = TestEnvironment::new();
    environment.git(&["init", "--quiet", "--initial-branch=trunk"]).succeeds();
    environment.planspec(&["init", "--github", "--action", "./action"]).succeeds();
    assert!(environment.read(APPLY).contains("branches: [trunk]"));
}

#[test]
fn an_action_that_is_not_named_is_asked_for_before_anything_is_written() {
    let environment = TestEnvironment::with_repository();
    let outcome = environment.planspec(&["init", "--github"]).exits(2);
    assert!(outcome.stderr.contains("--action OWNER/planspec/action@COMMIT"), "{}", outcome.stderr);
    environment.planspec(&["init", "--github", "--action", "a b"]).exits(2);
    assert!(!environment.repo().join(".planspec.yaml").exists());
    let outcome = environment.planspec(&["init", "--github", "--action", "a/planspec/action@v1"]).succeeds();
    assert!(outcome.stderr.contains("is not pinned, so its owner can change it"), "{}", outcome.stderr);
}

#[test]
fn the_documentation_shows_the_workflows_as_they_are_written() {
    let environment = TestEnvironment::with_repository();
    environment.planspec(&["init", "--github", "--no-example", "--action", ACTION]).succeeds();
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/github.md")).unwrap();
    let auto = TestEnvironment::with_repository();
    auto.planspec(&["init", "--github", "--schedule", "auto", "--no-example", "--action", ACTION]).succeeds();
    environment.write(SCHEDULE, &auto.read(SCHEDULE));
    for file in [VALIDATE, REPORT, APPLY, SCHEDULE] {
        let text = environment.read(file).replace(ACTION, "OWNER/planspec/action@COMMIT # v0.1.0");
        assert!(
            page.contains(&format!("```yaml\n{text}```\n")),
            "docs/github.md does not show {file}:\n{text}"
        );
    }
}

/// What SECURITY.md says of a stolen token, and that no job leaves it in a file.
#[test]
fn the_tokens_of_the_workflows_may_do_what_is_said_and_are_left_in_no_file() {
    let written = |more: &[&str]| {
        let environment = TestEnvironment::with_repository();
        let arguments = [&["init", "--github", "--no-example", "--action", ACTION][..], more].concat();
        environment.planspec(&arguments).succeeds();
        environment
    };
    let (plain, auto) = (written(&[]), written(&["--schedule", "auto"]));
    let pass = json!({ "contents": "write", "issues": "write", "pull-requests": "write" });
    let mut switch = pass.clone();
    switch["actions"] = json!("write");
    let check = json!({ "contents": "read", "pull-requests": "write" });
    let all = [
        (&plain, APPLY, Some(pass)),
        (&auto, APPLY, Some(switch.clone())),
        (&auto, SCHEDULE, Some(switch)),
        (&plain, VALIDATE, Some(check)),
        (&plain, REPORT, None),
    ];
    for (environment, file, expected) in all {
        let workflow: Value = serde_yaml::from_str(&environment.read(file)).unwrap();
        assert_eq!(workflow["permissions"], json!({}), "{file}");
        for job in workflow["jobs"].as_object().unwrap().values() {
            match &expected {
                Some(expected) => assert_eq!(&job["permissions"], expected, "{file}"),
                None => assert_ne!(job["permissions"]["contents"], "write", "{file}"),
            }
            for step in job["steps"].as_array().unwrap() {
                if step["uses"].as_str().is_some_and(|action| action.starts_with("actions/checkout@")) {
                    assert_eq!(step["with"]["persist-credentials"], false, "{file}");
                }
            }
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("`contents: write`, `issues: write` and `pull-requests: write`"));
    assert!(
        page.contains(
            "those of `planspec-apply.yml` and `planspec-schedule.yml` have\n`actions: write`, too"
        )
    );
}

/// Commands run in a job that can write nothing, and the pass may start it and looks when it is over.
#[test]
fn a_workflow_without_a_token_that_can_write_does_the_work_of_commands() {
    const WORK: &str = ".github/workflows/planspec-work.yml";
    let environment = TestEnvironment::with_repository();
    let arguments = ["init", "--github", "--split", "--app", "--schedule", "auto", "--action", ACTION];
    environment.planspec(&arguments).succeeds();
    let read = |file| serde_yaml::from_str::<Value>(&environment.read(file)).unwrap();
    let work = read(WORK);
    assert_eq!(work["jobs"]["work"]["permissions"], json!({ "contents": "read" }));
    assert_eq!(work["on"].as_object().unwrap().keys().collect::<Vec<_>>(), ["workflow_dispatch"]);
    assert!(!environment.read(WORK).contains("app"), "the key of the App is for passes");
    let apply = read(APPLY);
    assert_eq!(
        apply["on"]["workflow_run"],
        json!({ "workflows": ["planspec work"], "types": ["completed"] })
    );
    for file in [APPLY, SCHEDULE] {
        assert_eq!(read(file)["jobs"]["apply"]["permissions"]["actions"], "write", "{file}");
    }
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/github.md")).unwrap();
    let text = environment.read(WORK).replace(ACTION, "OWNER/planspec/action@COMMIT # v0.1.0");
    assert!(page.contains(&format!("```yaml\n{text}```\n")), "docs/github.md does not show\n{text}");
    // What was written is what `validate` asks for, and a configuration that is there is left alone.
    environment.planspec(&["validate"]).succeeds();
    let outcome = environment.planspec(&arguments).succeeds();
    assert!(outcome.stderr.contains(".planspec.yaml was there: add"), "{}", outcome.stderr);
    std::fs::remove_file(environment.repo().join(WORK)).unwrap();
    let outcome = environment.planspec(&["validate"]).exits(1);
    assert!(
        outcome.stdout.contains("there is no `.github/workflows/planspec-work.yml`"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn the_documentation_shows_the_step_that_makes_the_token_of_an_app() {
    let environment = TestEnvironment::with_repository();
    let arguments = ["init", "--github", "--app", "--no-example", "--action", ACTION];
    let outcome = environment.planspec(&arguments).succeeds();
    assert!(outcome.stderr.contains("\n  1. register a GitHub App"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("PLANSPEC_APP_PRIVATE_KEY"), "{}", outcome.stderr);
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/github.md")).unwrap();
    let (_, rest) = page.split_once("## With a GitHub App\n").unwrap();
    let (_, rest) = rest.split_once("```yaml\n").unwrap();
    let (shown, _) = rest.split_once("```\n").unwrap();
    let written = environment.read(APPLY).replace(ACTION, "OWNER/planspec/action@COMMIT # v0.1.0");
    assert!(written.ends_with(shown), "docs/github.md shows\n{shown}\nand what is written is\n{written}");
    environment.planspec(&["init", "--app"]).exits(2);
}

/// An App that is registered as the documentation says has what the step asks for, and no more than that.
#[test]
fn the_manifest_of_an_app_grants_what_the_workflow_asks_for() {
    let environment = TestEnvironment::with_repository();
    environment.planspec(&["init", "--github", "--app", "--no-example", "--action", ACTION]).succeeds();
    let apply: Value = serde_yaml::from_str(&environment.read(APPLY)).unwrap();
    let steps = apply["jobs"]["apply"]["steps"].as_array().unwrap();
    let token = steps.iter().find(|step| step["id"] == "app").unwrap()["with"].as_object().unwrap();
    let asked = token.iter().filter_map(|(name, value)| {
        Some((name.strip_prefix("permission-")?.replace('-', "_"), value.as_str()?.to_owned()))
    });
    let mut asked: std::collections::BTreeMap<String, String> = asked.collect();
    // Every App has it.
    asked.insert("metadata".to_owned(), "read".to_owned());
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/github.md")).unwrap();
    let manifest = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let manifest: Value = serde_json::from_str(manifest).unwrap();
    assert_eq!(manifest["default_permissions"], serde_json::json!(asked));
    assert_eq!((&manifest["public"], &manifest["hook_attributes"]["active"]), (&false.into(), &false.into()));
}

/// A ruleset names a check, and two jobs of one name, or a job that the merge queue does not start, would hold up every merge.
#[test]
fn one_job_checks_pull_requests_and_the_merge_queue_by_a_name_of_its_own() {
    let environment = TestEnvironment::with_repository();
    let arguments = ["init", "--github", "--app", "--schedule", "auto", "--no-example", "--action", ACTION];
    let outcome = environment.planspec(&arguments).succeeds();
    assert!(outcome.stderr.contains("the required check \"planspec / validate\""), "{}", outcome.stderr);
    let mut checks = Vec::new();
    for file in [VALIDATE, REPORT, APPLY, SCHEDULE] {
        let workflow: Value = serde_yaml::from_str(&environment.read(file)).unwrap();
        for job in workflow["jobs"].as_object().unwrap().values() {
            let started = ["pull_request", "merge_group"].map(|event| workflow["on"].get(event).is_some());
            checks.push((job["name"].as_str().unwrap().to_owned(), started));
        }
    }
    checks.sort();
    let named = |name: &str, started| (name.to_owned(), [started; 2]);
    let expected = [named("apply", false), named("apply", false), named("planspec / validate", true)];
    assert_eq!(checks[..3], expected);
    assert_eq!(checks[3..], [named("report", false)]);
}

/// Of each action of the host, the first version that runs on Node 24: the host ends support for the ones before.
#[test]
fn actions_of_the_host_run_on_node_24() {
    const FIRST: [(&str, u32); 5] = [
        ("actions/checkout", 5),
        ("actions/upload-artifact", 6),
        ("actions/download-artifact", 7),
        ("actions/create-github-app-token", 3),
        ("actions/attest-build-provenance", 3),
    ];
    let environment = TestEnvironment::with_repository();
    let arguments = ["init", "--github", "--app", "--schedule", "auto", "--no-example", "--action", ACTION];
    environment.planspec(&arguments).succeeds();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows");
    let own =
        std::fs::read_dir(own).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let written = [VALIDATE, REPORT, APPLY, SCHEDULE].map(|file| environment.read(file));
    let mut seen = std::collections::BTreeSet::new();
    for text in own.chain(written) {
        for line in text.lines().filter_map(|line| line.split_once("uses: actions/").map(|(_, used)| used)) {
            let (name, version) = (line.split('@').next().unwrap(), line.split(" # v").nth(1).unwrap());
            let major: u32 = version.split('.').next().unwrap().parse().unwrap();
            let (action, first) =
                FIRST.iter().find(|(action, _)| *action == format!("actions/{name}")).unwrap();
            assert!(major >= *first, "{line}");
            seen.insert(*action);
        }
    }
    assert_eq!(seen.len(), FIRST.len(), "{seen:?}");
}

/// What a stranger may start has no secret, no write but the comment, and nothing of the change in it.
#[test]
fn the_workflow_that_comments_for_forks_takes_nothing_of_the_change_but_data() {
    let environment = TestEnvironment::with_repository();
    environment.planspec(&["init", "--github", "--no-example", "--action", ACTION]).succeeds();
    let read = |file: &str| serde_yaml::from_str::<Value>(&environment.read(file)).unwrap();
    let (validate, report) = (read(VALIDATE), read(REPORT));
    assert_eq!(report["on"]["workflow_run"]["workflows"], json!([validate["name"]]));
    let job = &report["jobs"]["report"];
    assert_eq!(report["permissions"], json!({}));
    let permissions = json!({ "actions": "read", "pull-requests": "write" });
    assert_eq!(job["permissions"], permissions);
    let steps = |job: &Value| {
        let steps = job["steps"].as_array().unwrap().iter();
        steps
            .map(|step| step["uses"].as_str().unwrap().split('@').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(steps(job), ["actions/download-artifact", "wendy/planspec/action"]);
    let job = &validate["jobs"]["validate"];
    assert_eq!(steps(job), ["actions/checkout", "wendy/planspec/action", "actions/upload-artifact"]);
    let written = &job["steps"][1]["with"]["report"];
    assert!(written.is_string() && *written == job["steps"][2]["with"]["path"], "{written}");
}
