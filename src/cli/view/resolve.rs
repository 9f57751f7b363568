//! Which resource a name on the command line means. Every command that takes a name asks here, so that namespaces,
//! ambiguous names and suggestions work alike.

use std::collections::BTreeSet;

use crate::cli::error::CliError;
use crate::cli::view::selector::{ResourceSelector, nearest};
use crate::diagnostic::{Diagnostic, Severity};
use crate::model::{Kind, Name, ResourceKey};
use crate::report::object::short_name;
use crate::report::text;

/// The place that the messages of commands name which read the desired state only.
pub(crate) const IN_DESIRED_STATE: &str = " in the desired state";

/// How many files that cannot be read are named.
const UNREADABLE: usize = 3;

/// Whether a target selects a resource; a namespace in the target takes precedence over `-n`.
pub(crate) fn selects(target: &ResourceSelector, namespace: Option<&Name>, key: &ResourceKey) -> bool {
    let namespace = target.namespace.as_ref().or(namespace);
    target.kind.is_none_or(|kind| key.kind == kind)
        && target.name.as_ref().is_none_or(|name| key.name == *name)
        && namespace.is_none_or(|namespace| key.namespace == *namespace)
}

/// The one resource among `known` that a target names. `place` ends the message where there is none, unless something is wrong
/// with its manifest: what was found there is in `found`.
pub(crate) fn one(
    known: &[ResourceKey],
    target: &ResourceSelector,
    namespace: Option<&Name>,
    place: &str,
    found: &[Diagnostic],
) -> Result<ResourceKey, CliError> {
    let name = name_of(target)?;
    let keys: Vec<ResourceKey> =
        known.iter().filter(|key| selects(target, namespace, key)).cloned().collect();
    match keys.as_slice() {
        [] => Err(broken(found, target, namespace)
            .unwrap_or_else(|| unreadable(not_found(known.iter(), target.kind, name, place), found))),
        [key] => Ok(key.clone()),
        several => Err(ambiguous(name, several)),
    }
}

/// The name in a target that has to have one.
pub(crate) fn name_of(target: &ResourceSelector) -> Result<&Name, CliError> {
    target.name.as_ref().ok_or_else(|| CliError::usage("a name is required, as in KIND/NAME"))
}

/// The first resource that a target selects and whose manifest has an error.
pub(crate) fn broken_key<'a>(
    found: &'a [Diagnostic],
    target: &ResourceSelector,
    namespace: Option<&Name>,
) -> Option<&'a ResourceKey> {
    let broken = found
        .iter()
        .filter_map(|diagnostic| diagnostic.resource.as_ref().filter(|key| diagnostic.breaks(key)));
    broken.into_iter().find(|key| selects(target, namespace, key))
}

/// The answer for a resource that is declared by a manifest with an error: to whoever committed it, it is there.
pub(crate) fn broken(
    found: &[Diagnostic],
    target: &ResourceSelector,
    namespace: Option<&Name>,
) -> Option<CliError> {
    let key = broken_key(found, target, namespace)?;
    let first = found.iter().find(|diagnostic| diagnostic.breaks(key))?;
    let error = CliError::no(format!("{} {} is broken: {}", key.kind.singular(), key.name, first.brief()));
    Some(error.hint("`planspec validate` shows the place"))
}

/// The error with the files that cannot be read: what such a file declares is not known, and it may be this.
pub(crate) fn unreadable(error: CliError, found: &[Diagnostic]) -> CliError {
    let files = found.iter().filter(|one| one.severity == Severity::Error && one.resource.is_none());
    files.take(UNREADABLE).fold(error, |error, one| {
        error.hint(format!("{}; this cannot be read, and may declare it", text::line(&one.brief())))
    })
}

/// A name that nothing has, with the nearest one that something has.
pub(crate) fn not_found<'a>(
    known: impl Iterator<Item = &'a ResourceKey>,
    kind: Option<Kind>,
    name: &Name,
    place: &str,
) -> CliError {
    let word = kind.map_or("resource", Kind::singular);
    let error = CliError::no(format!("there is no {word} `{name}`{place}"));
    let of_kind: Vec<&ResourceKey> = known.filter(|key| kind.is_none_or(|kind| key.kind == kind)).collect();
    match nearest(name.as_str(), of_kind.iter().map(|key| key.name.as_str())) {
        // A name is unique within its namespace only, and `-n` hides the others.
        Some(near) if near == name.as_str() => {
            let elsewhere: BTreeSet<&str> =
                of_kind.iter().filter(|key| key.name == *name).map(|key| key.namespace.as_str()).collect();
            let places: Vec<String> = elsewhere.iter().map(|place| format!("`-n {place}`")).collect();
            error.hint(format!("it is in another namespace: {}", places.join(", ")))
        }
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// A name that several resources have.
pub(crate) fn ambiguous(name: &Name, keys: &[ResourceKey]) -> CliError {
    // Never a guess: the command may approve, cancel or delete.
    let places: Vec<String> =
        keys.iter().map(|key| format!("{}: {}", key.namespace, short_name(key))).collect();
    CliError::usage(format!("`{name}` is ambiguous: {}", places.join(", ")))
        .hint("add `-n NAMESPACE`, or write NAMESPACE/KIND/NAME")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::selector;

    fn known() -> Vec<ResourceKey> {
        let key = |kind, namespace: &str, name: &str| {
            ResourceKey::new(kind, namespace.parse().unwrap(), name.parse().unwrap())
        };
        vec![
            key(Kind::Goal, "blue", "login"),
            key(Kind::Goal, "red", "login"),
            key(Kind::Plan, "red", "login"),
            key(Kind::Goal, "red", "logout"),
        ]
    }

    fn resolved(argument: &str, namespace: Option<&str>) -> String {
        let target = selector::one(argument, Some(Kind::Goal)).unwrap();
        let namespace: Option<Name> = namespace.map(|name| name.parse().unwrap());
        match one(&known(), &target, namespace.as_ref(), IN_DESIRED_STATE, &[]) {
            Ok(key) => key.to_string(),
            Err(error) => anstream::adapter::strip_str(&error.render(false)).to_string(),
        }
    }

    #[test]
    fn a_name_in_one_namespace_needs_no_namespace() {
        assert_eq!(resolved("logout", None), resolved("red/goal/logout", None));
        assert_eq!(resolved("plan/login", None), resolved("red/plan/login", None));
    }

    #[test]
    fn a_namespace_in_the_argument_takes_precedence() {
        assert_eq!(resolved("blue/goal/login", Some("red")), resolved("login", Some("blue")));
    }

    #[test]
    fn an_ambiguous_name_lists_what_has_it() {
        let error = resolved("login", None);
        assert!(error.contains("`login` is ambiguous: blue: goal/login, red: goal/login"), "{error}");
        assert!(error.contains("-n NAMESPACE"), "{error}");
    }

    #[test]
    fn an_unknown_name_brings_a_suggestion() {
        let near = resolved("loguot", None);
        assert!(near.contains("there is no goal `loguot` in the desired state"), "{near}");
        assert!(near.contains("did you mean `logout`?"), "{near}");
        assert!(resolved("logout", Some("blue")).contains("in another namespace: `-n red`"));
    }
}
