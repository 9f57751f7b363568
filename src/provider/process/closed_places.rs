//! What no setting opens of a sandbox that the configuration requires: who writes a Binding says what a task may see, and not that
//! it sees what the requirement is there for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::command_line::EnvVars;

/// Where keys and tokens are in a home folder.
const KEYS: [&str; 19] = [
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".config/gcloud",
    ".config/gh",
    ".config/git",
    ".config/containers",
    ".local/share/keyrings",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".git-credentials",
    ".gitconfig",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".vault-token",
];

/// Places that stay closed, each as it really lies, with what it is in words.
#[derive(Debug, Default)]
pub(in crate::provider) struct ClosedPlaces {
    /// Neither they nor anything in them.
    whole: Vec<(PathBuf, &'static str)>,
    /// Not as a whole; a part of them may be named.
    undivided: Vec<(PathBuf, &'static str)>,
}

impl ClosedPlaces {
    /// For a runner with this environment, which keeps its own files in `private`.
    pub(in crate::provider) fn of(runner: &EnvVars, private: &[PathBuf]) -> Self {
        let mut this = Self::default();
        let home = runner.get(OsStr::new("HOME")).map(PathBuf::from).filter(|home| home.is_absolute());
        let keys = home.iter().flat_map(|home| KEYS.iter().map(|below| home.join(below)));
        let closed = private.iter().cloned().map(|path| (path, "the repository or what the runner keeps"));
        let closed = closed.chain(keys.map(|path| (path, "keys of the runner's user")));
        // Of the processes outside, their environments above all.
        for (path, what) in closed.chain([("/proc".into(), "the processes of the machine")]) {
            this.whole.extend(real(&path).map(|path| (path, what)));
        }
        let home = home.map(|home| (home, "the home folder of the runner's user"));
        for (path, what) in home.into_iter().chain([("/run".into(), "the sockets of the machine's services")])
        {
            this.undivided.extend(real(&path).map(|path| (path, what)));
        }
        this
    }

    /// What somebody would see to whom this path is shown, with all links in it resolved.
    pub(super) fn shown_by(&self, path: &Path) -> Option<&'static str> {
        let holds = |(place, _): &&(PathBuf, &str)| place.starts_with(path);
        let whole = self.whole.iter().find(|closed| holds(closed) || path.starts_with(&closed.0));
        whole.or_else(|| self.undivided.iter().find(holds)).map(|(_, what)| *what)
    }
}

/// The same of a path as it is written, as far as that is known without the machine.
pub(super) fn shown_anywhere(path: &str) -> Option<&'static str> {
    let path = Path::new(path);
    let is_key = || KEYS.iter().any(|below| path.starts_with(Path::new("~").join(below)));
    match path {
        path if path == Path::new("/") || path.starts_with("/proc") => Some("the processes of the machine"),
        path if path == Path::new("~") => Some("the home folder of the runner's user"),
        path if path == Path::new("/run") => Some("the sockets of the machine's services"),
        _ => is_key().then_some("keys of the runner's user"),
    }
}

/// A place that is not there cannot be shown.
fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}
