//! The engine keeps this protocol: it asks its clocks before a start and while work runs
//! (`src/engine/attempt/fence.rs`), names an attempt by the token of its lease, and goes ahead of publication only
//! under a published lease.

mod protocol;

use std::collections::BTreeSet;

use protocol::{Faults, Mutant, Phase, Protocol, Publish, State};
use stateright::{Checker, HasDiscoveries, Model, Property};

const ONCE: &str = "no attempt's name is started twice";
const IN_TIME: &str = "nothing starts after its lease has ended by the runner's own clock";
const FENCED: &str = "nothing starts under a lease that was taken over";
const PUBLISHED: &str = "nothing starts without a published claim, or a published lease where that is enough";
const TOKENS: &str = "tokens only grow";
const TERMINAL: &str = "nothing terminal is reopened";
const BY_TOKEN: &str = "a result counts for the attempt that it names, and for no other";
const PREFIX: &str = "what is recorded is a prefix of the plan";
const ENDS: &str = "once nothing goes wrong any more, everything ends within two leases and their allowances";
/// That these happen shows that the model gets that far.
const TAKEOVER: &str = "a node succeeds under the second lease";
const AHEAD: &str = "a node starts before its claim is published";
const STRAY: &str = "a push is applied that nobody waits for any more";

/// The time of two leases with their allowances: a runner may have claimed just before it went to sleep.
const SETTLED_WITHIN: u8 = 6;

const NONE: Faults = Faults { crashes: 0, sleeps: 0, lost_replies: 0, others: 0 };

fn properties() -> Vec<Property<Protocol>> {
    vec![
        // The names of attempts are idempotency keys of services, so one name for two starts would hide work from them.
        Property::always(ONCE, |_, state: &State| !state.broken.started_twice),
        Property::always(IN_TIME, |_, state: &State| !state.broken.started_after_the_end),
        // Judged by the tip itself and not by what the runner knows of it: no service can see a takeover that is not
        // published.
        Property::always(FENCED, |_, state: &State| !state.broken.started_after_takeover),
        Property::always(PUBLISHED, |_, state: &State| !state.broken.started_unpublished),
        Property::always(TOKENS, |_, state: &State| !state.broken.token_went_back),
        // Invariant 10, as far as the protocol can break it.
        Property::always(TERMINAL, |_, state: &State| !state.broken.reopened),
        Property::always(BY_TOKEN, |_, state: &State| !state.broken.result_of_another),
        Property::always(PREFIX, |_, state: &State| !state.broken.out_of_order),
        // Judged where runs are cut off: every run comes there or to its end, and what is stuck is stuck there still.
        // `Property::eventually` would miss runs that meet again in one state.
        Property::always(ENDS, |protocol: &Protocol, state: &State| {
            state.now < protocol.horizon || protocol.settles(state, SETTLED_WITHIN)
        }),
        // Without these a model whose runners never get anywhere would keep every rule.
        Property::sometimes(TAKEOVER, |_, state: &State| {
            state.tip.nodes.iter().any(|phase| matches!(phase, Phase::Succeeded(name) if name.token == 2))
        }),
        Property::sometimes(AHEAD, |_, state: &State| state.seen.started_ahead),
        Property::sometimes(STRAY, |_, state: &State| state.seen.stray_applied),
    ]
}

/// Checks every order of events, and that exactly these things happened on the way.
fn check_holds(nodes: usize, publish: Publish, faults: Faults, happened: &[&'static str]) {
    // Late enough for a takeover after each fault. Once checked to 4, with a crash, a lost acknowledgement and a commit of
    // others in each run (1,374,472 states), and to 6 without faults, for the third lease (198,008 states).
    let protocol = Protocol { mutant: Mutant::None, publish, faults, horizon: 3, nodes };
    let checker = protocol.checker().threads(2).symmetry_fn(State::representative).spawn_dfs().join();
    let found: BTreeSet<&str> = checker.discoveries().into_keys().collect();
    // A discovery of `always` is a counterexample, one of `sometimes` an example; only the latter may be expected.
    for (name, path) in checker.discoveries() {
        assert!(happened.contains(&name), "{name}: {:?}", path.into_actions());
    }
    assert_eq!(found, happened.iter().copied().collect());
    // A checker that stops early would report nothing and pass.
    assert!(checker.is_done());
}

/// Checks that the dropped rule is missed by the property that is there for it.
fn check_finds(mutant: Mutant, publish: Publish, faults: Faults, expected: &'static str) {
    // One node is enough for every rule but the order of nodes, and has far fewer states.
    let nodes = if mutant == Mutant::PrefixDropped { 2 } else { 1 };
    let protocol = Protocol { mutant, publish, faults, horizon: 4, nodes };
    let checker = protocol
        .checker()
        .threads(2)
        .symmetry_fn(State::representative)
        .finish_when(HasDiscoveries::AllOf(BTreeSet::from([expected])))
        .spawn_dfs()
        .join();
    assert!(checker.discovery(expected).is_some(), "{mutant:?} goes unnoticed: {expected}");
}

#[test]
fn two_nodes_in_turn_keep_every_rule_in_every_order_of_events() {
    check_holds(2, Publish::Strict, NONE, &[TAKEOVER]);
}

#[test]
fn starts_ahead_of_their_publication_keep_every_rule() {
    check_holds(2, Publish::Adaptive, NONE, &[TAKEOVER, AHEAD]);
}

#[test]
fn every_rule_outlives_a_crash() {
    check_holds(1, Publish::Strict, Faults { crashes: 1, ..NONE }, &[TAKEOVER, STRAY]);
}

#[test]
fn every_rule_outlives_a_sleep() {
    check_holds(1, Publish::Strict, Faults { sleeps: 1, ..NONE }, &[TAKEOVER]);
}

#[test]
fn every_rule_outlives_a_lost_acknowledgement() {
    check_holds(1, Publish::Strict, Faults { lost_replies: 1, ..NONE }, &[TAKEOVER, STRAY]);
}

#[test]
fn every_rule_outlives_a_cancellation_and_commits_of_others() {
    check_holds(1, Publish::Strict, Faults { others: 1, ..NONE }, &[TAKEOVER]);
}

#[test]
fn a_runner_that_asks_no_fence_starts_after_its_lease_has_ended() {
    check_finds(Mutant::NoFencingCheck, Publish::Strict, NONE, IN_TIME);
    check_finds(Mutant::NoFencingCheck, Publish::Strict, NONE, FENCED);
}

#[test]
fn a_takeover_without_allowance_for_skew_meets_a_runner_whose_clock_is_behind() {
    check_finds(Mutant::TakeoverWithoutSkew, Publish::Strict, NONE, FENCED);
}

#[test]
fn who_acts_before_publishing_starts_what_another_has_claimed() {
    check_finds(Mutant::ActBeforePublish, Publish::Strict, NONE, ONCE);
    check_finds(Mutant::ActBeforePublish, Publish::Strict, NONE, PUBLISHED);
}

#[test]
fn a_result_that_is_taken_without_its_token_counts_for_the_attempt_of_another() {
    check_finds(Mutant::ResultWithoutToken, Publish::Strict, NONE, BY_TOKEN);
}

#[test]
fn a_token_that_is_kept_on_takeover_gives_one_name_to_two_attempts() {
    check_finds(Mutant::TokenKeptOnTakeover, Publish::Strict, NONE, TOKENS);
    check_finds(Mutant::TokenKeptOnTakeover, Publish::Adaptive, NONE, ONCE);
}

#[test]
fn a_runner_that_slept_and_does_not_look_keeps_a_lease_that_has_ended() {
    check_finds(Mutant::LeaseKeptAfterSleep, Publish::Strict, Faults { sleeps: 1, ..NONE }, IN_TIME);
}

#[test]
fn a_result_that_is_recorded_after_a_cancellation_reopens_what_was_terminal() {
    check_finds(Mutant::ResultAfterCancel, Publish::Strict, Faults { others: 1, ..NONE }, TERMINAL);
}

#[test]
fn results_that_do_not_wait_for_those_before_them_are_no_prefix() {
    check_finds(Mutant::PrefixDropped, Publish::Adaptive, NONE, PREFIX);
}

#[test]
fn a_lease_that_nobody_takes_over_outlives_its_runner() {
    check_finds(Mutant::NoTakeover, Publish::Strict, Faults { crashes: 1, ..NONE }, ENDS);
}
