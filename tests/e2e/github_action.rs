//! The scripts of the action, with a server in the place of the releases: what is run is what was published.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use planspec::model::Digest;
use rustix::process::{Pid, Signal, kill_process};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::environment::TestEnvironment;
use crate::skip::{self, unless_found};

/// One task that takes longer than a runner waits.
const SLOW: &str = "
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: slow, namespace: team}
spec: {description: Wait, graph: {nodes: [{id: wait, kind: Task}]}}
---
apiVersion: planspec.io/v1alpha1
kind: Binding
metadata: {name: default, namespace: team}
spec: {rules: [{selector: {planRef: {name: slow}}, target: {provider: 'tool://sleep', config: {command: sleep, args: ['60']}}}]}
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: {name: slow, namespace: team}
spec: {planRef: {name: slow}}
";

/// The commit of the action that a workflow pins.
const COMMIT: &str = "08c6903cd8c0fde910a37f88322edcfb5dd907a8";

/// Writes a shell script that can be run.
fn script(place: &Path, text: &str) {
    fs::write(place, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
}

fn action(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("action").join(file)
}

/// The name that the action looks for on this machine.
fn archive() -> String {
    let target = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", arch) => format!("{arch}-apple-darwin"),
        (_, arch) => {
            format!("{arch}-unknown-linux-{}", if cfg!(target_env = "musl") { "musl" } else { "gnu" })
        }
    };
    format!("planspec-v{}-{target}.tar.gz", env!("CARGO_PKG_VERSION"))
}

/// A release: an archive with a script that only says its version, and sums.
struct Release {
    server: MockServer,
    folder: tempfile::TempDir,
}

/// Whether the programs of the action's scripts are there.
#[track_caller]
fn has(programs: &[&str]) -> bool {
    programs
        .iter()
        .all(|program| unless_found(skip::program(Command::new(program).arg("--version"), program)).is_some())
}

impl Release {
    async fn new(sums: impl FnOnce(&str) -> String) -> Self {
        let folder = tempfile::Builder::new().prefix("planspec-action-").tempdir().unwrap();
        let program = folder.path().join("planspec");
        script(&program, "echo planspec 0.0.0");
        // Only `gh` can say where an archive came from, and it asks a service for that.
        let programs = folder.path().join("bin");
        fs::create_dir(&programs).unwrap();
        script(
            &programs.join("gh"),
            "printf '%s\\n' \"$GH_HOST\" \"$GH_TOKEN\" \"$@\" >> \"$RUNNER_TEMP/asked\"\n[ \"$ATTESTED\" = yes ] || { echo '::error::no attestation'; exit 1; }",
        );
        let packed = folder.path().join("packed.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(&packed).arg("-C").arg(folder.path()).arg("planspec");
        assert!(tar.status().unwrap().success());
        let bytes = fs::read(packed).unwrap();
        let digest = Digest::of_bytes(&bytes).to_string().trim_start_matches("sha256:").to_owned();
        let server = MockServer::start().await;
        let place = format!("/wendy/planspec/releases/download/v{}", env!("CARGO_PKG_VERSION"));
        let bundle = format!("planspec-v{}.sigstore.json", env!("CARGO_PKG_VERSION"));
        for (name, body) in [
            ("SHA256SUMS".to_owned(), sums(&digest).into_bytes()),
            (archive(), bytes),
            (bundle, b"{}".to_vec()),
        ] {
            let answer = ResponseTemplate::new(200).set_body_bytes(body);
            Mock::given(path(format!("{place}/{name}"))).respond_with(answer).mount(&server).await;
        }
        Self { server, folder }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    async fn find(&self, changed: &[(&str, &str)]) -> Output {
        let mut command = Command::new("bash");
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.folder.path().join("bin").display());
        command.arg(action("binary.sh")).env_clear().env("PATH", path).env("ATTESTED", "yes");
        command.env("PLANSPEC_PROVENANCE", "required").env("PLANSPEC_TOKEN", "sesame");
        command.env("PLANSPEC_ACTION_REF", COMMIT).env("PLANSPEC_SERVER", "");
        command.env("GITHUB_SERVER_URL", self.server.uri()).env("RUNNER_TEMP", self.folder.path());
        command.env("GITHUB_OUTPUT", self.folder.path().join("output"));
        command.env("PLANSPEC_ACTION_PATH", action("")).env("PLANSPEC_ACTION_REPOSITORY", "wendy/planspec");
        command.envs([("PLANSPEC_BINARY", ""), ("PLANSPEC_BUILD", "false"), ("PLANSPEC_VERSION", "")]);
        command.envs(changed.iter().copied());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn refuses(&self, changed: &[(&str, &str)], why: &str) {
        let output = self.find(changed).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains("::error") && said.contains(why), "{said}");
        assert_eq!(self.output(), "");
    }
}

#[tokio::test]
async fn a_release_whose_checksum_is_right_is_used() {
    if !has(&["bash", "curl"]) {
        return;
    }
    let release = Release::new(|digest| format!("{digest}  {}\n", archive())).await;
    let output = release.find(&[]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "planspec 0.0.0\n");
    let line = release.output();
    assert!(Path::new(line.trim().strip_prefix("path=").unwrap()).is_file(), "{line}");
}

#[tokio::test]
async fn a_release_that_is_not_what_its_checksums_say_is_never_run() {
    if !has(&["bash", "curl"]) {
        return;
    }
    let other = Release::new(|_| format!("{}  {}\n", "0".repeat(64), archive())).await;
    other.refuses(&[], "is not what SHA256SUMS").await;
    let silent = Release::new(|digest| format!("{digest}  {}.old\n", archive())).await;
    silent.refuses(&[], "does not name").await;
}

/// Each machine asks for the archive that the release workflow built for it; a container without glibc for the static one.
#[tokio::test]
async fn every_machine_gets_the_archive_that_was_built_for_it() {
    if !has(&["bash", "curl"]) {
        return;
    }
    let release = Release::new(|_| String::new()).await;
    let built = fs::read_to_string(action("../.github/workflows/release.yml")).unwrap();
    let programs = release.folder.path().join("bin");
    let mut seen = 0;
    for (system, machine, library, target) in [
        ("Linux", "x86_64", "ldd (Debian GLIBC 2.36-9) 2.36", "x86_64-unknown-linux-gnu"),
        ("Linux", "x86_64", "musl libc (x86_64)", "x86_64-unknown-linux-musl"),
        ("Linux", "aarch64", "ldd (GNU libc) 2.34", "aarch64-unknown-linux-gnu"),
        ("Linux", "arm64", "", "aarch64-unknown-linux-musl"),
        ("Darwin", "arm64", "", "aarch64-apple-darwin"),
        ("Darwin", "x86_64", "", "x86_64-apple-darwin"),
    ] {
        script(&programs.join("uname"), &format!("[ $1 = -s ] && echo {system} || echo {machine}"));
        script(&programs.join("ldd"), &format!("echo '{library}' >&2; exit 1"));
        assert!(built.contains(&format!("target: {target} }}")), "{target}");
        let archive = format!("does not name planspec-v{}-{target}.tar.gz", env!("CARGO_PKG_VERSION"));
        release.refuses(&[], &archive).await;
        seen += 1;
    }
    assert_eq!(built.matches("target: ").count(), seen);
    script(&programs.join("uname"), "[ $1 = -s ] && echo MINGW64_NT || echo x86_64");
    release.refuses(&[], "there is no release for MINGW64_NT on x86_64; set `build: true`").await;
}

/// Checksums can be replaced together with the archive: the attestation has to name repository, workflow, tag and commit.
#[tokio::test]
async fn a_release_whose_provenance_is_not_confirmed_is_never_run() {
    if !has(&["bash", "curl"]) {
        return;
    }
    let release = Release::new(|digest| format!("{digest}  {}\n", archive())).await;
    release.refuses(&[("ATTESTED", "no")], "nothing of it is run").await;
    release.refuses(&[("PLANSPEC_PROVENANCE", "no")], "`required` or `checksum`").await;
    release.refuses(&[("PLANSPEC_SERVER", "file:///tmp")], "is not an address").await;
    let output = release.find(&[("ATTESTED", "no")]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !said.contains("::error::no attestation"),
        "what `gh` prints becomes no command of the runner: {said}"
    );
    let asked = release.folder.path().join("asked");
    fs::remove_file(&asked).unwrap();
    assert!(release.find(&[]).await.status.success());
    let tag = format!("refs/tags/v{}", env!("CARGO_PKG_VERSION"));
    let said = fs::read_to_string(&asked).unwrap();
    let said: Vec<&str> = said.lines().collect();
    let host = release.server.uri();
    assert_eq!(said[..4], [host.trim_start_matches("http://"), "sesame", "attestation", "verify"]);
    let wanted = [
        "--repo",
        "wendy/planspec",
        "--signer-workflow",
        "wendy/planspec/.github/workflows/release.yml",
        "--source-ref",
        &tag,
        "--deny-self-hosted-runners",
        "--source-digest",
        COMMIT,
    ];
    assert_eq!(said[5..], wanted);
    // A version of one's own choice was not built from the commit that is pinned; the token goes to no other host, which shows its
    // attestations to nobody without one: the attestation comes from beside the archive.
    fs::remove_file(&asked).unwrap();
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    let own = [
        ("PLANSPEC_VERSION", version.as_str()),
        ("GITHUB_SERVER_URL", "http://other.example"),
        ("PLANSPEC_SERVER", &host),
    ];
    assert!(release.find(&own).await.status.success());
    let said = fs::read_to_string(&asked).unwrap();
    assert!(!said.contains("--source-digest") && said.lines().nth(1) == Some(""), "{said}");
    let bundle = said.split_once("--bundle\n").unwrap().1.trim_end();
    assert_eq!(fs::read_to_string(bundle).unwrap(), "{}", "{said}");
    // One that is not confirmed is refused there as everywhere.
    let output = release.find(&[own.as_slice(), &[("ATTESTED", "no")]].concat()).await;
    assert!(!output.status.success(), "{output:?}");
    // The commit that the workflow pins counts wherever the release is.
    fs::remove_file(&asked).unwrap();
    assert!(release.find(&own[1..]).await.status.success());
    let said = fs::read_to_string(&asked).unwrap();
    assert!(said.contains(&format!("--source-digest\n{COMMIT}\n--bundle\n")), "{said}");
    // Whoever asks for less gets less, and reads that in the log.
    let output = release.find(&[("ATTESTED", "no"), ("PLANSPEC_PROVENANCE", "checksum")]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("only compared with its checksum"), "{said}");
}

/// The marketplace reads the definition at the root; workflows that name the folder read the other.
#[test]
fn the_action_at_the_root_is_the_one_in_its_folder() {
    let here = fs::read_to_string(action("action.yml")).unwrap();
    let root = fs::read_to_string(action("../action.yml")).unwrap();
    assert_eq!(root, here.replace("${{ github.action_path }}", "${{ github.action_path }}/action"));
}

#[tokio::test]
async fn inputs_of_the_action_become_no_part_of_an_address_or_a_script() {
    if !has(&["bash", "curl"]) {
        return;
    }
    let release = Release::new(|digest| format!("{digest}  {}\n", archive())).await;
    for version in ["latest", "v1.2.3/../..", "v1.2.3?x", "$(touch x)", "v1.2.3\nv"] {
        release.refuses(&[("PLANSPEC_VERSION", version)], "of the form v1.2.3").await;
    }
    for repository in ["", "..", "../x", "a/b/c", "a/../b", "a/..", "a b/c", "a/b?"] {
        release.refuses(&[("PLANSPEC_ACTION_REPOSITORY", repository)], "which repository").await;
    }
    release.refuses(&[("PLANSPEC_VERSION", "v9.9.9")], "cannot download").await;
    release.refuses(&[("PLANSPEC_BINARY", "/nowhere")], "no program at the path").await;
    release.refuses(&[("PLANSPEC_BUILD", "$(id)")], "`true` or `false`").await;
}

/// What reaches the program: arguments as they are, the token for Git in the environment alone.
#[test]
fn arguments_reach_the_program_unread_and_the_token_only_its_environment() {
    if !has(&["bash"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("planspec");
    fs::write(&program, "#!/bin/sh\nprintf '<%s>\\n' \"$@\"\ngit config --get-urlmatch http.extraheader http://host.example/a\nenv | grep -c PLANSPEC_\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("bash");
    command.arg(action("run.sh")).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("GITHUB_SERVER_URL", "http://host.example").env("GITHUB_TOKEN", "sesame");
    command.env("PLANSPEC_ACTION_PATH", "x").env("PLANSPEC_BINARY", &program);
    command.env("PLANSPEC_ARGUMENTS", "--report=$(id) `id`\n\n*").env("PLANSPEC_MAX_DURATION", "5m");
    command.env("PLANSPEC_PARALLEL", "2; id").env("PLANSPEC_REPORT", "$(id)");
    command.env("PLANSPEC_SCHEDULE_WORKFLOW", "s.yml; id");
    command.env("PLANSPEC_ALLOW_MASS_DELETE", "true").env("PLANSPEC_ACCEPT_STATUS_HISTORY", "false");
    command.env("PLANSPEC_DIRECTORY", folder.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let basic = "eC1hY2Nlc3MtdG9rZW46c2VzYW1l";
    let lines = [
        &format!("::add-mask::{basic}"),
        "<ci>",
        "<--max-duration=5m>",
        "<--jobs=2; id>",
        "<--report=$(id)>",
        "<--schedule-workflow=s.yml; id>",
        "<--allow-mass-delete>",
        "<--report=$(id) `id`>",
        "<*>",
        &format!("AUTHORIZATION: basic {basic}"),
        "0",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), lines, "{output:?}");
}

/// The Cancel button and a job's timeout: the runner interrupts the shell of the step and nothing below it, and kills 10 s later.
#[test]
fn an_interrupt_of_the_step_s_shell_alone_leaves_a_clean_state() {
    if !has(&["bash"]) {
        return;
    }
    let environment = TestEnvironment::with_files(&[("plan.yaml", SLOW)]);
    let definition: serde_json::Value =
        serde_yaml::from_str(&fs::read_to_string(action("action.yml")).unwrap()).unwrap();
    let step =
        definition["runs"]["steps"].as_array().unwrap().iter().find(|step| step["id"] == "run").unwrap();
    assert_eq!(step["shell"], "bash");
    let script = environment.root().join("step.sh");
    fs::write(&script, step["run"].as_str().unwrap()).unwrap();
    let event = environment.root().join("event.json");
    fs::write(&event, r#"{"repository": {"default_branch": "main"}}"#).unwrap();
    // The environment of the program in the tests, for the shell that the runner starts, as it documents `shell: bash`.
    let planspec = environment.planspec_command(&environment.repo());
    let mut shell = Command::new("bash");
    shell
        .args(["--noprofile", "--norc", "-eo", "pipefail"])
        .arg(&script)
        .current_dir(environment.repo())
        .env_clear();
    shell.envs(planspec.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PLANSPEC_BINARY", planspec.get_program()).env("PLANSPEC_ACTION_PATH", action(""));
    shell.env("PLANSPEC_ARGUMENTS", "").env("PLANSPEC_MAX_DURATION", "").env("PLANSPEC_DIRECTORY", ".");
    for name in ["PARALLEL", "REPORT", "SCHEDULE_WORKFLOW", "ALLOW_MASS_DELETE", "ACCEPT_STATUS_HISTORY"] {
        shell.env(format!("PLANSPEC_{name}"), "");
    }
    shell.env("GITHUB_TOKEN", "").env("GITHUB_EVENT_NAME", "schedule").env("GITHUB_EVENT_PATH", &event);
    shell.env("GITHUB_SERVER_URL", "https://github.com").env("GITHUB_ACTIONS", "true");
    let mut runner = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let get = || environment.planspec(&["get", "execution/slow", "-n", "team", "-o", "json"]);
    let begun = Instant::now();
    loop {
        let found = get();
        if found.code == 0 && found.json()["status"]["nodeStatuses"]["wait"]["phase"] == "Running" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the node never runs: {found:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let shell = Pid::from_raw(i32::try_from(runner.id()).unwrap()).unwrap();
    kill_process(shell, Signal::INT).unwrap();
    let sent = Instant::now();
    runner.wait().unwrap();
    assert!(sent.elapsed() < Duration::from_millis(7500), "{:?}", sent.elapsed());
    let status = &get().succeeds().json()["status"];
    assert_eq!(status["nodeStatuses"]["wait"]["phase"], "Pending", "{status}");
    assert_eq!(status["extensions"]["lease"], serde_json::Value::Null, "{status}");
}

/// The page names every input and output of the action, and no other.
#[test]
fn the_page_of_the_action_lists_its_inputs_and_outputs() {
    let definition: serde_json::Value =
        serde_yaml::from_str(&fs::read_to_string(action("action.yml")).unwrap()).unwrap();
    let page = fs::read_to_string(action("README.md")).unwrap();
    for (heading, key) in [("## Inputs", "inputs"), ("## Outputs", "outputs")] {
        let section = page.split(heading).nth(1).unwrap().split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let named = definition[key].as_object().unwrap().keys().map(String::as_str);
        assert_eq!(rows.collect::<BTreeSet<_>>(), named.collect::<BTreeSet<_>>(), "{heading}");
    }
    // Steps of a workflow compare with these words.
    let row = page.lines().find(|line| line.starts_with("| `result`")).unwrap();
    let words: BTreeSet<_> = row.split('`').skip(3).step_by(2).collect();
    let known = ["done", "waiting", "failed", "interrupted", "held-back", "invalid", "valid"];
    assert_eq!(words, BTreeSet::from(known), "{row}");
}

/// Runs one test above in a process of its own, on a machine that has no programs at all.
fn without_programs(ci: &str) -> Output {
    let nothing = tempfile::tempdir().unwrap();
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(["--exact", "github_action::a_release_whose_checksum_is_right_is_used"]);
    tests.env("PATH", nothing.path()).env("CI", ci).output().unwrap()
}

#[test]
fn a_test_whose_programs_are_missing_is_skipped_in_one_line_and_fails_in_ci() {
    let output = without_programs("");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{output:?}");
    let why = "bash is not installed; install the package bash";
    let test = "github_action::a_release_whose_checksum_is_right_is_used";
    assert_eq!(said, format!("skipped: {why} ({test})\n"));
    let output = without_programs("true");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("no test may be skipped in CI"), "{output:?}");
    assert!(said.contains(why), "{said}");
    let checks = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run")).unwrap();
    assert!(checks.contains("\nexport CI=true "), "every check runs with `CI` set");
}
