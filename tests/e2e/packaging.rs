//! What packages planspec for others names the archives that a release has, and a formula is filled in wholly or not at all.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::environment::TestEnvironment;
use crate::skip::{program, unless_found};

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(own(path)).unwrap()
}

/// The targets that the release workflow builds.
fn targets() -> Vec<String> {
    let found = text(".github/workflows/release.yml");
    let targets = found.lines().filter_map(|line| line.split_once("target: ")?.1.strip_suffix(" }"));
    let targets: Vec<String> = targets.map(str::to_owned).collect();
    assert!(targets.len() >= 6, "{targets:?}");
    targets
}

fn formula(sums: &Path, address: &str, tag: &str) -> Output {
    Command::new("bash").arg(own("packaging/homebrew.sh")).args([address, tag]).arg(sums).output().unwrap()
}

#[test]
fn the_formula_has_the_checksum_of_each_archive_that_it_names() {
    if unless_found(program(Command::new("bash").arg("--version"), "bash")).is_none() {
        return;
    }
    let environment = TestEnvironment::new();
    let sums = environment.root().join("SHA256SUMS");
    let sum = |number: usize| format!("{number:064x}");
    let archive = |target: &str| format!("planspec-v1.2.3-{target}.tar.gz");
    let lines = |targets: &[String]| -> String {
        targets.iter().enumerate().map(|(at, target)| format!("{}  {}\n", sum(at), archive(target))).collect()
    };
    let targets = targets();
    std::fs::write(&sums, lines(&targets)).unwrap();
    let address = "https://github.com/acme/planspec";
    let made = formula(&sums, address, "v1.2.3");
    assert!(made.status.success(), "{made:?}");
    let made = String::from_utf8(made.stdout).unwrap();
    assert!(!made.contains('@'), "{made}");
    // With a static build for Linux: Homebrew brings a C library of its own.
    for (at, target) in targets.iter().enumerate().filter(|(_, target)| !target.ends_with("-gnu")) {
        let lines = format!(
            "url \"{address}/releases/download/v1.2.3/{}\"\n      sha256 \"{}\"",
            archive(target),
            sum(at)
        );
        assert!(made.contains(&lines), "{lines}\n{made}");
    }
    // Without a checksum there is no formula, and nothing else becomes a part of it.
    std::fs::write(&sums, lines(&targets[..2])).unwrap();
    for (address, tag, why) in [
        (address, "v1.2.3", "has no checksum for"),
        (address, "latest", "no tag of a release"),
        ("https://h/a/b\"; system \"x", "v1.2.3", "no address of a repository"),
    ] {
        let refused = formula(&sums, address, tag);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why), "{refused:?}");
    }
}

#[test]
fn images_and_cargo_binstall_name_the_archives_of_a_release() {
    let image = text("packaging/Containerfile");
    assert!(image.contains("ADD planspec-v${VERSION}-${TARGET}.tar.gz /opt/planspec/"), "{image}");
    let targets = targets();
    for target in ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"] {
        assert!(image.contains(target) && targets.iter().any(|built| built == target), "{target}");
    }
    let url = "{ repo }/releases/download/v{ version }/planspec-v{ version }-{ target }.tar.gz";
    assert!(text("Cargo.toml").contains(&format!("pkg-url = \"{url}\"")));
    // The names that both rely on, and the program at the top of the archive.
    let script = text(".github/release.sh");
    assert!(script.contains("planspec-$tag-$target.tar.gz\" -C \"$folder\" planspec "), "{script}");
}

/// What is published cannot be changed, nothing is added to it afterwards, and what it is made of is said first.
#[test]
fn a_release_is_attested_as_a_whole_before_it_is_published_and_has_to_be_immutable() {
    let workflow: serde_json::Value = serde_yaml::from_str(&text(".github/workflows/release.yml")).unwrap();
    let steps = workflow["jobs"]["publish"]["steps"].as_array().unwrap();
    let at = |part: &str| {
        let found = |step: &serde_json::Value| step.to_string().contains(part);
        let steps: Vec<usize> = (0..steps.len()).filter(|at| found(&steps[*at])).collect();
        assert_eq!(steps.len(), 1, "{part}: {steps:?}");
        steps[0]
    };
    let order = [
        at("sha256sum -- *.tar.gz"),
        at("actions/attest-build-provenance@"),
        at("cp -- \\\"$BUNDLE\\\""),
        at("gh release create"),
        at("--jq .immutable"),
    ];
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(order[4], steps.len() - 1, "nothing follows");
    let create = steps[order[3]]["run"].as_str().unwrap();
    let files =
        ["dist/*.tar.gz", "dist/*.cdx.json", "dist/*.sigstore.json", "dist/SHA256SUMS", "dist/planspec.rb"];
    assert!(files.iter().all(|file| create.contains(file)), "{create}");
    // The name that the action asks for.
    let bundle = steps[order[2]]["run"].as_str().unwrap();
    assert!(bundle.ends_with("\"dist/planspec-$GITHUB_REF_NAME.sigstore.json\""), "{bundle}");
    assert!(text("action/binary.sh").contains("/planspec-$version.sigstore.json\""));
}

/// The last step of a release, with a host that says whether the release can still be changed.
#[test]
fn a_release_that_can_still_be_changed_fails_its_workflow() {
    if unless_found(program(Command::new("bash").arg("--version"), "bash")).is_none() {
        return;
    }
    let workflow: serde_json::Value = serde_yaml::from_str(&text(".github/workflows/release.yml")).unwrap();
    let step = workflow["jobs"]["publish"]["steps"].as_array().unwrap().last().unwrap();
    let environment = TestEnvironment::new();
    let gh = environment.root().join("gh");
    let path = format!("{}:{}", environment.root().display(), std::env::var("PATH").unwrap());
    for (said, fine) in [("true", true), ("false", false), ("null", false), ("", false)] {
        let script =
            format!("#!/bin/sh\n[ \"$2\" = repos/acme/planspec/releases/tags/v1.2.3 ] && echo '{said}'\n");
        std::fs::write(&gh, script).unwrap();
        std::fs::set_permissions(&gh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut shell = Command::new("bash");
        shell.args(["-eo", "pipefail", "-c", step["run"].as_str().unwrap()]).env("PATH", &path);
        let done = shell.env("GH_REPO", "acme/planspec").env("GITHUB_REF_NAME", "v1.2.3").output().unwrap();
        assert_eq!(done.status.success(), fine, "{said}: {done:?}");
        assert_eq!(String::from_utf8_lossy(&done.stdout).starts_with("::error "), !fine, "{done:?}");
    }
}

/// A team's short file can set whatever a file of its own could.
#[test]
fn the_reusable_workflow_takes_what_the_action_takes_and_passes_it_on() {
    let read = |path: &str| serde_yaml::from_str::<serde_json::Value>(&text(path)).unwrap();
    let (action, reusable) = (read("action.yml"), read(".github/workflows/planspec.yml"));
    let call = &reusable["on"]["workflow_call"];
    let apply = reusable["jobs"]["apply"]["steps"].as_array().unwrap();
    let passed = apply.iter().find(|step| step["uses"] == "$/action").unwrap()["with"].as_object().unwrap();
    for input in action["inputs"].as_object().unwrap().keys() {
        match input.as_str() {
            // A token is a secret, and the report is between the two jobs of a pull request.
            "token" => assert!(call["secrets"].get("token").is_some() && passed.contains_key("token")),
            "report" => {}
            _ => {
                let value = format!("${{{{ inputs.{input} }}}}");
                assert_eq!(passed.get(input).and_then(|value| value.as_str()), Some(&*value), "{input}");
                assert!(call["inputs"].get(input).is_some(), "{input}");
            }
        }
    }
}

/// The hook is a command that exists, by the name that the documentation tells, and looks at everything at once.
#[test]
fn the_hook_before_a_commit_is_the_one_of_the_documentation() {
    let hooks: serde_json::Value = serde_yaml::from_str(&text(".pre-commit-hooks.yaml")).unwrap();
    let [hook] = hooks.as_array().unwrap().as_slice() else { panic!("{hooks}") };
    assert!(text("docs/github.md").contains(&format!("      - id: {}\n", hook["id"].as_str().unwrap())));
    assert_eq!(hook["pass_filenames"], false);
    let environment = TestEnvironment::with_repository();
    environment.planspec(&["init"]).succeeds();
    let words: Vec<&str> = hook["entry"].as_str().unwrap().split(' ').collect();
    assert_eq!(words[0], "planspec");
    environment.planspec(&words[1..]).succeeds();
    environment.write("broken.yaml", "apiVersion: planspec.io/v1alpha1\nkind: Plan\n");
    assert_ne!(environment.planspec(&words[1..]).code, 0);
}

/// What follows the pin of the action where it is copied from the documentation.
#[test]
fn the_snippets_for_dependabot_and_renovate_are_files_that_they_read() {
    let page = text("docs/github.md");
    let section = page.split_once("\n## Keeping it up to date\n").unwrap().1;
    let shown = |language: &str| {
        let start = format!("```{language}\n");
        section.split_once(&start).unwrap().1.split_once("```\n").unwrap().0
    };
    let dependabot: serde_json::Value = serde_yaml::from_str(shown("yaml")).unwrap();
    assert_eq!(dependabot["version"], 2);
    let update = &dependabot["updates"][0];
    // It looks below `.github/workflows` of this folder, whatever it is told besides.
    assert_eq!((&update["package-ecosystem"], &update["directory"]), (&"github-actions".into(), &"/".into()));
    assert!(update["schedule"]["interval"].is_string(), "{update}");
    let renovate: serde_json::Value = serde_json::from_str(shown("json")).unwrap();
    let presets = renovate["extends"].as_array().unwrap();
    assert!(presets.contains(&"helpers:pinGitHubActionDigests".into()), "{renovate}");
}

#[test]
fn every_schema_has_a_name_of_its_own() {
    let environment = TestEnvironment::with_repository();
    environment.planspec(&["schema", "--dir", "ours"]).succeeds();
    environment.planspec(&["schema", "--dir", "theirs", "--published"]).succeeds();
    let mut names = std::collections::BTreeSet::new();
    let mut files = 0;
    for folder in ["ours", "theirs"] {
        for entry in std::fs::read_dir(environment.repo().join(folder)).unwrap() {
            let schema: serde_json::Value =
                serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
            names.insert(schema["$id"].as_str().unwrap().to_owned());
            files += 1;
        }
    }
    assert_eq!((names.len(), files), (17, 17), "{names:?}");
}

#[test]
fn what_init_writes_tells_editors_its_schema_where_the_action_s_commit_is_known() {
    let environment = TestEnvironment::with_repository();
    let commit = "08c6903cd8c0fde910a37f88322edcfb5dd907a8";
    let action = format!("acme/planspec/action@{commit}");
    environment.planspec(&["init", "--github", "--action", &action]).succeeds();
    for (file, schema) in [(".planspec.yaml", "config"), ("planspec/hello.yaml", "manifest")] {
        let line = format!(
            "# yaml-language-server: $schema=https://raw.githubusercontent.com/acme/planspec/{commit}/schemas/{schema}.schema.json\n#"
        );
        assert!(environment.read(file).starts_with(&line), "{}", environment.read(file));
        assert!(own(&format!("schemas/{schema}.schema.json")).is_file());
    }
    environment.planspec(&["validate"]).succeeds();
}
