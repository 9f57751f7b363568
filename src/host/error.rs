//! Why a Git host did not do what it was asked, in messages that say what to do; never with a token in them.

use std::time::Duration;

/// Why the host did not do what was asked.
// `Clone`, because the error of opening the client is kept and given to everybody who asks for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// This runner knows no host.
    #[error("there is no Git host: set GITHUB_TOKEN and GITHUB_REPOSITORY, as in a job of GitHub Actions")]
    NoHost,
    /// There is no token, or one that cannot be sent.
    #[error("there is no usable token: {0}")]
    NoToken(&'static str),
    /// The host has no such thing.
    #[error("cannot {what}: the host does not offer that")]
    NotOffered {
        /// What was asked for.
        what: String,
    },
    /// The address of the API is none.
    #[error("`{0}` is not an API address")]
    Address(String),
    /// A name that cannot appear in an address.
    #[error("`{0}` is not the name of a repository, person, team or workflow")]
    Name(String),
    /// The host does not know the token.
    #[error("cannot {what}: the host rejected the token")]
    Token {
        /// What was asked for.
        what: String,
    },
    /// The token may not.
    #[error("cannot {what}: the token needs the permission `{needs}` ({said})")]
    Permission {
        /// What was asked for.
        what: String,
        /// The permission, as a workflow file writes it.
        needs: &'static str,
        /// In the words of the host.
        said: String,
    },
    /// It is not there, or the token may not see it.
    // The host hides what a token may not see, so a 404 has to name the permission as well.
    #[error("cannot {what}: not found; if it does exist, the token lacks the permission `{needs}`")]
    NotFound {
        /// What was asked for.
        what: String,
        /// The permission, as a workflow file writes it.
        needs: &'static str,
    },
    /// A list has more entries than are read.
    #[error("there are more than {most} entries, to {what}")]
    TooMany {
        /// What was asked for.
        what: String,
        /// How many are read.
        most: usize,
    },
    /// The host wants us to wait longer than there is time.
    #[error("cannot {what}: the host's rate limit is reached; it asks for a pause of {} s", .wait.as_secs())]
    RateLimited {
        /// What was asked for.
        what: String,
        /// How long it wants us to wait.
        wait: Duration,
    },
    /// The host cannot be reached, or fails.
    #[error("cannot {what}: the host cannot be reached or fails: {said}")]
    Down {
        /// What was asked for.
        what: String,
        /// What happened.
        said: String,
    },
    /// The host does not take the request.
    #[error("cannot {what}: the host responded {status}: {said}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The status of the answer.
        status: u16,
        /// In the words of the host.
        said: String,
    },
    /// The answer is not what the host documents.
    #[error("cannot {what}: the host's response cannot be read: {said}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        said: String,
    },
}

impl HostError {
    /// Whether the token is missing or too weak for what was asked.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        // `NotFound` is none of them, either: the host does not say which of its two meanings it has.
        matches!(self, Self::NoToken(_) | Self::Token { .. } | Self::Permission { .. })
    }

    /// Whether it is not there, as far as the token can see.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the same may work later: the host is down, or limits us.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        // `NotFound` is none of them: where it may pass, it was waited out before it became an error.
        matches!(self, Self::Down { .. } | Self::RateLimited { .. })
    }

    /// How long the host wants us to wait.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait, .. } => Some(*wait),
            _ => None,
        }
    }
}
