//! The status of a gate: who said what, and what was decided.

use super::DescribePage;
use crate::model::{GateStatus, Spec};
use crate::report::table::Table;
use crate::report::{age, text};

pub(super) fn describe(spec: Option<&Spec>, implicit: bool, status: &GateStatus, page: &mut DescribePage) {
    page.heading("Status");
    if let Some(Spec::Gate(spec)) = spec {
        let target = &spec.target_ref;
        let node = target.node_id.as_ref().map(|node| format!(", node {node}")).unwrap_or_default();
        page.field("Guards", &format!("{}/{}{node}", target.kind.singular(), target.name));
        let count = spec.required_approvers;
        page.field("Needs", &format!("{count} {}", if count == 1 { "approval" } else { "approvals" }));
    } else if implicit {
        // Only of a Gate that never had a manifest: where one is gone, its last version decides
        // (Invariant 11).
        page.field("Needs", "1 approval by anyone with write access, because it has no manifest");
    }
    if let Some(resolution) = &status.resolution {
        let outcome = format!("{:?}", resolution.outcome).to_lowercase();
        let actors = resolution.actors.join(", ");
        page.field("Decided", &format!("{outcome} at {} by {actors}", age::moment(resolution.timestamp)));
    }
    for asked in &status.extensions.asked {
        page.heading(&format!("Asked by {}, node {}", asked.execution, asked.node));
        page.field("Commit", text::short_commit(&asked.commit));
        page.field("Digest", asked.digest.shown());
        for (node, provider) in &asked.targets {
            page.field("Runs", &format!("{node} by {provider}"));
        }
        // Each of them has to be answered for, so that none may be left out.
        for group in asked.owners.iter().flat_map(|owners| &owners.groups) {
            let more = group.files.saturating_sub(1);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let owners =
                if group.owners.is_empty() { "nobody".to_owned() } else { group.owners.join(" or ") };
            page.field("Owners", &format!("{}{more}: {owners}", group.path));
        }
        if let Some(why) = asked.owners.as_ref().and_then(|owners| owners.problem.as_deref()) {
            page.field("Owners", why);
        }
    }
    if status.review_history.is_empty() {
        return;
    }
    page.heading("Reviews");
    let mut table = Table::new(["time", "reviewer", "action", "generation", "commit", "comment"]);
    for review in &status.review_history {
        let generation = review.target_generation.map_or("-".to_owned(), |number| number.to_string());
        // An approval counts for this commit alone (Invariant 11), so that it belongs in the table.
        let commit = review.extensions.as_ref().map_or("-", |bound| bound.commit.get(..8).unwrap_or("-"));
        table.row(vec![
            age::moment(review.timestamp).into(),
            review.reviewer.as_str().into(),
            format!("{:?}", review.action).to_lowercase().into(),
            generation.into(),
            commit.into(),
            review.comment.as_deref().unwrap_or_default().into(),
        ]);
    }
    page.table(table, &["generation", "commit", "time"]);
}
