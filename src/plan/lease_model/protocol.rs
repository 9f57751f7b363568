//! The protocol as a transition system: what three runners, the status branch, the network and people may do in any
//! order. Time is a small integer; runners read it through clocks that are set apart.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use stateright::Model;

use super::super::{LeaseState, LeaseTerms, lease_state, next_lease};
use crate::model::{ExecutionExtensions, Lease};

/// The nodes of the plan, each after the one before.
pub(super) const NODES: usize = 2;
const RUNNERS: usize = 3;
/// How long a lease lasts, and how far apart clocks may be.
const DURATION: u8 = 1;
const SKEW: u8 = 1;
/// The holder of a lease whose process is gone. Nobody has this name again.
const GONE: u8 = 9;

/// The rules that a runner keeps; each mutant drops one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// None is dropped.
    None,
    /// A runner starts what it has claimed without asking whether its lease still stands.
    NoFencingCheck,
    /// A lease is free as soon as it has expired by the clock of the runner that wants it.
    TakeoverWithoutSkew,
    /// A runner starts what it is about to claim.
    ActBeforePublish,
    /// Whatever a runner has come to is recorded for the node, whichever attempt the record names.
    ResultWithoutToken,
    /// Who takes over goes on with the token that it found.
    TokenKeptOnTakeover,
    /// A runner measures its lease by a clock that stands still while the machine sleeps.
    LeaseKeptAfterSleep,
    /// A result is recorded although the node was cancelled meanwhile.
    ResultAfterCancel,
    /// What is recorded of a node does not wait for the nodes before it.
    PrefixDropped,
    /// The lease of a lost runner is never taken over.
    NoTakeover,
}

/// Whether starts wait for their claim's publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    Strict,
    Adaptive,
}

/// How often each thing may go wrong in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Faults {
    pub(super) crashes: u8,
    pub(super) sleeps: u8,
    /// Acknowledgements of pushes that are lost; the push may arrive later, or never.
    pub(super) lost_replies: u8,
    /// Commits of others: about something else, or a cancellation.
    pub(super) others: u8,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Protocol {
    pub(super) mutant: Mutant,
    pub(super) publish: Publish,
    pub(super) faults: Faults,
    /// When runs are cut off: a takeover is possible each 3 ticks.
    pub(super) horizon: u8,
    /// How many of the nodes there are; the others count as done with.
    pub(super) nodes: usize,
}

/// An attempt's name within its Execution and node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) token: u8,
    number: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) enum Phase {
    #[default]
    Pending,
    Running(Name),
    Succeeded(Name),
    Cancelled,
}

impl Phase {
    pub(super) fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded(_) | Self::Cancelled)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Held {
    holder: u8,
    token: u8,
    renewed: u8,
}

/// What the tip of the status branch says of the Execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct Tip {
    lease: Option<Held>,
    pub(super) last_token: u8,
    pub(super) nodes: [Phase; NODES],
}

impl Tip {
    pub(super) fn is_over(&self) -> bool {
        self.nodes.iter().all(|phase| phase.is_terminal())
    }
}

/// What a runner's own process knows of a node's attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
enum Local {
    #[default]
    Nothing,
    Runs(Name),
    /// Ended by the runner itself, because its lease was over.
    Stopped(Name),
    Ended(Name),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
enum Push {
    #[default]
    Idle,
    /// A commit is on its way; nothing where its parent is no longer the tip, so that it can only be refused.
    Sent(Option<Tip>),
    /// The answer was lost or a refusal: only the branch says what is so.
    Unsure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Runner {
    /// How far its clock is ahead.
    ahead: u8,
    asleep: bool,
    /// How long it slept in all. Known to the mutant alone.
    slept: u8,
    view: Tip,
    /// Whether the branch still is where the view was taken: all that commit ids are compared for.
    current: bool,
    local: [Local; NODES],
    push: Push,
}

/// What was found to be broken on the way to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct Broken {
    pub(super) started_twice: bool,
    pub(super) started_after_the_end: bool,
    pub(super) started_after_takeover: bool,
    pub(super) started_unpublished: bool,
    pub(super) token_went_back: bool,
    pub(super) reopened: bool,
    pub(super) result_of_another: bool,
    pub(super) out_of_order: bool,
}

/// What a run went through, to see that the model reaches it at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct Seen {
    pub(super) stray_applied: bool,
    pub(super) started_ahead: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct State {
    pub(super) now: u8,
    pub(super) tip: Tip,
    runners: [Runner; RUNNERS],
    /// Pushes that nobody waits for any more, which may arrive yet.
    stray: [Option<Tip>; 2],
    left: Faults,
    /// The names of the attempts that were started: a bit for each, by node.
    started: [u64; NODES],
    pub(super) broken: Broken,
    pub(super) seen: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Tick,
    Read(usize),
    /// Plans, and sends what is planned: acquires or renews the lease, claims, records results.
    Publish(usize),
    Deliver(usize),
    LoseReply(usize),
    DeliverStray(usize),
    Start(usize, usize),
    End(usize, usize),
    Stop(usize, usize),
    Crash(usize),
    Sleep(usize),
    Wake(usize),
    CommitElsewhere,
    Cancel,
}

fn at(time: usize) -> Timestamp {
    Timestamp::from_second(time as i64).unwrap()
}

fn terms(skew: usize) -> LeaseTerms {
    // Small, because states multiply with time. Even so, the end of a lease, the end of the allowance and a takeover
    // fall on different ticks.
    let duration = Duration::from_secs(DURATION.into());
    LeaseTerms { duration, skew: Duration::from_secs(skew as u64), longest: duration }
}

/// What [`lease_state`] says to a stranger, by allowance, time of renewal and clock. Asked once for each: the checker
/// wants to know millions of times.
static EXPIRED: LazyLock<[[[bool; LATEST]; LATEST]; 2]> = LazyLock::new(|| {
    std::array::from_fn(|skew| {
        std::array::from_fn(|renewed| std::array::from_fn(|clock| is_free(skew, renewed, clock)))
    })
});
const LATEST: usize = 20;

fn is_free(skew: usize, renewed: usize, clock: usize) -> bool {
    let lease = Lease {
        holder: "holder".to_owned(),
        acquire_time: at(renewed),
        renew_time: at(renewed),
        duration_millis: u64::from(DURATION) * 1000,
        token: 1,
    };
    // By the recorded renewal alone. The other moment, the stranger's own first sight of it, is never before the renewal
    // itself, so counting from there by one clock cannot end the lease too early.
    lease_state(Some(&lease), "stranger", terms(skew), at(renewed), at(clock)) == LeaseState::Free
}

fn expired(lease: Held, skew: u8, clock: u8) -> bool {
    EXPIRED[usize::from(skew)][usize::from(lease.renewed)][usize::from(clock)]
}

/// The token of a new lease, by [`next_lease`].
fn next_token(last_token: u8) -> u8 {
    // The engine's own function, so that a change of how tokens grow is checked here without a change of the model.
    let extensions = ExecutionExtensions { last_token: last_token.into(), ..Default::default() };
    next_lease(&extensions, "runner", terms(0), at(0)).token as u8
}

impl Protocol {
    fn clock(self, state: &State, me: usize) -> u8 {
        state.now + state.runners[me].ahead
    }

    /// Whether the lease that the runner believes in still stands, by its own clock and without any allowance.
    fn stands(self, state: &State, me: usize, slept: u8) -> bool {
        let clock = self.clock(state, me).saturating_sub(slept);
        state.runners[me].view.lease.is_some_and(|lease| !expired(lease, 0, clock))
    }

    fn is_fenced(self, state: &State, me: usize) -> bool {
        match self.mutant {
            Mutant::NoFencingCheck => false,
            // As with a monotonic clock that stops during suspension, which is what `Instant` reads on Linux.
            Mutant::LeaseKeptAfterSleep => !self.stands(state, me, state.runners[me].slept),
            _ => !self.stands(state, me, 0),
        }
    }

    /// The token of the runner's own lease, as far as it knows.
    fn token(self, state: &State, me: usize) -> Option<u8> {
        // From the view, not from the tip: a runner whose lease was taken over believes in it until it reads again.
        let lease = state.runners[me].view.lease?;
        (usize::from(lease.holder) == me).then_some(lease.token)
    }

    /// The attempt that the runner may start for a node now, and whether its claim is published.
    fn startable(self, state: &State, me: usize, node: usize) -> Option<(Name, bool)> {
        let runner = &state.runners[me];
        let token = self.token(state, me)?;
        match (runner.view.nodes[node], runner.local[node]) {
            // The token and not the holder decides whose claim it is: a process that restarts under its old name finds
            // claims that it never started.
            (Phase::Running(name), Local::Nothing) if name.token == token => Some((name, true)),
            // What the runner ended itself is not started again under the same name; it has to be claimed as another
            // attempt first.
            (Phase::Running(name), Local::Stopped(old)) if name.token == token && name != old => {
                Some((name, true))
            }
            (Phase::Pending, Local::Nothing | Local::Stopped(_)) if self.publish == Publish::Adaptive => {
                // A result of its own that is not published yet is enough, but only one under this lease: that of an
                // earlier lease may be recorded otherwise by now.
                let done = |before: usize| {
                    matches!(runner.view.nodes[before], Phase::Succeeded(_))
                        || matches!(runner.local[before], Local::Ended(name) if name.token == token)
                };
                (0..node).all(done).then(|| (next_name(token, Phase::Pending, runner.local[node]), false))
            }
            _ => None,
        }
    }

    /// What the runner would publish on top of what it knows; nothing where nothing would change.
    fn plan(self, state: &State, me: usize) -> Option<Tip> {
        let runner = &state.runners[me];
        let mut new = runner.view;
        let clock = self.clock(state, me);
        // The allowance is the waiting runner's part. The holder gets none, so the two cannot both believe in their
        // right.
        let skew = if self.mutant == Mutant::TakeoverWithoutSkew { 0 } else { SKEW };
        let token = match &mut new.lease {
            // Nobody leases what has ended.
            _ if runner.view.is_over() => None,
            Some(lease) if usize::from(lease.holder) == me => {
                // Every publication renews: the commit is written anyway.
                lease.renewed = clock;
                Some(lease.token)
            }
            Some(lease) if self.mutant == Mutant::NoTakeover || !expired(*lease, skew, clock) => None,
            lease => {
                // Only from the second lease on; the first one has no token to keep.
                let kept = self.mutant == Mutant::TokenKeptOnTakeover && new.last_token > 0;
                let token = if kept { new.last_token } else { next_token(new.last_token) };
                *lease = Some(Held { holder: me as u8, token, renewed: clock });
                new.last_token = token;
                Some(token)
            }
        };
        for node in 0..NODES {
            let first = self.mutant == Mutant::PrefixDropped
                || new.nodes[..node].iter().all(|phase| matches!(phase, Phase::Succeeded(_)));
            // A result needs no lease: it counts by the token in its name, whoever holds the lease now. Only claims are
            // filtered.
            new.nodes[node] = self.next_phase(new.nodes[node], runner.local[node], token.filter(|_| first));
        }
        // Given back in the commit that ends it, as `finish` does: a lease on something that has ended would be renewed
        // for nothing.
        if new.is_over() && token.is_some() {
            new.lease = None;
        }
        // No change, no commit (Invariant 5). It also keeps the number of states finite.
        (new != runner.view).then_some(new)
    }

    /// What a node's record becomes. `token` is that of the lease under which the node may be claimed now.
    fn next_phase(self, phase: Phase, local: Local, token: Option<u8>) -> Phase {
        match (phase, local) {
            // The recorded name has to be that of the result: after a takeover it is another attempt's, and the result
            // is dropped.
            (Phase::Running(recorded), Local::Ended(name))
                if name == recorded || self.mutant == Mutant::ResultWithoutToken =>
            {
                Phase::Succeeded(name)
            }
            // Started ahead and ended before its claim was published: recorded at once as ended, under the token that
            // was published.
            (Phase::Pending, Local::Ended(name)) if token == Some(name.token) => Phase::Succeeded(name),
            (Phase::Pending, Local::Runs(name)) if token == Some(name.token) => Phase::Running(name),
            (Phase::Pending, local) => {
                token.map_or(phase, |token| Phase::Running(next_name(token, phase, local)))
            }
            // The attempt of a lost runner, or one that this runner ended when its lease was over, is made anew.
            (Phase::Running(name), local) => match token {
                Some(token) if name.token != token || local == Local::Stopped(name) => {
                    Phase::Running(next_name(token, phase, local))
                }
                _ => phase,
            },
            (Phase::Cancelled, Local::Ended(name)) if self.mutant == Mutant::ResultAfterCancel => {
                Phase::Succeeded(name)
            }
            _ => phase,
        }
    }

    fn start(self, state: &mut State, me: usize, node: usize, name: Name, published: bool) {
        // A bit set instead of a list: states are hashed and compared millions of times.
        let bit = 1_u64 << (u32::from(name.token) * 8 + u32::from(name.number));
        // By what the runner knows. What the tip says is judged on its own, by `started_after_takeover`.
        let leased = self.token(state, me) == Some(name.token);
        let allowed = leased && (published || self.publish == Publish::Adaptive);
        state.broken.started_twice |= state.started[node] & bit != 0;
        state.broken.started_unpublished |= !allowed;
        state.broken.started_after_the_end |= leased && !self.stands(state, me, 0);
        state.broken.started_after_takeover |= state.tip.last_token > name.token;
        state.seen.started_ahead |= !published;
        state.started[node] |= bit;
        state.runners[me].local[node] = Local::Runs(name);
    }

    fn publish(self, state: &mut State, me: usize, content: Tip) {
        // A push from an old parent is kept without its content: the remote refuses it by the lease, whatever is in it.
        state.runners[me].push = Push::Sent(state.runners[me].current.then_some(content));
        // In the step of sending, when nobody knows yet whether the push will win.
        if self.mutant == Mutant::ActBeforePublish {
            for node in 0..NODES {
                if let (Phase::Running(name), Local::Nothing) =
                    (content.nodes[node], state.runners[me].local[node])
                {
                    self.start(state, me, node, name, false);
                }
            }
        }
    }

    /// The remote swaps the branch. Commits whose parent it no longer is are not there any more.
    fn apply(self, state: &mut State, new: Tip) {
        let old = state.tip;
        let broken = &mut state.broken;
        broken.token_went_back |= new.last_token < old.last_token;
        let holder = |tip: Tip| tip.lease.map(|lease| (lease.holder, lease.token));
        // A lease that stays the same may be renewed with its token; any other one needs a higher token than ever
        // before.
        if let (Some((holder, token)), was) = (holder(new), holder(old)) {
            broken.token_went_back |= was != Some((holder, token)) && token <= old.last_token;
        }
        for node in 0..NODES {
            let from = old.nodes[node];
            let to = new.nodes[node];
            broken.reopened |= from.is_terminal() && to != from;
            if let (Phase::Succeeded(name), true) = (to, from != to) {
                // In adaptive mode a result may arrive without its claim, if the lease that it names is the one on the
                // branch.
                let ahead = self.publish == Publish::Adaptive
                    && from == Phase::Pending
                    && holder(old).is_some_and(|(_, token)| token == name.token);
                broken.result_of_another |= from != Phase::Running(name) && !ahead;
            }
            let begun = matches!(to, Phase::Running(_) | Phase::Succeeded(_));
            // Also for a start: a node that runs before its source has succeeded would work on inputs that do not
            // exist.
            broken.out_of_order |=
                begun && !new.nodes[..node].iter().all(|phase| matches!(phase, Phase::Succeeded(_)));
        }
        state.move_to(new);
    }

    /// The runner takes in the tip: what was begun here and cannot count any more is stopped and withdrawn.
    fn read(self, state: &mut State, me: usize) {
        let tip = state.tip;
        let runner = &mut state.runners[me];
        // The one way to learn what became of a push, whether it was acknowledged, refused or lost (Invariant 4).
        (runner.view, runner.current, runner.push) = (tip, true, Push::Idle);
        let mine = tip.lease.filter(|lease| usize::from(lease.holder) == me).map(|lease| lease.token);
        for (local, phase) in runner.local.iter_mut().zip(tip.nodes) {
            let (Local::Runs(name) | Local::Ended(name) | Local::Stopped(name)) = *local else { continue };
            // Either the record names this very attempt, or it was started ahead under a lease that still is this
            // runner's.
            let counts = phase == Phase::Running(name)
                || (mine == Some(name.token) && matches!(phase, Phase::Pending | Phase::Running(_)));
            let kept = matches!(self.mutant, Mutant::ResultWithoutToken | Mutant::ResultAfterCancel);
            if !counts && !kept {
                *local = Local::Nothing;
            }
        }
    }

    fn crash(state: &mut State, me: usize) {
        if let Push::Sent(Some(commit)) = state.runners[me].push {
            state.throw_away(commit);
        }
        let runner = &mut state.runners[me];
        // All but the clock is gone, as with a killed process: Git is the only store (Invariant 1).
        *runner = Runner::new(runner.ahead);
        // The restarted process is another runner with a name of its own; with the old one it would take its own lease
        // for granted.
        state.rename(&|holder| if usize::from(holder) == me { GONE } else { holder });
    }
}

/// The next attempt at a node under a lease: higher than any that the record or the process knows under it.
fn next_name(token: u8, phase: Phase, local: Local) -> Name {
    let recorded = match phase {
        Phase::Running(name) => Some(name),
        _ => None,
    };
    let known = match local {
        Local::Runs(name) | Local::Stopped(name) | Local::Ended(name) => Some(name),
        Local::Nothing => None,
    };
    let numbers = [recorded, known].into_iter().flatten().filter(|name| name.token == token);
    Name { token, number: numbers.map(|name| name.number + 1).max().unwrap_or(1) }
}

impl Runner {
    fn new(ahead: u8) -> Self {
        Self {
            ahead,
            asleep: false,
            slept: 0,
            view: Tip::default(),
            current: false,
            local: [Local::Nothing; NODES],
            // It has read nothing, so it does not know either whether a push of an earlier process arrived.
            push: Push::Unsure,
        }
    }

    fn is_sending(&self) -> bool {
        matches!(self.push, Push::Sent(_))
    }
}

impl State {
    /// The branch has another tip now: whatever was made for the one before can only be refused.
    fn move_to(&mut self, tip: Tip) {
        self.tip = tip;
        // A stray commit has the old tip as its parent and can only be refused from now on; forgotten, it makes no
        // states.
        self.stray = [None; 2];
        for runner in &mut self.runners {
            // Nobody is notified: a runner learns it by reading, or from a refusal.
            runner.current = false;
            if let Push::Sent(commit) = &mut runner.push {
                *commit = None;
            }
        }
    }

    /// A push that nobody waits for; a third one is taken to be lost.
    fn throw_away(&mut self, commit: Tip) {
        if let Some(free) = self.stray.iter_mut().find(|stray| stray.is_none()) {
            *free = Some(commit);
        }
    }

    /// Gives every holder of a lease another name, wherever it stands.
    fn rename(&mut self, name: &dyn Fn(u8) -> u8) {
        let rename = |tip: &mut Tip| {
            if let Some(lease) = &mut tip.lease {
                lease.holder = name(lease.holder);
            }
        };
        rename(&mut self.tip);
        for runner in &mut self.runners {
            rename(&mut runner.view);
            if let Push::Sent(Some(commit)) = &mut runner.push {
                rename(commit);
            }
        }
        self.stray.iter_mut().flatten().for_each(rename);
    }

    /// The same state with runners in one order of all, so that states that differ by names alone are checked once.
    pub(super) fn representative(&self) -> Self {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let reorder = |order: [usize; RUNNERS]| {
            let mut state = *self;
            state.runners = order.map(|from| self.runners[from]);
            state.rename(&|holder| {
                order.iter().position(|&from| from == usize::from(holder)).map_or(holder, |to| to as u8)
            });
            state
        };
        // Clocks stay in order: they are set apart at first, in order, and never again.
        let in_order = |order: &[usize; RUNNERS]| order.is_sorted_by_key(|&from| self.runners[from].ahead);
        // The least of all orders stands for the others. The identity is always among them, so there is one.
        orders.into_iter().filter(in_order).map(reorder).min().unwrap_or(*self)
    }

    /// What no runner acts upon is forgotten, so that states meet again: who has neither lease nor attempt reads the
    /// branch anew before it does anything.
    fn forget(&mut self) {
        for me in 0..RUNNERS {
            let runner = &mut self.runners[me];
            let holds = runner.view.lease.is_some_and(|lease| usize::from(lease.holder) == me);
            if !holds && !runner.is_sending() && runner.local == [Local::Nothing; NODES] {
                // Sleep is kept, since who sleeps reads nothing: forgetting that would wake it.
                *runner = Runner { asleep: runner.asleep, slept: runner.slept, ..Runner::new(runner.ahead) };
            }
        }
        // Their order means nothing, and two orders would be two states.
        self.stray.sort();
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        // How many clocks are fast is the whole choice: which of the runners have them makes no difference, since they
        // are alike.
        (0..=RUNNERS)
            .map(|fast| State {
                now: 0,
                tip: Tip { nodes: std::array::from_fn(|node| self.phase_at_first(node)), ..Tip::default() },
                runners: std::array::from_fn(|me| Runner::new(if me < fast { SKEW } else { 0 })),
                stray: [None; 2],
                left: self.faults,
                started: [0; NODES],
                broken: Broken::default(),
                seen: Seen::default(),
            })
            .collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // The end of a run. Without it the checker would let time go on after everything is over.
        if self.is_quiet(state) {
            return;
        }
        self.steps(state, actions);
        if state.now < self.horizon {
            actions.push(Action::Tick);
        }
        for me in 0..RUNNERS {
            let runner = &state.runners[me];
            let left = state.left;
            let over = state.tip.is_over();
            // A runner that knows nothing is the same after a crash, so crashing it would only spend the fault.
            if left.crashes > 0 && *runner != Runner::new(runner.ahead) && !over {
                actions.push(Action::Crash(me));
            }
            // Only a holder is put to sleep: to everybody else a sleep is a late read, which is among the orders
            // anyway.
            if left.sleeps > 0 && !runner.asleep && self.token(state, me).is_some() {
                actions.push(Action::Sleep(me));
            }
            if runner.asleep {
                actions.push(Action::Wake(me));
            }
            if left.lost_replies > 0 && runner.is_sending() {
                actions.push(Action::LoseReply(me));
            }
        }
        for (index, stray) in state.stray.iter().enumerate() {
            if stray.is_some() {
                actions.push(Action::DeliverStray(index));
            }
        }
        if state.left.others > 0 && !state.tip.is_over() {
            actions.extend([Action::CommitElsewhere, Action::Cancel]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = *last;
        self.act(&mut state, action);
        // After every action, so that equal states meet as early as possible.
        state.forget();
        Some(state)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        super::properties()
    }
}

impl Protocol {
    fn phase_at_first(self, node: usize) -> Phase {
        if node + self.nodes >= NODES {
            Phase::Pending
        } else {
            Phase::Succeeded(Name { token: 0, number: 0 })
        }
    }

    /// Whether nothing that a property speaks of can happen any more.
    fn is_quiet(self, state: &State) -> bool {
        let startable = |me| (0..NODES).any(|node| self.startable(state, me, node).is_some());
        state.tip.is_over() && state.stray == [None; 2] && !(0..RUNNERS).any(startable)
    }

    /// What a runner would push now. One that knows nothing reads first, in the same step: who reads and then does nothing
    /// changes nothing.
    fn next_push(self, state: &State, me: usize) -> Option<Tip> {
        match state.runners[me].push {
            Push::Sent(_) => None,
            // From any other parent the push could only be refused.
            Push::Idle => state.runners[me].current.then(|| self.plan(state, me)).flatten(),
            Push::Unsure => {
                let mut read = *state;
                self.read(&mut read, me);
                self.plan(&read, me)
            }
        }
    }

    /// What happens where nothing goes wrong and nobody else has a say.
    fn steps(self, state: &State, actions: &mut Vec<Action>) {
        for me in 0..RUNNERS {
            let runner = &state.runners[me];
            if runner.is_sending() {
                // Also for one that sleeps: its push is in the network.
                actions.push(Action::Deliver(me));
            }
            if runner.asleep {
                continue;
            }
            if !runner.is_sending() && *runner != Runner::new(runner.ahead) && !runner.current {
                actions.push(Action::Read(me));
            }
            if self.next_push(state, me).is_some() {
                actions.push(Action::Publish(me));
            }
            for node in 0..NODES {
                // The fence is asked in the step of the start itself: between claim and start any amount of time may
                // pass.
                if self.startable(state, me, node).is_some() && !self.is_fenced(state, me) {
                    actions.push(Action::Start(me, node));
                }
                if matches!(runner.local[node], Local::Runs(_)) {
                    // Also behind the fence: a process may end in the moment before it is stopped.
                    actions.push(Action::End(me, node));
                    if self.is_fenced(state, me) {
                        actions.push(Action::Stop(me, node));
                    }
                }
            }
        }
    }

    fn act(self, state: &mut State, action: Action) {
        match action {
            Action::Tick => {
                state.now += 1;
                for runner in &mut state.runners {
                    // Counted for the mutant alone, since everybody else reads a clock that does not stop, and more
                    // states would come of it.
                    if runner.asleep && self.mutant == Mutant::LeaseKeptAfterSleep {
                        runner.slept += 1;
                    }
                }
            }
            Action::Read(me) => self.read(state, me),
            Action::Publish(me) => {
                // Reads and plans in one step: who reads and then does nothing changes nothing for the others.
                if state.runners[me].push == Push::Unsure {
                    self.read(state, me);
                }
                if let Some(content) = self.plan(state, me) {
                    self.publish(state, me, content);
                }
            }
            Action::Deliver(me) => {
                if let Push::Sent(Some(commit)) = state.runners[me].push {
                    self.apply(state, commit);
                    // A push that is acknowledged shows the runner where the branch is, so it needs no further read.
                    self.read(state, me);
                } else {
                    state.runners[me].push = Push::Unsure;
                }
            }
            // The two outcomes of a lost acknowledgement, applied and never applied, are the stray that is delivered
            // and the one that is not.
            Action::LoseReply(me) => {
                state.left.lost_replies -= 1;
                if let Push::Sent(Some(commit)) = state.runners[me].push {
                    state.throw_away(commit);
                }
                state.runners[me].push = Push::Unsure;
            }
            Action::DeliverStray(index) => {
                if let Some(commit) = state.stray[index].take() {
                    self.apply(state, commit);
                    state.seen.stray_applied = true;
                }
            }
            Action::Start(me, node) => {
                if let Some((name, published)) = self.startable(state, me, node) {
                    self.start(state, me, node, name, published);
                }
            }
            Action::End(me, node) | Action::Stop(me, node) => {
                if let Local::Runs(name) = state.runners[me].local[node] {
                    let ended = matches!(action, Action::End(..));
                    let after = if ended { Local::Ended(name) } else { Local::Stopped(name) };
                    state.runners[me].local[node] = after;
                }
            }
            Action::Crash(me) => {
                state.left.crashes -= 1;
                Self::crash(state, me);
            }
            Action::Sleep(me) => {
                state.left.sleeps -= 1;
                state.runners[me].asleep = true;
            }
            Action::Wake(me) => state.runners[me].asleep = false,
            Action::CommitElsewhere => {
                state.left.others -= 1;
                // The same content under another commit: all that a commit of others means here is a lost race.
                state.move_to(state.tip);
            }
            Action::Cancel => {
                state.left.others -= 1;
                let end = |phase: Phase| if phase.is_terminal() { phase } else { Phase::Cancelled };
                state.move_to(Tip { nodes: state.tip.nodes.map(end), ..state.tip });
            }
        }
    }

    /// Whether everything ends once nothing goes wrong any more, and how long after that at the latest: who sleeps goes on
    /// sleeping, everybody else does what it can, in turn.
    pub(super) fn settles(self, state: &State, within: u8) -> bool {
        let mut state = *state;
        for _ in 0..within {
            let mut actions = Vec::new();
            // A bound that no run without faults comes near: livelock is a failure too.
            for _ in 0..64 {
                actions.clear();
                self.steps(&state, &mut actions);
                // One fixed order is enough: every order up to here was explored, and only whether it ends is asked.
                let Some(&action) = actions.first() else { break };
                self.act(&mut state, action);
            }
            if state.tip.is_over() {
                return true;
            }
            state.now += 1;
        }
        false
    }
}
