//! Remotes: another repository, reached by the `git` program: its addresses, credentials and tips.

mod clone;
mod failure;
mod fetch;
mod kept_refs;
mod line_history;
mod outage;
mod partial;
mod push;
mod submodule;
mod transport;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::command::{GitCommand, GitOutput};
use super::error::printable;
use super::refs::check_name;
use super::url::{RemoteUrl, redact, short_digest};
use super::{GitError, ObjectId, Repo, StopSignal};

pub use self::failure::may_come_later;
pub use self::fetch::NewestCommits;
pub use self::line_history::LineDepth;
pub use self::outage::{OutageListener, OutageNotice, OutagePatience};
pub use self::push::{PushFailure, PushResult};
pub use self::transport::Transport;

use self::outage::{Connection, RemoteAccess};

/// `git fetch` for a program that names what it wants, whatever the user's configuration says.
const FETCH: [&str; 8] = [
    "fetch",
    "--quiet",
    // Tags would come with their commits, whatever references were asked for.
    "--no-tags",
    // The user's own `git pull` reads this file.
    "--no-write-fetch-head",
    "--no-recurse-submodules",
    "--no-auto-maintenance",
    "--no-show-forced-updates",
    // The user's configuration may prune references; only those that are named may change.
    "--no-prune",
];

/// `git push` of exactly what is named, whatever the user's configuration says.
const PUSH: [&str; 7] = [
    "push",
    "--quiet",
    "--porcelain",
    // A `pre-push` hook is a program of the user's checkout; it is off by `core.hooksPath` too.
    "--no-verify",
    "--no-signed",
    "--no-follow-tags",
    "--recurse-submodules=no",
];

/// How to talk to a remote.
#[derive(Clone)]
pub struct RemoteOptions {
    /// The value of an `Authorization` header for an HTTP remote, from the environment; credential helpers do
    /// the rest.
    pub authorization: Option<String>,
    /// How long one run of the `git` program may take.
    pub timeout: Duration,
    /// How often a push that failed without anybody having moved the reference is tried again.
    pub retries: u32,
    /// The pause before the first retry; each further one is twice as long.
    pub backoff: Duration,
    /// How long an outage is waited for.
    pub patience: OutagePatience,
    /// Whoever is told of outages that are waited for.
    pub listener: OutageListener,
    /// Ends runs of the `git` program, and waits for them.
    pub stop: StopSignal,
    /// What carries references in place of the `git` program.
    pub transport: Option<Arc<dyn Transport>>,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            authorization: None,
            timeout: Duration::from_secs(600),
            retries: 4,
            backoff: Duration::from_millis(250),
            patience: OutagePatience::default(),
            listener: OutageListener::default(),
            stop: StopSignal::default(),
            transport: None,
        }
    }
}

impl fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteOptions")
            // By hand: a derived `Debug` would print the token wherever options are traced.
            .field("authorization", &self.authorization.as_ref().map(|_| "***"))
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .field("backoff", &self.backoff)
            .field("patience", &self.patience)
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// A remote of a repository.
#[derive(Clone)]
pub struct Remote {
    /// What the program is given: the name of a configured remote, or an address without credentials.
    target: String,
    /// What people are shown.
    shown: String,
    /// The part of `refs/planspec/` where its references are kept.
    // Apart from `refs/remotes/`, which the user's own `git fetch` prunes and rewrites.
    space: String,
    address: RemoteUrl,
    /// Where it is pushed to, where that is configured to be another address than it is fetched from.
    push_address: Option<RemoteUrl>,
    /// The address as configured, when it holds credentials.
    original: Option<String>,
    directory: PathBuf,
    options: RemoteOptions,
    connection: Arc<Connection>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("remote", &self.shown).finish_non_exhaustive()
    }
}

impl Remote {
    /// A configured remote by its name, or any by its address (also a path). Nothing is contacted.
    ///
    /// # Errors
    /// [`GitError::UnknownRemote`] when it is neither.
    pub fn open(repo: &Repo, name_or_url: &str, options: RemoteOptions) -> Result<Self, GitError> {
        // Relative addresses of a remote count from here, as Git counts them.
        let directory = repo.work_tree().unwrap_or_else(|| repo.git_dir()).to_owned();
        let names = repo.remote_names()?;
        if names.iter().any(|name| name == name_or_url) {
            check_name(&format!("refs/planspec/{name_or_url}/heads/x"))?;
            // It would be taken for an option by the program.
            if name_or_url.starts_with('-') {
                return Err(unknown(name_or_url));
            }
            let configured = configured_url(repo, name_or_url)?;
            let address = RemoteUrl::parse(&configured);
            let shown = if address.url == configured { name_or_url.to_owned() } else { address.url.clone() };
            return Ok(Self {
                target: name_or_url.to_owned(),
                shown,
                space: name_or_url.to_owned(),
                original: address.credentials.is_some().then_some(configured),
                push_address: configured_push_url(repo, name_or_url)?.as_deref().map(RemoteUrl::parse),
                address,
                directory,
                options,
                connection: Arc::default(),
            });
        }
        let address = Self::parse_address(name_or_url)?;
        // The address of a configured remote is that remote: two names would keep two copies of every tip.
        let mut space = None;
        for name in names {
            if RemoteUrl::parse(&configured_url(repo, &name)?).url == address.url {
                space = Some(name);
            }
        }
        let space = space.unwrap_or_else(|| space_of(&address));
        Ok(Self {
            target: address.url.clone(),
            shown: redact(&address.url),
            space,
            original: None,
            push_address: None,
            address,
            directory,
            options,
            connection: Arc::default(),
        })
    }

    /// An address given by the user; a path becomes absolute, so that it means the same everywhere.
    fn parse_address(text: &str) -> Result<RemoteUrl, GitError> {
        // A leading dash would be an option (`--upload-pack=…` runs a program), and a line break could forge a line of
        // output.
        if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
            return Err(unknown(text));
        }
        let mut address = RemoteUrl::parse(text);
        if address.is_local() && !address.url.contains("://") {
            // Runs of the program start in the repository, not where the user stood.
            let path = std::path::absolute(&address.url).map_err(|_| unknown(text))?;
            if !path.exists() {
                return Err(unknown(text));
            }
            address.url = path.to_str().ok_or_else(|| unknown(text))?.to_owned();
        }
        Ok(address)
    }

    /// The same remote, with a signal that ends its work and patience for its outages.
    #[must_use]
    pub fn bounded(mut self, stop: StopSignal, patience: OutagePatience) -> Self {
        self.options.stop = stop;
        self.options.patience = patience;
        self
    }

    /// What people are shown: the remote's name or its address, without credentials.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shown
    }

    /// The reference here under which a remote's reference is kept.
    ///
    /// # Errors
    /// When it is no full reference name.
    pub fn local_name(&self, remote_reference: &str) -> Result<String, GitError> {
        check_name(remote_reference)?;
        let bad = || GitError::BadReference { name: printable(remote_reference.as_bytes()) };
        let rest = remote_reference.strip_prefix("refs/").ok_or_else(bad)?;
        Ok(format!("refs/planspec/{}/{rest}", self.space))
    }

    /// The tips of these references (full names) on the remote, without fetching anything.
    ///
    /// # Errors
    /// When the remote cannot be read.
    pub fn tips(&self, refs: &[&str]) -> Result<Vec<Option<ObjectId>>, GitError> {
        for name in refs {
            check_name(name)?;
        }
        self.patiently(RemoteAccess::Read, || self.read_tips(refs))
    }

    /// [`Remote::tips`] without waiting for an outage.
    fn read_tips(&self, refs: &[&str]) -> Result<Vec<Option<ObjectId>>, GitError> {
        if let Some(transport) = &self.options.transport {
            return transport.tips(refs);
        }
        let output =
            self.finish(self.program().args(["ls-remote", "--end-of-options", &self.target]).args(refs))?;
        if !output.success {
            return Err(self.failure("reading", &output));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('\t')).collect();
        // A remote may name references that nobody asked for; only wanted ones are used.
        let tip = |wanted: &&str| {
            // `ls-remote` matches the ends of names: `refs/heads/main` also finds `refs/x/refs/heads/main`.
            let (id, _) = lines.iter().find(|(_, name)| name == wanted)?;
            id.parse().ok()
        };
        Ok(refs.iter().map(tip).collect())
    }

    /// The remote's default branch (short name), when it says.
    ///
    /// # Errors
    /// When the remote cannot be read.
    pub fn default_branch(&self) -> Result<Option<String>, GitError> {
        let args = ["ls-remote", "--symref", "--end-of-options", &self.target, "HEAD"];
        let output = self.patiently(RemoteAccess::Read, || {
            let output = self.finish(self.program().args(args))?;
            if output.success { Ok(output) } else { Err(self.failure("reading", &output)) }
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let branch = text.lines().find_map(|line| {
            line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD").map(str::to_owned)
        });
        // A hostile server could answer with a name that leads out of `refs/heads/`.
        Ok(branch.filter(|branch| check_name(&format!("refs/heads/{branch}")).is_ok()))
    }

    /// The remote's default branch as `git clone` or `git remote set-head` wrote it down here; nothing is contacted.
    ///
    /// # Errors
    /// When the reference cannot be read.
    pub fn known_default_branch(&self, repo: &Repo) -> Result<Option<String>, GitError> {
        let folder = format!("refs/remotes/{}/", self.space);
        let head = match repo.git2().find_reference(&format!("{folder}HEAD")) {
            Ok(head) => head,
            Err(error)
                if matches!(error.code(), git2::ErrorCode::NotFound | git2::ErrorCode::InvalidSpec) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(GitError::doing("cannot read the remote's HEAD")(error)),
        };
        let target = head.symbolic_target_bytes().map(String::from_utf8_lossy);
        let branch = target.and_then(|target| target.strip_prefix(&folder).map(str::to_owned));
        Ok(branch.filter(|branch| check_name(&format!("refs/heads/{branch}")).is_ok()))
    }

    /// The remote's branches, without `refs/heads/`.
    ///
    /// # Errors
    /// When the remote cannot be read.
    pub fn branches(&self) -> Result<Vec<String>, GitError> {
        if let Some(transport) = &self.options.transport {
            return self.patiently(RemoteAccess::Read, || transport.branches());
        }
        let args = ["ls-remote", "--heads", "--end-of-options", &self.target];
        let output = self.patiently(RemoteAccess::Read, || {
            let output = self.finish(self.program().args(args))?;
            if output.success { Ok(output) } else { Err(self.failure("reading", &output)) }
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let names = text.lines().filter_map(|line| line.split_once('\t')?.1.strip_prefix("refs/heads/"));
        Ok(names
            .filter(|name| check_name(&format!("refs/heads/{name}")).is_ok())
            .map(str::to_owned)
            .collect())
    }

    /// A run of the program that may talk to this remote, with its credentials in the environment.
    fn program(&self) -> GitCommand {
        self.program_in(&self.directory)
    }

    /// The same for a push, whose address may be of another protocol: `pushurl`, or `pushInsteadOf`.
    fn push_program(&self) -> GitCommand {
        let address = self.push_address.as_ref().unwrap_or(&self.address);
        // Not both at once: what a server redirects a fetch to is not what the user named for pushes.
        self.program().env("GIT_ALLOW_PROTOCOL", address.protocols())
    }

    /// The same in another repository than the clone.
    fn program_in(&self, directory: &Path) -> GitCommand {
        let mut settings: Vec<OsString> = Vec::new();
        let mut environment = Vec::new();
        if let Some(origin) = self.address.origin() {
            let basic = |pair: &String| format!("Authorization: Basic {}", STANDARD.encode(pair));
            let given = self.options.authorization.as_ref().map(|value| format!("Authorization: {value}"));
            // What the environment gives goes before what the address holds: in CI it is the token of this job.
            if let Some(header) = given.or_else(|| self.address.credentials.as_ref().map(basic)) {
                // An empty value first drops what the configuration holds, as `actions/checkout` leaves a header there, and
                // hosts refuse a request with two.
                settings.push("-c".into());
                settings.push(format!("http.{origin}.extraHeader=").into());
                // By environment, because arguments are visible to every user of the machine, and bound to the origin,
                // so that no other host gets the token.
                settings.push(format!("--config-env=http.{origin}.extraHeader=PLANSPEC_GIT_HEADER").into());
                environment.push(("PLANSPEC_GIT_HEADER", header));
            }
        }
        if let Some(original) = &self.original {
            // `git` passes the address to its transport helper as an argument, which every user of the machine can read in
            // the list of processes; the helper gets it without the password this way.
            let setting = format!("--config-env=url.{}.insteadOf=PLANSPEC_GIT_URL", self.address.url);
            settings.push(setting.into());
            environment.push(("PLANSPEC_GIT_URL", original.clone()));
        }
        let mut program = GitCommand::new(directory, &settings)
            .timeout(self.options.timeout)
            .heeding(self.options.stop.clone())
            .env("GIT_ALLOW_PROTOCOL", self.address.protocols());
        // Only HTTP has headers; with other transports the trace would be noise that has to be filtered.
        if self.address.origin().is_some() {
            program = program.watching_headers();
        }
        for (name, value) in environment {
            program = program.env(name, value);
        }
        program
    }

    /// Runs the program, and remembers when the host wants to be asked again.
    fn finish(&self, program: GitCommand) -> Result<GitOutput, GitError> {
        let output = program.run()?;
        self.connection.retry_after(output.retry_after);
        Ok(output)
    }

    fn failure(&self, action: &str, output: &GitOutput) -> GitError {
        failure::explain(&self.shown, action, &output.stderr)
    }
}

/// The address of a configured remote, rewritten as the user's configuration says.
fn configured_url(repo: &Repo, name: &str) -> Result<String, GitError> {
    let remote = repo.git2().find_remote(name).map_err(GitError::doing("cannot read the remote"))?;
    Ok(remote.url().map(str::to_owned).unwrap_or_default())
}

/// The address that pushes to a configured remote go to, where it is another one.
fn configured_push_url(repo: &Repo, name: &str) -> Result<Option<String>, GitError> {
    let remote = repo.git2().find_remote(name).map_err(GitError::doing("cannot read the remote"))?;
    let address = remote.pushurl().map_err(GitError::doing("cannot read the remote"))?;
    Ok(address.map(str::to_owned))
}

/// The part of `refs/planspec/` for a remote that has no name.
fn space_of(address: &RemoteUrl) -> String {
    format!("url-{}", short_digest(&address.url))
}

fn unknown(text: &str) -> GitError {
    GitError::UnknownRemote { remote: redact(&printable(text.as_bytes())) }
}
