//! The settings of a server: a program, or an address.

use reqwest::Url;

use crate::config::SandboxConfig;
use crate::model::JsonMap;
use crate::provider::local::ToolConfig;
use crate::provider::settings::Settings;
use crate::provider::web::{Headers, Request, parse_address};
use crate::provider::{ConfigError, ProviderSettings};

/// A server.
pub(super) enum Server {
    /// A program that speaks on its standard input and output.
    Program(Box<ToolConfig>),
    /// An address that speaks streamable HTTP.
    Address(ServerAddress),
}

/// An address, and what is said to it with each request.
pub(super) struct ServerAddress {
    pub(super) url: Url,
    pub(super) headers: Headers,
}

impl Server {
    /// Reads what `providers.mcp` says of it.
    pub(super) fn read(
        provider: &str,
        settings: &JsonMap,
        all: &ProviderSettings,
    ) -> Result<Self, ConfigError> {
        if !settings.contains_key("url") {
            // Fewer than a command has: a server always gets a checkout and never a sandbox, and a `sandbox` that has
            // no effect must not be taken in silence.
            Settings::new(settings, &["command", "args", "env", "shell", "grace"])?;
            if all.sandbox.as_ref().is_some_and(SandboxConfig::is_required) {
                return Err(ConfigError::Invalid {
                    key: "command".to_owned(),
                    why: "names a program, which cannot run in a sandbox, and `providers.sandbox` is `required`; use `url`"
                        .to_owned(),
                });
            }
            return ToolConfig::read(provider, settings).map(|config| Self::Program(Box::new(config)));
        }
        let read = Settings::new(settings, &["url", "headers", "secretHeaders"])?;
        let url = parse_address(&read.text("url")?.unwrap_or_default()).map_err(|error| {
            ConfigError::Invalid { key: "url".to_owned(), why: format!("cannot be used: {error}") }
        })?;
        let address = ServerAddress { url, headers: Headers::read(&read)? };
        // Made for nothing but its errors, so that `validate` finds a secret that is not set.
        let mut request = Request::new(reqwest::Method::POST, address.url.clone());
        address.headers.add_to(&mut request, all)?;
        Ok(Self::Address(address))
    }
}
