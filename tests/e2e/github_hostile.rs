//! `planspec ci` with everything in an event, a change and a comment written by somebody who means harm.

use serde_json::{Value, json};

use crate::github_ci::{CONFIG, GATE, TOKEN, WORK, World, change, obeyed, opened};

const SHOUT: &str = "@acme/all ::add-mask::x ##[add-mask]y <img src=x> [x](http://evil.test) `$(touch pwned)` #1\r\n::error::z";

/// Nothing but code, which a host shows as it is, holds what a host would act on.
fn harmless(page: &str) {
    let text = regex::Regex::new("`[^`\n]*`").unwrap().replace_all(page, "");
    let text = text.replace("](https://github.com/acme/app/", "](own/");
    for bad in ["@acme", "<img", "](http", "\n::", "##[", " #1"] {
        assert!(!text.contains(bad), "{bad}: {page}");
    }
}

#[test]
fn nothing_of_a_hostile_change_is_obeyed_linked_or_run() {
    let world = World::new(CONFIG, GATE);
    let path = "a,line=9::warning::x%0A@acme $(touch pwned) <img>;`id`\n::error::y.yaml";
    let broken = json!({
        "apiVersion": "planspec.io/v1alpha1", "kind": "Gate", "metadata": { "name": "x", "namespace": "team", SHOUT: SHOUT },
        "spec": { "gateType": SHOUT, "targetRef": { "kind": "Plan", "name": SHOUT } },
    });
    let head = change(&world, path, &broken.to_string());
    let mut event = opened(8, &head);
    let pull = &mut event["pull_request"];
    (pull["title"], pull["body"]) = (json!(SHOUT), json!(SHOUT));
    pull["head"]["ref"] = json!("x;$(touch${IFS}pwned)`id`@acme/all");
    pull["labels"] = json!([{ "name": SHOUT }]);
    event["sender"] = json!({ "login": SHOUT });
    let report = world.file("preview.json");
    let outcome = world.ci("pull_request", &event, &["--report", report.to_str().unwrap()]).exits(1);
    let commands = obeyed(&outcome);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let findings = report["diagnostics"].as_array().unwrap().len();
    assert!(findings > 0 && commands.len() == findings, "{outcome:?}");
    for command in &commands {
        assert!(command.starts_with("::error file=a%2Cline=9%3A%3A"), "{command}");
    }
    for page in [world.host.own_comments().remove(0), world.left("summary")] {
        harmless(&page);
    }
    assert_eq!(world.left("output").lines().filter(|line| line.contains("<<planspec-")).count(), 3);
    let place = world.environment.repo();
    assert!(!place.join("pwned").exists() && !world.file("pwned").exists());
}

#[test]
fn the_words_of_a_decision_are_data_wherever_they_are_shown() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let shout = SHOUT.lines().next().unwrap();
    let (id, outcome) = world.says("rosa", &format!("/planspec reject look {shout}"));
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    assert_eq!(world.phase(), "Failed");
    // One annotation of our own, which the words end nowhere.
    let [annotation] = obeyed(&outcome).try_into().unwrap();
    assert!(
        annotation.starts_with("::error title=team/e failed at look::rejected by rosa: "),
        "{annotation}"
    );
    assert!(!annotation.contains("##["), "{annotation}");
    for page in [world.host.own_comments().remove(0), world.left("summary")] {
        assert!(page.contains("Failed"), "{page}");
        harmless(&page);
    }
    let (id, _) = world.says("eve", &format!("/planspec complete {shout}"));
    let (_, _) = world.says("wendy", &format!("/planspec retry {shout}"));
    assert_ne!(world.reaction(id).as_deref(), Some("+1"));
    for answer in world.host.own_comments() {
        harmless(&answer);
    }
}

/// Configuration, reviewers and policy are those of the default branch, whatever the change or the checkout says.
#[test]
fn what_a_change_says_of_policy_counts_only_after_the_merge() {
    let world = World::new("exclude: ['private/**']\n", GATE);
    world.pass().succeeds();
    let environment = &world.environment;
    environment.git(&["switch", "--quiet", "-c", "feat"]).succeeds();
    let gate = GATE.replace("'user:rosa'", "'user:eve'");
    let files = [
        (".planspec.yaml", "exclude: []\n"),
        ("private/x.yaml", "kind: Broken\n"),
        ("gate.yaml", gate.as_str()),
    ];
    environment.commit_files(&files, "Open everything");
    let head = environment.git_output(&["rev-parse", "HEAD"]);
    environment.git(&["switch", "--quiet", "main"]).succeeds();
    world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    let comment = world.host.own_comments().remove(1);
    assert!(comment.contains("reviewers, providers and rules"), "{comment}");
    assert!(!comment.contains("private"), "{comment}");
    // The change is checked out where the command runs, and is no authority there either.
    environment.git(&["switch", "--quiet", "feat"]).succeeds();
    let (id, outcome) = world.says("eve", "/planspec approve look");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"), "{outcome:?}");
    assert_eq!(world.phase(), "Blocked");
}

#[test]
fn the_token_is_nowhere_after_a_whole_life() {
    let world = World::new(CONFIG, GATE);
    let curious = "{command: sh, args: [-c, 'env; echo \"$GITHUB_TOKEN\"; cat /proc/$$/cmdline']}";
    let work = WORK.replace("{command: 'true'}", curious);
    world.environment.commit_files(&[("work.yaml", &work)], "Look around");
    let head = change(&world, "notes.yaml", "a: 1\n");
    world.ci("pull_request", &opened(8, &head), &["-v"]);
    world.pass().succeeds();
    world.says("rosa", "/planspec approve look");
    assert_eq!(world.phase(), "Succeeded");
    let mut folders = vec![world.file("")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path()).unwrap();
                let found = bytes.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes());
                assert!(!found, "the token is in {}", entry.path().display());
            }
        }
    }
    let history = world.environment.git(&["log", "--all", "-p"]).succeeds();
    assert!(history.stdout.contains("Succeeded") && !history.stdout.contains(TOKEN));
    assert!(world.host.with(|state| state.texts.iter().all(|text| !text.contains(TOKEN))));
}
