//! The commands that write desired state: commits on the branch, and nothing else.

use crate::environment::TestEnvironment;
use crate::fixtures::{goal, plan};
use crate::skip::unless_found;

const TWO: &str = "# both goals\napiVersion: planspec.io/v1alpha1\nkind: Goal\nmetadata: {name: one, namespace: team}\nspec:\n  \
                   description: One # keep me\n---\n# about two\napiVersion: planspec.io/v1alpha1\nkind: Goal\nmetadata: {name: two, \
                   namespace: team}\nspec: {description: Two}\n";

fn commits(environment: &TestEnvironment) -> usize {
    environment.git_output(&["rev-list", "--count", "--all"]).parse().unwrap()
}

fn outside(environment: &TestEnvironment, content: &str) -> String {
    let path = environment.root().join("home/input.yaml");
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_new_resource_gets_a_file_of_its_own_and_applying_again_changes_nothing() {
    let environment = TestEnvironment::with_files(&[("README", "x")]);
    let input = outside(&environment, &goal("ship", "Ship it"));
    let outcome = environment.planspec(&["apply", "-f", &input]).succeeds();
    assert_eq!(outcome.lines(), ["goal/ship created"]);
    assert!(environment.read("planspec/team/goals/ship.yaml").contains("description: Ship it"));
    assert_eq!(
        environment.git_output(&["log", "-1", "--format=%an %s"]),
        "Wendy Writer Apply team/goal/ship"
    );
    assert_eq!(environment.git_output(&["status", "--porcelain"]), "");
    let again = environment.planspec(&["apply", "-f", &input]).succeeds();
    assert_eq!(again.lines(), ["goal/ship unchanged"]);
    assert_eq!(commits(&environment), 2);
}

#[test]
fn a_known_resource_is_replaced_where_it_stands_and_its_neighbours_stay() {
    let environment = TestEnvironment::with_files(&[("goals/all.yaml", TWO)]);
    let input = outside(&environment, &goal("two", "Twice"));
    let outcome = environment.planspec(&["apply", "-f", &input]).succeeds();
    assert_eq!(outcome.lines(), ["goal/two configured"]);
    let text = environment.read("goals/all.yaml");
    assert!(
        text.starts_with("# both goals\n") && text.contains("One # keep me\n---\n# about two\n"),
        "{text}"
    );
    assert!(text.contains("description: Twice") && !text.contains("{description: Two}"), "{text}");
}

#[test]
fn a_file_of_the_working_tree_is_committed_where_it_is() {
    let environment = TestEnvironment::with_files(&[("README", "x")]);
    environment.write("work/goals.yaml", TWO);
    environment.write("other.txt", "not ours");
    let outcome = environment.planspec(&["apply", "-f", "work/goals.yaml"]).succeeds();
    assert_eq!(outcome.lines(), ["goal/one created", "goal/two created"]);
    assert_eq!(environment.git_output(&["show", "HEAD:work/goals.yaml"]), TWO.trim());
    assert_eq!(environment.git_output(&["status", "--porcelain"]), "?? other.txt");
}

#[test]
fn a_change_that_would_break_something_is_refused_as_a_whole() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("ship"))]);
    let broken = format!(
        "{}---\n{}",
        goal("fine", "Fine"),
        "apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata: {name: run, namespace: team}\nspec: {planRef: {name: shop}}\n"
    );
    let input = outside(&environment, &broken);
    let outcome = environment.planspec(&["apply", "-f", &input]).exits(1);
    assert!(outcome.stdout.contains("PS3002") && outcome.stderr.contains("nothing was changed"));
    assert_eq!(commits(&environment), 1);
}

#[test]
fn an_execution_never_changes() {
    let execution = |value: u8| {
        format!(
            "apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata: {{name: run, namespace: team}}\nspec: {{planRef: {{name: ship}}, parameters: {{a: {value}}}}}\n"
        )
    };
    let environment =
        TestEnvironment::with_files(&[("plan.yaml", &plan("ship")), ("run.yaml", &execution(1))]);
    let input = outside(&environment, &execution(2));
    let outcome = environment.planspec(&["apply", "-f", &input]).exits(1);
    assert!(outcome.stdout.contains("PS4001"), "{}", outcome.stdout);
}

#[test]
fn something_else_that_is_broken_holds_nobody_back() {
    let environment =
        TestEnvironment::with_files(&[("bad.yaml", "apiVersion: planspec.io/v1alpha1\nkind: Goal\n")]);
    let input = outside(&environment, &goal("ship", "Ship it"));
    environment.planspec(&["apply", "-f", &input]).succeeds();
}

#[test]
fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let environment = TestEnvironment::with_files(&[("goals.yaml", TWO)]);
    let outcome = environment.planspec(&["delete", "goal/one", "--dry-run"]).succeeds();
    assert_eq!(outcome.lines(), ["goal/one deleted (dry run)"]);
    assert_eq!(commits(&environment), 1);
}

#[test]
fn deleting_removes_the_document_then_the_file_and_is_idempotent() {
    let environment = TestEnvironment::with_files(&[("goals.yaml", TWO)]);
    environment.planspec(&["delete", "goal/one"]).succeeds();
    let text = environment.read("goals.yaml");
    assert!(!text.contains("name: one") && text.contains("# about two"), "{text}");
    let outcome = environment.planspec(&["delete", "goal", "two"]).succeeds();
    assert_eq!(outcome.lines(), ["goal/two deleted"]);
    assert!(!environment.repo().join("goals.yaml").exists());
    let outcome = environment.planspec(&["delete", "goal/two", "-n", "team"]).succeeds();
    assert_eq!(outcome.lines(), ["goal/two unchanged"]);
    assert_eq!(commits(&environment), 3);
}

#[test]
fn an_editor_changes_one_document() {
    let mut environment = TestEnvironment::with_files(&[("goals.yaml", TWO)]);
    environment.set("EDITOR", "sed -i s/One/Uno/");
    let outcome = environment.planspec(&["edit", "goal/one"]).succeeds();
    assert_eq!(outcome.lines(), ["goal/one configured"]);
    assert_eq!(environment.read("goals.yaml"), TWO.replace("One", "Uno"));
    let outcome = environment.planspec(&["edit", "goal/one"]).succeeds();
    assert!(outcome.stderr.contains("no changes made"), "{}", outcome.stderr);
    environment.set("EDITOR", "sed -i s/kind/kin/");
    let outcome = environment.planspec(&["edit", "goal/one"]).exits(1);
    assert!(outcome.stderr.contains("your text is in"), "{}", outcome.stderr);
}

#[test]
fn running_a_goal_commits_an_execution_of_the_plan_that_serves_it() {
    let serving =
        plan("ship-v1").replace("  description: Build", "  goalRef: {name: ship}\n  description: Build");
    let environment =
        TestEnvironment::with_files(&[("goal.yaml", &goal("ship", "Ship")), ("plan.yaml", &serving)]);
    let arguments = ["run", "goal/ship", "-p", "dryRun:=false", "-p", "who=wendy", "--name", "run-1"];
    assert_eq!(environment.planspec(&arguments).succeeds().lines(), ["execution/run-1 created"]);
    let value = environment.planspec(&["get", "execution/run-1", "-o", "json"]).succeeds().json();
    assert_eq!(value["spec"]["planRef"]["name"], "ship-v1");
    assert_eq!(value["spec"]["goalRef"]["name"], "ship");
    assert_eq!(value["spec"]["parameters"], serde_json::json!({"dryRun": false, "who": "wendy"}));
    assert_eq!(environment.planspec(&arguments).succeeds().lines(), ["execution/run-1 unchanged"]);
    let other = ["run", "goal/ship", "--name", "run-1"];
    assert!(environment.planspec(&other).exits(1).stderr.contains("runs something else"));
    let generated = environment.planspec(&["run", "plan/ship-v1"]).succeeds();
    assert!(generated.stdout.starts_with("execution/ship-v1-20"), "{}", generated.stdout);
}

#[test]
fn runs_without_a_name_within_one_second_are_runs_of_their_own() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("ship-v1"))]);
    for _ in 0..6 {
        let run = environment.planspec(&["run", "plan/ship-v1"]).succeeds();
        assert!(run.stdout.ends_with(" created\n"), "{}", run.stdout);
    }
    let names = environment.planspec(&["get", "executions", "-o", "name"]).succeeds().lines().len();
    assert_eq!(names, 6);
}

#[test]
fn a_push_goes_on_top_of_the_remote_or_not_at_all() {
    let environment = TestEnvironment::with_files(&[("README", "x")]);
    let origin = environment.root().join("origin.git");
    environment
        .git(&["init", "--quiet", "--bare", "--initial-branch=main", origin.to_str().unwrap()])
        .succeeds();
    environment.git(&["remote", "add", "origin", origin.to_str().unwrap()]).succeeds();
    environment.git(&["push", "--quiet", "origin", "main"]).succeeds();
    let input = outside(&environment, &goal("ship", "Ship it"));
    environment.planspec(&["apply", "-f", &input, "--push"]).succeeds();
    let theirs = environment.git_in(&origin, &["rev-parse", "main"]).succeeds().stdout;
    assert_eq!(theirs.trim(), environment.git_output(&["rev-parse", "main"]));
    // Somebody else pushes in between.
    let other = environment.root().join("other");
    environment.git(&["clone", "--quiet", origin.to_str().unwrap(), other.to_str().unwrap()]).succeeds();
    environment.git_in(&other, &["commit", "--quiet", "--allow-empty", "-m", "Theirs"]).succeeds();
    environment.git_in(&other, &["push", "--quiet"]).succeeds();
    let input = outside(&environment, &goal("ship", "Ship it now"));
    let outcome = environment.planspec(&["apply", "-f", &input, "--push"]).exits(4);
    assert!(outcome.stderr.contains("git pull --rebase"), "{}", outcome.stderr);
}

#[test]
fn a_push_to_another_repository_than_the_one_that_is_read_says_so() {
    let environment = TestEnvironment::with_files(&[(".planspec.yaml", "")]);
    let (read, written) = (environment.root().join("read.git"), environment.root().join("written.git"));
    for place in [&read, &written] {
        environment.git(&["init", "--quiet", "--bare", place.to_str().unwrap()]).succeeds();
    }
    environment.git(&["remote", "add", "origin", read.to_str().unwrap()]).succeeds();
    environment.git(&["push", "--quiet", "origin", "main"]).succeeds();
    environment.git(&["remote", "set-url", "--push", "origin", written.to_str().unwrap()]).succeeds();
    let input = outside(&environment, &goal("ship", "Ship it"));
    let outcome = environment.planspec(&["apply", "-f", &input, "--push"]).exits(3);
    assert!(outcome.stderr.contains("[rejected] (stale info)"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("`url` and `pushurl` of the remote have to name the same one"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_pull_request_gets_a_branch_of_its_own_and_leaves_the_working_tree_alone() {
    let environment = TestEnvironment::with_files(&[("README", "x")]);
    let origin = environment.root().join("origin.git");
    environment
        .git(&["init", "--quiet", "--bare", "--initial-branch=main", origin.to_str().unwrap()])
        .succeeds();
    environment.git(&["remote", "add", "origin", origin.to_str().unwrap()]).succeeds();
    environment.git(&["push", "--quiet", "origin", "main"]).succeeds();
    let input = outside(&environment, &goal("ship", "Ship it"));
    let outcome = environment.planspec(&["apply", "-f", &input, "--pr"]).succeeds();
    assert!(outcome.stderr.contains("open a pull request from planspec/change-"), "{}", outcome.stderr);
    assert!(!environment.repo().join("planspec").exists());
    let branches = environment.git_in(&origin, &["branch", "--list", "planspec/change-*"]).succeeds().stdout;
    assert_eq!(branches.lines().count(), 1, "{branches}");
}

#[test]
fn a_repository_named_by_its_url_is_changed_on_the_remote() {
    let environment = TestEnvironment::with_files(&[("README", "x")]);
    let origin = environment.root().join("origin.git");
    environment.git(&["clone", "--quiet", "--bare", ".", origin.to_str().unwrap()]).succeeds();
    let input = outside(&environment, &goal("ship", "Ship it"));
    let url = format!("file://{}", origin.display());
    let home = environment.root().join("home");
    environment.planspec_in(&home, &["--repo", &url, "apply", "-f", &input]).succeeds();
    let files = environment.git_in(&origin, &["ls-tree", "-r", "--name-only", "main"]).succeeds().stdout;
    assert!(files.contains("planspec/team/goals/ship.yaml"), "{files}");
}

#[test]
fn init_scaffolds_a_valid_example_and_overwrites_nothing() {
    let environment = TestEnvironment::new();
    let outcome = environment.planspec(&["init"]).succeeds();
    assert!(outcome.stdout.contains(".planspec.yaml created"), "{}", outcome.stdout);
    let outcome = environment.planspec(&["validate", "--deny-warnings"]).succeeds();
    assert!(outcome.stderr.contains("4 resources: no problems"), "{}", outcome.stderr);
    environment.write(".planspec.yaml", "jobs: 3\n");
    environment.planspec(&["init"]).succeeds();
    assert_eq!(environment.read(".planspec.yaml"), "jobs: 3\n");
}

/// Every default that the scaffold shows in a comment is a key of the configuration, with that very value.
#[test]
fn the_scaffolded_configuration_tells_the_true_defaults() {
    let environment = TestEnvironment::new();
    environment.planspec(&["init", "--no-example"]).succeeds();
    let text = environment.read(".planspec.yaml");
    let keyed = |line: &str| {
        let rest = line.strip_prefix("# ").unwrap_or_default();
        let key = rest.trim_start().split(':').next().unwrap_or_default();
        rest.contains(':') && !key.contains(' ') && !key.is_empty()
    };
    let uncommented: Vec<&str> = text.lines().filter(|line| keyed(line)).map(|line| &line[2..]).collect();
    let config: planspec::config::Config = serde_yaml::from_str(&uncommented.join("\n")).unwrap();
    let mut expected = planspec::config::Config { jobs: Some(4), ..Default::default() };
    expected.lease.duration = config.lease.duration.clone();
    expected.identities = config.identities.clone();
    assert_eq!(config.retention.span(), expected.retention.span());
    expected.retention = config.retention.clone();
    assert_eq!(config.publish.progress_interval.span(), expected.publish.progress_interval.span());
    expected.publish.progress_interval = config.publish.progress_interval.clone();
    assert_eq!(config, expected, "{uncommented:#?}");
}

#[test]
fn line_ends_and_clean_filters_are_those_of_git_add() {
    let environment = TestEnvironment::with_files(&[
        (".gitattributes", "*.yaml text eol=crlf\n"),
        ("goals.yaml", &goal("ship", "Ship it")),
    ]);
    std::fs::remove_file(environment.repo().join("goals.yaml")).unwrap();
    environment.git(&["checkout", "goals.yaml"]).succeeds();
    assert!(environment.read("goals.yaml").contains("\r\n"), "Git converts line ends here");
    let before = environment.git_output(&["rev-parse", "HEAD"]);
    environment.planspec(&["apply", "-f", "goals.yaml"]).succeeds();
    assert_eq!(environment.git_output(&["rev-parse", "HEAD"]), before, "nothing to commit");
    assert_eq!(environment.git_output(&["status", "--porcelain"]), "");

    environment.write("goals.yaml", &goal("ship", "Ship it twice").replace('\n', "\r\n"));
    environment.planspec(&["apply", "-f", "goals.yaml"]).succeeds();
    let committed = environment.git(&["cat-file", "-p", "HEAD:goals.yaml"]).succeeds().stdout;
    assert!(committed.contains("Ship it twice\n") && !committed.contains('\r'), "{committed:?}");
    assert_eq!(environment.git_output(&["status", "--porcelain"]), "");
}

#[test]
fn a_clean_filter_of_the_user_is_applied() {
    let environment = TestEnvironment::with_files(&[(".gitattributes", "*.yaml filter=note\n")]);
    environment.git(&["config", "filter.note.clean", "sed -e s/draft/final/"]).succeeds();
    environment.write("goals.yaml", &goal("ship", "the draft"));
    environment.planspec(&["apply", "-f", "goals.yaml"]).succeeds();
    assert!(environment.git_output(&["cat-file", "-p", "HEAD:goals.yaml"]).contains("the final"));
    assert_eq!(environment.git_output(&["status", "--porcelain"]), "");
}

/// `GIT_CONFIG_*` and includes are known to the `git` program; where libgit2 does not read them, it is asked.
#[test]
fn the_author_is_whoever_git_would_take_however_that_is_configured() {
    let mut environment = TestEnvironment::with_files(&[("one.yaml", &goal("one", "One"))]);
    let author = |environment: &TestEnvironment| environment.git_output(&["log", "-1", "--format=%an <%ae>"]);
    let apply = |environment: &TestEnvironment, text: &str| {
        environment.write("one.yaml", &goal("one", text));
        environment.planspec(&["apply", "-q", "one.yaml"]).succeeds();
    };
    for name in ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"] {
        environment.set(name, "");
    }
    let global = environment.root().join("global");
    let include = environment.root().join("include");
    std::fs::write(&include, "[user]\nname = Included\nemail = i@example.com\n").unwrap();
    let inside =
        format!("[includeIf \"gitdir:{}/\"]\npath = {}\n", environment.repo().display(), include.display());
    std::fs::write(&global, inside).unwrap();
    environment.set("GIT_CONFIG_GLOBAL", global.to_str().unwrap());
    apply(&environment, "Two");
    assert_eq!(author(&environment), "Included <i@example.com>");
    for (name, value) in [
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "user.name"),
        ("GIT_CONFIG_VALUE_0", "Counted"),
        ("GIT_CONFIG_KEY_1", "user.email"),
        ("GIT_CONFIG_VALUE_1", "c@example.com"),
    ] {
        environment.set(name, value);
    }
    apply(&environment, "Three");
    assert_eq!(author(&environment), "Counted <c@example.com>");
}

#[test]
fn commits_are_signed_where_git_is_set_up_to_sign() {
    let probe = std::process::Command::new("ssh-keygen").args(["-l", "-f", "/dev/null"]).output();
    let found =
        probe.map_err(|_| "ssh-keygen is not installed; install the package openssh-client".to_owned());
    if unless_found(found).is_none() {
        return;
    }
    let environment = TestEnvironment::with_files(&[("README", "x")]);
    let key = environment.root().join("home/key");
    let key = key.to_str().unwrap();
    let made =
        std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", key]).status();
    assert!(made.unwrap().success());
    environment.git(&["config", "gpg.format", "ssh"]).succeeds();
    environment.git(&["config", "user.signingkey", &format!("{key}.pub")]).succeeds();
    environment.git(&["config", "commit.gpgsign", "true"]).succeeds();
    let input = outside(&environment, &goal("ship", "Ship it"));
    environment.planspec(&["apply", "-f", &input]).succeeds();
    let commit = environment.git_output(&["cat-file", "-p", "HEAD"]);
    assert!(commit.contains("gpgsig -----BEGIN SSH SIGNATURE-----"), "{commit}");
    assert!(commit.contains("author Wendy Writer <wendy@example.com>"), "{commit}");

    // A key that is gone is an error, never a commit without a signature.
    environment.git(&["config", "user.signingkey", &format!("{key}-gone.pub")]).succeeds();
    let input = outside(&environment, &goal("ship", "Ship it twice"));
    let refused = environment.planspec(&["apply", "-f", &input]).exits(3);
    assert!(refused.stderr.contains("git could not sign the commit"), "{}", refused.stderr);
    assert!(refused.stderr.contains("git commit -S"), "{}", refused.stderr);
    assert_eq!(environment.git_output(&["log", "-1", "--format=%s"]), "Apply team/goal/ship");
}
