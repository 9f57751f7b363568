//! Planning an External node: another resource that has to succeed, or an address that is polled.

use std::time::Duration;

use serde_json::json;

use super::context::PlanContext;
use super::draft::{Dependency, RemoteWork};
use super::lookup::ResourceProgress;
use crate::graph::NodeIx;
use crate::model::{BindingTarget, ExternalRef, Kind, Node, NodePhase, NodeReason, ResourceKey};

/// How often an address is polled when its node does not say.
const POLL_INTERVAL: Duration = Duration::from_secs(60);

pub(super) fn plan(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node) {
    let suspended = context.draft.status.extensions.suspend.is_some();
    let first = context.phase(ix) == NodePhase::Pending;
    let (form, url, interval) = match &node.external_ref {
        Some(ExternalRef::Resource { resource_ref, .. }) => {
            let home = &context.compiled().plan_key.namespace;
            let key = ResourceKey::new(
                resource_ref.kind.unwrap_or(Kind::Execution),
                resource_ref.namespace.clone().unwrap_or_else(|| home.clone()),
                resource_ref.name.clone(),
            );
            return plan_resource(context, node, key);
        }
        Some(ExternalRef::Uri { uri, poll_interval }) => ("uri", uri, poll_interval),
        Some(ExternalRef::Webhook { webhook_url, poll_interval }) => ("webhook", webhook_url, poll_interval),
        None => return cannot_poll(context, node),
    };
    if suspended && first {
        // Nothing new begins, and a first poll is a beginning: a webhook may act on it.
        return;
    }
    if !context.lookup.can_poll_addresses() {
        return cannot_poll(context, node);
    }
    let due = context.state(&node.id).and_then(|state| state.extensions.retry_at).unwrap_or(context.now);
    let interval = interval.as_ref().map_or(POLL_INTERVAL, crate::model::Duration::span);
    let config = [("type", form), ("url", url.as_str())];
    let config = config.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    context.draft.polls.push(RemoteWork {
        node: ix,
        id: node.id.clone(),
        attempt: 0,
        due,
        interval: Some(interval),
        target: BindingTarget { provider: "external".to_owned(), config },
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
        ResourceProgress::Missing => format!("waits for {key}, which does not exist"),
        ResourceProgress::Ongoing(phase) => format!("waits for {key}, which is {phase}"),
    };
    context.draft.on.push(Dependency::Resource(key));
    context.block(&node.id, NodeReason::AwaitingEvent, message);
}
