//! Every folder below `examples/`, copied into a fresh repository and driven to its end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::environment::{Outcome, TestEnvironment};
use crate::github_host::GitHubHost;

const ADA: &str = "ada@example.com";
const GRACE: &str = "grace@example.com";

/// The examples that are driven below; the list is compared with the folder.
const DRIVEN: [&str; 18] = [
    "a2a",
    "agent",
    "agents-build-a-feature",
    "custom-provider",
    "everything",
    "feature-release",
    "github-actions",
    "hello",
    "http",
    "human",
    "incident",
    "mcp",
    "migrate-services",
    "nightly",
    "reference",
    "release",
    "sso",
    "two-hundred",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// A repository that holds an example in one commit, and was found to be without fault.
fn repository_of(example: &str) -> TestEnvironment {
    let environment = TestEnvironment::with_repository();
    copy(&folder().join(example), &environment.repo());
    environment.commit_files(&[], "Begin");
    let outcome = environment.planspec(&["validate", "-o", "json"]).succeeds();
    let diagnostics = outcome.json()["diagnostics"].as_array().unwrap().clone();
    // What is published, and what is built like it, names capabilities that nobody declares.
    let undeclared = ["sso", "reference"].contains(&example);
    let known = |diagnostic: &&Value| undeclared && diagnostic["code"] == "PS3003";
    assert_eq!(diagnostics.iter().find(|diagnostic| !known(diagnostic)), None, "{example}");
    environment
}

/// Ends a service that an example started, by what its file of the process id holds.
fn end(pid: &str) {
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn run_by(environment: &TestEnvironment, email: &str, arguments: &[&str]) -> Outcome {
    let mut command = environment.planspec_command(&environment.repo());
    command.env("GIT_AUTHOR_EMAIL", email).args(arguments);
    let output = command.output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(128),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn execution(environment: &TestEnvironment, name: &str) -> Value {
    environment.planspec(&["get", &format!("execution/{name}"), "-o", "json"]).succeeds().json()
}

fn phases(execution: &Value) -> BTreeMap<&str, &str> {
    let nodes = execution["status"]["nodeStatuses"].as_object().unwrap();
    nodes.iter().map(|(id, status)| (id.as_str(), status["phase"].as_str().unwrap())).collect()
}

fn output<'v>(execution: &'v Value, node: &str, name: &str) -> &'v str {
    execution["status"]["nodeStatuses"][node]["outputs"][name].as_str().unwrap()
}

fn artifacts(execution: &Value) -> Vec<&str> {
    let listed = execution["status"]["artifacts"].as_array().unwrap();
    let mut names: Vec<&str> = listed.iter().map(|artifact| artifact["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

/// The end is the end: reconciling once more makes no commit.
#[track_caller]
fn check_rests(environment: &TestEnvironment) {
    let before = environment.git_output(&["rev-parse", "planspec/status"]);
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(environment.git_output(&["rev-parse", "planspec/status"]), before);
}

#[test]
fn every_example_is_driven_by_a_test() {
    let mut found: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, DRIVEN, "an example has no test here, or is not in the list");
}

#[test]
fn the_sign_in_example_runs_to_its_gate_and_to_its_end() {
    let environment = repository_of("sso");
    environment.planspec(&["reconcile"]).succeeds();
    let waiting = execution(&environment, "sso-exec-001");
    assert_eq!(waiting["status"]["phase"], "Blocked");
    environment.planspec(&["approve", "sso-security-review"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    let done = execution(&environment, "sso-exec-001");
    assert_eq!(done["status"]["phase"], "Succeeded");
    assert_eq!(output(&done, "research", "files"), "app/login.js");
    let branch = "planspec/work/team-platform/sso-exec-001/review";
    let changed = environment.git_output(&["diff", "--name-only", "main", branch]);
    assert_eq!(changed, "app/google-button.react.js\napp/login.js", "what was approved is on its branch");
    check_rests(&environment);
}

#[test]
fn the_incident_asks_one_person_for_the_cause_and_another_for_the_failover() {
    let environment = repository_of("incident");
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(phases(&execution(&environment, "checkout-down"))["assess"], "Blocked");
    environment.planspec(&["complete", "checkout-down/assess", "cause=a pool"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    run_by(&environment, GRACE, &["approve", "failover"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    let done = execution(&environment, "checkout-down");
    assert_eq!(done["status"]["phase"], "Succeeded");
    let said = environment.planspec(&["logs", "checkout-down/timeline"]).succeeds().stdout;
    assert_eq!(said, "checkout (sev1): assessed Succeeded, failover Succeeded, healthy Succeeded\n");
    check_rests(&environment);
}

#[test]
fn the_release_is_announced_whether_it_was_approved_or_not() {
    let environment = repository_of("release");
    let run = ["run", "plan/release", "-p", "tag=v1.2.0", "--name", "v1-2-0"];
    environment.planspec(&run).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    environment.planspec(&["reject", "release", "-m", "not on a Friday"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(execution(&environment, "v1-2-0")["status"]["phase"], "Failed");
    let said = environment.planspec(&["logs", "v1-2-0/announce"]).succeeds().stdout;
    assert_eq!(said, "v1.2.0: tests Succeeded, publication Skipped\n");
    check_rests(&environment);
}

/// Up to the gate of the feature release, which takes two different people.
fn feature_release_at_its_gate(environment: &TestEnvironment, name: &str) {
    environment.planspec(&["reconcile"]).succeeds();
    let waiting = execution(environment, name);
    assert_eq!(waiting["status"]["phase"], "Blocked", "{waiting:#}");
    assert_eq!(phases(&waiting)["approval"], "Blocked");
    assert_eq!(phases(&waiting)["workstreams"], "Succeeded");
}

fn approve_twice(environment: &TestEnvironment, name: &str) {
    let approve = ["approve", "search-approval", "--execution", name];
    let refused = run_by(environment, "wendy@example.com", &approve).exits(1);
    assert!(refused.stderr.contains("not a reviewer"), "{}", refused.stderr);
    for _ in 0..2 {
        run_by(environment, ADA, &approve).succeeds();
    }
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(phases(&execution(environment, name))["approval"], "Blocked", "one person counts once");
    run_by(environment, GRACE, &approve).succeeds();
}

#[test]
fn the_feature_release_is_built_approved_by_two_and_deployed() {
    let mut environment = repository_of("feature-release");
    let www = environment.root().join("www");
    environment.set("DEPLOY_DIR", www.to_str().unwrap());
    feature_release_at_its_gate(&environment, "search-1-0");
    approve_twice(&environment, "search-1-0");
    environment.planspec(&["reconcile"]).succeeds();

    let done = execution(&environment, "search-1-0");
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    let mut phases = phases(&done);
    assert_eq!(phases.remove("clean-up"), Some("Skipped"));
    assert!(phases.len() == 10 && phases.values().all(|&phase| phase == "Succeeded"), "{phases:?}");
    assert_eq!(output(&done, "backend", "terms"), "42");
    assert!(output(&done, "backend", "index").lines().any(|line| line == "holiday\texpenses.md holidays.md"));
    assert_eq!(output(&done, "check-search", "found"), "3");
    assert_eq!(output(&done, "notify", "message"), "Handbook 1.0 is deployed");
    assert_eq!(artifacts(&done), ["release-notes.md", "search-index.tsv", "search.html", "site.tar.gz"]);
    assert!(fs::read_to_string(www.join("stable/search.html")).unwrap().contains("Search 3 pages"));
    let goal = environment.planspec(&["get", "goal/handbook-search", "-o", "json"]).succeeds().json();
    assert_eq!(goal["status"]["phase"], "Succeeded");
    check_rests(&environment);
}

#[test]
fn a_deployment_of_the_feature_release_that_fails_is_cleaned_up_and_told() {
    let mut environment = repository_of("feature-release");
    let www = environment.root().join("www");
    environment.set("DEPLOY_DIR", www.to_str().unwrap());
    environment.planspec(&["delete", "execution/search-1-0"]).succeeds();
    let manifest = environment.git_output(&["show", "HEAD~1:planspec/execution.yaml"]);
    let changed = manifest.replace("search-1-0", "search-1-1").replace("stable", "nightly");
    environment.write("execution.yaml", &changed.replace("\"1.0\"", "\"1.1\""));
    environment.planspec(&["apply", "-f", "execution.yaml"]).succeeds();
    feature_release_at_its_gate(&environment, "search-1-1");
    approve_twice(&environment, "search-1-1");
    environment.planspec(&["reconcile"]).succeeds();

    let done = execution(&environment, "search-1-1");
    assert_eq!(done["status"]["phase"], "Failed", "{done:#}");
    let phases = phases(&done);
    assert_eq!(
        (phases["deploy"], phases["clean-up"], phases["notify"]),
        ("Failed", "Succeeded", "Succeeded")
    );
    assert_eq!(output(&done, "clean-up", "removed"), "1.1");
    assert!(!www.join("1.1").exists());
    assert!(output(&done, "notify", "message").contains("could not be deployed; clean-up Succeeded"));
    check_rests(&environment);
}

#[test]
fn the_image_is_built_and_published_by_a_service() {
    let mut environment = TestEnvironment::with_repository();
    copy(&folder().join("http"), &environment.repo());
    environment.set("BUILD_TOKEN", "hunter22-of-the-builder");
    // Any port that is free, for the copy of this test alone.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    for file in [".planspec.yaml", "planspec/plan.yaml"] {
        environment.write(file, &environment.read(file).replace("8765", &free));
    }
    environment.commit_files(&[], "Begin");
    environment.planspec(&["validate"]).succeeds();
    let pid = environment.root().join("builder.pid");
    let mut service = std::process::Command::new("python3");
    service.args(["service/builder.py", &free]).arg(&pid).current_dir(environment.repo());
    let begun = service.env("BUILD_TOKEN", "hunter22-of-the-builder").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&begun.stdout), "the builder listens\n", "{begun:?}");

    environment.planspec(&["reconcile"]);
    end(&fs::read_to_string(&pid).unwrap());
    let done = execution(&environment, "image-1-4");
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    assert_eq!(output(&done, "build", "image"), "app:v1.4");
    assert!(output(&done, "publish", "digest").starts_with("sha256:"));
    check_rests(&environment);
}

#[test]
fn a_repository_of_two_hundred_resources_runs_to_its_end() {
    let environment = repository_of("two-hundred");
    assert_eq!(environment.planspec(&["get", "all", "-o", "name"]).succeeds().lines().len(), 200);
    environment.planspec(&["reconcile"]).succeeds();
    for namespace in ["energy", "fleet", "support", "travel"] {
        run_by(&environment, ADA, &["approve", "year-end", "-n", namespace]).succeeds();
    }
    environment.planspec(&["reconcile"]).succeeds();

    let executions = environment.planspec(&["get", "executions", "-o", "json"]).succeeds().json();
    let executions = executions["items"].as_array().unwrap();
    assert_eq!(executions.len(), 52);
    for execution in executions {
        assert_eq!(execution["status"]["phase"], "Succeeded", "{execution:#}");
    }
    let january = |execution: &&Value| {
        execution["metadata"]["name"] == "month-01" && execution["metadata"]["namespace"] == "travel"
    };
    let january = executions.iter().find(january).unwrap();
    assert_eq!(output(january, "add-up", "total"), "40");
    let goals = environment.planspec(&["get", "goals", "-o", "json"]).succeeds().json();
    assert!(goals["items"].as_array().unwrap().iter().all(|goal| goal["status"]["phase"] == "Succeeded"));
    check_rests(&environment);
}

#[test]
fn the_two_hundred_resources_are_what_their_script_writes() {
    let environment = repository_of("two-hundred");
    let status = std::process::Command::new("sh").arg("generate.sh").current_dir(environment.repo()).status();
    assert!(status.unwrap().success());
    assert_eq!(environment.git_output(&["status", "--porcelain"]), "");
}

#[test]
fn an_agent_gets_its_brief_and_hands_in_its_work() {
    let environment = repository_of("agent");
    environment.planspec(&["reconcile"]).succeeds();
    let done = environment
        .planspec(&["get", "execution/notes-1-4", "-n", "letters", "-o", "json"])
        .succeeds()
        .json();
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    assert_eq!(output(&done, "write", "title"), "Write the release notes");
    assert_eq!(artifacts(&done), ["brief.md"]);
    check_rests(&environment);
}

/// The two results merge as text and contradict each other, which only the third agent finds out.
#[test]
fn two_agents_work_side_by_side_a_third_reconciles_them_and_a_person_lets_it_land() {
    let environment = repository_of("agents-build-a-feature");
    environment.planspec(&["reconcile"]).succeeds();
    let waiting = execution_in(&environment, "discount-1", "shop");
    assert_eq!(phases(&waiting)["review"], "Blocked", "{waiting:#}");
    let nodes = &waiting["status"]["nodeStatuses"];
    let criterion = &nodes["fix"]["extensions"]["criteria"][0];
    assert_eq!(criterion["passed"], true, "{criterion:#}");
    assert_eq!(criterion["checked"]["commit"], nodes["fix"]["extensions"]["result"]["commit"]);
    let work = "planspec/work/shop/discount-1/review";
    // What the third one was given is the merge of both, mistake included; what it handed in is on top of that.
    let given = environment.git_output(&["show", &format!("{work}^:shop/discount.sh")]);
    assert!(given.contains("-gt 100"), "{given}");
    assert_eq!(environment.git_output(&["rev-list", "--count", &format!("{work}^^@"), "^main"]), "2");
    assert_eq!(environment.git_output(&["ls-tree", "main", "shop/discount.sh"]), "", "nobody has agreed yet");

    let dashboard = environment.git_output(&["show", "planspec/status:README.md"]);
    assert!(dashboard.contains("; used 9200 tokens, 8 turns, cost 0.14"), "{dashboard}");

    environment.planspec(&["approve", "discount-review", "-n", "shop"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    let done = execution_in(&environment, "discount-1", "shop");
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    assert_eq!(output(&done, "land", "commit"), environment.git_output(&["rev-parse", "main"]));
    let landed = environment.git_output(&["diff", "--name-only", work, "main"]);
    assert_eq!(landed, "", "exactly what was approved");
    let tests = std::process::Command::new("sh").arg("tests/run.sh").current_dir(environment.repo()).status();
    assert!(tests.unwrap().success());
    check_rests(&environment);
}

#[test]
fn hello_is_said_from_a_commit_as_well() {
    let environment = repository_of("hello");
    environment.planspec(&["run", "plan/hello", "-q", "--name", "hello-1"]).succeeds();
    environment.planspec(&["reconcile", "-q"]).succeeds();
    let done = execution_in(&environment, "hello-1", "demo");
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    check_rests(&environment);
}

#[test]
fn twelve_services_are_migrated_after_one_approval() {
    let environment = repository_of("migrate-services");
    environment.planspec(&["run", "plan/migrate", "-n", "platform", "-q", "--name", "one"]).succeeds();
    environment.planspec(&["reconcile"]);
    let before = execution_in(&environment, "one", "platform");
    assert_eq!(before["status"]["phase"], "Blocked", "{before:#}");
    environment.planspec(&["approve", "migration", "-n", "platform"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    let done = execution_in(&environment, "one", "platform");
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    assert!(phases(&done).values().all(|&phase| phase == "Succeeded"), "{done:#}");
    assert_eq!(output(&done, "migrate-11", "file"), "services/users.conf");
    // What each of them changed is there for what follows.
    let log = environment.planspec(&["logs", "one/report", "-n", "platform"]).succeeds().stdout;
    assert_eq!(log.trim(), "12");
    check_rests(&environment);
}

#[test]
fn the_nightly_report_is_built_once_for_the_last_night() {
    let environment = repository_of("nightly");
    // As if the Schedule had been merged long ago: the last night before today is then to be made up for.
    let commit =
        "alias.dated=!GIT_COMMITTER_DATE='2024-01-01T12:00:00Z' git commit --quiet --amend --no-edit";
    environment.git(&["-c", commit, "dated"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    let listed = environment.planspec(&["get", "executions", "-o", "json"]).succeeds().json();
    let [done] = listed["items"].as_array().unwrap().as_slice() else { panic!("{listed:#}") };
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    assert!(phases(done).values().all(|&phase| phase == "Succeeded"), "{done:#}");
    assert_eq!(output(done, "totals", "total"), "249 EUR");
    assert_eq!(artifacts(done), ["regions.txt"]);
    let attempted = done["status"]["nodeStatuses"].as_object().unwrap().values();
    assert_eq!(attempted.filter(|node| node["attempt"] == 1).count(), 40, "forty tasks");
    let night = done["metadata"]["annotations"]["planspec.io/scheduled-at"].as_str().unwrap();
    assert!(
        ["T00:30:00Z", "T01:30:00Z"].iter().any(|half_past_two| night.ends_with(half_past_two)),
        "{night}"
    );
    check_rests(&environment);
}

#[test]
fn a_provider_of_ones_own_is_found_on_the_path() {
    let mut environment = repository_of("custom-provider");
    let get = ["get", "execution/game-1", "-n", "play", "-o", "json"];
    let path = format!("{}:{}", environment.repo().join("bin").display(), std::env::var("PATH").unwrap());
    environment.set("PATH", &path);
    environment.planspec(&["reconcile"]).succeeds();
    let done = environment.planspec(&get).succeeds().json();
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    assert_eq!(done["status"]["nodeStatuses"]["throw"]["outputs"]["thrown"].as_array().unwrap().len(), 3);
    check_rests(&environment);
}

/// What a host's runner sets.
fn on_a_host(environment: &mut TestEnvironment, host: &GitHubHost) {
    environment.set("GITHUB_TOKEN", "ghs_0123456789abcdef");
    environment.set("GITHUB_REPOSITORY", "acme/app");
    environment.set("GITHUB_API_URL", &host.url());
    environment.set("GITHUB_SERVER_URL", "https://github.com");
}

#[test]
fn a_person_gets_the_issue_that_the_page_shows_and_answers_it() {
    let mut environment = repository_of("human");
    let host = GitHubHost::start();
    on_a_host(&mut environment, &host);
    environment.planspec(&["reconcile"]).succeeds();
    let issue = host.with(|state| state.issues.all[0].clone());
    let (_, body) = issue["body"].as_str().unwrap().split_once('\n').unwrap();
    let page = folder().join("human/README.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once("<!-- issue -->\n````markdown\n").unwrap();
    let (shown, after) = rest.split_once("````\n").unwrap();
    let now = format!("# {}\n\n{body}", issue["title"].as_str().unwrap());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, format!("{before}<!-- issue -->\n````markdown\n{now}````\n{after}")).unwrap();
    } else {
        assert_eq!(shown, now, "UPDATE_DOCS=1 writes it anew");
    }

    host.comment(40, "mia", "Done.\n```yaml\nreference: L-204\nmonthly: 2100\n```");
    host.with(|state| state.issues.turn(40, "closed", Some("completed"), "mia"));
    // The next job begins with a fresh clone.
    fs::remove_dir_all(environment.repo().join(".git/planspec")).unwrap();
    environment.planspec(&["reconcile"]).succeeds();
    let get = ["get", "execution/lease-1", "-n", "office", "-o", "json"];
    let done = environment.planspec(&get).succeeds().json();
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    assert_eq!(output(&done, "file", "entry"), "L-204 at 2100");
    check_rests(&environment);
}

#[test]
fn two_workflows_build_the_site_and_get_only_inputs_that_they_declare() {
    let mut environment = repository_of("github-actions");
    let host = GitHubHost::start();
    on_a_host(&mut environment, &host);
    environment.planspec(&["reconcile", "--jobs", "2"]).succeeds();
    let get = ["get", "execution/site-1", "-n", "web", "-o", "json"];
    let done = environment.planspec(&get).succeeds().json();
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    assert!(output(&done, "announce", "text").contains("https://github.com/acme/app/actions/runs/701"));
    assert_eq!(artifacts(&done), ["site", "site"]);
    let workflow: Value = serde_yaml::from_str(&environment.read(".github/workflows/build.yml")).unwrap();
    let declared = workflow["on"]["workflow_dispatch"]["inputs"].as_object().unwrap();
    let started = host.with(|state| state.runs.started.clone());
    assert_eq!(started.len(), 2);
    for start in started {
        let given = start["inputs"].as_object().unwrap();
        assert_eq!(start["ref"], "main");
        assert!(given.keys().all(|name| declared.contains_key(name)), "{given:?}");
        let required = declared.iter().filter(|(_, input)| input["required"] == true);
        assert!(required.map(|(name, _)| name).all(|name| given.contains_key(name)), "{given:?}");
    }
    assert!(workflow["run-name"].as_str().unwrap().contains("${{ inputs.planspec_key }}"));
    check_rests(&environment);
}

#[test]
fn a_tool_of_a_server_is_called_and_its_answer_goes_on() {
    let environment = repository_of("mcp");
    environment.planspec(&["reconcile"]).succeeds();
    let get = ["get", "execution/reading-1", "-n", "club", "-o", "json"];
    let done = environment.planspec(&get).succeeds().json();
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    assert_eq!(done["status"]["nodeStatuses"]["find"]["outputs"]["count"], 2);
    assert_eq!(output(&done, "announce", "first"), "Moby Dick");
    check_rests(&environment);
}

/// Serves the shop of the published shapes on a free port, for the copy of this test alone; gives back its process.
fn serve_the_shop(environment: &TestEnvironment) -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    for file in [".planspec.yaml", "planspec/ticket-shop.yaml"] {
        environment.write(file, &environment.read(file).replace("8766", &free));
    }
    environment.commit_files(&[], "Use a free port");
    let pid = environment.root().join("site.pid");
    let mut service = std::process::Command::new("python3");
    service.args(["tools/serve.py", &free]).arg(&pid).current_dir(environment.repo());
    let begun = service.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&begun.stdout), "the site is served\n", "{begun:?}");
    fs::read_to_string(&pid).unwrap()
}

#[test]
fn manifests_of_every_published_shape_run_to_their_end() {
    let environment = repository_of("reference");
    let server = serve_the_shop(&environment);
    environment.planspec(&["reconcile"]).succeeds();
    for (gate, namespace) in [
        ("ticket-shop-review", "museum"),
        ("opening-permission", "museum"),
        ("first-listener", "guides"),
        ("card-review-gate", "archive"),
        ("privacy-review-gate", "archive"),
    ] {
        run_by(&environment, "head@museum.example", &["approve", gate, "-n", namespace]).succeeds();
    }
    let office =
        run_by(&environment, "ada@museum.example", &["approve", "ticket-shop-review", "-n", "museum"]);
    office.succeeds();
    environment.planspec(&["reconcile"]);
    end(&server);

    let all = environment.planspec(&["get", "executions", "-A", "-o", "json"]).succeeds().json();
    let all = all["items"].as_array().unwrap();
    assert_eq!(all.len(), 6);
    for execution in all {
        assert_eq!(execution["status"]["phase"], "Succeeded", "{execution:#}");
        assert!(phases(execution).values().all(|&phase| phase == "Succeeded"), "{execution:#}");
    }
    let find = |name: &str| all.iter().find(|execution| execution["metadata"]["name"] == name).unwrap();
    let findings = &find("catalogue-001")["status"]["nodeStatuses"]["ask-around"]["outputs"]["findings"];
    assert_eq!(findings["depth"], "usual", "the default of the capability is filled in");
    let labels = &find("label-page-001")["status"]["nodeStatuses"]["make-labels"];
    let criteria = labels["extensions"]["criteria"].as_array().unwrap();
    let held: Vec<bool> = criteria.iter().map(|result| result["passed"].as_bool().unwrap()).collect();
    assert_eq!(held, [true, true, false, true], "the third is advisory");
    let goals = environment.planspec(&["get", "goals", "-A", "-o", "json"]).succeeds().json();
    assert!(goals["items"].as_array().unwrap().iter().all(|goal| goal["status"]["phase"] == "Succeeded"));
    check_rests(&environment);
}

/// From the person who writes the forecast, past the editor, to the end.
fn print_the_report(environment: &TestEnvironment, name: &str) -> Value {
    let reconcile = ["reconcile"];
    environment.planspec(&reconcile);
    let node = format!("{name}/forecast");
    run_by(environment, "mira@example.com", &["complete", &node, "-n", "weather", "text=Sun"]).succeeds();
    environment.planspec(&reconcile);
    let approve = ["approve", "editor", "-n", "weather"];
    run_by(environment, "mira@example.com", &approve).exits(1);
    run_by(environment, "eve@example.com", &approve).succeeds();
    environment.planspec(&reconcile);
    let get = ["get", &format!("execution/{name}"), "-n", "weather", "-o", "json"];
    environment.planspec(&get).succeeds().json()
}

#[test]
fn the_example_of_everything_prints_its_report_and_takes_back_what_it_cannot_print() {
    let mut environment = repository_of("everything");
    let press = environment.root().join("press");
    environment.set("PRESS", press.to_str().unwrap());
    let done = print_the_report(&environment, "may");
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    let nodes = &done["status"]["nodeStatuses"];
    assert_eq!(nodes["hill"]["attempt"], 2, "its line is dead at first");
    assert_eq!(nodes["airport"]["outputs"]["readings"][0], 17.2, "a number, in degrees Celsius");
    assert_eq!(output(&done, "heat-warning", "warning"), "up to 26.1 degrees");
    assert_eq!(output(&done, "tell", "message"), "May is printed");
    assert_eq!(artifacts(&done), ["report.md"]);
    let all = phases(&done);
    assert_eq!((all["posters"], all["take-back"], all["stations"]), ("Failed", "Skipped", "Succeeded"));
    assert_eq!(fs::read_dir(press.join("May")).unwrap().count(), 3);

    let run = ["run", "goal/weather-in-print", "-n", "weather", "--name", "june"];
    environment.planspec(&[&run[..], &["-p", "month=June", "-p", "copies:=900"]].concat()).succeeds();
    let done = print_the_report(&environment, "june");
    assert_eq!(done["status"]["phase"], "Failed", "{done:#}");
    let all = phases(&done);
    assert_eq!((all["print"], all["take-back"], all["posters"]), ("Failed", "Succeeded", "Skipped"));
    assert_eq!(output(&done, "tell", "message"), "June could not be printed; taking back Succeeded");
    assert!(!press.join("June").exists(), "nothing is left of it");
    check_rests(&environment);
}

#[test]
fn an_agent_at_an_address_asks_back_and_goes_on_after_the_answer() {
    let mut environment = TestEnvironment::with_repository();
    copy(&folder().join("a2a"), &environment.repo());
    environment.set("EDITOR_KEY", "key-of-the-editor");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    environment.write(".planspec.yaml", &environment.read(".planspec.yaml").replace("8767", &free));
    environment.commit_files(&[], "Begin");
    environment.planspec(&["validate"]).succeeds();
    let pid = environment.root().join("editor.pid");
    let mut editor = std::process::Command::new("python3");
    editor.args(["agent/editor.py", &free]).arg(&pid).current_dir(environment.repo());
    let begun = editor.env("EDITOR_KEY", "key-of-the-editor").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&begun.stdout), "the editor listens\n", "{begun:?}");
    environment.planspec(&["reconcile"]).succeeds();
    let asked = execution_in(&environment, "leaflet-1", "clinic");
    assert_eq!(
        asked["status"]["nodeStatuses"]["write"]["extensions"]["reason"], "InputRequired",
        "{asked:#}"
    );
    environment.planspec(&["answer", "leaflet-1/write", "-n", "clinic", "nurses"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    end(&fs::read_to_string(&pid).unwrap());
    let done = execution_in(&environment, "leaflet-1", "clinic");
    assert_eq!(done["status"]["phase"], "Succeeded", "{done:#}");
    assert_eq!(output(&done, "write", "title"), "Hand hygiene for nurses");
    check_rests(&environment);
}

fn execution_in(environment: &TestEnvironment, name: &str, namespace: &str) -> Value {
    let name = format!("execution/{name}");
    environment.planspec(&["get", &name, "-n", namespace, "-o", "json"]).succeeds().json()
}
