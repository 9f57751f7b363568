//! Reading a provider's settings: typed access by key, unknown keys refused with what was probably meant.

use std::time::Duration;

use serde_json::Value;

use crate::model::JsonMap;

/// Why settings are refused. In words, a setting stands in the `config` of a Binding; `ConfigError::at` names another place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.at("config"))]
pub enum ConfigError {
    /// The provider has no such setting.
    UnknownKey {
        /// The setting.
        key: String,
        /// `; did you mean …?`, or nothing.
        hint: String,
    },
    /// A setting has another type.
    WrongType {
        /// The setting.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A setting has the right type and cannot be used.
    Invalid {
        /// The setting.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// A setting is missing.
    Missing {
        /// The provider string.
        provider: String,
        /// The setting.
        key: &'static str,
        /// What it is for.
        why: &'static str,
    },
    /// The provider string itself is wrong.
    Provider {
        /// The provider string.
        provider: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An acceptance criterion cannot be checked.
    Criterion {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ConfigError {
    /// The error in words, of settings that stand below `place`.
    pub(in crate::provider) fn at(&self, place: &str) -> String {
        match self {
            Self::UnknownKey { key, hint } => format!("unknown setting `{place}.{key}`{hint}"),
            Self::WrongType { key, expected } => format!("`{place}.{key}` must be {expected}"),
            Self::Invalid { key, why } => format!("`{place}.{key}` {why}"),
            Self::Missing { provider, key, why } => format!("`{provider}` needs `{place}.{key}`: {why}"),
            Self::Provider { provider, why } => format!("`{provider}` {why}"),
            Self::Criterion { name, why } => format!("acceptance criterion `{name}` {why}"),
        }
    }

    /// The keys that lead to the setting that is wrong, if it is there at all.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        // The name of a header or a variable may hold dots, so only the first one parts.
        self.key().into_iter().flat_map(|key| key.splitn(2, '.'))
    }

    /// Whether it is a setting that nobody reads.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::UnknownKey { .. })
    }

    /// The setting that is wrong, if it is there at all.
    fn key(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { key, .. } | Self::WrongType { key, .. } | Self::Invalid { key, .. } => {
                Some(key)
            }
            Self::Missing { .. } | Self::Provider { .. } | Self::Criterion { .. } => None,
        }
    }

    /// The same, of a setting below another one.
    pub(in crate::provider) fn below(mut self, section: &str) -> Self {
        if let Self::UnknownKey { key, .. } | Self::WrongType { key, .. } | Self::Invalid { key, .. } =
            &mut self
        {
            key.insert_str(0, &format!("{section}."));
        }
        self
    }
}

/// What is wrong with a section of the configuration that belongs to one provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SectionError {
    /// The keys that lead to it, from the root of the configuration.
    pub keys: Vec<String>,
    /// Whether it is a key that nobody reads.
    pub is_unknown: bool,
    /// What is wrong, in words.
    pub message: String,
}

impl SectionError {
    /// An error in what the section has below `name`.
    pub(in crate::provider) fn new(section: &str, name: &str, error: &ConfigError) -> Self {
        let mut keys = vec!["providers".to_owned(), section.to_owned(), name.to_owned()];
        let message = error.at(&keys.join("."));
        keys.extend(error.keys().map(str::to_owned));
        Self { keys, is_unknown: error.is_unknown(), message }
    }
}

/// The settings of a provider, read key by key.
pub(in crate::provider) struct Settings<'a>(&'a JsonMap);

impl<'a> Settings<'a> {
    /// Refuses keys that are not among `known`.
    pub(in crate::provider) fn new(config: &'a JsonMap, known: &[&str]) -> Result<Self, ConfigError> {
        match config.keys().find(|key| !known.contains(&key.as_str())) {
            // An error and no warning: a misspelt `sandbox` that is left out would run the command without one.
            Some(key) => Err(ConfigError::UnknownKey { key: key.clone(), hint: did_you_mean(key, known) }),
            None => Ok(Self(config)),
        }
    }

    /// Whatever is there.
    pub(in crate::provider) fn value(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key)
    }

    /// A string.
    pub(in crate::provider) fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        self.read(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A boolean.
    pub(in crate::provider) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// A duration.
    pub(in crate::provider) fn duration(&self, key: &str) -> Result<Option<Duration>, ConfigError> {
        self.read(key, "a duration such as `5s`", |value| {
            let parsed: crate::model::Duration = value.as_str()?.parse().ok()?;
            Some(parsed.span())
        })
    }

    /// A list of strings; numbers and booleans are taken as their text, so that expressions may give them.
    pub(in crate::provider) fn texts(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        let list = self.read(key, "a list of strings", |value| {
            value.as_array()?.iter().map(scalar).collect::<Option<Vec<_>>>()
        })?;
        Ok(list.unwrap_or_default())
    }

    /// A map of strings, with the same leniency.
    pub(in crate::provider) fn pairs(&self, key: &str) -> Result<Vec<(String, String)>, ConfigError> {
        let pairs = self.read(key, "a map of strings", |value| {
            let pair = |(name, value): (&String, &Value)| Some((name.clone(), scalar(value)?));
            value.as_object()?.iter().map(pair).collect::<Option<Vec<_>>>()
        })?;
        Ok(pairs.unwrap_or_default())
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(value) => {
                read(value).map(Some).ok_or_else(|| ConfigError::WrongType { key: key.to_owned(), expected })
            }
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        // An expression that came to `null` is an error; as an empty text it would be a different argument.
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether `value` holds an expression that is replaced only when the node starts.
pub(in crate::provider) fn has_expression(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${{"),
        Value::Array(items) => items.iter().any(has_expression),
        Value::Object(map) => map.values().any(has_expression),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// `; did you mean …?` when one of `known` is close to `word`, else what is known.
pub(in crate::provider) fn did_you_mean(word: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate)
        })
        .min_by_key(|(distance, _)| *distance)
        // About a quarter of the letters may differ. Beyond that a guess misleads, and the list of what is known helps
        // more.
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4);
    match near {
        Some((_, candidate)) => format!("; did you mean `{candidate}`?"),
        // There is nothing to list: the sentence ends before the hint.
        None if known.is_empty() => String::new(),
        None => format!("; known are {}", known.join(", ")),
    }
}
