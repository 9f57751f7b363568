//! `planspec trust`: whose signatures count. `trust init` lists a runner and a person in the configuration, and makes keys.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, Subcommand};

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::{RepoContext, checked_config, full, here};
use crate::config::{CONFIG_FILE, Config};
use crate::engine::people_of;
use crate::manifest::load_config;
use crate::report::style::Tone;
use crate::report::text;

/// Set up signatures: who may record what on the status branch
#[derive(Debug, Args)]
pub(crate) struct TrustArguments {
    #[command(subcommand)]
    action: TrustAction,
}

#[derive(Debug, Subcommand)]
enum TrustAction {
    Init(TrustInitArguments),
}

/// List a runner and yourself in .planspec.yaml as those whose signatures count on the status branch
///
/// Only public keys are read, and the section `trust` is written to the end of the file. Nothing is committed. More people and
/// keys are added by hand: docs/signing.md.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec trust init --runner-key ../planspec-ci --make-keys
  planspec trust init --runner-key ~/.ssh/planspec-ci.pub --person-key ~/.ssh/id_ed25519.pub --dry-run")]
struct TrustInitArguments {
    /// The runner's name in the list
    #[arg(long, value_name = "NAME", default_value = "ci")]
    runner: String,
    /// The runner's SSH key; the public half is read, FILE.pub
    #[arg(long, value_name = "FILE")]
    runner_key: PathBuf,
    /// Your name, as decisions are recorded under it (default: by the email address of your Git, see `identities`)
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Your SSH key (default: `user.signingkey` of your Git, where `gpg.format` is ssh)
    #[arg(long, value_name = "FILE")]
    person_key: Option<PathBuf>,
    /// Make the keys that are not there yet: the runner's without a passphrase, yours with one that you are asked for
    #[arg(long)]
    make_keys: bool,
    /// Show what would be written, and write and make nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &TrustArguments, context: &mut Context) -> Result<Exit, CliError> {
    match &arguments.action {
        TrustAction::Init(arguments) => init(arguments, context),
    }
}

/// Somebody who is to be listed.
struct NewSigner {
    name: String,
    role: &'static str,
    key: KeyFile,
}

/// Where the key of a signer is.
enum KeyFile {
    /// In a file, or to be made there: the private half, which is never read, and the public half beside it.
    Pair { private: PathBuf, public: PathBuf },
    /// The public key itself, as Git can have it in its configuration.
    Text(String),
}

fn init(arguments: &TrustInitArguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    let Some(root) = workspace.repo.work_tree().map(Path::to_owned) else {
        return Err(CliError::environment("this repository has no working tree")
            .hint("run it in a clone, and push what it writes"));
    };
    let place = root.join(CONFIG_FILE);
    let old = configuration(&place)?;
    let config = checked_config(load_config(old.as_bytes()))?;
    if config.trust.signers().next().is_some() {
        return Err(CliError::no(format!("{CONFIG_FILE} lists signers already; nothing was changed"))
            .hint("add keys to `trust.status.signers` by hand, and let them be reviewed: docs/signing.md"));
    }
    let start = here(context)?;
    let runner = NewSigner {
        name: arguments.runner.clone(),
        role: "runner",
        key: KeyFile::at(&start.join(&arguments.runner_key)),
    };
    let mut signers = vec![runner];
    signers.extend(person(arguments, &workspace, &config, &start)?);
    // With keys that may not be there yet: whatever is wrong shows before a key is made, which nobody would look for.
    let tried = signers.iter().map(|signer| Ok((signer, signer.key.text_or(arguments.make_keys)?)));
    let tried = tried.collect::<Result<Vec<_>, CliError>>()?;
    check_section(&old, &section(&tried))?;
    if arguments.dry_run {
        context.out.text(&text::block(&section(&tried)))?;
        context.out.note("nothing was written or made")?;
        return Ok(Exit::Done);
    }
    for signer in &signers {
        signer.make_missing_key(&root, context)?;
    }
    let keys = signers.iter().map(|signer| Ok((signer, signer.key.text_or(false)?)));
    let new = section(&keys.collect::<Result<Vec<_>, CliError>>()?);
    check_section(&old, &new)?;
    append(&place, &old, &new)?;
    let listed: Vec<String> =
        signers.iter().map(|signer| format!("{} ({})", signer.name, signer.role)).collect();
    let done = format!("{CONFIG_FILE}: the signers of the status branch are {}", listed.join(" and "));
    context.out.line(format!("{} {}", Tone::Good.paint("changed"), text::line(&done)))?;
    if signers.len() == 1 {
        context.out.warning("no person is listed, so no decision on the command line will count; name a key with --person-key")?;
    }
    let status = full(&config.status_branch);
    // Without asking the remote: what a clone has seen is enough for a hint.
    let known = match &workspace.remote {
        Some(remote) => workspace.repo.read_ref(&remote.local_name(&status)?)?,
        None => workspace.repo.read_ref(&status)?,
    };
    context.out.note(next_steps(&signers, &workspace.branch()?, known.is_some()))?;
    Ok(Exit::Done)
}

/// The text of the configuration in the working tree.
fn configuration(place: &Path) -> Result<String, CliError> {
    let failed = |error: std::io::Error| CliError::caused(&format!("cannot read {CONFIG_FILE}"), &error);
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed(error)),
        // A pass refuses links in the desired state (Invariant 7), and writing through one would change another file.
        Ok(found) if !found.is_file() => Err(CliError::no(format!("{CONFIG_FILE} is not a regular file"))
            .hint("put the configuration itself there; links are not followed")),
        Ok(_) => fs::read_to_string(place).map_err(failed),
    }
}

/// Whoever runs the command, as decisions name them, where a key of theirs is known.
fn person(
    arguments: &TrustInitArguments,
    workspace: &RepoContext,
    config: &Config,
    start: &Path,
) -> Result<Option<NewSigner>, CliError> {
    let key = match (&arguments.person_key, workspace.repo.ssh_signing_key()) {
        (Some(path), _) => KeyFile::at(&start.join(path)),
        // The forms in which Git takes the key itself in place of a file.
        (None, Some(key)) => match key.strip_prefix("key::").or(key.starts_with("ssh-").then_some(&key)) {
            Some(text) => KeyFile::Text(text.to_owned()),
            None => KeyFile::at(&start.join(&key)),
        },
        (None, None) => return Ok(None),
    };
    let name = match &arguments.person {
        Some(name) => name.clone(),
        // By the function that names whoever decides: under another name, no decision of theirs would count.
        None => people_of(config).identify(&workspace.repo.identity()?.email).map_err(|refusal| {
            CliError::environment(refusal.to_string()).hint("name yourself with --person")
        })?,
    };
    Ok(Some(NewSigner { name, role: "person", key }))
}

impl KeyFile {
    fn at(path: &Path) -> Self {
        // As people would write it: without the `..` with which it was named, as it is printed for another folder or machine.
        let path = match (path.parent().and_then(|folder| folder.canonicalize().ok()), path.file_name()) {
            (Some(folder), Some(name)) => folder.join(name),
            _ => path.to_owned(),
        };
        let private = match path.extension() {
            Some(extension) if extension == "pub" => path.with_extension(""),
            _ => path,
        };
        let mut public = private.clone().into_os_string();
        public.push(".pub");
        Self::Pair { private, public: public.into() }
    }

    /// The public key, or a stand-in for one that is to be made.
    fn text_or(&self, to_be_made: bool) -> Result<String, CliError> {
        let (private, public) = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::Pair { private, public } => (private, public),
        };
        match fs::read_to_string(public) {
            Ok(text) => public_key(&text).ok_or_else(|| {
                // Never with what is in it: it may be a private key that somebody gave the wrong name.
                CliError::no(format!("{} holds no public SSH key", public.display()))
                    .hint(format!("`ssh-keygen -y -f {}` prints the public half of a key", private.display()))
            }),
            Err(error) if error.kind() == ErrorKind::NotFound && to_be_made => {
                Ok("ssh-ed25519 AAAA to-be-made".to_owned())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(CliError::environment(format!("there is no public key {}", public.display()))
                    .hint("add --make-keys to make the pair"))
            }
            Err(error) => Err(CliError::caused(&format!("cannot read {}", public.display()), &error)),
        }
    }
}

/// The key in a file such as `id_ed25519.pub`: its first line, if that begins like one.
fn public_key(text: &str) -> Option<String> {
    let line = text.trim_start().lines().next()?.trim();
    ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| line.starts_with(kind)).then(|| line.to_owned())
}

impl NewSigner {
    /// Makes the pair of keys where there is none, and says so.
    fn make_missing_key(&self, root: &Path, context: &mut Context) -> Result<(), CliError> {
        let KeyFile::Pair { private, public } = &self.key else { return Ok(()) };
        if public.exists() {
            return Ok(());
        }
        if private.exists() {
            return Err(CliError::no(format!("{} has no public half beside it", private.display())).hint(
                format!("`ssh-keygen -y -f {0} > {1}` writes it", private.display(), public.display()),
            ));
        }
        let folder = private.parent().and_then(|folder| folder.canonicalize().ok());
        // The next `git add --all` would take a private key along, and a push would publish it.
        if folder.is_none_or(|folder| root.canonicalize().is_ok_and(|root| folder.starts_with(root))) {
            return Err(CliError::no(format!(
                "{} is in this repository or in no folder; a private key must not be committed",
                private.display()
            ))
            .hint("name a file in a folder outside, such as ../planspec-ci or ~/.ssh/planspec-ci"));
        }
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-C", &self.name, "-f"]).arg(private);
        if self.role == "runner" {
            // Nobody is there to type a passphrase when a job starts.
            keygen.args(["-N", ""]).stdin(Stdio::null());
        } else if !std::io::stdin().is_terminal() {
            return Err(CliError::environment(
                "your key needs a passphrase, and there is no terminal to ask for it",
            )
            .hint(format!("make it with `ssh-keygen -t ed25519 -f {}`", private.display())));
        }
        let status = keygen.status().map_err(|error| {
            CliError::caused("cannot start `ssh-keygen`", &error).hint("it comes with OpenSSH")
        })?;
        if !status.success() {
            return Err(CliError::environment("`ssh-keygen` failed; nothing was changed"));
        }
        let made = format!("{}: private, for {} alone; {}", private.display(), self.name, public.display());
        context.out.line(format!("{} {}", Tone::Good.paint("made"), text::line(&made)))
    }
}

/// The section of the configuration.
fn section(signers: &[(&NewSigner, String)]) -> String {
    let mut section = "\
# Whose signatures count on the status branch: a runner may record everything, a person decisions in that name.
trust:
  status:
    signers:
"
    .to_owned();
    for (NewSigner { name, role, .. }, key) in signers {
        // As JSON, which is YAML: a name or the comment of a key may hold what has a meaning there.
        let name = serde_json::Value::from(name.as_str());
        let key = serde_json::Value::from(key.as_str());
        section.push_str(&format!(
            "      - name: {name}\n        role: {role}\n        keys:\n          - {key}\n"
        ));
    }
    section
}

/// The end of the old text is a line of its own before the section begins.
fn joined(old: &str, section: &str) -> String {
    let gap = match old {
        "" => "",
        old if old.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    format!("{gap}{section}")
}

/// Refuses a text that is no valid configuration any more, or says anything else than before.
fn check_section(old: &str, section: &str) -> Result<(), CliError> {
    let refused = |error: CliError| {
        error.hint(format!(
            "nothing was changed; by hand, {CONFIG_FILE} would need:\n{}",
            text::block(section)
        ))
    };
    let whole = format!("{old}{}", joined(old, section));
    let new = checked_config(load_config(whole.as_bytes())).map_err(refused)?;
    // Appended to a text in which it is not at the top level, it would be read as something else.
    if new.trust.status.is_none() {
        return Err(refused(CliError::no(format!("cannot add `trust` to the end of {CONFIG_FILE}"))));
    }
    Ok(())
}

/// Adds the section. What is there is not written again, so its comments and its order stay.
fn append(place: &Path, old: &str, section: &str) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::caused(&format!("cannot write {CONFIG_FILE}"), &error);
    let mut file = OpenOptions::new().append(true).create(true).open(place).map_err(failed)?;
    file.write_all(joined(old, section).as_bytes()).map_err(failed)
}

/// What is left for people to do.
fn next_steps(signers: &[NewSigner], branch: &str, has_status: bool) -> String {
    let path = |signer: Option<&NewSigner>| match signer.map(|signer| &signer.key) {
        Some(KeyFile::Pair { private, .. }) => private.display().to_string(),
        _ => "FILE".to_owned(),
    };
    let key = path(signers.first());
    let mut steps = vec![
        format!(
            "on GitHub, Settings, Environments: an environment `planspec` that only the branch `{branch}` may use; then\n\
             \x20      gh secret set PLANSPEC_SIGNING_KEY --env planspec < {key}\n\
             \x20    and in the job of .github/workflows/planspec-apply.yml:\n\
             \x20      environment: planspec\n\
             \x20      env:\n\
             \x20        PLANSPEC_SIGNING_KEY: ${{{{ secrets.PLANSPEC_SIGNING_KEY }}}}"
        ),
        format!("on a machine of your own: PLANSPEC_SIGNING_KEY={key} planspec reconcile"),
    ];
    if let Some(person) = signers.get(1) {
        steps.push(format!(
            "each person signs with Git:\n\
             \x20      git config gpg.format ssh && git config user.signingkey {}",
            path(Some(person))
        ));
    }
    steps.push(format!("commit {CONFIG_FILE}, and have it reviewed: it says whose word counts"));
    if has_status {
        steps.push(format!(
            "once, take over what the status branch holds unsigned:\n\
             \x20      PLANSPEC_SIGNING_KEY={key} planspec reconcile --accept-status-history"
        ));
    }
    let steps = steps.iter().zip(1..).map(|(step, number)| format!("\n  {number}. {step}"));
    text::block(&format!("next:{}", steps.collect::<String>())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(name: &str) -> NewSigner {
        NewSigner { name: name.to_owned(), role: "runner", key: KeyFile::at(Path::new("k")) }
    }

    #[test]
    fn what_is_written_is_read_back_whatever_names_and_comments_hold() {
        for name in ["ci", "wendy@example.com", "yes", "a: b # c", "\"quoted\"", "- x"] {
            let signer = signer(name);
            let key = format!("ssh-ed25519 AAAA {name}");
            let section = section(&[(&signer, key.clone())]);
            for old in ["", "# only a comment", "jobs: 1", "jobs: 1\n"] {
                check_section(old, &section).unwrap();
                let config =
                    checked_config(load_config((old.to_owned() + &joined(old, &section)).as_bytes()));
                let trust = config.unwrap().trust.status.unwrap();
                assert_eq!(trust.signers[0].name, name);
            }
        }
    }

    #[test]
    fn a_text_that_cannot_take_a_section_at_its_end_is_refused() {
        let section = section(&[(&signer("ci"), "ssh-ed25519 AAAA".to_owned())]);
        for old in ["{jobs: 1}\n", "jobs: 1\n---\n", "trust: {}\n", "exclude:\n  - |\n    x\n..."] {
            assert!(check_section(old, &section).is_err(), "{old}");
        }
    }

    #[test]
    fn only_a_public_key_is_taken_and_its_private_half_is_never_named_as_one() {
        assert_eq!(public_key("\nssh-ed25519 AAAA me\nmore\n").as_deref(), Some("ssh-ed25519 AAAA me"));
        assert_eq!(public_key("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n"), None);
        for named in ["k/id.pub", "k/id"] {
            let KeyFile::Pair { private, public } = KeyFile::at(Path::new(named)) else { panic!() };
            assert_eq!((private, public), (PathBuf::from("k/id"), PathBuf::from("k/id.pub")));
        }
    }
}
