//! What a sandbox shows of the machine: the folders of the system and the toolchains of the runner's user, to read. Not the home
//! folder, and not the repository: that is where keys are.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::command_line::{EnvVars, program_folders};

/// Folders of the system, with programs and what these need.
const SYSTEM: [&str; 13] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix",
    "/gnu",
    "/sys",
    // On some systems the certificates in `/etc/ssl` are links to these.
    "/var/lib/ca-certificates",
];

/// What of these only root may read, and a runner that is root could.
const SECRETS: [&str; 10] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
    "/etc/kubernetes",
    "/etc/rancher",
    "/etc/krb5.keytab",
];

/// Where toolchains are in a home folder. Of Cargo not all: a file beside these holds tokens.
const TOOLCHAINS: [&str; 27] = [
    ".cargo/bin",
    ".cargo/env",
    ".cargo/git",
    ".cargo/registry",
    ".rustup",
    ".nvm",
    ".nodenv",
    ".volta",
    ".deno/bin",
    ".bun/bin",
    ".pyenv",
    ".rbenv",
    ".rvm",
    ".asdf",
    ".sdkman",
    ".jenv",
    ".ghcup",
    ".opam",
    ".m2/repository",
    "go/bin",
    "go/pkg",
    ".local/bin",
    ".local/lib",
    ".local/share/mise",
    ".local/share/pipx",
    ".local/share/uv",
    ".local/share/fnm",
];

/// The settings of Cargo, which say where its packages come from.
const CARGO_CONFIG: &str = ".cargo/config.toml";

/// What a sandbox shows and hides of the machine, in the order in which it is mounted.
#[derive(Debug, Default)]
pub(super) struct VisiblePaths {
    shown: Vec<PathBuf>,
    /// Folders that are empty in place of what is there, and can be written to; they vanish with the sandbox.
    empty: Vec<PathBuf>,
    /// Files and folders of the shown ones that are not.
    hidden: Vec<PathBuf>,
    toolchains: Vec<PathBuf>,
}

impl VisiblePaths {
    /// For a runner with this environment whose task works in `own`.
    pub(super) fn new(runner: &EnvVars, own: &[&Path]) -> Self {
        let shown: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        let hidden = SECRETS.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
        let mut this = Self { shown, hidden, ..Self::default() };
        let home = runner.get(OsStr::new("HOME")).map(PathBuf::from);
        // A home folder such as `/` would hide the system itself.
        let home =
            home.filter(|home| home.is_absolute() && !this.shown.iter().any(|path| path.starts_with(home)));
        if let Some(home) = &home {
            this.empty.push(home.clone());
            this.toolchains
                .extend(TOOLCHAINS.iter().map(|below| home.join(below)).filter(|path| path.exists()));
            let config = home.join(CARGO_CONFIG);
            this.toolchains.extend(holds_no_token(&config).then_some(config));
        }
        // In an image of a container, the repository is often below `/usr/src` or `/opt`.
        for repository in own.iter().filter_map(|path| repository_around(path)) {
            if this.shown.iter().any(|path| repository.starts_with(path)) && !this.empty.contains(&repository)
            {
                this.empty.push(repository);
            }
        }
        for folder in program_folders(runner) {
            this.add_programs(&folder, home.as_deref());
        }
        this
    }

    /// Shows a folder of programs, with what is installed beside it.
    fn add_programs(&mut self, folder: &Path, home: Option<&Path>) {
        let installed = folder.parent().filter(|above| {
            folder.ends_with("bin") && above.join("lib").is_dir() && !is_private(above, home)
        });
        // What belongs to `/bin` would be everything.
        let around_system = |path: &Path| self.shown.iter().any(|system| system.starts_with(path));
        let folder = installed.filter(|above| !around_system(above)).unwrap_or(folder);
        let known = self.shown.iter().filter(|path| !self.empty.iter().any(|empty| empty.starts_with(path)));
        if folder.is_dir()
            && !known.chain(&self.toolchains).any(|path| folder.starts_with(path))
            && !around_system(folder)
            && !is_repository(folder)
            && home.is_none_or(|home| !home.starts_with(folder))
        {
            self.toolchains.push(folder.to_owned());
        }
    }

    /// Whether this path of the machine can be seen.
    pub(super) fn shows(&self, path: &Path) -> bool {
        let below = |folders: &[PathBuf]| folders.iter().any(|folder| path.starts_with(folder));
        below(&self.toolchains) || below(&self.shown) && !below(&self.empty)
    }

    /// The arguments for `bwrap` that come before, and those that come after its own empty folders.
    pub(super) fn mounts(&self) -> [Vec<OsString>; 2] {
        let read = |path: &PathBuf| ["--ro-bind-try".into(), path.into(), path.into()];
        let hide = |path: &PathBuf| match path.is_dir() {
            true => vec!["--tmpfs".into(), path.into()],
            false => vec!["--ro-bind".into(), "/dev/null".into(), path.into()],
        };
        let system = self.shown.iter().flat_map(read).chain(self.hidden.iter().flat_map(hide));
        let empty = self.empty.iter().flat_map(|path| ["--tmpfs".into(), OsString::from(path)]);
        [system.collect(), empty.chain(self.toolchains.iter().flat_map(read)).collect()]
    }
}

/// The working tree of the repository in whose Git directory a path is, or that directory itself where it is alone.
fn repository_around(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).filter(|above| is_git_directory(above)).last().map(|found| {
        match found.ends_with(".git") {
            true => found.parent().unwrap_or(found).to_owned(),
            false => found.to_owned(),
        }
    })
}

fn is_git_directory(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir() && path.join("config").is_file()
}

fn is_repository(path: &Path) -> bool {
    path.join(".git").exists() || is_git_directory(path)
}

/// Whether a folder is in a repository, or is the home folder or around it.
fn is_private(path: &Path, home: Option<&Path>) -> bool {
    // A home folder may be a repository of its own, for settings; what is installed in it is not a part of that.
    let below_home = |above: &&Path| home.is_none_or(|home| *above != home);
    home.is_some_and(|home| home.starts_with(path) || path == home.join(".local"))
        || path.ancestors().take_while(below_home).any(is_repository)
}

/// Whether the settings of Cargo can be shown: they may hold tokens of registries, too.
fn holds_no_token(config: &Path) -> bool {
    std::fs::read_to_string(config).is_ok_and(|text| {
        let secret = |line: &str| ["token", "password", "secret", "@"].iter().any(|word| line.contains(word));
        !text.lines().any(|line| secret(&line.to_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(home: &Path, folders: &[&str]) {
        for folder in folders {
            std::fs::create_dir_all(home.join(folder)).unwrap();
        }
    }

    fn runner(home: &Path, path: &[PathBuf]) -> EnvVars {
        let path = std::env::join_paths(path).unwrap();
        [("HOME".into(), home.into()), ("PATH".into(), path)].into()
    }

    #[test]
    fn programs_on_the_path_are_seen_with_what_belongs_to_them_and_no_repository_is() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        made(
            &home,
            &[
                "conda/bin",
                "conda/lib",
                "bin",
                "lib",
                "repo/.git",
                "repo/bin",
                "repo/lib",
                ".cargo/bin",
                ".ssh",
            ],
        );
        let paths =
            ["conda/bin", "bin", "repo", "repo/bin", ".cargo/bin", "gone", "."].map(|name| home.join(name));
        let visible = VisiblePaths::new(&runner(&home, &paths), &[]);
        let shown = |name: &str| visible.shows(&home.join(name));
        for name in ["conda/lib/x", "bin/x", "repo/bin/x", ".cargo/bin/cargo"] {
            assert!(shown(name), "{name}");
        }
        for name in ["lib/x", "repo/.git/config", "repo/lib", ".cargo/credentials.toml", ".ssh/id", ".netrc"]
        {
            assert!(!shown(name), "{name}");
        }
    }

    #[test]
    fn settings_of_cargo_that_hold_a_token_are_not_seen() {
        let home = tempfile::tempdir().unwrap();
        made(home.path(), &[".cargo"]);
        let config = home.path().join(CARGO_CONFIG);
        let shown = |text: &str| {
            std::fs::write(&config, text).unwrap();
            VisiblePaths::new(&runner(home.path(), &[]), &[]).shows(&config)
        };
        assert!(shown("[source.crates-io]\nreplace-with = \"mirror\"\n"));
        assert!(!shown("[registries.own]\ntoken = \"abc\"\n"));
        assert!(!shown("[source.mirror]\nregistry = \"sparse+https://me:abc@example.com/\"\n"));
    }

    #[test]
    fn a_repository_below_a_folder_of_the_system_is_not_seen() {
        let root = tempfile::tempdir().unwrap();
        made(root.path(), &["app/.git/objects", "app/.git/planspec/workspaces/1"]);
        for file in ["HEAD", "config"] {
            std::fs::write(root.path().join("app/.git").join(file), "").unwrap();
        }
        let own = root.path().join("app/.git/planspec/workspaces/1");
        assert_eq!(repository_around(&own), Some(root.path().join("app")));
        assert_eq!(repository_around(root.path()), None);
    }

    #[test]
    fn a_home_folder_that_holds_the_system_hides_nothing_of_it() {
        let visible = VisiblePaths::new(&runner(Path::new("/"), &[]), &[]);
        assert!(visible.empty.is_empty() && visible.shows(Path::new("/usr/bin/env")));
    }

    #[test]
    fn programs_of_the_system_show_nothing_but_the_system() {
        let paths = ["/bin", "/", "/var/lib", "/usr/local/bin", "."].map(PathBuf::from);
        let visible = VisiblePaths::new(&runner(Path::new("/nonexistent"), &paths), &[]);
        assert!(visible.toolchains.is_empty(), "{visible:?}");
    }
}
