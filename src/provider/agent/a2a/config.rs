//! Where an agent is, and how it is asked. Address and headers stand in the configuration alone: a plan that could change
//! them could send the secrets to another address.

use std::time::Duration;

use reqwest::Url;

use crate::model::JsonMap;
use crate::provider::settings::{Settings, has_expression};
use crate::provider::web::{Headers, Request, parse_address};
use crate::provider::{ConfigError, ProviderSettings};

const KEYS: [&str; 7] =
    ["url", "card", "headers", "secretHeaders", "requestTimeout", "pollInterval", "contextId"];

/// What a Binding may say.
const OF_BINDING: [&str; 2] = ["requestTimeout", "pollInterval"];

/// Where the card of an agent is, if only its host is known.
const WELL_KNOWN: &str = "/.well-known/agent-card.json";

/// How long one request may take, and how often a task is polled.
const REQUEST: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(10);

/// Where an agent is, and how it is asked.
#[derive(Debug, Clone)]
pub(in crate::provider::agent) struct Address {
    pub(super) place: AgentLocation,
    headers: Headers,
    /// How long one request may take.
    pub(super) request_timeout: Duration,
    /// How often a task is polled.
    pub(super) poll_interval: Duration,
    /// Whether tasks get a context whose id we give.
    pub(super) names_context: bool,
}

/// What is known of an agent.
#[derive(Debug, Clone)]
pub(super) enum AgentLocation {
    /// Where it takes requests.
    Endpoint(Url),
    /// Where its card says so.
    Card(Url),
}

impl AgentLocation {
    /// The address that is known; everything else must be of the same origin.
    pub(super) fn known(&self) -> &Url {
        match self {
            Self::Endpoint(url) | Self::Card(url) => url,
        }
    }
}

impl Address {
    /// Whether settings are those of an agent at an address.
    pub(in crate::provider::agent) fn is_in(settings: &JsonMap) -> bool {
        settings.contains_key("url") || settings.contains_key("card")
    }

    /// Reads what the configuration says of an agent, and what a Binding adds.
    pub(in crate::provider::agent) fn read(
        configured: &JsonMap,
        binding: &JsonMap,
        settings: &ProviderSettings,
    ) -> Result<Self, ConfigError> {
        if let Some(key) = binding.keys().find(|key| !OF_BINDING.contains(&key.as_str())) {
            // A key that exists, in the wrong file: to call it unknown would not say where it belongs.
            if KEYS.contains(&key.as_str()) {
                return Err(invalid(key, "is for `providers.agents` of .planspec.yaml alone"));
            }
            Settings::new(binding, &OF_BINDING)?;
        }
        let mut all = configured.clone();
        all.extend(binding.clone());
        let read = Settings::new(&all, &KEYS)?;
        let place = match (read.text("url")?, read.text("card")?) {
            (Some(url), None) => AgentLocation::Endpoint(address("url", &url)?),
            (None, Some(card)) => {
                let mut card = address("card", &card)?;
                // The place that the protocol registers for cards; a path that somebody wrote is taken at their word.
                if card.path() == "/" {
                    card.set_path(WELL_KNOWN);
                }
                AgentLocation::Card(card)
            }
            _ => return Err(invalid("url", "or `card` must be given, and not both")),
        };
        let address = Self {
            place,
            headers: Headers::read(&read)?,
            request_timeout: positive(&read, "requestTimeout", REQUEST)?,
            poll_interval: positive(&read, "pollInterval", LOOK)?,
            names_context: read.flag("contextId")?.unwrap_or(true),
        };
        let url = address.place.known().clone();
        // Made for nothing but its errors, so that `validate` finds a secret that is not set.
        address.headers.add_to(&mut Request::new(reqwest::Method::POST, url), settings)?;
        Ok(address)
    }

    /// The same for settings of a Binding in which expressions may stand for values that are not known yet.
    pub(in crate::provider::agent) fn check(
        configured: &JsonMap,
        binding: &JsonMap,
        settings: &ProviderSettings,
    ) -> Result<(), ConfigError> {
        let mut known = binding.clone();
        // Only what a Binding may say is set aside: any other key is refused, with an expression in it or not.
        known.retain(|key, value| !(OF_BINDING.contains(&key.as_str()) && has_expression(value)));
        Self::read(configured, &known, settings).map(|_| ())
    }

    /// Adds the headers of the settings to a request.
    pub(super) fn prepare(
        &self,
        request: &mut Request,
        settings: &ProviderSettings,
    ) -> Result<(), ConfigError> {
        request.timeout = self.request_timeout;
        self.headers.add_to(request, settings)
    }
}

fn invalid(key: &str, why: &str) -> ConfigError {
    ConfigError::Invalid { key: key.to_owned(), why: why.to_owned() }
}

fn address(key: &str, text: &str) -> Result<Url, ConfigError> {
    parse_address(text).map_err(|error| invalid(key, &format!("cannot be asked: {error}")))
}

fn positive(read: &Settings<'_>, key: &str, otherwise: Duration) -> Result<Duration, ConfigError> {
    match read.duration(key)? {
        Some(Duration::ZERO) => Err(invalid(key, "must be longer than nothing")),
        given => Ok(given.unwrap_or(otherwise)),
    }
}
