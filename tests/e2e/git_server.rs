//! A bare repository as a remote, by path and over smart HTTP with tokens: real `git` on both sides.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A bare repository `acme/app` in a directory of its own, with a server for it when asked.
pub(crate) struct GitServer {
    root: tempfile::TempDir,
    port: Option<u16>,
}

impl GitServer {
    /// The repository alone: by path and `file://`.
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("planspec-gitd-").tempdir().unwrap();
        let mut make = Command::new("sh");
        make.arg(rig("mkbare.sh")).arg(root.path()).arg("acme/app").stdout(Stdio::null());
        make.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        assert!(make.status().unwrap().success());
        Self { root, port: None }
    }

    /// With an HTTP server; the tokens are in `tests/rig/gitusers.json`.
    pub(crate) fn over_http() -> Self {
        let this = Self::new();
        let port = crate::git_http::serve(this.root.path().to_owned());
        Self { port: Some(port), ..this }
    }

    /// The bare repository's directory.
    pub(crate) fn bare(&self) -> PathBuf {
        self.root.path().join("acme/app.git")
    }

    /// `file://…`
    pub(crate) fn file_url(&self) -> String {
        format!("file://{}", self.bare().display())
    }

    /// `http://…`, with a token in it or without.
    pub(crate) fn http_url(&self, token: Option<&str>) -> String {
        let port = self.port.expect("made with over_http");
        let userinfo = token.map(|token| format!("x-access-token:{token}@")).unwrap_or_default();
        format!("http://{userinfo}127.0.0.1:{port}/acme/app.git")
    }

    /// Writes one of the files that steer the repository; see `tests/rig/mkbare.sh` and `git_http`.
    pub(crate) fn steer(&self, file: &str, content: &str) {
        fs::write(self.bare().join(file), content).unwrap();
    }

    /// Makes the HTTP server answer the next requests with this status line (and headers) instead.
    pub(crate) fn fail(&self, status: &str, times: usize) {
        self.steer("fail", &format!("{times}\n{status}"));
    }

    /// How many requests will still be answered like that.
    pub(crate) fn failures_left(&self) -> usize {
        fs::read_to_string(self.bare().join("fail"))
            .map_or(0, |text| text.lines().next().unwrap().parse().unwrap())
    }

    /// Puts a hook into the bare repository.
    pub(crate) fn hook(&self, name: &str, script: &str) {
        write_hook(&self.bare().join("hooks"), name, script);
    }
}

/// Runs the same check by path, by `file://` and over HTTP, each with a server of its own.
pub(crate) fn over_every_transport(check: impl Fn(&GitServer, &str)) {
    let server = GitServer::new();
    check(&server, server.bare().to_str().unwrap());
    let server = GitServer::new();
    check(&server, &server.file_url());
    let server = GitServer::over_http();
    check(&server, &server.http_url(Some("tok-write")));
}

/// Writes an executable hook.
pub(crate) fn write_hook(hooks: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(hooks).unwrap();
    let path = hooks.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn rig(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig").join(file)
}
