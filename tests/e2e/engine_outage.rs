//! A remote that fails for a while, falls silent, or refuses what one task gave: waited for, never in the way of a stop, and
//! nobody's work but that one's is held up.

use std::time::{Duration, Instant};

use planspec::model::{ExecutionPhase, Kind, NodePhase, NodeReason};
use rustix::process::Signal;

use crate::engine_rig::{
    Graph, Stage, bindings, check_history, check_trace, execution, record_in, status_in, yaml,
};
use crate::git_server::GitServer;
use crate::provider_hostile::is_alive;

const CONFIG: &str = "publish: {burst: 1000, perMinute: 6000}\n";

/// A graph of one task on a remote over HTTP, and a clone to reconcile it from.
fn stage(server: &GitServer, script: &str) -> (Stage, std::path::PathBuf) {
    let url = server.http_url(Some("tok-write"));
    let stage = Stage::new(CONFIG, &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let graph = Graph::new("work").task("a", &[], &format!("{key}; {script}"));
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("work", "work"), bindings(&[&graph])]));
    stage.environment.git(&["push", "--quiet", &url, "main"]).succeeds();
    let clone = stage.clone_to(&url, "clone");
    (stage, clone)
}

/// Waits until the Execution `work` has succeeded at the remote.
fn wait_until_done(stage: &Stage, server: &GitServer, what: &str) {
    stage.wait_until(what, || {
        let record = record_in(&server.bare(), Kind::Execution, "work");
        record.is_some_and(|record| record.execution().unwrap().phase == ExecutionPhase::Succeeded)
    });
}

#[test]
fn an_outage_of_the_remote_is_waited_for_and_nothing_runs_twice() {
    for outage in ["503 Service Unavailable", "401 Unauthorized", "404 Not Found"] {
        let server = GitServer::over_http();
        let go = tempfile::NamedTempFile::new().unwrap();
        let wait = format!("while [ -e '{}' ]; do sleep 0.05; done", go.path().display());
        let (stage, clone) = stage(&server, &wait);
        let mut runner = stage.start_in(&clone, &[]);
        stage.wait_until("the task runs", || !stage.trace("trace").is_empty());
        server.fail(outage, 6);
        drop(go);
        runner.succeeds();
        assert_eq!(server.failures_left(), 0, "{outage}");
        assert_eq!(status_in(&server.bare(), "work").phase, ExecutionPhase::Succeeded, "{outage}");
        check_history(&server.bare());
        check_trace(&server.bare(), &["work"], &stage.trace("trace"));
        assert_eq!(stage.trace("trace").len(), 1);
    }
}

#[test]
fn an_outage_that_outlasts_the_lease_ends_the_task_in_time_and_another_attempt_follows() {
    let server = GitServer::over_http();
    let pid = tempfile::NamedTempFile::new().unwrap();
    let forever = format!(
        "if [ \"$PLANSPEC_ATTEMPT\" = 1 ]; then echo $$ > '{}'; exec sleep 600; fi",
        pid.path().display()
    );
    let (stage, clone) = stage(&server, &forever);
    // No lease could be renewed during the outage, and no other runner may find this task still running.
    stage.commit(".planspec.yaml", &format!("{CONFIG}lease: {{duration: 20s, skew: 1s}}\n"));
    stage.environment.git(&["push", "--quiet", &server.http_url(Some("tok-write")), "main"]).succeeds();
    let mut runner = stage.start_in(&clone, &["--watch", "200ms"]);
    stage.wait_until("the task runs", || {
        std::fs::read_to_string(pid.path()).is_ok_and(|text| text.ends_with('\n'))
    });
    let begun = Instant::now();
    server.fail("503 Service Unavailable", 1_000_000);
    let pid = std::fs::read_to_string(pid.path()).unwrap();
    stage.wait_until("the task is ended", || !is_alive(&pid));
    assert!(begun.elapsed() < Duration::from_secs(60), "it was the runner, and not the end of the task");
    server.fail("", 0);
    wait_until_done(&stage, &server, "another attempt ends");
    runner.signal(Signal::TERM);
    runner.ends();
    // No retry was granted: what happened was no failure of the task.
    assert_eq!(
        status_in(&server.bare(), "work").node_statuses.values().map(|node| node.attempt).collect::<Vec<_>>(),
        [2]
    );
    let trace = stage.trace("trace");
    assert!(trace.len() == 2 && trace[0] != trace[1], "{trace:?}");
    check_history(&server.bare());
}

#[test]
fn an_outage_is_said_when_it_begins_and_when_it_is_over() {
    let server = GitServer::over_http();
    let (stage, clone) = stage(&server, "true");
    let mut runner = stage.start_in(&clone, &["--watch", "100ms"]);
    wait_until_done(&stage, &server, "it is done");
    server.fail("503 Service Unavailable", 1_000_000);
    stage.wait_until("the outage is said", || runner.output().contains(" has failed since "));
    server.fail("", 0);
    stage.wait_until("its end is said", || runner.output().contains(" works again, after "));
    runner.signal(Signal::TERM);
    runner.ends();
    let said = runner.output();
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("note: reading from ")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].contains("503") && lines[0].contains("; next attempt in "), "{said}");
}

#[test]
fn a_remote_that_falls_silent_does_not_delay_a_stop() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let server = GitServer::over_http();
        let (stage, clone) = stage(&server, "true");
        let mut runner = stage.start_in(&clone, &["--watch", "100ms"]);
        wait_until_done(&stage, &server, "it is done");
        server.steer("hang", "");
        stage.wait_until("a request hangs", || server.bare().join("hangs").exists());
        let asked = Instant::now();
        runner.signal(signal);
        runner.ends();
        // A second for the call that hangs, and one for a last word to a remote that may be back; the rest is for a busy machine.
        assert!(asked.elapsed() < Duration::from_secs(4), "{signal:?}: {:?}", asked.elapsed());
    }
}

/// Then no branch says anything of the Execution, and whoever looks for it has to be told by the machine that tried.
#[test]
fn an_execution_whose_first_record_is_refused_is_shown_with_what_the_remote_said() {
    let server = GitServer::new();
    let stage = Stage::new(CONFIG, &[]);
    let graph = Graph::new("work").task("a", &[], "true");
    let documents =
        [graph.plan(), execution("one", "work"), execution("secret", "work"), bindings(&[&graph])];
    stage.commit("work.yaml", &yaml(&documents));
    stage.environment.git(&["push", "--quiet", &server.file_url(), "main"]).succeeds();
    let clone = stage.clone_to(&server.file_url(), "clone");
    server.hook(
        "pre-receive",
        "while read old new ref; do git ls-tree -r --name-only $new | grep -q executions/secret && { echo no such name here >&2; exit 1; }; \
         [ $ref = refs/heads/planspec/status ] || exit 0; done; exit 0",
    );
    let shows = |arguments: &[&str]| {
        let outcome = stage.environment.planspec_in(&clone, arguments);
        let shown = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(
            shown.contains("its record was refused: ") && shown.contains("no such name here"),
            "{outcome:?}"
        );
    };
    let pass = stage.reconcile_in(&clone, &[]).succeeds();
    assert!(pass.stdout.contains("waiting: team/secret: its record was refused: "), "{pass:?}");
    assert_eq!(status_in(&server.bare(), "one").phase, ExecutionPhase::Succeeded);
    assert!(record_in(&server.bare(), Kind::Execution, "secret").is_none());
    for page in
        [&["describe", "execution/secret", "-n", "team"][..], &["status"], &["get", "executions", "-A"]]
    {
        shows(page);
    }
    // As soon as it is taken, nothing is left of that.
    server.hook("pre-receive", "exit 0");
    stage.reconcile_in(&clone, &[]).succeeds();
    assert_eq!(status_in(&server.bare(), "secret").phase, ExecutionPhase::Succeeded);
    let page = stage.environment.planspec_in(&clone, &["get", "executions", "-A"]);
    assert!(!format!("{page:?}").contains("refused"), "{page:?}");
}

#[test]
fn what_a_remote_refuses_of_one_execution_holds_up_no_other() {
    let server = GitServer::new();
    let stage = Stage::new(CONFIG, &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let names = ["one", "two", "three", "four", "five"];
    let mut documents = Vec::new();
    let mut graphs = Vec::new();
    for name in names {
        // Put together when it runs: the manifest itself is recorded, too.
        let text = if name == "three" { "printf 'looks%slike-a-key\\n' -" } else { "true" };
        graphs.push(Graph::new(name).task("a", &[], &format!("{key}; {text}")).task("b", &["a"], &key));
    }
    documents.extend(graphs.iter().map(Graph::plan));
    documents.extend(names.map(|name| execution(name, name)));
    documents.push(bindings(&graphs.iter().collect::<Vec<_>>()));
    stage.commit("work.yaml", &yaml(&documents));
    stage.environment.git(&["push", "--quiet", &server.file_url(), "main"]).succeeds();
    let clone = stage.clone_to(&server.file_url(), "clone");
    server.hook(
        "pre-receive",
        "while read old new ref; do git grep -q looks-like-a-key $new && { echo no keys here >&2; exit 1; }; done; exit 0",
    );
    stage.start_in(&clone, &[]).succeeds();
    for name in names {
        let status = status_in(&server.bare(), name);
        let nodes: Vec<_> = status.node_statuses.values().collect();
        if name == "three" {
            assert_eq!(nodes[0].phase, NodePhase::Blocked);
            assert_eq!(nodes[0].extensions.reason, Some(NodeReason::ContentRefused));
            assert!(nodes[0].message.contains("no keys here"), "{}", nodes[0].message);
            assert_eq!(nodes[0].outputs.len(), 0);
            assert_eq!(nodes[1].phase, NodePhase::Pending);
        } else {
            assert_eq!(status.phase, ExecutionPhase::Succeeded, "{name}");
        }
    }
    assert_eq!(stage.trace("trace").len(), 2 * names.len() - 1, "everything ran once");
    check_history(&server.bare());
    // It waits for a person, and does not run again by itself.
    stage.start_in(&clone, &[]).succeeds();
    assert_eq!(stage.trace("trace").len(), 2 * names.len() - 1);
}
