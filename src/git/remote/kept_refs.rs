//! References of a remote that are listed and removed as a whole, such as those that keep work.

use super::outage::RemoteAccess;
use super::{PUSH, Remote};
use crate::git::refs::check_name;
use crate::git::{GitError, ObjectId, Repo};

impl Remote {
    /// The references of the remote whose names begin with one of these prefixes, which end with `/`.
    ///
    /// # Errors
    /// When the remote cannot be read.
    pub fn refs_below(&self, prefixes: &[&str]) -> Result<Vec<(String, ObjectId)>, GitError> {
        let patterns: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix}*")).collect();
        self.patiently(RemoteAccess::Read, || {
            let program = self.program().args(["ls-remote", "--end-of-options", &self.target]);
            let output = self.finish(program.args(&patterns))?;
            if !output.success {
                return Err(self.failure("reading", &output));
            }
            let text = String::from_utf8_lossy(&output.stdout);
            let lines = text.lines().filter_map(|line| line.split_once('\t'));
            // A server may name references that nobody asked for, or names that lead elsewhere.
            let wanted = |name: &str| {
                prefixes.iter().any(|prefix| name.starts_with(prefix)) && check_name(name).is_ok()
            };
            let found = lines.filter(|(_, name)| wanted(name));
            Ok(found.filter_map(|(id, name)| Some((name.to_owned(), id.parse().ok()?))).collect())
        })
    }

    /// Removes references of the remote, each only from the value that is given. Those that were removed.
    ///
    /// # Errors
    /// When the remote cannot be reached, or takes none of it.
    pub fn remove_refs(&self, repo: &Repo, refs: &[(String, ObjectId)]) -> Result<Vec<String>, GitError> {
        let mut program = self.push_program().args(PUSH);
        for (name, tip) in refs {
            check_name(name)?;
            // A runner that goes on with the Execution just now moves it, and then it stays (Invariant 3).
            program = program.args([format!("--force-with-lease={name}:{tip}")]);
        }
        program = program.args(["--end-of-options", &self.target]);
        let output = self.finish(program.args(refs.iter().map(|(name, _)| format!(":{name}"))))?;
        // Not atomic: one that moved meanwhile does not keep the others.
        let names: Vec<&str> = refs.iter().map(|(name, _)| name.as_str()).collect();
        let left = self.tips(&names)?;
        let mut removed = Vec::new();
        for (name, _) in names.iter().zip(left).filter(|(_, tip)| tip.is_none()) {
            self.forget(repo, &self.local_name(name)?)?;
            removed.push((*name).to_owned());
        }
        if removed.is_empty() && !refs.is_empty() && !output.success {
            return Err(self.failure("removing references of", &output));
        }
        Ok(removed)
    }
}
