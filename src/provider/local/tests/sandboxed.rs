//! The sandbox, for real: what needs bubblewrap is skipped where there is none. Linux alone has it.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::{Bench, PATH, shell, skip};
use crate::config::{SandboxConfig, SandboxPolicy};
use crate::model::NodeReason;
use crate::provider::AttemptOutcome;

/// Whether bubblewrap is installed and may make a sandbox: some containers, and Ubuntu for those who are not root, forbid
/// the namespaces that it needs.
#[track_caller]
fn has_bubblewrap() -> bool {
    let mut probe = std::process::Command::new("bwrap");
    probe.env("PATH", PATH).args(["--unshare-user-try", "--unshare-pid", "--unshare-net"]);
    probe.args(["--ro-bind", "/", "/", "--proc", "/proc", "true"]);
    skip::unless_found(skip::program(&mut probe, "bubblewrap")).is_some()
}

fn sandboxed(line: &str, sandbox: serde_json::Value) -> Bench {
    let mut bench = shell(line);
    bench.attempt.config.insert("sandbox".to_owned(), sandbox);
    bench
}

#[test]
fn in_a_sandbox_the_work_is_done_as_outside() {
    if !has_bubblewrap() {
        return;
    }
    let mut bench = sandboxed(
        "cat \"$PLANSPEC_INPUTS\" > copy; echo temporary > /tmp/x; echo kept > \"$PLANSPEC_ARTIFACTS/kept\"; pwd > \"$TMPDIR/y\"; echo \"n=$(wc -c < copy)\" >> \"$PLANSPEC_OUTPUT\"",
        json!(true),
    );
    bench.attempt.inputs.insert("a".to_owned(), json!(1));
    let (report, outputs) = bench.succeed();
    assert_eq!(outputs["n"], "12");
    assert_eq!(report.evidence.artifacts.len(), 1);
    assert!(bench.checkout().join("copy").exists());
}

#[test]
fn writes_outside_of_the_checkout_fail() {
    if !has_bubblewrap() {
        return;
    }
    let outside = tempfile::Builder::new().prefix("outside").tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = outside.path().join("file");
    let line = format!("echo x > {}", path.display());
    let mut bench = sandboxed(&line, json!(true));
    let (report, _) = bench.fail(NodeReason::ProviderFailed);
    let why = "nonexistent";
    let log = report.evidence.log.unwrap().tail;
    assert!(log.contains(why), "{log}");
    assert!(!path.exists());
    let mut allowed = sandboxed(&line, json!({"write": [outside.path().to_str().unwrap()]}));
    allowed.succeed();
    assert!(path.exists());
    let below_tmp = bench.home.path().join("other");
    sandboxed(&format!("echo x > {}", below_tmp.display()), json!(true)).run();
    assert!(!below_tmp.exists(), "/tmp is its own");
}

/// Root may write to these without any capability, and the kernel starts the program that one of them names, outside.
#[test]
fn settings_of_the_kernel_are_not_changed_from_inside() {
    if !has_bubblewrap() {
        return;
    }
    // What is there already, so that nothing changes where it can be written.
    let line = "value=$(cat /proc/sys/vm/swappiness) && echo $value > /proc/sys/vm/swappiness";
    let (report, _) = sandboxed(line, json!(true)).fail(NodeReason::ProviderFailed);
    let log = report.evidence.log.unwrap().tail;
    assert!(log.contains("Read-only") || log.contains("denied"), "{log}");
}

/// The keys of a session come along into every namespace, and so would whatever a login has put there.
#[test]
fn keys_that_the_kernel_keeps_are_out_of_reach() {
    if !has_bubblewrap() || !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        return;
    }
    let number = if cfg!(target_arch = "x86_64") { 248 } else { 217 };
    // A key in the keyring of the process itself: it ends with it.
    let script = format!(
        "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); k = c.syscall({number}, b'user', b'x', b'y', 1, ctypes.c_int(-2)); \
         print('made' if k > 0 else os.strerror(ctypes.get_errno()))"
    );
    let line = format!("echo said=$(python3 -c \"{script}\") >> \"$PLANSPEC_OUTPUT\"");
    for sandbox in [json!(true), json!({ "unixSockets": true, "network": true })] {
        let (_, outputs) = sandboxed(&line, sandbox).succeed();
        assert_eq!(outputs["said"], "Function not implemented");
    }
}

#[test]
fn there_is_no_network_unless_it_is_asked_for() {
    if !has_bubblewrap() {
        return;
    }
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!(
        "python3 -c \"import socket; socket.create_connection(('127.0.0.1', {}), 5)\"",
        server.local_addr().unwrap().port()
    );
    let (report, _) = sandboxed(&line, json!(true)).fail(NodeReason::ProviderFailed);
    assert!(report.evidence.log.unwrap().tail.contains("Error"));
    sandboxed(&line, json!({"network": true})).succeed();
    shell(&line).succeed();
}

#[test]
fn criteria_are_checked_inside_too() {
    if !has_bubblewrap() {
        return;
    }
    let mut bench = sandboxed("true", json!(true));
    let criterion =
        json!({"name": "writes", "type": "command_succeeds", "command": "touch /usr/planspec-was-here"});
    bench.attempt.criteria = vec![serde_json::from_value(criterion).unwrap()];
    bench.fail(NodeReason::CriterionFailed);
    assert!(!std::path::Path::new("/usr/planspec-was-here").exists());
}

#[test]
fn a_process_that_leaves_its_group_ends_with_the_sandbox() {
    if !has_bubblewrap() {
        return;
    }
    let mut bench = sandboxed(
        "setsid sh -c 'while :; do date > beat; sleep 0.02; done' > /dev/null 2>&1 & while [ ! -s beat ]; do sleep 0.01; done",
        json!(true),
    );
    bench.succeed();
    let beat = bench.checkout().join("beat");
    std::thread::sleep(std::time::Duration::from_millis(100));
    std::fs::remove_file(&beat).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!beat.exists(), "it goes on");
}

#[test]
fn a_sandbox_that_cannot_be_had_is_an_error_and_not_left_out() {
    let mut bench = sandboxed("touch ran", json!(true));
    bench.settings.environment.insert("PATH".to_owned(), "/nowhere".into());
    let (_, message) = bench.fail(NodeReason::ProviderFailed);
    assert_eq!(
        message,
        "`config.sandbox` needs the program `bwrap`, which is not on the PATH; install the package bubblewrap"
    );
    // The place is looked for before the program is run; any will do.
    let mut bench = sandboxed("touch ran", json!({"write": ["/no/such/place"]}));
    let program = bench.home.path().join("bwrap");
    std::fs::write(&program, "").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.settings.environment.insert("PATH".to_owned(), bench.home.path().as_os_str().to_owned());
    let (_, message) = bench.fail(NodeReason::ProviderFailed);
    assert_eq!(message, "`config.sandbox.write` names `/no/such/place`, which does not exist");
    assert!(!bench.checkout().join("ran").exists());
}

#[test]
fn a_binding_does_not_choose_the_program_that_makes_the_sandbox() {
    let mut bench = sandboxed("true", json!(true));
    let fake = bench.home.path().join("bwrap");
    std::fs::write(&fake, format!("#!/bin/sh\ntouch {}/escaped\n", bench.home.path().display())).unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{PATH}", bench.home.path().display());
    bench.attempt.config.insert("env".to_owned(), json!({ "PATH": path }));
    // Whether there is a sandbox here or not, it is not this one.
    bench.run();
    assert!(!bench.home.path().join("escaped").exists());
}

#[test]
fn wrong_settings_are_refused() {
    let message = |sandbox| sandboxed("true", sandbox).fail(NodeReason::ProviderFailed).1;
    assert_eq!(
        message(json!({"net": true})),
        "unknown setting `config.sandbox.net`; known are network, read, unixSockets, write"
    );
    assert_eq!(
        message(json!("yes")),
        "`config.sandbox` must be true, false, or a map with `network`, `read`, `unixSockets` and `write`"
    );
    assert_eq!(
        message(json!({"write": ["out"]})),
        "`config.sandbox.write` contains `out`: use absolute paths or `~/…`; the checkout is always writable"
    );
}

#[test]
fn the_configuration_decides_whether_there_is_a_sandbox() {
    if !has_bubblewrap() {
        return;
    }
    let outside = tempfile::Builder::new().prefix("outside").tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let line = format!("echo x >> {}/file", outside.path().display());
    let runs = |policy: Option<SandboxPolicy>, own: Option<serde_json::Value>| {
        let mut bench = shell(&line);
        bench.settings.sandbox = policy.map(SandboxConfig::from);
        bench.attempt.config.extend(own.map(|own| ("sandbox".to_owned(), own)));
        matches!(bench.run().outcome, AttemptOutcome::Succeeded { .. })
    };
    let yes = || Some(json!(true));
    let no = || Some(json!(false));
    let policies = [
        (None, [true, false, true]),
        (Some(SandboxPolicy::Required), [false, false, false]),
        (Some(SandboxPolicy::Default), [false, false, true]),
        (Some(SandboxPolicy::Off), [true, true, true]),
    ];
    for (policy, expected) in policies {
        assert_eq!([None, yes(), no()].map(|own| runs(policy, own)), expected, "{policy:?}");
    }
}

/// Whoever writes a Binding would else take back what the configuration requires.
#[test]
fn no_setting_opens_a_sandbox_that_is_required_to_keys_the_repository_or_processes() {
    let root = outside();
    let place = |below: &str| root.path().join(below).to_str().unwrap().to_owned();
    for folder in ["repo/.git/planspec", "repo/docs", "home/.ssh", "home/.cache/x", "home/.config/gh", "data"]
    {
        std::fs::create_dir_all(place(folder)).unwrap();
    }
    std::os::unix::fs::symlink(place("repo"), place("data/link")).unwrap();
    // Whether bubblewrap is here or not: it is only asked for what it would show.
    let program = root.path().join("bwrap");
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = |policy: SandboxPolicy, sandbox: serde_json::Value, home: Option<&str>| {
        let mut bench = sandboxed("true", sandbox);
        bench.settings.sandbox = Some(policy.into());
        bench.settings.private = vec![place("repo/.git").into()];
        let path = format!("{}:{PATH}", root.path().display());
        bench.settings.environment.insert("PATH".to_owned(), path.into());
        bench.settings.environment.insert("HOME".to_owned(), place("home").into());
        bench.attempt.config.extend(home.map(|home| ("env".to_owned(), json!({ "HOME": home }))));
        bench.run().outcome
    };
    let refused = |path: &str, home: Option<&str>| {
        let [read, write] = ["read", "write"].map(|key| {
            match outcome(SandboxPolicy::Required, json!({ key: ["/usr", path] }), home) {
                AttemptOutcome::Failed { message, retryable: false, .. } => message,
                other => panic!("{path}: {other:?}"),
            }
        });
        assert_eq!(read.replace("sandbox.read", "sandbox.write"), write);
        assert!(write.contains(&format!("names `{path}`, which would show ")), "{write}");
        write
    };
    let inside = place("repo/.git/planspec");
    for path in ["/", &*place("repo"), &*place("repo/.git"), &*inside, &*place("data/link"), &*place("")] {
        assert!(refused(path, None).contains("show the repository "));
    }
    for path in ["/proc", "/proc/self", "/proc/../proc/1"] {
        assert!(refused(path, None).contains("show the processes "));
    }
    for path in ["~/.ssh", "~/.config"] {
        assert!(refused(path, None).contains("show keys "));
    }
    assert!(refused("~/.git", Some(&place("repo"))).contains("show the repository "));
    let opens = |policy, path: &str| {
        let [read, write] = ["read", "write"].map(|key| outcome(policy, json!({ key: [path] }), None));
        matches!((read, write), (AttemptOutcome::Succeeded { .. }, AttemptOutcome::Succeeded { .. }))
    };
    for path in ["~/.cache/x", &*place("repo/docs"), &*place("data"), "/usr/lib"] {
        assert!(opens(SandboxPolicy::Required, path), "{path}");
    }
    // Where a Binding may do without a sandbox, it may open one.
    assert!(opens(SandboxPolicy::Default, "/"));
}

/// A folder that is neither in `/tmp` nor in any other that a sandbox has for itself.
fn outside() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("outside").tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
}

/// Connects to a socket, by all the ways that there are: with a socket, and with a pair that is turned to it.
fn connects(address: &str, kind: &str) -> String {
    format!(
        "/usr/bin/python3 -c \"
import socket
a = {address}
try: s = socket.socket(socket.AF_UNIX, socket.{kind})
except OSError: s = socket.socketpair(socket.AF_UNIX, socket.{kind})[0]
s.connect(a); s.send(b'x')\""
    )
}

#[test]
fn sockets_of_the_machine_are_out_of_reach_wherever_and_whenever_they_are_made() {
    if !has_bubblewrap() {
        return;
    }
    let mut bench = shell("true");
    let within = bench.checkout().join("own.sock");
    let _made = std::os::unix::net::UnixListener::bind(&within).unwrap();
    let datagrams = bench.checkout().join("log.sock");
    let _log = std::os::unix::net::UnixDatagram::bind(&datagrams).unwrap();
    let abstract_name = format!("planspec-{}", std::process::id());
    let name = <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(
        &abstract_name,
    );
    let _abstract = std::os::unix::net::UnixListener::bind_addr(&name.unwrap()).unwrap();
    let lines = [
        connects("'own.sock'", "SOCK_STREAM"),
        connects("'log.sock'", "SOCK_DGRAM"),
        connects("'log.sock'", "SOCK_RAW"),
        connects(&format!("'\\0{abstract_name}'"), "SOCK_STREAM"),
    ];
    for line in lines {
        let mut try_with = |sandbox: serde_json::Value| {
            bench.attempt.config.insert("command".to_owned(), json!(line));
            bench.attempt.config.insert("sandbox".to_owned(), sandbox);
            bench.run()
        };
        // With the network, too: only abstract names go with it.
        for sandbox in [json!(true), json!({ "network": true })] {
            let report = try_with(sandbox);
            let log = report.evidence.log.map(|log| log.tail).unwrap_or_default();
            // A pair for streams can be had, and is connected already; without the network there is no such name.
            let refused = ["[Errno 97]", "[Errno 106]", "[Errno 111]"];
            assert!(refused.iter().any(|error| log.contains(error)), "{line}: {log}");
        }
        let allowed = try_with(json!({ "network": true, "unixSockets": true }));
        assert!(matches!(allowed.outcome, AttemptOutcome::Succeeded { .. }), "{line}: {allowed:?}");
    }
}

#[test]
fn what_programs_need_sockets_for_themselves_works_in_a_sandbox() {
    if !has_bubblewrap() {
        return;
    }
    let line = "git init -q x && git -C x status > /dev/null && echo a | cat | wc -c > n && python3 -c \"
import socket, subprocess, multiprocessing
a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
assert socket.getaddrinfo('localhost', 80)
assert subprocess.run(['true']).returncode == 0
l = socket.create_server(('127.0.0.1', 0)); socket.create_connection(l.getsockname())
\"";
    sandboxed(line, json!(true)).succeed();
    sandboxed(line, json!({ "network": true })).succeed();
}

#[test]
fn a_command_in_a_sandbox_sees_no_key_and_no_repository_of_the_user() {
    if !has_bubblewrap() {
        return;
    }
    let outside = outside();
    let keys = [
        ".ssh/id_ed25519",
        ".aws/credentials",
        ".config/gh/hosts.yml",
        ".netrc",
        ".docker/config.json",
        ".kube/config",
        ".cargo/credentials.toml",
        ".gitconfig",
        ".npmrc",
        "work/repo/.git/config",
    ];
    for key in keys.into_iter().chain([".cargo/bin/tool", ".rustup/settings.toml"]) {
        let file = outside.path().join(key);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("#!/bin/sh\necho planted in {key}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    let home = outside.path().display();
    let line = format!(
        "! grep -rs planted {home}/.ssh {home}/.aws {home}/.config {home}/.netrc {home}/.docker {home}/.kube {home}/.gitconfig \
         {home}/.npmrc {home}/.cargo/credentials.toml {home}/work && ! grep -s root /etc/shadow && tool && echo x > ~/cache && \
         grep -q planted ~/.rustup/settings.toml && ! touch ~/.cargo/bin/x && ! touch /x"
    );
    let mut bench = sandboxed(&line, json!({ "network": true }));
    let path = format!("{home}/.cargo/bin:{PATH}");
    bench.settings.environment.insert("PATH".to_owned(), path.into());
    bench.settings.environment.insert("HOME".to_owned(), outside.path().as_os_str().to_owned());
    bench.succeed();
    assert!(!outside.path().join("cache").exists());
    // What the settings name is given back.
    bench
        .attempt
        .config
        .insert("command".to_owned(), json!("grep -q planted ~/.netrc && ! echo x > ~/.netrc"));
    bench.attempt.config.insert("sandbox".to_owned(), json!({ "read": ["~/.netrc"] }));
    bench.succeed();
}
