//! Headers that settings add to requests: as they are written, or with a secret of the runner as their last word.

use crate::provider::settings::Settings;
use crate::provider::web::Request;
use crate::provider::{ConfigError, ProviderSettings};

/// Headers that are ours, or that would change what a request is.
const RESERVED: [&str; 11] = [
    "idempotency-key",
    "planspec-fencing-token",
    "planspec-work-key",
    "a2a-version",
    // With `host`, a request would reach another site than the one that was checked; with a length or a connection
    // header, one request could be made to look like two.
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
];

/// The headers of settings; secrets are named, not held.
#[derive(Debug, Clone, Default)]
pub(in crate::provider) struct Headers {
    plain: Vec<(String, String)>,
    /// Name, what comes before the secret, and the variable that holds it.
    secret: Vec<(String, String, String)>,
}

impl Headers {
    /// Reads `headers` and `secretHeaders`.
    pub(in crate::provider) fn read(settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let headers = Self {
            plain: settings.pairs("headers")?,
            secret: settings
                .pairs("secretHeaders")?
                .into_iter()
                .map(secret_header)
                .collect::<Result<_, _>>()?,
        };
        let plain = headers.plain.iter().map(|(name, _)| ("headers", name));
        let secret = headers.secret.iter().map(|(name, ..)| ("secretHeaders", name));
        for (key, name) in plain.chain(secret) {
            if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
                return Err(invalid(&format!("{key}.{name}"), "is set by planspec"));
            }
        }
        Ok(headers)
    }

    /// Adds them to a request, secrets put in.
    pub(in crate::provider) fn add_to(
        &self,
        request: &mut Request,
        settings: &ProviderSettings,
    ) -> Result<(), ConfigError> {
        for (name, value) in &self.plain {
            request.header(name, value).map_err(|error| invalid(&format!("headers.{name}"), &error))?;
        }
        for (name, prefix, variable) in &self.secret {
            let key = format!("secretHeaders.{name}");
            // Only variables that `providers.secrets` names: with any other, a Binding could send the token of the job
            // to a service of its choice.
            let value = settings.secrets.get(variable).and_then(|value| value.to_str()).ok_or_else(|| {
                invalid(&key, &format!("needs the variable {variable}, named in `providers.secrets` and set"))
            })?;
            request
                // A secret that was read from a file often ends with a line break, which no header may hold.
                .header(name, &format!("{prefix}{}", value.trim()))
                .map_err(|error| invalid(&key, &error))?;
        }
        Ok(())
    }
}

fn invalid(key: &str, why: &(impl ToString + ?Sized)) -> ConfigError {
    ConfigError::Invalid { key: key.to_owned(), why: why.to_string() }
}

/// `VARIABLE`, or text with the variable as its last word.
fn secret_header((name, value): (String, String)) -> Result<(String, String, String), ConfigError> {
    let value = value.trim();
    let (prefix, variable) = match value.rsplit_once(' ') {
        Some((prefix, variable)) => (format!("{prefix} "), variable),
        None => (String::new(), value),
    };
    let is_variable = !variable.is_empty()
        && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !variable.starts_with(|c: char| c.is_ascii_digit());
    if !is_variable {
        // The value is not repeated: somebody may have pasted the secret itself.
        let why = "must name a variable of `providers.secrets`, such as `API_TOKEN` or `Bearer API_TOKEN`";
        return Err(invalid(&format!("secretHeaders.{name}"), &why));
    }
    Ok((name, prefix, variable.to_owned()))
}
