//! The folder of one attempt: made before, read and tidied after.

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::model::JsonMap;

/// The inputs file of every attempt without inputs: made once, shared, gone with the provider.
#[derive(Default)]
pub(super) struct NoInputs(Mutex<Option<tempfile::TempPath>>);

impl NoInputs {
    fn path(&self) -> io::Result<PathBuf> {
        let mut shared = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Folders for temporary files are swept now and then, and a runner may live long.
        if let Some(path) = shared.as_ref().filter(|path| path.exists()) {
            return Ok(path.to_path_buf());
        }
        let mut file = tempfile::Builder::new().prefix("planspec-inputs-").suffix(".json").tempfile()?;
        file.write_all(b"{}\n")?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o444))?;
        let path = file.into_temp_path();
        let found = path.to_path_buf();
        *shared = Some(path);
        Ok(found)
    }
}

/// The folder of one attempt.
pub(super) struct RunFolder {
    root: PathBuf,
    inputs: PathBuf,
    output: PathBuf,
    artifacts: PathBuf,
}

impl RunFolder {
    /// Makes it, empty but for `artifacts/` and, when there are inputs, `inputs.json`. What an earlier
    /// runner left there under the same number is removed: it was never recorded.
    pub(super) fn create(root: &Path, inputs: &JsonMap, none: &NoInputs) -> io::Result<Self> {
        match create_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(root)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::remove_dir_all(root)?;
                create_dir(root)?;
            }
            made => made?,
        }
        let artifacts = root.join("artifacts");
        create_dir(&artifacts)?;
        let inputs = if inputs.is_empty() {
            none.path()?
        } else {
            let path = root.join("inputs.json");
            std::fs::write(&path, serde_json::to_vec_pretty(inputs)?)?;
            path
        };
        Ok(Self { root: root.to_owned(), inputs, output: root.join("output"), artifacts })
    }

    /// The inputs, as a JSON file.
    pub(super) fn inputs(&self) -> &Path {
        &self.inputs
    }

    /// Where outputs are written; there is no file yet.
    pub(super) fn output(&self) -> &Path {
        &self.output
    }

    /// The folder for artifacts.
    pub(super) fn artifacts(&self) -> &Path {
        &self.artifacts
    }

    /// Where the log is written; there is no file yet.
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// An empty folder to work in, for those who need no checkout.
    pub(super) fn scratch(&self) -> io::Result<PathBuf> {
        let path = self.root.join("work");
        create_dir(&path)?;
        Ok(path)
    }

    /// Removes the folders in which nothing was left.
    pub(super) fn tidy(&self) {
        // A folder that is not empty stays, and that is all that can go wrong here.
        let _ = std::fs::remove_dir(&self.artifacts);
        let _ = std::fs::remove_dir(&self.root);
    }
}

fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}
