//! What every provider gets from the runner: its settings, and the few things that all of them share.

use std::sync::Arc;

use super::output::Redactor;
use super::web::Web;
use super::{HostRepository, ProviderSettings};
use crate::host::{GitHost, HostError};

/// Why work on a host cannot start here.
pub(super) const NO_HOST: &str =
    "needs a Git host: set GITHUB_TOKEN and GITHUB_REPOSITORY, as in a job of GitHub Actions";

/// What every provider gets from the runner. A clone is the same context: connections, limits and needles are shared.
#[derive(Clone)]
pub(super) struct ProviderContext {
    pub(super) settings: Arc<ProviderSettings>,
    /// Knows every secret of the settings. One for all, because the automaton over the needles is the dear part of it.
    pub(super) redactor: Arc<Redactor>,
    /// Makes requests. One for all, so that the rule about private addresses has no second reading.
    pub(super) web: Arc<Web>,
}

impl ProviderContext {
    pub(super) fn new(settings: ProviderSettings) -> Self {
        let secrets = settings.secrets.values().map(|value| value.as_encoded_bytes());
        let withheld = settings.withheld.iter().map(String::as_bytes);
        let secrets = secrets.chain(withheld);
        Self {
            redactor: Arc::new(Redactor::new(secrets)),
            web: Arc::new(Web::new(&settings.allow_private)),
            settings: Arc::new(settings),
        }
    }

    /// The repository that this runner works for, where its host can be asked.
    pub(super) fn home(&self) -> Option<&HostRepository> {
        self.settings.home.as_ref().filter(|_| self.settings.host.is_some())
    }

    /// The client of the Git host; within a tokio runtime.
    ///
    /// # Errors
    /// [`HostError::NoHost`], and why it cannot be opened.
    pub(super) fn host(&self) -> Result<Arc<dyn GitHost>, HostError> {
        self.settings.host.as_ref().ok_or(HostError::NoHost)?.open()
    }
}
