//! The comments that the README shows: what `planspec ci` writes about its own example, from the pull request to the end.

use std::fs;
use std::path::Path;

use regex::Regex;

use crate::environment::TestEnvironment;
use crate::github_ci::{World, opened, pull};

/// What differs from run to run, as one word each.
fn settled(text: &str) -> String {
    let ids = Regex::new("`(--expect )?[0-9a-f]{8}([0-9a-f]{4})?`").unwrap();
    let times = Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC").unwrap();
    // Links name the commit in full, and how long a node took depends on the machine.
    let links = Regex::new("/blob/[0-9a-f]{40}/").unwrap();
    let spans = Regex::new(r"\b(after) [0-9dhms]+\b").unwrap();
    let text = links.replace_all(text, "/blob/COMMIT/");
    let text = spans.replace_all(&text, "after SPAN");
    times.replace_all(&ids.replace_all(&text, "`ID`"), "TIME").into_owned()
}

/// A comment as a quotation, without the marks that nobody sees.
fn quoted(comment: &str) -> String {
    let lines = comment.trim().lines().filter(|line| !line.starts_with("<!-- planspec:"));
    lines.map(|line| format!("> {line}").trim_end().to_owned() + "\n").collect()
}

/// Compares a part of the README with what is written, or brings it up to date.
fn shows(name: &str, comment: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let page = fs::read_to_string(&path).unwrap();
    let begin = format!("<!-- example: {name} -->\n");
    let (before, rest) = page.split_once(&begin).expect(name);
    let (shown, after) = rest.split_once("<!-- end of example -->\n").expect(name);
    let written = quoted(comment);
    if settled(shown) == settled(&written) {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_DOCS").is_some(),
        "run UPDATE_DOCS=1 cargo test --test e2e the_readme_shows\n{written}"
    );
    fs::write(&path, format!("{before}{begin}{written}<!-- end of example -->\n{after}")).unwrap();
}

#[test]
fn the_readme_shows_what_a_pull_request_is_told() {
    let world = World::around(TestEnvironment::with_repository());
    let (environment, repo) = (&world.environment, world.environment.repo());
    crate::examples::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sso"), &repo);
    let brought =
        ["planspec/plan.yaml", "planspec/execution.yaml"].map(|path| (path, environment.read(path)));
    for (path, _) in &brought {
        fs::remove_file(repo.join(path)).unwrap();
    }
    environment.git(&["add", "--all"]).succeeds();
    environment.git(&["commit", "--quiet", "-m", "Begin"]).succeeds();
    environment.git(&["switch", "--quiet", "-c", "feat"]).succeeds();
    environment.commit_files(&brought.each_ref().map(|(path, text)| (*path, text.as_str())), "Sign in");
    let head = environment.git_output(&["rev-parse", "HEAD"]);
    environment.git(&["switch", "--quiet", "main"]).succeeds();
    world.ci("pull_request", &opened(7, &head), &[]).succeeds();
    shows("pull request", &world.host.own_comments()[0]);

    environment.git(&["merge", "--quiet", "--no-ff", "-m", "Merge #7", "feat"]).succeeds();
    let merge = environment.git_output(&["rev-parse", "HEAD"]);
    world.host.with(|state| {
        state.pulls.push(pull(7, "wendy", &head, Some(&merge)));
        state.writers.push("rosa".to_owned());
    });
    world.pass().succeeds();
    shows("progress", &world.host.own_comments()[1]);

    // What the comment and the page say is what has to be written.
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let command = "/planspec approve sso-exec-001/sso-security-review the token stays on the server";
    assert!(page.contains(&format!("```text\n{command}\n```\n")), "the README shows another command");
    let (id, outcome) = world.says("rosa", command);
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    assert!(world.host.own_comments()[1].contains("`sso-exec-001` succeeded"));
}
