//! What a plan can say beyond the published contract: parameters, and commands of its own.

use std::fs;

use crate::environment::TestEnvironment;

const RELEASE: &str = r#"apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: { name: release, namespace: team }
spec:
  description: Cut a release
  parameters:
    - { name: tag, type: string, required: true, pattern: "^v[0-9]", description: What to tag }
    - { name: retries, type: number, default: 3 }
    - { name: dryRun, type: boolean, default: true }
    - { name: hosts, type: array, itemType: string, default: [] }
  graph:
    nodes:
      - id: tag
        kind: Task
        run:
          command: 'echo "said=$TAG/$RETRIES/$DRY/$HOSTS" >> "$PLANSPEC_OUTPUT"'
          env:
            TAG: "${{ parameters.tag }}"
            RETRIES: "${{ parameters.retries }}"
            DRY: "${{ parameters.dryRun }}"
            HOSTS: "${{ string(size(parameters.hosts)) }}"
          checkout: false
        outputs: [said]
"#;

fn released() -> TestEnvironment {
    TestEnvironment::with_files(&[("release.yaml", RELEASE)])
}

/// What the task of a run was given, once it has been driven.
fn said(environment: &TestEnvironment, name: &str) -> String {
    environment.planspec(&["reconcile", "-q"]).succeeds();
    let found =
        environment.planspec(&["get", "execution", name, "-n", "team", "-o", "json"]).succeeds().json();
    let text = found.to_string();
    let start = text.find("\"said\":\"").unwrap_or_else(|| panic!("{text}")) + 8;
    text[start..].split('"').next().unwrap().to_owned()
}

#[test]
fn parameters_are_converted_by_their_type_and_completed_by_their_defaults() {
    let environment = released();
    let run = |name: &str, more: &[&str]| {
        let mut line = vec!["run", "plan/release", "-n", "team", "-q", "--name", name];
        line.extend(more);
        environment.planspec(&line).succeeds();
    };
    run("one", &["-p", "tag=v1.10"]);
    assert_eq!(said(&environment, "one"), "v1.10/3/true/0");
    fs::write(environment.repo().join("given.yaml"), "tag: v2\nretries: 5\ndryRun: false\n").unwrap();
    run("two", &["--params", "given.yaml", "-p", "retries=7", "-p", "hosts:=[\"a\", \"b\"]"]);
    assert_eq!(said(&environment, "two"), "v2/7/false/2");
}

#[test]
fn parameters_that_do_not_fit_are_refused_before_anything_is_committed() {
    let environment = released();
    let refused = |more: &[&str], expected: &str| {
        let mut line = vec!["run", "plan/release", "-n", "team", "--name", "x"];
        line.extend(more);
        let outcome = environment.planspec(&line).exits(1);
        let all = outcome.stdout + &outcome.stderr;
        assert!(all.contains(expected), "{expected} is not in\n{all}");
    };
    refused(&[], "the parameter `tag` is missing, which the plan `release` requires");
    refused(&["-p", "tag=1.10"], "the parameter `tag` is \"1.10\", and must match ^v[0-9]");
    refused(
        &["-p", "tag=v1", "-p", "retries=many"],
        "the parameter `retries` is a string, and must be a number",
    );
    refused(&["-p", "tag=v1", "-p", "dryrun=true"], "did you mean `dryRun`?");
    fs::write(environment.repo().join("list.json"), "[1]").unwrap();
    refused(&["--params", "list.json"], "must be a mapping of names to values");
    assert_eq!(environment.git(&["log", "--oneline"]).succeeds().lines().len(), 1);
}

#[test]
fn an_execution_that_no_command_checked_is_held_before_anything_runs() {
    let environment = released();
    let text = "apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata: {name: raw, namespace: team}\nspec:\n  planRef: {name: release}\n  \
                parameters: {tag: v1, hosts: [1]}\n";
    environment.commit_files(&[("raw.yaml", text)], "Past the checks");
    // The type of an item is more than `validate` keeps of a value; the engine sees the whole.
    environment.planspec(&["reconcile", "-q"]);
    let shown = environment.planspec(&["describe", "execution/raw", "-n", "team"]).succeeds().stdout;
    assert!(shown.contains("the parameter `hosts` has an item (0) that is not a string"), "{shown}");
    assert!(shown.contains("ParametersInvalid") || shown.contains("Blocked"), "{shown}");
}

#[test]
fn a_plan_shows_what_it_takes() {
    let environment = released();
    environment.planspec(&["reconcile", "-q"]).succeeds();
    let shown = environment.planspec(&["describe", "plan/release", "-n", "team"]).succeeds().stdout;
    let row = shown.lines().find(|line| line.trim_start().starts_with("tag ") && line.contains("string"));
    assert!(row.is_some_and(|row| row.contains("(required)") && row.contains("What to tag")), "{shown}");
}

#[test]
fn hello_world_is_one_file_and_one_command() {
    let environment = TestEnvironment::new();
    let hello = include_str!("../../examples/hello/hello.yaml");
    assert!(hello.lines().count() <= 10);
    environment.write("hello.yaml", hello);
    let outcome = environment.planspec(&["run", "-f", "hello.yaml", "--here"]).succeeds();
    assert!(
        outcome.stdout.contains("hello from repo") && outcome.stdout.contains("and good bye"),
        "{outcome:?}"
    );
    assert!(!environment.repo().join(".git").exists());
}

#[test]
fn a_plan_is_tried_in_the_working_tree_and_nothing_is_committed() {
    let mut environment = TestEnvironment::with_files(&[("a", "committed")]);
    environment.write("a", "changed, not committed");
    let plan = RELEASE
        .replace("echo \"said", "cat a; touch left-behind; echo \"said")
        .replace("          checkout: false\n", "");
    environment.write("try.yaml", &plan);
    let line = ["run", "-f", "try.yaml", "--here", "-p", "tag=v1"];
    let outcome = environment.planspec(&line).succeeds();
    assert!(outcome.stdout.contains("changed, not committed"), "{outcome:?}");
    assert!(environment.repo().join("left-behind").exists());
    assert_eq!(environment.git(&["for-each-ref"]).succeeds().lines().len(), 1, "no status branch");
    environment.planspec(&["run", "-f", "try.yaml", "--here"]).exits(1);
    environment.write("try.yaml", &plan.replace("cat a", "exit 3"));
    environment.planspec(&line).exits(1);
    environment.set("CI", "true");
    let refused = environment.planspec(&line).exits(1).stderr;
    assert!(refused.contains("refused in CI"), "{refused}");
}

const TIDY: &str = r#"apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: { name: tidy, namespace: team }
spec:
  description: Use something and give it back
  graph:
    nodes:
      - { id: rent, kind: Task, run: "true" }
      - { id: use, kind: Task, dependsOn: [rent], run: "exit 1" }
      - { id: more, kind: Task, dependsOn: [use], run: "true" }
      - { id: person, kind: Gate, gateRef: { name: nobody }, dependsOn: [rent] }
      - { id: give-back, kind: Task, run: "echo given back", finally: true }
      - { id: tell, kind: Task, run: "true", finally: true, when: nodes.use.phase == 'Failed' }
"#;

fn phases(environment: &TestEnvironment, name: &str) -> String {
    let found =
        environment.planspec(&["get", "execution", name, "-n", "team", "-o", "json"]).succeeds().json();
    let one = if found.is_array() { &found[0] } else { &found };
    let status = &one["status"];
    let node = |id: &str| format!("{id} {}", status["nodeStatuses"][id]["phase"].as_str().unwrap_or("-"));
    let nodes = ["use", "person", "give-back", "tell"].map(node).join(", ");
    format!("{}: {nodes}", status["phase"].as_str().unwrap())
}

#[test]
fn what_comes_finally_waits_for_everything_and_runs_after_a_cancellation() {
    let environment = TestEnvironment::with_files(&[("tidy.yaml", TIDY)]);
    environment.planspec(&["run", "plan/tidy", "-n", "team", "-q", "--name", "t"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    assert_eq!(
        phases(&environment, "t"),
        "Blocked: use Failed, person Blocked, give-back Pending, tell Pending"
    );
    let why = environment.planspec(&["explain", "t/give-back", "-n", "team"]).succeeds().stdout;
    assert!(why.contains("everything else must end first; 1 nodes have not"), "{why}");
    environment.planspec(&["cancel", "t", "-n", "team"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    assert_eq!(
        phases(&environment, "t"),
        "Cancelled: use Failed, person Cancelled, give-back Succeeded, tell Succeeded"
    );
    let log = environment.planspec(&["logs", "t/give-back", "-n", "team"]).succeeds().stdout;
    assert!(log.contains("given back"), "{log}");
}

#[test]
fn what_never_began_needs_no_clean_up() {
    let plan = TIDY.replace(
        "{ id: rent, kind: Task, run: \"true\" }",
        "{ id: rent, kind: Gate, gateRef: { name: first } }",
    );
    let environment = TestEnvironment::with_files(&[("tidy.yaml", &plan)]);
    environment.planspec(&["run", "plan/tidy", "-n", "team", "-q", "--name", "t"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    environment.planspec(&["cancel", "t", "-n", "team"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    assert_eq!(
        phases(&environment, "t"),
        "Cancelled: use Cancelled, person Cancelled, give-back Cancelled, tell Cancelled"
    );
}

#[test]
fn a_failure_of_what_comes_finally_fails_the_execution() {
    let plan = TIDY
        .replace("exit 1", "true")
        .replace("echo given back", "exit 1")
        .replace("      - { id: person, kind: Gate, gateRef: { name: nobody }, dependsOn: [rent] }\n", "");
    let environment = TestEnvironment::with_files(&[("tidy.yaml", &plan)]);
    environment.planspec(&["run", "plan/tidy", "-n", "team", "-q", "--name", "t"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    assert_eq!(phases(&environment, "t"), "Failed: use Succeeded, person -, give-back Failed, tell Skipped");
}

#[test]
fn a_person_is_named_by_an_expression_and_nothing_else_is() {
    let plan = "apiVersion: planspec.io/v1alpha1\nkind: Plan\nmetadata: {name: ask, namespace: team}\nspec:\n  description: x\n  graph:\n    nodes:\n      - \
                {id: sign, kind: Task, inputs: {owner: \"${{ parameters.owner }}\"}}\n";
    let binding = |provider: &str| {
        format!(
            "apiVersion: planspec.io/v1alpha1\nkind: Binding\nmetadata: {{name: default, namespace: team}}\nspec:\n  rules:\n    - selector: {{planRef: {{name: \
             ask}}}}\n      target: {{provider: \"{provider}\"}}\n"
        )
    };
    let environment = TestEnvironment::with_files(&[
        ("ask.yaml", plan),
        ("binding.yaml", &binding("human://${{ inputs.owner }}")),
        (
            ".planspec.yaml",
            "providers:\n  allow: [\"human://*a*\", \"human://$*\"]\nidentities:\n  wendy: {emails: [wendy@example.com], login: ada}\n",
        ),
    ]);
    let asked = |name: &str, owner: &str| {
        let owner = format!("owner={owner}");
        environment
            .planspec(&["run", "plan/ask", "-n", "team", "-q", "--name", name, "-p", &owner])
            .succeeds();
        environment.planspec(&["reconcile", "-q"]);
        environment.planspec(&["describe", &format!("execution/{name}"), "-n", "team"]).succeeds().stdout
    };
    assert!(asked("one", "ada").contains("waits for ada to run"), "{}", asked("again", "ada"));
    asked("others", "dana");
    let shown = environment.planspec(&["status"]).succeeds().stdout;
    let (_, waits) = shown.split_once("Waits for you\n").unwrap_or_else(|| panic!("{shown}"));
    let (mine, others) = waits.split_once("\nWaits\n").unwrap_or_else(|| panic!("{shown}"));
    assert!(mine.contains("team/one") && others.contains("team/others"), "{shown}");
    let words = asked("two", "whoever is there");
    assert!(words.contains("\"whoever is there\" is not a login or a team"), "{words}");
    let other = asked("three", "bob");
    assert!(other.contains("is not in the allow-list"), "{other}");
    environment
        .commit_files(&[("binding.yaml", &binding("tool://${{ inputs.owner }}"))], "Choose the program");
    let refused = asked("four", "ada");
    assert!(refused.contains("an expression can only name a person"), "{refused}");
}

#[test]
fn the_status_knows_who_asks_by_an_address_and_a_login() {
    let head = |kind: &str| {
        format!(
            "---\napiVersion: planspec.io/v1alpha1\nkind: {kind}\nmetadata: {{name: default, namespace: team}}\nspec:\n"
        )
    };
    let plan = "  description: Ask two people\n  graph:\n    nodes: [{id: one, kind: Task}, {id: other, kind: Task}]\n";
    let rule = |node: &str, who: &str| {
        format!(
            "    - selector: {{planRef: {{name: default}}, nodeId: {node}}}\n      target: {{provider: \"human://{who}\"}}\n"
        )
    };
    let rules = format!("  rules:\n{}{}", rule("one", "ada"), rule("other", "dana"));
    let environment = TestEnvironment::with_files(&[
        ("ask.yaml", &format!("{}{plan}{}{rules}", head("Plan"), head("Binding"))),
        (".planspec.yaml", "identities:\n  wendy: {emails: [wendy@example.com], login: Ada}\n"),
    ]);
    environment.planspec(&["run", "plan/default", "-n", "team", "-q", "--name", "ask"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    let shown = environment.planspec(&["status"]).succeeds().stdout;
    let (_, waits) = shown.split_once("Waits for you\n").unwrap_or_else(|| panic!("{shown}"));
    let (mine, others) = waits.split_once("\nWaits\n").unwrap_or_else(|| panic!("{shown}"));
    assert!(mine.contains("team/ask one Blocked") && others.contains("team/ask other Blocked"), "{shown}");
}

#[test]
fn the_status_says_what_runs_what_failed_and_what_waits_for_me() {
    let environment = TestEnvironment::with_files(&[("tidy.yaml", TIDY)]);
    let status = || environment.planspec(&["status"]).succeeds().stdout;
    assert!(status().contains("Nothing runs, waits or has failed"), "{}", status());
    environment.write("new.yaml", &TIDY.replace("name: tidy", "name: other"));
    assert!(
        status().contains("not committed: new.yaml\n    run: planspec apply -f new.yaml\n"),
        "{}",
        status()
    );
    // As it works in the folder where somebody asks.
    environment.write("folder/a b.yaml", &TIDY.replace("name: tidy", "name: third"));
    let below = environment.planspec(&["-C", "folder", "status"]).succeeds().stdout;
    assert!(below.contains("run: planspec apply -f 'a b.yaml' -f ../new.yaml\n"), "{below}");
    environment.planspec(&["run", "plan/tidy", "-n", "team", "-q", "--name", "t"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    let shown = status();
    let mine = shown.find("Waits for you").unwrap_or_else(|| panic!("{shown}"));
    let failed = shown.find("Failed").unwrap();
    assert!(mine < failed && shown[mine..failed].contains("team/t person"), "{shown}");
    assert!(shown.contains("run: planspec approve gate/nobody --execution t -n team"), "{shown}");
    assert!(shown[failed..].contains("team/t use") && shown.contains("run: planspec logs t/use"), "{shown}");
    let value = environment.planspec(&["status", "-o", "json"]).succeeds().json();
    assert_eq!(value["waitsForYou"][0]["node"], "person");
    let rows = environment.planspec(&["list", "ex", "--no-headers", "-n", "team"]).succeeds();
    assert_eq!(rows.lines().len(), 1, "{rows:?}");
    assert!(environment.planspec(&["get", "pl", "-l", "a=b", "-o", "name"]).succeeds().stdout.is_empty());
}

#[test]
fn the_status_names_what_waits_for_a_reconcile() {
    let environment = TestEnvironment::with_files(&[("tidy.yaml", TIDY)]);
    let status = || environment.planspec(&["status"]).succeeds().stdout;
    environment.planspec(&["run", "plan/tidy", "-n", "team", "-q", "--name", "t"]).succeeds();
    let expected = "Waits for a reconcile\n  team/t committed, and no reconcile has seen it yet\n    \
                    run: planspec reconcile\n";
    assert!(status().contains(expected), "{}", status());
    environment.planspec(&["reconcile", "-q"]);
    assert!(!status().contains("Waits for a reconcile"), "{}", status());
}

#[test]
fn before_the_first_commit_it_is_said_what_is_not_committed() {
    let environment = TestEnvironment::with_repository();
    environment.write("tidy.yaml", TIDY);
    let hint = "not committed: tidy.yaml";
    for command in [&["status"] as &[&str], &["get", "plans"], &["run", "tidy"], &["get", "plan/tidy"]] {
        let outcome = environment.planspec(command);
        let all = outcome.stdout + &outcome.stderr;
        assert!(all.contains(hint), "{command:?}: {all}");
    }
}

#[test]
fn a_misspelt_parameter_is_one_error() {
    let environment = released();
    let outcome = environment.planspec(&["run", "plan/release", "-n", "team", "-p", "tga=v1"]).exits(1);
    assert!(
        outcome.stdout.contains("no parameter `tga`") && outcome.stdout.contains("did you mean `tag`?"),
        "{outcome:?}"
    );
    assert!(!outcome.stdout.contains("is missing"), "{outcome:?}");
    let missing = environment.planspec(&["run", "plan/release", "-n", "team"]).exits(1);
    assert!(missing.stdout.contains("in a command: `-p tag=…`"), "{missing:?}");
}

#[test]
fn an_execution_is_explained_by_what_holds_it_up() {
    let environment = TestEnvironment::with_files(&[("tidy.yaml", TIDY)]);
    environment.planspec(&["run", "plan/tidy", "-n", "team", "-q", "--name", "t"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    let page = environment.planspec(&["explain", "t"]).succeeds().stdout;
    let failed = page.find("team/t/use is Failed").unwrap_or_else(|| panic!("{page}"));
    let waits = page.find("team/t/person is Blocked").unwrap_or_else(|| panic!("{page}"));
    assert!(failed < waits, "{page}");
    assert!(page.contains("planspec approve gate/nobody --execution t -n team"), "{page}");
    let value = environment.planspec(&["explain", "t", "-o", "json"]).succeeds().json();
    assert_eq!(value["nodes"][0]["node"], "use");
    // For `kubectl`, it is the manual of the fields.
    for word in ["plan", "plan.spec.graph"] {
        let refused = environment.planspec(&["explain", word]).exits(2);
        assert!(refused.stderr.contains("`planspec schema plan` lists the fields"), "{refused:?}");
    }
}

#[test]
fn a_retry_says_whose_files_it_runs() {
    let environment = TestEnvironment::with_files(&[("tidy.yaml", TIDY)]);
    environment.planspec(&["run", "plan/tidy", "-n", "team", "-q", "--name", "t"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    let said = environment.planspec(&["retry", "t/use"]).succeeds();
    assert!(!said.stdout.contains("pinned") && !said.stderr.contains("pinned"), "{said:?}");
    environment.planspec(&["reconcile", "-q"]);
    environment.commit_files(&[("fixed.sh", "true\n")], "Fix it");
    let said = environment.planspec(&["retry", "t/use"]).succeeds();
    let all = said.stdout + &said.stderr;
    assert!(all.contains("to which it is pinned"), "{all}");
    assert!(
        all.contains("once it has ended, `planspec run --from-execution t -n team` runs those of now"),
        "{all}"
    );
    environment.planspec(&["reconcile", "-q"]);
    environment.planspec(&["cancel", "t"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    environment.planspec(&["run", "--from-execution", "t", "-n", "team"]).succeeds();
}

#[test]
fn executions_that_wait_for_each_other_are_named_by_validate_and_by_the_pass() {
    let text: Vec<String> = [("a", "b"), ("b", "c"), ("c", "a")]
        .map(|(own, other)| {
            format!(
                "apiVersion: planspec.io/v1alpha1\nkind: Plan\nmetadata: {{ name: {own}, namespace: team }}\nspec:\n  \
                 description: Waits for the next\n  graph:\n    nodes:\n      \
                 - {{ id: next, kind: External, externalRef: {{ type: resource, resourceRef: {{ kind: Execution, name: {other} }} }} }}\n\
                 ---\napiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata: {{ name: {own}, namespace: team }}\n\
                 spec: {{ planRef: {{ name: {own} }} }}\n"
            )
        })
        .into();
    let environment = TestEnvironment::with_files(&[("circle.yaml", &text.join("---\n"))]);
    let validated = environment.planspec(&["validate"]).succeeds().stdout;
    assert!(validated.contains("executions wait for each other: "), "{validated}");
    assert!(validated.contains("a → b → c → a") && validated.contains("PS3017"), "{validated}");
    assert_eq!(validated.matches("PS3017").count(), 1, "one circle is one warning: {validated}");
    let passed = environment.planspec(&["reconcile"]);
    let all = passed.stdout + &passed.stderr;
    assert!(all.contains("which waits for this execution; cycle: team/execution/"), "{all}");
    let why = environment.planspec(&["explain", "a/next"]).succeeds().stdout;
    assert!(
        why.contains("team/execution/a → team/execution/b → team/execution/c → team/execution/a"),
        "{why}"
    );
    // The way out is the one that people know: an Execution that is cancelled waits for nothing.
    environment.planspec(&["cancel", "c"]).succeeds();
    let after = environment.planspec(&["reconcile"]);
    let all = after.stdout + &after.stderr;
    assert!(!all.contains("cycle: "), "{all}");
}

#[test]
fn the_published_schema_knows_nothing_of_ours() {
    let environment = TestEnvironment::new();
    let ours = environment.planspec(&["schema", "plan"]).succeeds().stdout;
    let published = environment.planspec(&["schema", "plan", "--published"]).succeeds().stdout;
    assert!(ours.contains("\"planParameter\"") && ours.contains("\"run\""));
    for ours in ["planParameter", "runSettings", "\"run\"", "\"parameters\"", "pull-request", "extension"] {
        assert!(!published.contains(ours), "{ours}");
    }
    let all = environment.planspec(&["schema", "--published"]).succeeds().stdout;
    assert!(all.contains("\"Execution\"") && !all.contains("Schedule"));
    let none = environment.planspec(&["schema", "schedule", "--published"]).exits(1);
    assert!(none.stderr.contains("has no kind Schedule"), "{}", none.stderr);
    assert!(published.contains("\"taskNode\"") && published.contains("\"acceptanceCriteria\""));
}
