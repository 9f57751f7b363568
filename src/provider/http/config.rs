//! The settings of a service.

use std::time::Duration;

use reqwest::{Method, Url};

use crate::model::JsonMap;
use crate::provider::settings::{Settings, has_expression};
use crate::provider::web::{Headers, Request, WebError, parse_address};
use crate::provider::{ConfigError, ProviderSettings};

const KEYS: [&str; 4] = ["method", "headers", "secretHeaders", "requestTimeout"];

/// Where the configuration has the addresses of services, by name.
const SECTION: &str = "services";

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(60);

/// The settings of a service.
#[derive(Debug, Clone)]
pub(super) struct HttpConfig {
    /// Where the work is handed in.
    pub(super) url: Url,
    pub(super) method: Method,
    headers: Headers,
    /// How long one request may take.
    pub(super) request_timeout: Duration,
}

impl HttpConfig {
    /// Reads the settings of an attempt, in which every expression has been replaced.
    pub(super) fn read(
        provider: &str,
        config: &JsonMap,
        settings: &ProviderSettings,
    ) -> Result<Self, ConfigError> {
        let read = Settings::new(config, &KEYS)?;
        let method = match read.text("method")?.as_deref() {
            None | Some("POST") => Method::POST,
            Some("PUT") => Method::PUT,
            Some(_) => return Err(invalid("method", "must be POST or PUT")),
        };
        let config = Self {
            url: address(provider, settings)?,
            method,
            headers: Headers::read(&read)?,
            request_timeout: read.duration("requestTimeout")?.unwrap_or(REQUEST),
        };
        if config.request_timeout.is_zero() {
            return Err(invalid("requestTimeout", "must be greater than zero"));
        }
        // Made for nothing but its errors: a secret that is not set, or a header that cannot be sent, is found by
        // `validate`.
        config.request(config.method.clone(), config.url.clone(), settings)?;
        Ok(config)
    }

    /// Checks settings in which expressions may stand for values that are not known yet.
    pub(super) fn check(
        provider: &str,
        config: &JsonMap,
        settings: &ProviderSettings,
    ) -> Result<(), ConfigError> {
        Settings::new(config, &KEYS)?;
        let mut known = config.clone();
        // Every setting has a default, so what is left can be read as if it were all.
        known.retain(|_, value| !has_expression(value));
        Self::read(provider, &known, settings).map(|_| ())
    }

    /// A request with the headers of the settings.
    pub(super) fn request(
        &self,
        method: Method,
        url: Url,
        settings: &ProviderSettings,
    ) -> Result<Request, ConfigError> {
        let mut request = Request::new(method, url);
        request.timeout = self.request_timeout;
        self.headers.add_to(&mut request, settings)?;
        Ok(request)
    }
}

fn invalid(key: &str, why: &(impl ToString + ?Sized)) -> ConfigError {
    ConfigError::Invalid { key: key.to_owned(), why: why.to_string() }
}

/// The address of a service: as written, or the one that the configuration gives a name.
fn address(provider: &str, settings: &ProviderSettings) -> Result<Url, ConfigError> {
    // Messages are recorded, and an address may hold a password or a key in its query.
    let wrong = |why| ConfigError::Provider { provider: without_secrets(provider), why };
    let text = match provider.strip_prefix("service://") {
        None => provider.to_owned(),
        Some(rest) => {
            let (name, path) = rest.split_once('/').map_or((rest, None), |(name, path)| (name, Some(path)));
            let base = settings.section(SECTION, name).and_then(|base| base.as_str());
            let base = base.ok_or_else(|| wrong("is not among `providers.services` of .planspec.yaml"))?;
            match path {
                // `%2e%2e` means `..` to many servers, so nothing that is encoded is let through.
                Some(path) if path.split('/').any(|part| part.contains("..") || part.contains('%')) => {
                    return Err(wrong("has a path that could leave the service"));
                }
                Some(path) => format!("{}/{path}", base.trim_end_matches('/')),
                None => base.to_owned(),
            }
        }
    };
    parse_address(&text).map_err(|error| match error {
        WebError::Credentials => {
            wrong("contains a user or a password; name a variable in `config.secretHeaders` instead")
        }
        _ => wrong("is not an http or https URL"),
    })
}

/// A provider string as it may be shown in an error.
fn without_secrets(provider: &str) -> String {
    let text = provider.split(['?', '#']).next().unwrap_or_default();
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            let start = text.get(..scheme + 3).unwrap_or_default();
            format!("{start}***{}", text.get(at..).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn settings() -> ProviderSettings {
        ProviderSettings {
            secrets: [("API_TOKEN".to_owned(), "hunter22".into())].into(),
            sections: JsonMap::from_iter([(
                SECTION.to_owned(),
                json!({"builder": "https://build.example/api/"}),
            )]),
            ..ProviderSettings::default()
        }
    }

    fn read(provider: &str, config: &Value) -> Result<HttpConfig, String> {
        HttpConfig::read(provider, config.as_object().unwrap(), &settings())
            .map_err(|error| error.to_string())
    }

    fn check_refused(provider: &str, config: &Value, expected: &str) {
        assert_eq!(read(provider, config).unwrap_err(), expected);
    }

    #[test]
    fn a_service_has_the_address_that_the_configuration_gives_it() {
        let url = |provider| read(provider, &json!({})).map(|config| config.url.to_string());
        assert_eq!(url("service://builder"), Ok("https://build.example/api/".to_owned()));
        assert_eq!(url("service://builder/jobs"), Ok("https://build.example/api/jobs".to_owned()));
        for path in ["..", "a/../../b", "%2e%2e/x", "a/..;/b"] {
            let provider = format!("service://builder/{path}");
            check_refused(
                &provider,
                &json!({}),
                &format!("`{provider}` has a path that could leave the service"),
            );
        }
        check_refused(
            "service://bilder",
            &json!({}),
            "`service://bilder` is not among `providers.services` of .planspec.yaml",
        );
    }

    #[test]
    fn secrets_come_from_variables_that_the_configuration_names() {
        let config =
            read("https://x.example", &json!({"secretHeaders": {"Authorization": "Bearer API_TOKEN"}}));
        let config = config.unwrap();
        let request = config.request(Method::GET, config.url.clone(), &settings()).unwrap();
        assert_eq!(request.headers["authorization"], "Bearer hunter22");
        assert!(!format!("{config:?} {request:?}").contains("hunter22"));
        check_refused(
            "https://x.example",
            &json!({"secretHeaders": {"Authorization": "HOME"}}),
            "`config.secretHeaders.Authorization` needs the variable HOME, named in `providers.secrets` and set",
        );
        check_refused(
            "https://x.example",
            &json!({"secretHeaders": {"Authorization": "Bearer: x-y"}}),
            "`config.secretHeaders.Authorization` must name a variable of `providers.secrets`, such as `API_TOKEN` or `Bearer API_TOKEN`",
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_its_secrets() {
        check_refused(
            "https://mia:hunter22@x.example/a?b=hunter22",
            &json!({}),
            "`https://***@x.example/a` contains a user or a password; name a variable in `config.secretHeaders` instead",
        );
        check_refused("https://", &json!({}), "`https://` is not an http or https URL");
        check_refused("https://x.example", &json!({"method": "GET"}), "`config.method` must be POST or PUT");
        check_refused(
            "https://x.example",
            &json!({"headers": {"Idempotency-Key": "1"}}),
            "`config.headers.Idempotency-Key` is set by planspec",
        );
        check_refused(
            "https://x.example",
            &json!({"headers": {"a b": "1"}}),
            "`config.headers.a b` header `a b` cannot be sent",
        );
        check_refused(
            "https://x.example",
            &json!({"header": {}}),
            "unknown setting `config.header`; did you mean `headers`?",
        );
    }
}
