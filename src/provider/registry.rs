//! Which provider serves which scheme, and which of them may be used here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use globset::GlobSet;

use super::github_actions::worker::{InWorkflow, WorkerWorkflow};
use super::settings::{did_you_mean, is_allowed, provider_globs};
use super::{
    Attempt, AttemptFuture, AttemptOutcome, ConfigError, Control, Provider, ProviderContext,
    ProviderSettings, SectionError, agent, delivery, external, github_actions, http, human, local, mcp,
    plugin,
};

use crate::model::{JsonMap, Name, NodeReason};

/// The scheme of the provider that asks the addresses of External nodes. No Binding may name it.
const EXTERNAL: &str = "external";

/// Why a provider cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The configuration does not allow it.
    #[error("provider `{provider}` is not in the allow-list `providers.allow` of .planspec.yaml")]
    NotAllowed {
        /// The provider string.
        provider: String,
    },
    /// No provider serves its scheme.
    #[error("no provider serves `{scheme}://`{hint}")]
    UnknownScheme {
        /// The scheme.
        scheme: String,
        /// `; did you mean …?`, or what is known.
        hint: String,
    },
    /// It names nothing.
    #[error("the provider is an empty string")]
    Empty,
}

/// Every provider of this build, and the allow-list.
#[derive(Clone)]
pub struct Registry {
    by_scheme: BTreeMap<String, Arc<dyn Provider>>,
    /// `None`: everything is allowed.
    allow: Option<GlobSet>,
}

impl Registry {
    /// The providers that come with planspec. A glob of the allow-list that is malformed allows nothing.
    #[must_use]
    pub fn standard(settings: ProviderSettings) -> Self {
        let mut registry = Self { by_scheme: BTreeMap::new(), allow: allow_list(&settings.allow) };
        let context = ProviderContext::new(settings);
        let agents = Arc::new(agent::AgentCommands::new(context.clone(), registry.allow.clone()));
        let processes = local::LocalProcesses::new(context.clone(), agents.clone());
        let built_in: [Arc<dyn Provider>; 10] = [
            Arc::new(DerivedExecutions),
            Arc::new(external::External::new(context.clone())),
            Arc::new(http::Http::new(context.clone())),
            Arc::new(human::Human::new(context.clone())),
            Arc::new(github_actions::GitHubActions::new(context.clone())),
            Arc::new(mcp::Mcp::new(context.clone())),
            Arc::new(delivery::Merge::new(context.clone())),
            Arc::new(delivery::PullRequests::new(context.clone())),
            Arc::new(processes.clone()),
            Arc::new(agent::Agent::new(processes.clone(), agents, context.clone())),
        ];
        for provider in &built_in {
            registry.register(provider);
        }
        let plugin: Arc<dyn Provider> = Arc::new(plugin::Plugin::new(processes));
        for scheme in plugin::schemes(&context.settings) {
            // What comes with planspec keeps its meaning.
            registry.by_scheme.entry(scheme).or_insert_with(|| Arc::clone(&plugin));
        }
        if let Some(workflow) = WorkerWorkflow::of(&context.settings) {
            // All of them, and not only those that start processes: criteria of the others are commands as well.
            for provider in registry.by_scheme.values_mut() {
                let inner = Arc::clone(provider);
                *provider = Arc::new(InWorkflow::new(inner, workflow.clone(), context.clone()));
            }
        }
        registry
    }

    /// Adds a provider for all its schemes; the last one registered for a scheme serves it.
    pub fn register(&mut self, provider: &Arc<dyn Provider>) {
        for scheme in provider.schemes() {
            self.by_scheme.insert((*scheme).to_owned(), Arc::clone(provider));
        }
    }

    /// The provider that serves the provider string of a binding.
    ///
    /// # Errors
    /// When none does, or the configuration does not allow it.
    pub fn find(&self, provider: &str) -> Result<&Arc<dyn Provider>, Unavailable> {
        if provider.trim().is_empty() {
            return Err(Unavailable::Empty);
        }
        let scheme = provider.split_once("://").map(|(scheme, _)| scheme);
        let served = match scheme {
            // The empty scheme stands for plain words only.
            Some("" | EXTERNAL) => None,
            scheme => self.by_scheme.get(scheme.unwrap_or_default()),
        };
        let Some(found) = served else {
            let scheme = scheme.unwrap_or_default();
            // A hint must not suggest what a Binding cannot name.
            let known: Vec<&str> = self
                .by_scheme
                .keys()
                .map(String::as_str)
                .filter(|known| !known.is_empty() && *known != EXTERNAL)
                .collect();
            return Err(Unavailable::UnknownScheme {
                scheme: scheme.to_owned(),
                hint: did_you_mean(scheme, &known),
            });
        };
        // The allow-list is asked last: for a scheme that nobody serves, the advice is about its spelling and not about
        // allowing it.
        if self.allows(provider) {
            Ok(found)
        } else {
            Err(Unavailable::NotAllowed { provider: provider.to_owned() })
        }
    }

    /// What is wrong with the sections of the configuration that belong to one provider each.
    #[must_use]
    pub fn check_sections(&self) -> Vec<SectionError> {
        // A provider is asked once for each of its schemes, so each error is kept once.
        let found: BTreeSet<_> =
            self.by_scheme.values().flat_map(|provider| provider.check_sections()).collect();
        found.into_iter().collect()
    }

    /// The provider that polls for External nodes, when this build has one: it serves the scheme `external`. Its `config` is
    /// `{"type": "uri" | "webhook", "url": …}` or `{"type": "pull-request" | "issue", "number": …}`.
    #[must_use]
    pub fn external(&self) -> Option<&Arc<dyn Provider>> {
        self.by_scheme.get(EXTERNAL)
    }

    fn allows(&self, provider: &str) -> bool {
        is_allowed(self.allow.as_ref(), provider)
    }
}

// It makes no attempts: the engine makes an Execution instead, and follows it. Here it has its scheme, and its place in the
// allow-list.
/// `plan://NAME`: the work is an Execution of a plan.
#[derive(Debug)]
struct DerivedExecutions;

impl Provider for DerivedExecutions {
    fn schemes(&self) -> &'static [&'static str] {
        &["plan"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        let name = provider.split_once("://").map_or(provider, |(_, name)| name);
        Name::new(name)
            .map_err(|_| ConfigError::Provider { provider: provider.to_owned(), why: "names no plan" })?;
        match config.keys().next().cloned() {
            // A setting that nothing reads is a misunderstanding.
            Some(key) => {
                let hint = "; the inputs of the node are the parameters of the plan".to_owned();
                Err(ConfigError::UnknownKey { key, hint })
            }
            None => Ok(()),
        }
    }

    fn run(&self, attempt: Attempt, _control: Control) -> AttemptFuture {
        let message = format!("`{}` is not run by an attempt", attempt.provider);
        let reason = NodeReason::ProviderFailed;
        let outcome = AttemptOutcome::Failed { reason, message, retryable: false, retry_after: None };
        Box::pin(std::future::ready(outcome.into()))
    }
}

fn allow_list(globs: &[String]) -> Option<GlobSet> {
    if globs.is_empty() {
        return None;
    }
    Some(provider_globs(globs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(allow: &[&str]) -> Registry {
        let allow = allow.iter().map(|glob| (*glob).to_owned()).collect();
        Registry::standard(ProviderSettings { allow, ..ProviderSettings::default() })
    }

    fn check_refused(allow: &[&str], provider: &str, expected: &str) {
        let registry = registry(allow);
        let Err(error) = registry.find(provider) else { panic!("{provider} was found") };
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn schemes_and_plain_words_are_served() {
        let registry = registry(&[]);
        for (provider, scheme) in [("tool://lint", "tool"), ("lint", "tool"), ("human://mia", "human")] {
            assert!(
                registry.find(provider).is_ok_and(|found| found.schemes().contains(&scheme)),
                "{provider}"
            );
        }
    }

    #[test]
    fn an_unknown_scheme_is_refused_with_what_was_meant() {
        check_refused(&[], "tols://lint", "no provider serves `tols://`; did you mean `tool`?");
        for unknown in ["quantum", ""] {
            let Err(error) = registry(&[]).find(&format!("{unknown}://x")) else {
                panic!("{unknown} was found")
            };
            let expected = format!("no provider serves `{unknown}://`; known are agent, ");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        check_refused(&[], " ", "the provider is an empty string");
    }

    #[test]
    fn no_binding_names_the_provider_that_looks_at_addresses() {
        let registry = registry(&[]);
        assert!(registry.external().is_some());
        let refused = registry.find("external://x").map(|_| ()).unwrap_err().to_string();
        assert!(refused.starts_with("no provider serves `external://`; "), "{refused}");
        assert!(!refused.contains("are external") && !refused.contains(", external"), "{refused}");
    }

    #[test]
    fn the_allow_list_names_what_may_be_used() {
        let not_allowed = |provider| {
            format!("provider `{provider}` is not in the allow-list `providers.allow` of .planspec.yaml")
        };
        let globs = ["tool://ci-*", "human://*"];
        assert!(registry(&globs).find("tool://ci-lint").is_ok());
        assert!(registry(&globs).find("ci-lint").is_ok());
        assert!(registry(&globs).find("human://mia").is_ok());
        check_refused(&globs, "tool://lint", &not_allowed("tool://lint"));
        check_refused(&globs, "TOOL://ci-lint", "no provider serves `TOOL://`; did you mean `tool`?");
        check_refused(&["["], "tool://lint", &not_allowed("tool://lint"));
    }
}
