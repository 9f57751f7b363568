//! What every provider gets from the runner: its settings, and the few things that all of them share.

use std::sync::Arc;

use super::ProviderSettings;
use super::git_host::GitHost;
use super::output::Redactor;
use super::web::Web;

/// What every provider gets from the runner. A clone is the same context: connections, limits and needles are shared.
#[derive(Clone)]
pub(super) struct ProviderContext {
    pub(super) settings: Arc<ProviderSettings>,
    /// Knows every secret of the settings. One for all, because the automaton over the needles is the dear part of it.
    pub(super) redactor: Arc<Redactor>,
    /// Makes requests. One for all, so that the rule about private addresses has no second reading.
    pub(super) web: Arc<Web>,
    /// The Git host, where there is one.
    pub(super) host: GitHost,
}

impl ProviderContext {
    pub(super) fn new(settings: ProviderSettings) -> Self {
        let secrets = settings.secrets.values().map(|value| value.as_encoded_bytes());
        Self {
            redactor: Arc::new(Redactor::new(secrets)),
            web: Arc::new(Web::new(&settings.allow_private)),
            host: GitHost::new(settings.github.clone()),
            settings: Arc::new(settings),
        }
    }
}
