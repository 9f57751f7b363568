//! Blobs and commits the way `git add` and `git commit` make them for this user: with clean filters, line ends and
//! signatures as configured. Status commits are the runner's own and do not pass through here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use jiff::Timestamp;

use crate::git::command::GitCommand;
use crate::git::{GitError, ObjectId, Repo, Signature};

/// The attributes that change the bytes between working tree and object database (gitattributes(5)).
const CONVERTING: [&str; 6] = ["text", "eol", "crlf", "ident", "filter", "working-tree-encoding"];

impl Repo {
    /// Writes the blobs of files as `git add` would: a path whose attributes ask for a conversion passes through Git's own
    /// clean filters; without a working tree there are no attributes, and bytes are bytes.
    ///
    /// # Errors
    /// When a filter fails, or the object database cannot be written.
    pub fn write_files(
        &self,
        edits: &BTreeMap<String, Option<Vec<u8>>>,
    ) -> Result<BTreeMap<String, Option<ObjectId>>, GitError> {
        let converted =
            self.converted(edits.iter().filter(|(_, content)| content.is_some()).map(|(path, _)| path))?;
        let write = |(path, content): (&String, &Option<Vec<u8>>)| {
            let blob = match content {
                // Only these: each costs a run of the program, and most repositories convert nothing.
                Some(content) if converted.contains(path) => Some(self.clean(path, content, true)?),
                Some(content) => Some(self.write_blob(content)?),
                None => None,
            };
            Ok((path.clone(), blob))
        };
        edits.iter().map(write).collect()
    }

    /// Which of these paths are converted on their way into the object database.
    fn converted<'p>(&self, paths: impl Iterator<Item = &'p String>) -> Result<BTreeSet<String>, GitError> {
        let Some(work_tree) = self.work_tree() else { return Ok(BTreeSet::new()) };
        let paths: Vec<&String> = paths.collect();
        // A commit of removals alone needs no attributes, and no run of the program.
        if paths.is_empty() {
            return Ok(BTreeSet::new());
        }
        // `core.autocrlf` converts without any attribute; then Git decides path by path.
        if self
            .setting(&["core.autocrlf"])?
            .is_some_and(|value| !matches!(value.as_str(), "false" | "no" | "off" | "0"))
        {
            return Ok(paths.into_iter().cloned().collect());
        }
        let mut input = Vec::new();
        for path in &paths {
            input.extend_from_slice(path.as_bytes());
            input.push(0);
        }
        let output = GitCommand::new(work_tree, &[])
            .args(["check-attr", "-z", "--stdin"])
            .args(CONVERTING)
            .input(input)
            .run()?;
        if !output.success {
            return Err(GitError::Program { doing: "read the attributes of files", detail: output.stderr });
        }
        // Triples: path, attribute, value. `unset` switches a conversion off, `unspecified` says nothing.
        let fields: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        let set = fields
            .chunks_exact(3)
            .filter(|triple| !matches!(triple.get(2), Some(&b"unspecified" | &b"unset")));
        Ok(set.filter_map(|triple| String::from_utf8(triple.first()?.to_vec()).ok()).collect())
    }

    /// The blob that Git would make of a file's content at this path. Without `write` it is only named.
    fn clean(&self, path: &str, content: &[u8], write: bool) -> Result<ObjectId, GitError> {
        let directory = self.work_tree().unwrap_or_else(|| self.git_dir());
        let mut arguments = vec!["hash-object".to_owned(), "--stdin".to_owned(), format!("--path={path}")];
        arguments.extend(write.then(|| "-w".to_owned()));
        // The content comes by standard input: the file of that path need not exist yet, or may hold something else.
        let output = GitCommand::new(directory, &[]).args(arguments).input(content.to_vec()).run()?;
        let id = String::from_utf8_lossy(&output.stdout).trim().parse();
        match id {
            Ok(id) if output.success => Ok(id),
            _ => Err(GitError::Program {
                doing: "convert a file as its attributes ask",
                detail: output.stderr,
            }),
        }
    }

    /// Whether Git would store this content at this path as this blob: what `git status` calls unmodified.
    pub(super) fn is_content_of(&self, path: &str, content: &[u8], blob: ObjectId) -> Result<bool, GitError> {
        if self.work_tree().is_none() {
            // Without a working tree there are no attributes, so the bytes decide.
            return Ok(self.blob(blob, u64::MAX)? == content);
        }
        Ok(self.clean(path, content, false)? == blob)
    }

    /// Writes a commit in the user's name, signed where `commit.gpgSign` asks for it. Signing is left to the `git` program,
    /// which knows every format and agent.
    ///
    /// # Errors
    /// When the object database cannot be written, or Git cannot sign.
    pub fn write_user_commit(
        &self,
        tree: ObjectId,
        parents: &[ObjectId],
        message: &str,
        author: &Signature,
        at: Timestamp,
    ) -> Result<ObjectId, GitError> {
        // Asked of the program and not of libgit2, which does not read `GIT_CONFIG_*`; a CI job that turns signing on
        // does it there.
        if self.setting(&["--type=bool", "commit.gpgsign"])?.as_deref() != Some("true") {
            return self.write_commit(tree, parents, message, author, at);
        }
        // `commit-tree` rather than `commit`: no index, no working tree, and no hook takes part.
        let mut arguments: Vec<OsString> = vec!["commit-tree".into(), "-S".into(), tree.to_string().into()];
        for parent in parents {
            arguments.extend(["-p".into(), parent.to_string().into()]);
        }
        arguments.extend(["-F".into(), "-".into()]);
        // The engine's clock, not the program's: a test with a fixed clock has to get the same commit each time.
        let date = format!("@{} +0000", at.as_second());
        let directory = self.work_tree().unwrap_or_else(|| self.git_dir());
        let mut command = GitCommand::new(directory, &[]).args(arguments).input(message.as_bytes().to_vec());
        // By environment, because the program would otherwise take what `user.name` says at this moment, and the
        // message was made for this author.
        for role in ["AUTHOR", "COMMITTER"] {
            command = command
                .env(&format!("GIT_{role}_NAME"), &author.name)
                .env(&format!("GIT_{role}_EMAIL"), &author.email)
                .env(&format!("GIT_{role}_DATE"), &date);
        }
        let output = command.run()?;
        match String::from_utf8_lossy(&output.stdout).trim().parse() {
            Ok(commit) if output.success => Ok(commit),
            _ => Err(GitError::Signing { detail: output.stderr }),
        }
    }

    /// Sets `commit.gpgSign` to false for this repository: one that is thrown away is no reason to ask for a passphrase.
    ///
    /// # Errors
    /// When its configuration cannot be written.
    pub fn never_sign(&self) -> Result<(), GitError> {
        let failed = GitError::doing("cannot write the configuration");
        let local = self.git2().config().and_then(|config| config.open_level(git2::ConfigLevel::Local));
        local.and_then(|mut local| local.set_bool("commit.gpgsign", false)).map_err(failed)
    }

    /// A setting as the `git` program reads it: with every include, and with `GIT_CONFIG_*`.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn configured(&self, query: &[&str]) -> Result<Option<String>, GitError> {
        let directory = self.work_tree().unwrap_or_else(|| self.git_dir());
        let output = GitCommand::new(directory, &[]).args(["config", "--get"]).args(query).run()?;
        let value = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.success && !value.is_empty()).then_some(value))
    }

    fn setting(&self, query: &[&str]) -> Result<Option<String>, GitError> {
        // Git takes values of this kind in any case, such as `True`.
        Ok(self.configured(query)?.map(|value| value.to_ascii_lowercase()))
    }
}
