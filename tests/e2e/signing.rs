//! With `trust.status`, every commit of the status branch is signed by somebody who may write it. Two people, a runner, and
//! somebody who may push and has no key that counts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::decisions::{CONFIG, WORK, check_phases};
use crate::environment::{Outcome, TestEnvironment};
use crate::skip;

pub(crate) const STATUS: &str = "planspec/status";
pub(crate) const STATUS_REF: &str = "refs/heads/planspec/status";

/// A repository in which the runner `ci`, wendy and rosa sign; mallory has a key that nobody lists.
pub(crate) struct Signed {
    pub(crate) environment: TestEnvironment,
}

impl Signed {
    /// `None` where SSH keys cannot be made.
    pub(crate) fn new() -> Option<Self> {
        let stage = Self::unsigned()?;
        stage.turn_on();
        Some(stage)
    }

    fn unsigned() -> Option<Self> {
        let files = [(".planspec.yaml", CONFIG), ("work.yaml", WORK), ("fixed", "")];
        let stage = Self { environment: TestEnvironment::with_files(&files) };
        for name in ["ci", "next", "wendy", "rosa", "mallory"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(stage.key(name));
            skip::unless_found(skip::program(&mut keygen, "openssh-client"))?;
        }
        Some(stage)
    }

    fn public(&self, name: &str) -> String {
        fs::read_to_string(self.key(name).with_extension("pub")).unwrap().trim().to_owned()
    }

    /// The configuration in which status commits are signed.
    fn config(&self) -> String {
        self.config_of(&[("ci", "runner"), ("wendy", "person"), ("rosa", "person")])
    }

    /// The same, with these signers.
    fn config_of(&self, signers: &[(&str, &str)]) -> String {
        let mut config = format!("{CONFIG}\ntrust:\n  status:\n    signers:\n");
        for (name, role) in signers {
            config.push_str(&format!(
                "      - {{name: {name}, role: {role}, keys: ['{}']}}\n",
                self.public(name)
            ));
        }
        config
    }

    fn turn_on(&self) {
        self.environment.commit_files(&[(".planspec.yaml", &self.config())], "Sign");
    }

    /// A commit on the desired branch, signed by somebody or by nobody.
    fn push(&self, who: Option<&str>, files: &[(&str, &str)], message: &str) {
        for (name, content) in files {
            fs::write(self.environment.repo().join(name), content).unwrap();
        }
        self.git(&["add", "-A"]);
        let mut arguments = vec!["commit", "-q", "-m", message];
        arguments.extend(who.map(|_| "-S"));
        self.person(who.unwrap_or("mallory"), Some("git"), &arguments).succeeds();
    }

    /// Nothing of the desired branch is taken in: by a pass, by a decision, by `verify`.
    #[track_caller]
    fn check_not_in_force(&self, why: &str) {
        let before = self.git(&["rev-parse", STATUS]);
        for outcome in
            [self.runner(&["reconcile"]), self.person("wendy", None, &["suspend", "e", "-n", "team"])]
        {
            let outcome = outcome.exits(3);
            assert!(outcome.stderr.contains("desired branch `main` does not hold"), "{outcome:?}");
            assert!(outcome.stderr.contains(why), "{outcome:?}");
        }
        assert_eq!(self.git(&["rev-parse", STATUS]), before);
    }

    fn key(&self, name: &str) -> PathBuf {
        self.environment.root().join(name)
    }

    pub(crate) fn finish(mut command: Command) -> Outcome {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap();
        Outcome { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// A runner with its key as the text of a secret, without its last line end.
    pub(crate) fn runner(&self, arguments: &[&str]) -> Outcome {
        self.runner_with("ci", arguments)
    }

    fn runner_with(&self, key: &str, arguments: &[&str]) -> Outcome {
        let mut command = self.environment.planspec_command(&self.environment.repo());
        let key = fs::read_to_string(self.key(key)).unwrap();
        command.args(arguments).env("PLANSPEC_SIGNING_KEY", key.trim_end());
        Self::finish(command)
    }

    /// A person whose Git signs with a key of their own.
    pub(crate) fn person(&self, who: &str, program: Option<&str>, arguments: &[&str]) -> Outcome {
        let repo = self.environment.repo();
        let mut command = match program {
            Some(program) => {
                let mut command = Command::new(program);
                command.current_dir(repo).env("GIT_CONFIG_GLOBAL", "/dev/null");
                command
            }
            None => self.environment.planspec_command(&repo),
        };
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), who);
            command.env(format!("GIT_{role}_EMAIL"), format!("{who}@example.com"));
        }
        command.env("GIT_CONFIG_COUNT", "2");
        command.env("GIT_CONFIG_KEY_0", "gpg.format").env("GIT_CONFIG_VALUE_0", "ssh");
        command.env("GIT_CONFIG_KEY_1", "user.signingkey").env("GIT_CONFIG_VALUE_1", self.key(who));
        command.args(arguments);
        Self::finish(command)
    }

    pub(crate) fn decides(&self, who: &str, arguments: &[&str]) {
        self.person(who, None, arguments).succeeds();
    }

    /// The whole work, with two approvals and a task that a person completes.
    fn done(&self) {
        self.runner(&["reconcile"]).succeeds();
        self.decides("wendy", &["approve", "look"]);
        self.decides("rosa", &["approve", "look"]);
        self.runner(&["reconcile"]).succeeds();
        self.decides("wendy", &["complete", "e/tell", "whom=rosa"]);
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.environment.git_output(arguments)
    }

    /// A commit of this tree on these parents, signed by somebody or by nobody.
    fn commit(&self, who: Option<&str>, tree: &str, parents: &[&str]) -> String {
        let mut arguments = vec!["commit-tree", "-m", "team/e: ship Succeeded"];
        arguments.extend(parents.iter().flat_map(|parent| ["-p", parent]));
        arguments.extend(who.map(|_| "-S"));
        arguments.push(tree);
        let made = self.person(who.unwrap_or("mallory"), Some("git"), &arguments).succeeds();
        made.stdout.trim().to_owned()
    }

    /// The tree of a commit with one text in the record of the Execution replaced; without a text, the record is gone.
    fn edited(&self, commit: &str, path: &str, change: Option<(&str, &str)>) -> String {
        self.git(&["read-tree", &format!("{commit}^{{tree}}")]);
        match change {
            None => {
                self.git(&["update-index", "--force-remove", path]);
            }
            Some((from, to)) => {
                let text = self.git(&["cat-file", "blob", &format!("{commit}:{path}")]);
                assert!(text.contains(from), "{path} has no {from}:\n{text}");
                let file = self.environment.root().join("edited");
                fs::write(&file, text.replacen(from, to, 1) + "\n").unwrap();
                let blob = self.git(&["hash-object", "-w", file.to_str().unwrap()]);
                self.git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{path}")]);
            }
        }
        let tree = self.git(&["write-tree"]);
        self.git(&["read-tree", "HEAD"]);
        tree
    }

    /// The tip is refused by a pass, by a decision and by `verify`, each with the reason; nothing is written.
    #[track_caller]
    fn check_refused(&self, tip: &str, why: &str) {
        let before = self.git(&["rev-parse", STATUS]);
        self.git(&["update-ref", STATUS_REF, tip]);
        for outcome in
            [self.runner(&["reconcile"]), self.person("wendy", None, &["suspend", "e", "-n", "team"])]
        {
            let outcome = outcome.exits(3);
            assert!(outcome.stderr.contains("does not hold") && outcome.stderr.contains(why), "{outcome:?}");
        }
        let verified = self.runner(&["verify"]).exits(1);
        assert!(verified.stderr.contains(why), "{verified:?}");
        // What only shows something refuses nothing.
        self.environment.planspec(&["get", "plans", "-A"]).succeeds();
        assert_eq!(self.git(&["rev-parse", STATUS]), tip);
        self.git(&["update-ref", STATUS_REF, &before]);
    }
}

const EXECUTION: &str = "team/executions/e.yaml";

#[test]
fn a_signed_history_holds_and_says_who_did_what() {
    let Some(stage) = Signed::new() else { return };
    // Without a key nothing is recorded, and so nothing runs.
    let refused = stage.environment.planspec(&["reconcile"]).exits(3);
    assert!(refused.stderr.contains("PLANSPEC_SIGNING_KEY"), "{refused:?}");
    // A person's key is no runner's.
    let refused = stage.person("wendy", None, &["reconcile"]).exits(3);
    assert!(refused.stderr.contains("wendy is a person"), "{refused:?}");
    assert_eq!(stage.environment.git(&["rev-parse", "--verify", "--quiet", STATUS]).code, 1);

    stage.runner(&["reconcile"]).succeeds();
    // Nobody decides with somebody else's key.
    let mut borrowed = stage.environment.planspec_command(&stage.environment.repo());
    borrowed.args(["suspend", "e", "-n", "team"]).env("PLANSPEC_SIGNING_KEY", stage.key("rosa"));
    let refused = Signed::finish(borrowed).exits(3);
    assert!(refused.stderr.contains("it records a request of wendy"), "{refused:?}");

    stage.done();
    stage.runner(&["reconcile"]).succeeds();
    check_phases(&stage.environment, ["Succeeded"; 4]);
    let verified = stage.runner(&["verify"]).succeeds();
    for line in ["ci (runner)", "wendy (person)", "rosa (person)"] {
        assert!(verified.stdout.contains(line), "{verified:?}");
    }
    let json = stage.runner(&["verify", "-o", "json"]).succeeds().json();
    assert_eq!(json["holds"], true);

    // Who signed a record last stands beside it: she completed the node that ended it. No key is needed to read
    // that.
    let page = stage.environment.planspec(&["describe", "execution/e", "-n", "team"]).succeeds().stdout;
    assert!(page.contains("Signed by:") && page.contains("wendy (person), commit "), "{page}");
    let show =
        |kind: &str| stage.environment.planspec(&["get", kind, "-n", "team", "-o", "json"]).succeeds().json();
    let signed = show("execution/e")["status"]["signedBy"].clone();
    assert_eq!((&signed["name"], &signed["role"]), (&json!("wendy"), &json!("person")), "{signed}");
    let plan = show("plan/p")["status"]["signedBy"].clone();
    assert_eq!((&plan["name"], &plan["role"]), (&json!("ci"), &json!("runner")), "{plan}");
    assert_eq!(show("executions")["items"][0]["status"]["signedBy"], signed);
    // What somebody without a key changed is refused, and says so.
    let tip = stage.git(&["rev-parse", STATUS]);
    let forged = stage.edited(&tip, EXECUTION, Some(("phase: Succeeded", "phase: Failed")));
    let forged = stage.commit(None, &forged, &[&tip]);
    stage.git(&["update-ref", STATUS_REF, &forged]);
    let page = stage.environment.planspec(&["describe", "execution/e", "-n", "team"]).succeeds().stdout;
    assert!(page.contains("nobody who counts: it is not signed"), "{page}");
}

#[test]
fn every_decision_of_a_person_holds_with_their_key() {
    let Some(stage) = Signed::new() else { return };
    fs::remove_file(stage.environment.repo().join("fixed")).unwrap();
    stage.environment.commit_files(&[], "Break it");
    stage.runner(&["reconcile"]);
    check_phases(&stage.environment, ["Failed", "Skipped", "Skipped", "Skipped"]);
    stage.environment.commit_files(&[("other", "")], "Change");
    for decision in
        [&["retry", "e"][..], &["suspend", "e"], &["resume", "e"], &["cancel", "e"], &["retry", "e"]]
    {
        let arguments: Vec<&str> = decision.iter().copied().chain(["-n", "team"]).collect();
        stage.decides("rosa", &arguments);
        stage.runner(&["verify"]).succeeds();
    }
}

#[test]
fn whatever_somebody_without_a_key_writes_is_named_and_refused() {
    let Some(stage) = Signed::new() else { return };
    stage.done();
    let tip = stage.git(&["rev-parse", STATUS]);
    let tree = stage.edited(&tip, EXECUTION, Some(("phase: Succeeded", "phase: Failed")));
    stage.check_refused(&stage.commit(None, &tree, &[&tip]), "it is not signed");
    stage.check_refused(&stage.commit(Some("mallory"), &tree, &[&tip]), "is not listed");
    // Below what a person signs, too: only a runner vouches for what it builds on.
    let unsigned = stage.commit(None, &tree, &[&tip]);
    stage.check_refused(&stage.commit(Some("wendy"), &tree, &[&unsigned]), "it is not signed");
    // A signature is for one parent and one tree.
    let parent = stage.git(&["rev-parse", &format!("{tip}~1")]);
    let replayed = stage.git(&["cat-file", "commit", &tip]).replacen(&parent, &tip, 1) + "\n";
    let file = stage.environment.root().join("replayed");
    fs::write(&file, replayed).unwrap();
    let replayed = stage.git(&["hash-object", "-t", "commit", "-w", file.to_str().unwrap()]);
    stage.check_refused(&replayed, "its signature is not for this commit");
}

#[test]
fn a_persons_key_adds_decisions_in_that_name_alone() {
    let Some(stage) = Signed::new() else { return };
    stage.done();
    let tip = stage.git(&["rev-parse", STATUS]);
    let mine = |tree: &str, parents: &[&str]| stage.commit(Some("wendy"), tree, parents);
    let edit = |path: &str, change| stage.edited(&tip, path, change);
    for (tree, why) in [
        (edit(EXECUTION, None), "the record is removed"),
        (edit("team/executions/e.pinned/plan.yaml", Some(("ship", "slip"))), "is pinned to is changed"),
        (
            edit(EXECUTION, Some(("graphDigest: sha256:", "graphDigest: sha256:0"))),
            "changes that only a runner makes",
        ),
        (edit(EXECUTION, Some(("completed by wendy", "completed by rosa"))), "without a decision of wendy"),
        (
            edit("team/gates/look.yaml", Some(("reviewer: rosa", "reviewer: wendy"))),
            "earlier reviews are changed",
        ),
        (edit("team/plans/p.yaml", None), "is changed"),
    ] {
        stage.check_refused(&mine(&tree, &[&tip]), why);
    }
    // Rosa's approval, signed by wendy. A pass refuses that tip before it reads it: this clone saw a newer one.
    let approval = stage.git(&["log", "--format=%H", "--author=rosa", STATUS]);
    let before = stage.git(&["rev-parse", &format!("{approval}~1")]);
    let borrowed = mine(&format!("{approval}^{{tree}}"), &[&before]);
    stage.git(&["update-ref", STATUS_REF, &borrowed]);
    let verified = stage.runner(&["verify"]).exits(1);
    assert!(verified.stderr.contains("it records a review by rosa"), "{verified:?}");
    stage.git(&["update-ref", STATUS_REF, &tip]);
    let other = mine(&format!("{tip}^{{tree}}"), &[&tip]);
    stage.check_refused(&mine(&format!("{tip}^{{tree}}"), &[&tip, &other]), "it is a merge");
}

/// `accept-pin` is for a rewritten branch. What it pins has to be the same graph: an older plan may lack a gate that was added since.
#[test]
fn a_persons_key_brings_no_older_plan_back() {
    let Some(stage) = Signed::unsigned() else { return };
    let open = WORK
        .replace("{id: ship, kind: Task, dependsOn: [look]}", "{id: ship, kind: Task, dependsOn: [build]}");
    assert_ne!(open, WORK);
    stage
        .environment
        .commit_files(&[("work.yaml", &open), (".planspec.yaml", &stage.config())], "Ship at once");
    stage.runner(&["reconcile"]).succeeds();
    let record = |commit: &str| stage.git(&["cat-file", "blob", &format!("{commit}:{EXECUTION}")]);
    let field = |record: &str, name: &str| {
        let found = record.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {name}: {record}")).to_owned()
    };
    // What a record of the old plan would say; no pass has seen it when the plan gets its gate.
    let old = stage.git(&["rev-parse", STATUS]);
    stage.git(&["update-ref", "-d", STATUS_REF]);
    fs::remove_dir_all(stage.environment.repo().join(".git/planspec")).unwrap();
    stage.environment.commit_files(&[("work.yaml", WORK)], "Have it looked at first");
    stage.runner(&["reconcile"]).succeeds();
    check_phases(&stage.environment, ["Succeeded", "Blocked", "Pending", "Pending"]);

    let tip = stage.git(&["rev-parse", STATUS]);
    let (then, now) = (record(&old), record(&tip));
    let mut forged = now.clone();
    for name in ["commit", "graphDigest", "uid"] {
        let line = |record: &str| format!("{name}: {}", field(record, name));
        forged = forged.replacen(&line(&now), &line(&then), 1);
    }
    let accepted = "    pinAccepted: {by: wendy, at: '2026-01-01T00:00:00Z'}\n    pinned:\n";
    let forged = forged.replacen("    pinned:\n", accepted, 1);
    let tree = stage.edited(&tip, EXECUTION, Some((&now, &forged)));
    let pins = "team/executions/e.pinned/";
    stage.git(&["read-tree", &tree]);
    stage.git(&["rm", "-r", "-q", "--cached", pins]);
    stage.git(&["read-tree", &format!("--prefix={pins}"), &format!("{old}:{pins}")]);
    let tree = stage.git(&["write-tree"]);
    stage.git(&["read-tree", "HEAD"]);
    stage.check_refused(&stage.commit(Some("wendy"), &tree, &[&tip]), "is another graph");
}

#[test]
fn an_unsigned_history_is_taken_over_by_a_runner_alone() {
    let Some(stage) = Signed::unsigned() else { return };
    stage.environment.planspec(&["reconcile"]).succeeds();
    let nothing = stage.environment.planspec(&["verify"]).exits(1);
    assert!(nothing.stderr.contains("nothing has to be signed"), "{nothing:?}");
    stage.turn_on();
    stage.check_refused(&stage.git(&["rev-parse", STATUS]), "it is not signed");
    let refused = stage.person("wendy", None, &["reconcile", "--accept-status-history"]).exits(3);
    assert!(refused.stderr.contains("only a runner may do this"), "{refused:?}");
    stage.runner(&["reconcile", "--accept-status-history"]).succeeds();
    stage.runner(&["verify"]).succeeds();
    stage.decides("wendy", &["approve", "look"]);
    stage.runner(&["verify"]).succeeds();
}

/// As the page about signing says: both are listed, the new one records something, the old one goes.
#[test]
fn a_key_is_replaced_and_what_the_old_one_signed_still_holds() {
    let Some(stage) = Signed::new() else { return };
    stage.runner(&["reconcile"]).succeeds();
    stage.decides("wendy", &["approve", "look"]);
    let people = [("wendy", "person"), ("rosa", "person")];
    let both = stage.config_of(&[&[("ci", "runner"), ("next", "runner")][..], &people].concat());
    let again = WORK.rsplit("---").next().unwrap().replace("name: e,", "name: f,");
    stage.environment.commit_files(&[(".planspec.yaml", &both), ("again.yaml", &again)], "List both");
    stage.runner_with("next", &["reconcile"]).succeeds();
    let listed = stage.git(&["rev-parse", "main"]);
    assert!(stage.git(&["log", "-1", "--format=%B", STATUS]).contains(&listed), "it records nothing");
    // The runner's old key and one of a person go.
    let fewer = stage.config_of(&[("next", "runner"), ("rosa", "person")]);
    stage.environment.commit_files(&[(".planspec.yaml", &fewer)], "List one");
    stage.runner_with("next", &["reconcile"]).succeeds();
    stage.runner_with("next", &["verify"]).succeeds();
    // Nobody can go on with them, and no commit that names the time at which they were listed brings them back.
    let suspend = ["suspend", "f", "-n", "team"];
    for outcome in [stage.runner(&suspend), stage.person("wendy", None, &suspend)] {
        let outcome = outcome.exits(3);
        assert!(outcome.stderr.contains("is not listed"), "{outcome:?}");
    }
    let message = format!("x\n\nPlanspec-Desired-Commit: {listed}\nPlanspec-Runner: ci\n");
    let now = stage.git(&["rev-parse", STATUS]);
    let tree = stage.edited(&now, EXECUTION, Some(("phase: ", "phase:  ")));
    let arguments = ["commit-tree", "-S", "-p", &now, "-m", &message, &tree];
    let forged = stage.person("ci", Some("git"), &arguments).succeeds().stdout.trim().to_owned();
    stage.git(&["update-ref", STATUS_REF, &forged]);
    let refused = stage.runner_with("next", &["reconcile"]).exits(3);
    assert!(refused.stderr.contains("does not hold"), "{refused:?}");
    stage.git(&["update-ref", STATUS_REF, &now]);
    stage.runner_with("next", &["reconcile"]).succeeds();
}

#[test]
fn a_key_that_cannot_be_used_is_no_matter_until_signatures_are_asked_for() {
    let Some(stage) = Signed::unsigned() else { return };
    let with_key = |arguments: &[&str]| {
        let mut command = stage.environment.planspec_command(&stage.environment.repo());
        Signed::finish({
            command.args(arguments).env("PLANSPEC_SIGNING_KEY", "/no/such/key");
            command
        })
    };
    // Not the first pass, where there is no status branch yet, nor what it reads of it later.
    with_key(&["reconcile"]).succeeds();
    with_key(&["reconcile"]).succeeds();
    stage.environment.planspec(&["approve", "look"]).succeeds();
    with_key(&["reconcile"]).succeeds();
    assert!(!stage.git(&["cat-file", "-p", STATUS]).contains("gpgsig"));
    // Once they are, it is said before anything is recorded or started.
    stage.turn_on();
    stage.runner(&["reconcile", "--accept-status-history"]).succeeds();
    let before = stage.git(&["rev-parse", STATUS]);
    let refused = with_key(&["reconcile"]).exits(3);
    assert!(refused.stderr.contains("PLANSPEC_SIGNING_KEY"), "{refused:?}");
    assert_eq!(stage.git(&["rev-parse", STATUS]), before);
}

#[test]
fn what_gc_makes_is_signed_by_a_runner() {
    let Some(stage) = Signed::new() else { return };
    stage.done();
    stage.runner(&["reconcile"]).succeeds();
    // Times of commits are whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let refused = stage.person("wendy", None, &["gc", "--older-than", "0s"]).exits(3);
    assert!(refused.stderr.contains("wendy"), "{refused:?}");
    stage.runner(&["gc", "--older-than", "0s"]).succeeds();
    stage.runner(&["verify"]).succeeds();
    stage.runner(&["reconcile"]).succeeds();
}

#[test]
fn what_nobody_listed_has_signed_does_not_come_into_force() {
    let Some(stage) = Signed::new() else { return };
    stage.runner(&["reconcile"]).succeeds();
    let asks = |mode: &str| {
        let signer = format!("      - {{name: wendy, keys: ['{}']}}\n", stage.public("wendy"));
        format!("{}  desired:\n    mode: {mode}\n    signers:\n{signer}", stage.config())
    };
    // Whoever could merge until now turns it on; from here on a signature is needed.
    stage.push(None, &[(".planspec.yaml", &asks("head"))], "Ask for signatures");
    stage.runner(&["reconcile"]).succeeds();
    let good = stage.git(&["rev-parse", "HEAD"]);
    let back = || stage.git(&["reset", "-q", "--hard", &good]);

    stage.push(None, &[("more", "")], "Unsigned");
    stage.check_not_in_force("it is not signed");
    back();
    // Signed by somebody whom only the commit itself lists.
    let own = asks("head").replace(&stage.public("wendy"), &stage.public("mallory"));
    stage.push(Some("mallory"), &[(".planspec.yaml", &own)], "List myself");
    stage.check_not_in_force("is not listed");
    back();
    // A list that is taken away counts as long as nobody on it agrees.
    stage.push(None, &[(".planspec.yaml", CONFIG)], "Ask for nothing");
    let refused = stage.runner(&["reconcile"]).exits(3);
    assert!(refused.stderr.contains("it is not signed"), "{refused:?}");
    // Nor when the status branch is made to say that it was in force: this runner never signed that.
    let tip = stage.git(&["rev-parse", STATUS]);
    let forged = stage.git(&[
        "commit-tree",
        "-p",
        &tip,
        "-m",
        &format!("x\n\nPlanspec-Desired-Commit: {}", stage.git(&["rev-parse", "HEAD"])),
        &format!("{tip}^{{tree}}"),
    ]);
    stage.git(&["update-ref", STATUS_REF, &forged]);
    let refused = stage.runner(&["reconcile"]).exits(3);
    assert!(refused.stderr.contains("desired branch `main` does not hold"), "{refused:?}");
    stage.git(&["update-ref", STATUS_REF, &tip]);
    back();

    // On top of an unsigned commit, a signed one brings both into force with `head`, and neither with `all`.
    stage.push(None, &[("more", "")], "Unsigned");
    stage.push(Some("wendy"), &[(".planspec.yaml", &asks("all"))], "Ask for all signatures");
    stage.runner(&["reconcile"]).succeeds();
    stage.push(None, &[("again", "")], "Unsigned again");
    stage.push(Some("wendy"), &[("signed", "")], "Signed");
    stage.check_not_in_force("(Unsigned again): it is not signed");
    stage.git(&["reset", "-q", "--hard", "HEAD~2"]);
    stage.push(Some("wendy"), &[("signed", "")], "Signed");
    stage.runner(&["reconcile"]).succeeds();
    let verified = stage.runner(&["verify", "-o", "json"]).succeeds().json();
    let subjects: Vec<&str> = verified["desired"]
        .as_array()
        .unwrap()
        .iter()
        .map(|commit| commit["subject"].as_str().unwrap())
        .collect();
    assert_eq!(subjects, ["Signed", "Ask for all signatures"]);
    // Beside a resource stands who signed the last change of its manifest.
    let declared_by = || {
        let plan =
            stage.environment.planspec(&["get", "plan/p", "-n", "team", "-o", "json"]).succeeds().json();
        plan["status"]["declaredBy"].clone()
    };
    assert_eq!(declared_by()["refused"], "it is not signed");
    stage.push(Some("wendy"), &[("work.yaml", &format!("# Reviewed\n{WORK}"))], "Reviewed");
    assert_eq!(
        (&declared_by()["name"], &declared_by()["commit"]),
        (&json!("wendy"), &json!(stage.git(&["rev-parse", "HEAD"])))
    );
    let page = stage.environment.planspec(&["describe", "plan/p", "-n", "team"]).succeeds().stdout;
    assert!(page.contains("Declared by:   wendy ("), "{page}");
}

#[test]
fn a_person_signs_with_openpgp() {
    let Some(stage) = Signed::unsigned() else { return };
    let home = stage.environment.root().join("gnupg");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let gpg = |arguments: &[&str]| {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", &home).args(["--batch", "--quiet", "--passphrase", ""]).args(arguments);
        command
    };
    let user = "wendy <wendy@example.com>";
    if skip::unless_found(skip::program(&mut gpg(&["--quick-gen-key", user, "ed25519", "sign"]), "gnupg"))
        .is_none()
    {
        return;
    }
    let armored = Signed::finish(gpg(&["--armor", "--export", "wendy"])).succeeds().stdout;
    let listed = Signed::finish(gpg(&["--with-colons", "--list-keys"])).succeeds().stdout;
    let fingerprint =
        listed.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned();
    let config = stage.config().replace(
        &format!("'{}'", stage.public("wendy")),
        &format!("{{fingerprint: {fingerprint}, file: keys/wendy.asc}}"),
    );
    let files = [(".planspec.yaml", config.as_str()), ("keys/wendy.asc", &armored)];
    stage.environment.commit_files(&files, "Sign");
    stage.runner(&["reconcile"]).succeeds();
    let decide = |home: &Path| {
        let mut command = stage.environment.planspec_command(&stage.environment.repo());
        command.args(["approve", "look"]).env("GNUPGHOME", home);
        command.env("GIT_AUTHOR_NAME", "wendy").env("GIT_AUTHOR_EMAIL", "wendy@example.com");
        command.env("GIT_CONFIG_COUNT", "1");
        command.env("GIT_CONFIG_KEY_0", "user.signingkey").env("GIT_CONFIG_VALUE_0", &fingerprint);
        Signed::finish(command)
    };
    decide(&home).succeeds();
    let verified = stage.runner(&["verify"]).succeeds();
    assert!(verified.stdout.contains("wendy (person)"), "{verified:?}");
    // Whoever reads finds the key in the file that the configuration names.
    let page = stage.environment.planspec(&["describe", "gate/look", "-n", "team"]).succeeds().stdout;
    assert!(page.contains("Signed by:     wendy (person), commit "), "{page}");
    // Without the private key nothing is recorded in that name.
    let refused = decide(stage.environment.root()).exits(3);
    assert!(refused.stderr.contains("could not be"), "{refused:?}");
    // gpg leaves a process that keeps the key; it ends with its folder, and at once when it is asked to.
    let _ = Command::new("gpgconf").env("GNUPGHOME", &home).args(["--kill", "all"]).output();
}

/// What `trust init` writes is what the tests above write by hand: a runner and a person sign with it.
#[test]
fn signing_is_set_up_by_one_command() {
    let Some(stage) = Signed::unsigned() else { return };
    let old = stage.environment.read(".planspec.yaml");
    let (key, wendy) = (stage.environment.root().join("made"), stage.key("wendy"));
    let (key_text, wendy) = (key.to_str().unwrap(), wendy.to_str().unwrap());
    let init = ["trust", "init", "--runner-key", key_text];
    let as_wendy = |more: &[&str]| stage.person("wendy", None, &[&init, more].concat());
    // Each refusal leaves everything as it was.
    let refused = as_wendy(&[]).exits(3);
    assert!(refused.stderr.contains("--make-keys"), "{refused:?}");
    let inside = stage.environment.repo().join("inside");
    let arguments = ["trust", "init", "--make-keys", "--runner-key", inside.to_str().unwrap()];
    let refused = stage.person("wendy", None, &arguments).exits(1);
    assert!(refused.stderr.contains("must not be committed"), "{refused:?}");
    let shown = as_wendy(&["--make-keys", "--dry-run"]).succeeds();
    assert!(shown.stdout.contains("role: runner") && shown.stdout.contains("name: \"wendy\""), "{shown:?}");
    assert!(!key.exists() && !inside.exists());
    assert_eq!(stage.environment.read(".planspec.yaml"), old);

    let made = as_wendy(&["--make-keys"]).succeeds();
    let private = fs::read_to_string(&key).unwrap();
    let secret = private.lines().nth(2).unwrap();
    assert!(!made.stdout.contains(secret) && !made.stderr.contains(secret), "{made:?}");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o077, 0);
    assert!(made.stderr.contains("gh secret set PLANSPEC_SIGNING_KEY --env planspec"), "{made:?}");
    // What was there is there, to the byte; what came is the keys that were named.
    let new = stage.environment.read(".planspec.yaml");
    assert!(new.starts_with(&old) && new.contains(&stage.public("wendy")), "{new}");
    let again = as_wendy(&["--person-key", wendy]).exits(1);
    assert!(again.stderr.contains("lists signers already"), "{again:?}");
    assert_eq!(stage.environment.read(".planspec.yaml"), new);

    stage.environment.commit_files(&[], "Sign");
    let mut runner = stage.environment.planspec_command(&stage.environment.repo());
    runner.args(["reconcile"]).env("PLANSPEC_SIGNING_KEY", &key);
    Signed::finish(runner).succeeds();
    stage.decides("wendy", &["approve", "look"]);
    let verified = stage.runner(&["verify"]).succeeds();
    assert!(
        verified.stdout.contains("ci (runner)") && verified.stdout.contains("wendy (person)"),
        "{verified:?}"
    );
}

/// A file that is no public key is not repeated, whatever it is.
#[test]
fn a_private_key_with_a_public_name_is_not_shown() {
    let Some(stage) = Signed::unsigned() else { return };
    let private = fs::read_to_string(stage.key("ci")).unwrap();
    fs::write(stage.environment.root().join("wrong.pub"), &private).unwrap();
    let wrong = stage.environment.root().join("wrong");
    let refused =
        stage.environment.planspec(&["trust", "init", "--runner-key", wrong.to_str().unwrap()]).exits(1);
    assert!(refused.stderr.contains("holds no public SSH key"), "{refused:?}");
    assert!(!refused.stderr.contains(private.lines().nth(1).unwrap()), "{refused:?}");
}

#[test]
fn the_page_about_signing_is_true() {
    // The page makes keys.
    if Signed::unsigned().is_some() {
        crate::pages::check("docs/signing.md");
    }
}
