//! Planning an External node: another resource that has to succeed, or an address that is polled.

use std::sync::Arc;

use std::time::Duration;

use serde_json::json;

use super::context::PlanContext;
use super::draft::{Dependency, RemoteWork};
use super::lookup::ResourceProgress;
use crate::graph::{NodeIx, cycles};
use crate::model::{BindingTarget, ExternalRef, Node, NodePhase, NodeReason, ResourceKey};

/// How many resources a search for a cycle visits. It repeats with every pass over a node that waits.
const MOST_AWAITED: usize = 200;
/// How often an address is polled when its node does not say.
const POLL_INTERVAL: Duration = Duration::from_secs(60);

pub(super) fn plan(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node) {
    let suspended = context.draft.status.extensions.suspend.is_some();
    let first = context.phase(ix) == NodePhase::Pending;
    let (form, asked, interval) = match &node.external_ref {
        Some(ExternalRef::Resource { resource_ref, .. }) => {
            // Relative to the plan, which holds the reference; the Execution may be of another namespace.
            let key = resource_ref.key(&context.compiled().plan_key.namespace);
            return plan_resource(context, node, key);
        }
        Some(ExternalRef::Uri { uri, poll_interval }) => ("uri", vec![("url", json!(uri))], poll_interval),
        Some(ExternalRef::Webhook { webhook_url, poll_interval }) => {
            ("webhook", vec![("url", json!(webhook_url))], poll_interval)
        }
        Some(ExternalRef::PullRequest { number, head, repository, poll_interval }) => {
            let asked =
                vec![("number", json!(number)), ("head", json!(head)), ("repository", json!(repository))];
            ("pull-request", asked, poll_interval)
        }
        Some(ExternalRef::Issue { number, repository, poll_interval }) => {
            ("issue", vec![("number", json!(number)), ("repository", json!(repository))], poll_interval)
        }
        None => return cannot_poll(context, node),
    };
    if suspended && first {
        // Nothing new begins, and a first poll is a beginning: a webhook may act on it.
        return;
    }
    // A registry without the provider is a matter of this runner. The node is Blocked and not Failed, so that another
    // runner can go on with it.
    if !context.lookup.can_poll_addresses() {
        return cannot_poll(context, node);
    }
    // A node that was never polled is due at once: what it waits for may have happened long ago.
    let due = context.state(&node.id).and_then(|state| context.due(state)).unwrap_or(context.now);
    let interval = interval.as_ref().map_or(POLL_INTERVAL, crate::model::Duration::span);
    let settings = std::iter::once(("type", json!(form))).chain(asked);
    // Settings that are `null` are no settings: the provider refuses a text that is none.
    let settings = settings.filter(|(_, value)| !value.is_null());
    let config = settings.map(|(name, value)| (name.to_owned(), value)).collect();
    context.draft.polls.push(RemoteWork {
        node: ix,
        id: node.id.clone(),
        // A poll is no attempt: it is neither claimed nor counted, and leaves no commit while nothing changes.
        attempt: 0,
        due,
        interval: Some(interval),
        // No Binding decides here. The address is the plan's own, and was reviewed with it.
        target: Arc::new(BindingTarget { provider: "external".to_owned(), config }),
    });
}

fn cannot_poll(context: &mut PlanContext<'_>, node: &Node) {
    let message = "no provider here can poll an address".to_owned();
    context.block(&node.id, NodeReason::ProviderUnavailable, message);
}

fn plan_resource(context: &mut PlanContext<'_>, node: &Node, key: ResourceKey) {
    let message = match context.lookup.progress(&key) {
        ResourceProgress::Succeeded => return context.succeed(&node.id, format!("{key} succeeded")),
        ResourceProgress::Failed(phase) => {
            return context.fail(&node.id, NodeReason::ProviderFailed, format!("{key} is {phase}"));
        }
        // Missing is waited for and no failure: the manifest may come with the next merge.
        ResourceProgress::Missing => match context.lookup.why_broken(&key) {
            Some(why) => format!("waits for {key}, which is broken: {why}"),
            None => format!("waits for {key}, which does not exist"),
        },
        ResourceProgress::Ongoing(phase) => match wait_cycle(context, &key) {
            Some(cycle) => format!("waits for {key}, which waits for this execution; cycle: {cycle}"),
            None => format!("waits for {key}, which is {phase}"),
        },
    };
    // A change of that resource plans this Execution again, so nothing is polled and no time is set.
    context.draft.on.push(Dependency::Resource(key));
    context.block(&node.id, NodeReason::AwaitingEvent, message);
}

/// The way from `key` back to this Execution, if there is one: nobody on it can ever go on by itself.
fn wait_cycle(context: &PlanContext<'_>, key: &ResourceKey) -> Option<String> {
    let own = &context.compiled().key;
    let mut left = MOST_AWAITED;
    // By what is known now: the diagnosis is a message for people, and no decision hangs on it.
    let found = cycles([own.clone()], |from| {
        left = left.saturating_sub(1);
        match from {
            _ if left == 0 => Vec::new(),
            // Only the one reference in question. The other nodes of this Execution report their own cycles.
            from if from == own => vec![key.clone()],
            from => context.lookup.awaited_by(from),
        }
    });
    let cycle = found.into_iter().find(|cycle| cycle.first() == Some(own))?;
    tracing::info!(execution = %own, on = %key, "executions wait for each other");
    Some(cycle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" → "))
}
