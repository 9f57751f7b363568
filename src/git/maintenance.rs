//! Keeping a repository small: packing what was written, as Git's own commands do, and letting go of what is no longer in flight.

use std::fs;
use std::path::Path;

use super::command::GitCommand;
use super::{GitError, ObjectId, Repo};

/// The number of loose objects from which Git packs them by itself, when `gc.auto` does not say.
const LOOSE_OBJECTS: u64 = 6_700;

/// The number of packs from which Git makes them one, when `gc.autoPackLimit` does not say.
const PACKS: u64 = 50;

/// Loose objects are spread evenly over so many folders.
const FOLDERS: u64 = 256;

/// Where the commits of a push are kept until the remote has them, as `<process id>/<number>`: an outage may last for hours,
/// and `git gc --prune=now` removes whatever no reference names.
const IN_FLIGHT: &str = "in-flight";

impl Repo {
    /// Packs loose objects in the background when there are many, if the user has not turned that off (`gc.auto=0`).
    ///
    /// # Errors
    /// When the `git` program cannot be run.
    pub fn pack_when_grown(&self) -> Result<(), GitError> {
        self.forget_dead_pushes()?;
        let config = self.git2().config().map_err(GitError::doing("cannot read the configuration"))?;
        // A negative limit is none, as one of 0.
        let limit = |name: &str| config.get_i64(name).map(|limit| u64::try_from(limit).unwrap_or(0));
        let loose = limit("gc.auto").unwrap_or(LOOSE_OBJECTS);
        let packs = limit("gc.autoPackLimit").unwrap_or(PACKS);
        // Git decides; most passes need not start it to hear that there is nothing to do.
        if loose == 0 || !self.has_grown(loose, packs) {
            return Ok(());
        }
        // Every other run turns this off; it is on at the end of a pass only, when nobody waits for the repository.
        let settings =
            ["-c".into(), format!("gc.auto={loose}").into(), "-c".into(), "maintenance.auto=true".into()];
        let output = GitCommand::new(self.git_dir(), &settings).args(["gc", "--auto", "--quiet"]).run()?;
        if !output.success {
            tracing::debug!(said = output.stderr, "git gc failed");
        }
        Ok(())
    }

    /// Whether there are more loose objects or packs than these, as `git gc --auto` looks at it; a limit of 0 for packs is none.
    fn has_grown(&self, loose: u64, packs: u64) -> bool {
        let exceeds = |count: usize, limit: u64| u64::try_from(count).is_ok_and(|count| count > limit);
        let objects = self.common_dir().join("objects");
        // One folder stands for all of them: to list each would cost more than to start Git.
        if exceeds(names_in(&objects.join("17")).count(), loose.div_ceil(FOLDERS)) {
            return true;
        }
        let folder = objects.join("pack");
        let is_counted = |name: &String| {
            name.strip_suffix(".pack").is_some_and(|name| !folder.join(format!("{name}.keep")).exists())
        };
        packs > 0 && exceeds(names_in(&folder).filter(is_counted).count(), packs)
    }

    /// Keeps commits of this process that are about to be pushed to the remote with these references.
    pub(super) fn keep_in_flight(&self, space: &str, commits: &[ObjectId]) -> Result<(), GitError> {
        for (number, commit) in commits.iter().enumerate() {
            let name = format!("refs/planspec/{space}/{IN_FLIGHT}/{}/{number}", std::process::id());
            let before = self.read_ref(&name)?;
            // Moved by the next push and never removed by this one: a removal would rewrite `packed-refs` each time.
            self.swap_ref(&name, before, Some(*commit), "planspec: in flight")?;
        }
        Ok(())
    }

    /// Removes what processes that are gone kept in flight.
    fn forget_dead_pushes(&self) -> Result<(), GitError> {
        // Where the system does not list its processes, nothing is known to be gone.
        if !Path::new("/proc/self").exists() {
            return Ok(());
        }
        let glob = format!("refs/planspec/*/{IN_FLIGHT}/*/*");
        let references =
            self.git2().references_glob(&glob).map_err(GitError::doing("cannot list the references"))?;
        let names: Vec<String> =
            references.flatten().filter_map(|found| Some(found.name().ok()?.to_owned())).collect();
        for name in names {
            let process = name.split('/').rev().nth(1).unwrap_or_default();
            // Another machine's process on a shared disk may have the number; then its next push keeps its commit again.
            if process.parse() != Ok(std::process::id()) && !Path::new("/proc").join(process).exists() {
                let before = self.read_ref(&name)?;
                self.swap_ref(&name, before, None, "planspec: no longer in flight")?;
            }
        }
        Ok(())
    }
}

/// The names in a folder; none where it is not there.
fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::git::Signature;

    #[test]
    fn what_is_in_flight_survives_a_garbage_collection_and_a_dead_process_keeps_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(directory.path(), "main").unwrap();
        let person = Signature { name: "Wendy".into(), email: "wendy@example.com".into() };
        let tree = repo.edit_tree(None, &BTreeMap::new()).unwrap();
        let commit =
            |text: &str| repo.write_commit(tree, &[], text, &person, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let kept = commit("kept");
        let lost = commit("lost");
        repo.keep_in_flight("origin", &[kept]).unwrap();
        repo.swap_ref("refs/planspec/origin/in-flight/4194999/0", None, Some(lost), "test").unwrap();
        repo.pack_when_grown().unwrap();
        let output =
            GitCommand::new(directory.path(), &[]).args(["gc", "--quiet", "--prune=now"]).run().unwrap();
        assert!(output.success, "{}", output.stderr);
        let repo = Repo::open(directory.path()).unwrap();
        assert!(repo.commit(kept).is_ok());
        assert!(repo.commit(lost).is_err());
    }

    #[test]
    fn git_is_started_only_where_there_is_much() {
        let directory = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(directory.path(), "main").unwrap();
        assert!(!repo.has_grown(LOOSE_OBJECTS, PACKS));
        let place = |folder: &str, name: String| {
            let folder = directory.path().join("objects").join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), "").unwrap();
        };
        (0..=50).for_each(|number| place("pack", format!("pack-{number}.pack")));
        assert!(repo.has_grown(LOOSE_OBJECTS, PACKS));
        assert!(!repo.has_grown(LOOSE_OBJECTS, 0));
        place("pack", "pack-7.keep".to_owned());
        assert!(!repo.has_grown(LOOSE_OBJECTS, PACKS));
        // 6,700 objects are 27 in each folder.
        (0..27).for_each(|number| place("17", number.to_string()));
        assert!(!repo.has_grown(LOOSE_OBJECTS, PACKS));
        place("17", "27".to_owned());
        assert!(repo.has_grown(LOOSE_OBJECTS, PACKS));
    }
}
