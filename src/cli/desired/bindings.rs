//! The rules of Bindings, as the providers judge them: whether a provider is known here and allowed, and whether it takes the
//! settings. Schemas cannot know, as every provider has settings of its own.

use crate::config::Limits;
use crate::diagnostic::{Diagnostic, Location};
use crate::manifest::{self, codes};
use crate::model::{BindingRule, Resource, Spec};
use crate::plan::dynamic_assignee;
use crate::provider::{ConfigError, Registry, Unavailable};

/// What is wrong with the rules of the Bindings among some resources. `read` gives the content of a path.
pub(crate) fn check_bindings(
    resources: &[Resource],
    registry: &Registry,
    limits: &Limits,
    read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for resource in resources {
        let Spec::Binding(binding) = &resource.spec else { continue };
        for (index, rule) in binding.rules.iter().enumerate() {
            let place = |rest: &str| Location {
                path: resource.source.path.clone(),
                document: resource.source.document,
                pointer: format!("/spec/rules/{index}/target{rest}"),
                ..Location::default()
            };
            found.extend(check_rule(rule, registry, place).map(|found| found.about(&resource.key())));
        }
    }
    if !found.is_empty() {
        manifest::locate(&mut found, limits, read);
    }
    found
}

/// What is wrong with one rule; the first of it.
fn check_rule(
    rule: &BindingRule,
    registry: &Registry,
    place: impl Fn(&str) -> Location,
) -> Option<Diagnostic> {
    let target = &rule.target;
    if let Err(message) = dynamic_assignee(&target.provider) {
        return Some(Diagnostic::error(codes::UNUSABLE_VALUE, place("/provider"), message));
    }
    let provider = match registry.find(&target.provider) {
        Ok(provider) => provider,
        // Warnings: another runner may have a provider that this program or this configuration does not know, and until one
        // comes the tasks wait.
        Err(error) => {
            let code = match error {
                Unavailable::UnknownScheme { .. } => codes::UNKNOWN_VALUE,
                Unavailable::NotAllowed { .. } | Unavailable::Empty => codes::UNUSABLE_VALUE,
            };
            let found = Diagnostic::warning(code, place("/provider"), error.to_string());
            return Some(found.with_hint("tasks that this rule binds are Blocked until a runner can use it"));
        }
    };
    let error = provider.check(&target.provider, &target.config).err()?;
    // What is missing may be given by the configuration that counts later, `providers.agents` for one; manifests of the
    // published contract have no settings at all, and a reconcile takes them too.
    if matches!(error, ConfigError::Provider { .. } | ConfigError::Missing { .. }) {
        let found = Diagnostic::warning(codes::UNUSABLE_VALUE, place("/provider"), error.to_string());
        return Some(found.with_hint("tasks that this rule binds are Blocked until a runner can use it"));
    }
    let code = if error.is_unknown() { codes::UNKNOWN_FIELD } else { codes::UNUSABLE_VALUE };
    let keys: String =
        error.keys().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect();
    // What is missing has no place of its own.
    let rest = if keys.is_empty() { String::new() } else { format!("/config{keys}") };
    Some(Diagnostic::error(code, place(&rest), error.to_string()))
}
