//! Random edits of a signed history, by somebody who may push the status branch and has a key that nobody lists, and by a person
//! whose key is listed: each is named by `verify` and refused by a pass, and nothing runs or is recorded (Invariant 14).

use std::fs;

use regex::Regex;
use serde_json::json;

use crate::github_host::GitHubHost;
use crate::signing::{STATUS, STATUS_REF, Signed};
use crate::status_edits::Dice;

/// How many edits are drawn; each takes a pass and a `verify`.
const EDITS: usize = 20;

/// A branch that somebody made of the valid one.
struct Forged {
    what: String,
    /// The oldest commit that is not as it was.
    first: String,
    tip: String,
}

/// Who writes a commit; nobody signs nothing.
const WRITERS: [Option<&str>; 3] = [None, Some("mallory"), Some("wendy")];

fn write_commit(stage: &Signed, who: Option<&str>, tree: &str, parents: &[&str]) -> String {
    let mut arguments = vec!["commit-tree", "-m", "team/e: ship Succeeded\n\nPlanspec-Runner: ci"];
    arguments.extend(parents.iter().flat_map(|parent| ["-p", parent]));
    arguments.extend(who.map(|_| "-S"));
    arguments.push(tree);
    stage.person(who.unwrap_or("mallory"), Some("git"), &arguments).succeeds().stdout.trim().to_owned()
}

/// A commit whose text is another one's, changed.
fn rewritten(stage: &Signed, commit: &str, change: impl Fn(&str) -> String) -> String {
    let text = stage.git(&["cat-file", "commit", commit]) + "\n";
    let changed = change(&text);
    assert_ne!(changed, text, "nothing was changed in\n{text}");
    let file = stage.environment.root().join("rewritten");
    fs::write(&file, changed).unwrap();
    stage.git(&["hash-object", "-t", "commit", "-w", file.to_str().unwrap()])
}

/// A tree in which one value of one file is another, or the file is gone, or is there twice.
fn edited_tree(stage: &Signed, tip: &str, dice: &mut Dice) -> (String, String) {
    let listed = stage.git(&["ls-tree", "-r", "--name-only", tip]);
    let paths: Vec<&str> = listed.lines().collect();
    let path = paths[dice.roll(paths.len())];
    stage.git(&["read-tree", &format!("{tip}^{{tree}}")]);
    let text = stage.git(&["cat-file", "blob", &format!("{tip}:{path}")]) + "\n";
    let put = |path: &str, text: &str| {
        let file = stage.environment.root().join("edited");
        fs::write(&file, text).unwrap();
        let blob = stage.git(&["hash-object", "-w", file.to_str().unwrap()]);
        stage.git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{path}")]);
    };
    let what = match dice.roll(4) {
        0 => {
            stage.git(&["update-index", "--force-remove", path]);
            format!("{path} removed")
        }
        1 => {
            put("team/executions/other.yaml", &text);
            format!("{path} copied")
        }
        _ => {
            // A value, be it of a record, of a pin or of a result: a phase, a digest, a time, a number.
            let values: Vec<_> =
                Regex::new(r"(?m): ([A-Za-z0-9])[^\n]*$").unwrap().captures_iter(&text).collect();
            let at = match values.len() {
                0 => 0,
                all => values[dice.roll(all)].get(1).unwrap().start(),
            };
            let other = if text.as_bytes()[at] == b'7' { "8" } else { "7" };
            let mut text = text.clone();
            text.replace_range(at..=at, other);
            put(path, &text);
            format!("{path} changed at byte {at}")
        }
    };
    let tree = stage.git(&["write-tree"]);
    stage.git(&["read-tree", "HEAD"]);
    (what, tree)
}

/// One edit of the valid history that ends in `tip`.
fn forge(stage: &Signed, tip: &str, dice: &mut Dice) -> Forged {
    let parent = |commit: &str| stage.git(&["rev-parse", &format!("{commit}^")]);
    let depth = dice.roll(3);
    let old = stage.git(&["rev-parse", &format!("{tip}~{depth}")]);
    let single =
        |what: &str, commit: String| Forged { what: what.to_owned(), first: commit.clone(), tip: commit };
    match dice.roll(8) {
        0 => {
            let newest = parent(&old);
            let moved = |commit: &str, onto: &str| {
                let from = parent(commit);
                rewritten(stage, commit, |text| text.replacen(&from, onto, 1))
            };
            // The order of two commits is another.
            let first = moved(&old, &parent(&newest));
            let last = moved(&newest, &first);
            Forged { what: format!("{old} before {newest}"), first, tip: last }
        }
        1 => {
            let from = parent(&old);
            single("a signed commit elsewhere", rewritten(stage, &old, |text| text.replacen(&from, tip, 1)))
        }
        2 => {
            let trailer = Regex::new(r"(?m)^Planspec-[A-Za-z-]+: .*\n").unwrap();
            let without = |text: &str| trailer.replace(text, "").into_owned();
            single("a trailer dropped", rewritten(stage, &old, without))
        }
        3 => {
            let signature = Regex::new(r"(?m)^gpgsig .*\n(?: .*\n)*").unwrap();
            single(
                "the signature dropped",
                rewritten(stage, &old, |text| signature.replace(text, "").into_owned()),
            )
        }
        4 => {
            // The same tree, parent and message, by a key that nobody lists.
            let (tree, from) = (stage.git(&["rev-parse", &format!("{old}^{{tree}}")]), parent(&old));
            single("signed again", write_commit(stage, Some("mallory"), &tree, &[&from]))
        }
        5 => {
            let tree = stage.git(&["rev-parse", &format!("{tip}^{{tree}}")]);
            let who = WRITERS[dice.roll(3)];
            let side = parent(&parent(tip));
            single(&format!("a merge by {who:?}"), write_commit(stage, who, &tree, &[tip, &side]))
        }
        _ => {
            let (what, tree) = edited_tree(stage, tip, dice);
            let who = WRITERS[dice.roll(3)];
            let first = write_commit(stage, who, &tree, &[tip]);
            let what = format!("{what} by {who:?}");
            // What a person signs on top of it vouches for nothing.
            let tip = match dice.roll(2) {
                0 => first.clone(),
                _ => write_commit(stage, Some("wendy"), &tree, &[&first]),
            };
            Forged { what, first, tip }
        }
    }
}

#[test]
fn no_edit_of_a_signed_history_holds_or_makes_anything_run() {
    let Some(stage) = Signed::new() else { return };
    // One approval of two: whatever is believed of what follows lets `ship` run.
    stage.runner(&["reconcile"]).succeeds();
    stage.decides("wendy", &["approve", "look"]);
    stage.decides("wendy", &["suspend", "e", "-n", "team"]);
    stage.decides("wendy", &["resume", "e", "-n", "team"]);
    let tip = stage.git(&["rev-parse", STATUS]);
    let cache = stage.environment.repo().join(".git/planspec");
    let mut dice = Dice(11);
    for _ in 0..EDITS {
        let forged = forge(&stage, &tip, &mut dice);
        // Without the memory of this clone too: then nothing but signatures refuses a branch that was rewound and went on.
        let forgets = dice.roll(2) == 0;
        if forgets && cache.exists() {
            fs::remove_dir_all(&cache).unwrap();
        }
        stage.git(&["update-ref", STATUS_REF, &forged.tip]);
        let outcome = stage.runner(&["reconcile"]);
        let what = format!("{} (forgotten: {forgets})", forged.what);
        assert_eq!(outcome.code, 3, "{what}: {outcome:?}");
        assert!(!forgets || outcome.stderr.contains("does not hold"), "{what}: {outcome:?}");
        assert_eq!(stage.git(&["rev-parse", STATUS]), forged.tip, "{what}: something was recorded");
        let verified = stage.runner(&["verify", "-o", "json"]);
        assert_eq!(verified.code, 1, "{what}: {verified:?}");
        assert_eq!(verified.json()["firstBroken"], forged.first.as_str(), "{what}: {verified:?}");
        stage.git(&["update-ref", STATUS_REF, &tip]);
    }
    // The history itself still holds, and goes on.
    stage.runner(&["verify"]).succeeds();
    stage.decides("rosa", &["approve", "look"]);
    stage.runner(&["reconcile"]).succeeds();
    stage.decides("wendy", &["complete", "e/tell", "whom=rosa"]);
    stage.runner(&["verify"]).succeeds();
}

#[test]
fn the_host_is_asked_what_it_has_and_who_may_push() {
    let Some(stage) = Signed::new() else { return };
    stage.runner(&["reconcile"]).succeeds();
    let repo = stage.environment.repo();
    let host = GitHubHost::start();
    host.with(|state| {
        state.repository = Some(repo.clone());
        state.restricted = vec!["planspec%2Fstatus"];
    });
    let verify = |arguments: &[&str]| {
        let mut command = stage.environment.planspec_command(&repo);
        command.args(["verify", "--online"]).args(arguments);
        command.env("GITHUB_REPOSITORY", "acme/app").env("GITHUB_API_URL", host.url());
        command.env("GITHUB_TOKEN", "ghs_0123456789abcdef");
        Signed::finish(command)
    };
    let asked = verify(&[]).succeeds();
    assert!(asked.stdout.contains("planspec/status on the host"), "{asked:?}");
    assert!(asked.stdout.contains("as here; pushes are restricted by a ruleset"), "{asked:?}");
    assert!(asked.stderr.contains("`main` is open to every writer"), "{asked:?}");
    assert!(!asked.stderr.contains("`planspec/status` is open"), "{asked:?}");
    let online = verify(&["-o", "json"]).succeeds().json()["online"].clone();
    assert_eq!((&online[0]["pushes"], &online[1]["pushes"]), (&json!("open"), &json!("restricted")));
    assert_eq!(online[1]["same"], true);

    // The host has another branch than the one that holds here.
    let elsewhere = stage.environment.root().join("elsewhere");
    stage.git(&["clone", "--quiet", "--mirror", ".", elsewhere.to_str().unwrap()]);
    stage.environment.git_in(&elsewhere, &["update-ref", STATUS_REF, "refs/heads/main"]).succeeds();
    host.with(|state| state.repository = Some(elsewhere.clone()));
    let other = verify(&[]).exits(1);
    assert!(other.stderr.contains("`planspec/status` on the host is not what was read here"), "{other:?}");
    assert_eq!(verify(&["-o", "json"]).exits(1).json()["online"][1]["same"], false);

    // Without a token nobody is asked, and the message says what it takes.
    let refused = stage.runner(&["verify", "--online"]).exits(3);
    assert!(refused.stderr.contains("GITHUB_REPOSITORY"), "{refused:?}");
}
