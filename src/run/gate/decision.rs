//! The combined result of a gate's reviews for one execution, and which of them no longer count.

use jiff::Timestamp;

use super::owners::{eligible, unowned};
use super::people::{People, ReviewRefusal};
use super::subject::difference;
use super::void::VoidReason;
use crate::model::{FileOwners, GateSpec, Review, ReviewAction, ReviewBinding};

/// What is asked of the reviewers, as it stands now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReviewRequirements<'a> {
    /// The spec of the gate; absent for a gate without a manifest: one approval by anyone who may write.
    pub spec: Option<&'a GateSpec>,
    /// The gate's generation.
    pub generation: u64,
    /// The execution, with its pinned graph and commit.
    pub binding: &'a ReviewBinding,
    /// Reviews from before do not count: when the gate's node was last retried.
    pub since: Option<Timestamp>,
    /// The authors of what is to be approved, where the configuration does not let authors approve.
    pub authors: &'a [String],
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GateDecision {
    /// There is none yet.
    Waiting {
        /// Who approved so far, in the order of their approvals.
        approvals: Vec<String>,
        /// How many must approve in all.
        needed: u32,
        /// Whose files have no approval of an owner, in words.
        unowned: Option<String>,
    },
    /// Enough approved, and nobody rejected.
    Approved {
        /// Who, in the order of their approvals.
        by: Vec<String>,
    },
    /// Somebody rejected, which is enough.
    Rejected {
        /// Who.
        by: String,
        /// In their words.
        comment: Option<String>,
    },
}

/// The decision, and the reviews that no longer count for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GateEvaluation {
    /// The decision.
    pub decision: GateDecision,
    /// Approvals and rejections of this execution that do not count, oldest first.
    pub voided: Vec<VoidedReview>,
}

/// A review that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VoidedReview {
    /// Its index in the history.
    pub review: usize,
    /// Whose it is.
    pub reviewer: String,
    /// Why it does not count.
    pub reason: VoidReason,
}

/// Decides on a gate for one execution. Of every person the latest approval or rejection counts, comments leave it as it
/// is; one rejection is enough, approvals must come from as many different people as the gate asks for.
/// `reviews` are the whole history, oldest first.
#[must_use]
pub(crate) fn decide(asked: &ReviewRequirements<'_>, reviews: &[Review], people: &People) -> GateEvaluation {
    let mut voided = Vec::new();
    let mut latest: Vec<(String, &Review)> = Vec::new();
    for (index, review) in reviews.iter().enumerate() {
        // A comment is no change of mind: whoever approved and then asks a question has still approved.
        if review.action == ReviewAction::Comment || is_about_another(review, asked) {
            continue;
        }
        if let Err(reason) = counts(review, asked, people) {
            voided.push(VoidedReview { review: index, reviewer: review.reviewer.clone(), reason });
            continue;
        }
        let person = people.person(&review.reviewer);
        // By person and not by address: one person with two addresses is one approval.
        latest.retain(|(other, _)| *other != person);
        latest.push((person, review));
    }
    // Zero would be a gate that is open before anybody was asked; the schema refuses it, and a record could still say it.
    let needed = asked.spec.map_or(1, |spec| spec.required_approvers).max(1);
    // Before counting approvals, so that the order in which people answer decides nothing.
    let rejection = latest.iter().find(|(_, review)| review.action == ReviewAction::Reject);
    let decision = if let Some((_, review)) = rejection {
        GateDecision::Rejected { by: review.reviewer.clone(), comment: review.comment.clone() }
    } else {
        let by: Vec<String> = latest.iter().map(|(_, review)| review.reviewer.clone()).collect();
        let enough = u32::try_from(by.len()).unwrap_or(u32::MAX) >= needed;
        let approvals: Vec<&Review> = latest.iter().map(|(_, review)| *review).collect();
        match unowned(asked.spec, owners_of(asked), &approvals, people) {
            None if enough => GateDecision::Approved { by },
            unowned => GateDecision::Waiting { approvals: by, needed, unowned },
        }
    };
    GateEvaluation { decision, voided }
}

/// The owners of the files that are shown now: a review that was made for other files counts by these.
fn owners_of<'a>(asked: &ReviewRequirements<'a>) -> Option<&'a FileOwners> {
    asked.binding.subject.as_ref()?.owners.as_ref()
}

/// Reviews of other executions and nodes are not void: they were about something else.
fn is_about_another(review: &Review, asked: &ReviewRequirements<'_>) -> bool {
    let node = |binding: &ReviewBinding| binding.subject.as_ref().and_then(|subject| subject.node.clone());
    let wanted = node(asked.binding);
    review.extensions.as_ref().is_some_and(|binding| {
        let other = matches!((node(binding), &wanted), (Some(node), Some(wanted)) if node != *wanted);
        binding.execution != asked.binding.execution || other
    })
}

/// Whether a review of this execution counts: bound to the generation, the graph and the commit that are asked about,
/// by somebody who may review.
fn counts(review: &Review, asked: &ReviewRequirements<'_>, people: &People) -> Result<(), VoidReason> {
    // Reviews that an older version recorded, or somebody wrote by hand, say nothing about what was seen. They are
    // shown, and do not count.
    let (Some(binding), Some(generation)) = (&review.extensions, review.target_generation) else {
        return Err(VoidReason::Unbound);
    };
    // Invariant 11: the gate's own text is part of what was agreed to, such as its description and its reviewers.
    if generation != asked.generation {
        return Err(VoidReason::GateChanged { from: generation, to: asked.generation });
    }
    if binding.graph_digest != asked.binding.graph_digest {
        return Err(VoidReason::GraphChanged);
    }
    // The same graph at another commit runs other scripts.
    if binding.commit != asked.binding.commit {
        return Err(VoidReason::CommitChanged);
    }
    if let Some(reason) = difference(binding.subject.as_ref(), asked.binding.subject.as_ref()) {
        return Err(reason);
    }
    if asked.since.is_some_and(|since| review.timestamp < since) {
        return Err(VoidReason::Retried);
    }
    // Judged again each time and not only when the review was recorded: somebody who is no longer a reviewer no longer
    // opens the gate.
    eligible(&review.reviewer, &binding.teams, (asked.spec, owners_of(asked)), people)
        .map_err(VoidReason::NotEligible)?;
    let own = asked.authors.iter().any(|author| people.person(author) == people.person(&review.reviewer));
    // An author may always reject: holding back one's own work needs nobody's leave.
    if own && review.action == ReviewAction::Approve {
        return Err(VoidReason::NotEligible(ReviewRefusal::Author(review.reviewer.clone())));
    }
    Ok(())
}

/// What a condition says about reviews that do not count; nothing when all do.
#[must_use]
pub(crate) fn void_message(voided: &[VoidedReview]) -> Option<String> {
    let each =
        voided.iter().map(|one| format!("the review of {} does not count: {}", one.reviewer, one.reason));
    let all: Vec<String> = each.collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, NodeId, ReviewSubject};
    use crate::run::gate::KnownPerson;
    use ReviewAction::{Approve, Comment, Reject};
    use proptest::prelude::*;
    use serde_json::json;

    fn binding() -> ReviewBinding {
        ReviewBinding {
            execution: "uid-1".into(),
            graph_digest: Digest::of_bytes(b"g"),
            commit: "c0ffee".into(),
            subject: None,
            digest: None,
            teams: Vec::new(),
            account: None,
            source: None,
        }
    }

    fn review(reviewer: &str, action: ReviewAction) -> Review {
        Review {
            reviewer: reviewer.to_owned(),
            action,
            timestamp: Timestamp::from_second(1_000).unwrap(),
            comment: None,
            target_generation: Some(2),
            extensions: Some(binding()),
        }
    }

    fn spec(reviewers: &[&str], required: u32) -> GateSpec {
        serde_json::from_value(json!({
            "gateType": "approval", "targetRef": { "kind": "Plan", "name": "p" },
            "reviewers": reviewers, "requiredApprovers": required,
        }))
        .unwrap()
    }

    fn people() -> People {
        let emails = ["ann@x.org".to_owned(), "ann@home.org".to_owned()];
        let team = ["sec".to_owned()];
        let person = |name| KnownPerson { name, login: None, account: None, emails: &[], teams: &[] };
        People::new([
            KnownPerson { emails: &emails, teams: &team, ..person("ann") },
            KnownPerson { teams: &team, ..person("bob") },
            person("eve"),
        ])
    }

    fn decided(spec: Option<&GateSpec>, reviews: &[Review]) -> GateEvaluation {
        let binding = binding();
        let asked = ReviewRequirements { spec, generation: 2, binding: &binding, since: None, authors: &[] };
        decide(&asked, reviews, &people())
    }

    fn shown(spec: Option<&GateSpec>, reviews: &[Review]) -> String {
        match decided(spec, reviews).decision {
            GateDecision::Waiting { approvals, needed, .. } => format!("{}/{needed}", approvals.len()),
            GateDecision::Approved { by } => format!("approved by {}", by.join(", ")),
            GateDecision::Rejected { by, .. } => format!("rejected by {by}"),
        }
    }

    #[track_caller]
    fn check(reviewers: &[&str], required: u32, reviews: &[(&str, ReviewAction)], expected: &str) {
        let reviews: Vec<Review> = reviews.iter().map(|(who, action)| review(who, *action)).collect();
        assert_eq!(shown(Some(&spec(reviewers, required)), &reviews), expected);
    }

    #[test]
    fn a_gate_without_a_manifest_needs_one_approval_of_anyone() {
        assert_eq!(shown(None, &[]), "0/1");
        assert_eq!(shown(None, &[review("x@y.z", Comment)]), "0/1");
        assert_eq!(shown(None, &[review("x@y.z", Approve)]), "approved by x@y.z");
        assert_eq!(shown(None, &[review("x@y.z", Reject)]), "rejected by x@y.z");
    }

    #[test]
    fn approvals_must_come_from_different_people() {
        check(&["team:sec"], 2, &[("ann", Approve), ("ann@home.org", Approve)], "1/2");
        check(&["team:sec"], 2, &[("ann", Approve), ("Bob", Approve)], "approved by ann, Bob");
        check(&[], 2, &[("x@y.z", Approve), ("X@Y.Z", Approve)], "1/2");
    }

    #[test]
    fn the_latest_action_of_a_person_counts_and_one_rejection_is_enough() {
        check(&[], 2, &[("ann", Approve), ("bob", Reject)], "rejected by bob");
        check(&[], 1, &[("ann", Approve), ("ann@x.org", Reject)], "rejected by ann@x.org");
        check(&[], 1, &[("ann", Reject), ("ann", Approve)], "approved by ann");
        check(&[], 2, &[("ann", Approve), ("ann", Comment)], "1/2");
    }

    #[test]
    fn only_reviewers_count() {
        check(&["user:ann"], 1, &[("eve", Approve), ("eve", Reject), ("stranger@x.org", Approve)], "0/1");
        check(&["ann@x.org"], 1, &[("ann", Approve)], "approved by ann");
        let refusal =
            eligible("eve", &[], (Some(&spec(&["team:sec", "bob"], 1)), None), &people()).unwrap_err();
        assert_eq!(refusal.to_string(), "eve is not a reviewer of this gate; reviewers: team:sec, bob");
    }

    #[test]
    fn the_author_may_reject_but_not_approve_where_that_is_configured() {
        let binding = binding();
        let asked = ReviewRequirements {
            spec: None,
            generation: 2,
            binding: &binding,
            since: None,
            authors: &["bob".to_owned(), "ann@home.org".to_owned()],
        };
        let decide = |action| decide(&asked, &[review("ann", action)], &people());
        let decided = decide(Approve);
        assert!(matches!(decided.decision, GateDecision::Waiting { .. }));
        assert_eq!(decided.voided[0].reason, VoidReason::NotEligible(ReviewRefusal::Author("ann".into())));
        assert!(matches!(decide(Reject).decision, GateDecision::Rejected { .. }));
    }

    #[track_caller]
    fn check_void(change: impl Fn(&mut Review), expected: &str) {
        let mut changed = review("ann", Approve);
        change(&mut changed);
        let decided = decided(None, &[changed]);
        assert_eq!(decided.decision, GateDecision::Waiting { approvals: vec![], needed: 1, unowned: None });
        assert_eq!(void_message(&decided.voided).unwrap_or_default(), expected);
    }

    /// Invariant 11.
    #[test]
    fn an_approval_counts_only_for_what_was_approved() {
        let why = |why: &str| format!("the review of ann does not count: {why}");
        check_void(
            |review| review.target_generation = Some(1),
            &why("the gate changed (generation 1, now 2)"),
        );
        check_void(|review| review.target_generation = None, &why("it does not say what it applies to"));
        check_void(|review| review.extensions = None, &why("it does not say what it applies to"));
        let edit = |change: fn(&mut ReviewBinding)| {
            move |review: &mut Review| change(review.extensions.as_mut().unwrap())
        };
        check_void(
            edit(|binding| binding.graph_digest = Digest::of_bytes(b"h")),
            &why("the graph has changed"),
        );
        check_void(
            edit(|binding| binding.commit = "beef".into()),
            &why("the execution is pinned to another commit"),
        );
        let subject = |node: &str| ReviewSubject {
            node: NodeId::new(node).ok(),
            reviewed: [(NodeId::new("build").unwrap(), "1".to_owned())].into(),
            targets: Default::default(),
            owners: None,
        };
        // What was there to be reviewed has changed; a review without any says nothing about it.
        let asked = ReviewBinding { subject: Some(subject("look")), ..binding() };
        let decided = |reviewed: Option<ReviewSubject>| {
            let mut given = review("ann", Approve);
            given.extensions.as_mut().unwrap().subject = reviewed;
            let asked =
                ReviewRequirements { spec: None, generation: 2, binding: &asked, since: None, authors: &[] };
            decide(&asked, &[given], &people())
        };
        assert!(matches!(decided(Some(subject("look"))).decision, GateDecision::Approved { .. }));
        assert_eq!(decided(None).voided[0].reason, VoidReason::Unbound);
        let mut other = subject("look");
        other.reviewed.insert(NodeId::new("build").unwrap(), "2".to_owned());
        let message = void_message(&decided(Some(other)).voided).unwrap();
        assert_eq!(message, why("the outputs or the result of node `build` have changed"));
        // Another node's or execution's approval is not void; it simply is not about this one.
        assert!(decided(Some(subject("other"))).voided.is_empty());
        check_void(edit(|binding| binding.execution = "uid-2".into()), "");
    }

    #[test]
    fn a_team_that_the_host_vouched_for_counts_with_the_review_that_it_was_read_for() {
        let spec = spec(&["team:Acme/Red"], 1);
        let mut vouched = review("octocat", Approve);
        assert_eq!(shown(Some(&spec), std::slice::from_ref(&vouched)), "0/1");
        vouched.extensions.as_mut().unwrap().teams = vec!["acme/red".to_owned()];
        assert_eq!(shown(Some(&spec), &[vouched.clone()]), "approved by octocat");
        vouched.extensions.as_mut().unwrap().teams = vec!["acme/blue".to_owned()];
        assert_eq!(shown(Some(&spec), &[vouched]), "0/1");
    }

    #[test]
    fn a_retry_asks_again() {
        let binding = binding();
        let since = Some(Timestamp::from_second(2_000).unwrap());
        let asked = ReviewRequirements { spec: None, generation: 2, binding: &binding, since, authors: &[] };
        let decided = decide(&asked, &[review("ann", Reject)], &people());
        assert_eq!(decided.decision, GateDecision::Waiting { approvals: vec![], needed: 1, unowned: None });
        assert_eq!(decided.voided[0].reason, VoidReason::Retried);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However the reviews come: an approved gate has enough different eligible people, none of whom rejected last.
        #[test]
        fn approval_always_rests_on_enough_people(
            history in prop::collection::vec((0usize..5, 0usize..3, 1u64..4), 0..12), required in 1u32..4,
        ) {
            let who = ["ann", "ann@x.org", "bob", "eve", "x@y.z"];
            let reviews: Vec<Review> = history
                .iter()
                .map(|(person, action, generation)| Review {
                    target_generation: Some(*generation),
                    ..review(who[*person], [Approve, Reject, Comment][*action])
                })
                .collect();
            let spec = spec(&["team:sec", "eve"], required);
            let decided = decided(Some(&spec), &reviews);
            let valid = |review: &&Review| {
                review.target_generation == Some(2) && review.action != Comment && review.reviewer != "x@y.z"
            };
            let last = |person: &str| {
                let own = |review: &&Review| people().person(&review.reviewer) == person;
                reviews.iter().filter(valid).rfind(own).map(|review| review.action)
            };
            let actions: Vec<_> = ["ann", "bob", "eve"].into_iter().filter_map(last).collect();
            let expected = if actions.contains(&Reject) { 'r' } else if actions.len() as u32 >= required { 'a' } else { 'w' };
            let actual = match decided.decision {
                GateDecision::Rejected { .. } => 'r',
                GateDecision::Approved { .. } => 'a',
                GateDecision::Waiting { .. } => 'w',
            };
            prop_assert_eq!(actual, expected);
        }
    }
}
