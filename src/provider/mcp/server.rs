//! The settings of a server: a program, or an address.

use crate::model::JsonMap;
use crate::provider::ConfigError;
use crate::provider::check::Settings;
use crate::provider::tool::ToolConfig;

/// A server.
pub(super) enum Server {
    /// A program that speaks on its standard input and output.
    Program(ToolConfig),
    /// An address that speaks streamable HTTP.
    Address(Address),
}

/// An address, and what is said to it with each request.
pub(super) struct Address {
    pub(super) url: String,
    /// Headers, and the variables below `providers.secrets` that hold their values.
    pub(super) secret_headers: Vec<(String, String)>,
}

impl Server {
    /// Reads what `providers.mcp` says of it.
    pub(super) fn read(provider: &str, settings: &JsonMap) -> Result<Self, ConfigError> {
        if !settings.contains_key("url") {
            Settings::new(settings, &["command", "args", "env", "shell", "grace"])?;
            return ToolConfig::read(provider, settings).map(Self::Program);
        }
        let read = Settings::new(settings, &["url", "secretHeaders"])?;
        let url = read.text("url")?.unwrap_or_default();
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(ConfigError::WrongType {
                key: "url".to_owned(),
                expected: "an http or https address",
            });
        }
        Ok(Self::Address(Address { url, secret_headers: read.pairs("secretHeaders")? }))
    }
}
