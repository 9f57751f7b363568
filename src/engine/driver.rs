//! The driver: the one owner of all run state. Takes in what changed, has it planned, publishes, starts what was
//! claimed, and waits for what happens next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::attempts::{Attempts, Message, Pace};
use super::clock::Clock;
use super::live::{Live, Planner};
use super::publisher::{Bucket, Publisher};
use super::workspace::Checkouts;
use super::world::World;
use super::{EngineError, ReconcileOptions, Site};
use crate::diagnostic::Severity;
use crate::event::{Event, Waiting};
use crate::index::{Index, Settled, Topic};
use crate::model::{Kind, ResourceKey};
use crate::plan::LeaseTerms;
use crate::provider::Registry;

/// Retries that are due this soon are waited for instead of being left to the next reconcile.
const NEAR: Duration = Duration::from_secs(60);
/// How often a local repository is looked at while attempts run.
const LOCAL_POLL: Duration = Duration::from_millis(250);
/// How often a remote is, at most: never more often than it would be pushed to.
const REMOTE_POLL: Duration = Duration::from_secs(10);
/// How many things that wait are named at the end.
const WAITING_SHOWN: usize = 50;

/// Takes events.
pub type Sink<'a> = Box<dyn FnMut(Event) + 'a>;

/// How a reconcile ended.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// The number of status commits made.
    pub commits: u32,
    /// The number of attempts started.
    pub started: u32,
    /// What waits, the first of it.
    pub waiting: Vec<Waiting>,
    /// How many resources wait in all.
    pub waiting_count: u64,
    /// Executions that failed.
    pub failed: Vec<ResourceKey>,
    /// Manifests that are not valid.
    pub invalid: usize,
    /// Deletions that were held back.
    pub held_back: usize,
    /// Whether it stopped before everything was done, because it was asked to or its time was up.
    pub interrupted: bool,
}

/// The parts that a reconcile works with.
pub struct Parts<'a> {
    /// Where the branches are.
    pub site: Site,
    /// The index.
    pub index: Index,
    /// The providers, made from the configuration of the desired branch.
    pub registry: Box<dyn Fn(&crate::config::Config) -> Registry + 'a>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Becomes true when the reconcile shall stop cleanly.
    pub stop: watch::Receiver<bool>,
    /// Takes events.
    pub sink: Sink<'a>,
}

/// The driver of one reconcile.
pub(super) struct Driver<'a> {
    pub(super) site: Site,
    pub(super) publisher: Option<Publisher>,
    pub(super) world: World,
    pub(super) registry: Registry,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: ReconcileOptions,
    pub(super) terms: LeaseTerms,
    pub(super) attempts: Attempts,
    pub(super) messages: mpsc::UnboundedReceiver<Message>,
    pub(super) live: BTreeMap<ResourceKey, Live>,
    pub(super) pending: Pending,
    pub(super) settled: HashMap<ResourceKey, Option<Settled>>,
    pub(super) sink: Sink<'a>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) leaving: bool,
    pub(super) pace: Pace,
    pub(super) bucket: Option<Bucket>,
    pub(super) begun: Instant,
    pub(super) races: u32,
    pub(super) polled: Instant,
    pub(super) dashboard_at: Option<Instant>,
    pub(super) summary: Summary,
}

/// What has to be planned, in the order in which kinds depend on each other.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Bindings, capabilities, plans and gates.
    pub(super) simple: BTreeSet<ResourceKey>,
    /// Executions.
    pub(super) executions: BTreeSet<ResourceKey>,
    /// Goals, whose phase follows from their executions.
    pub(super) goals: BTreeSet<ResourceKey>,
}

impl Pending {
    pub(super) fn add(&mut self, key: ResourceKey) {
        match key.kind {
            Kind::Execution => self.executions.insert(key),
            Kind::Goal => self.goals.insert(key),
            _ => self.simple.insert(key),
        };
    }

    fn is_empty(&self) -> bool {
        self.simple.is_empty() && self.executions.is_empty() && self.goals.is_empty()
    }
}

/// Reconciles until nothing more can progress without the outside world (design section 4).
///
/// # Errors
/// Git, the index, an invalid configuration. Bad manifests and failed executions are in the summary.
pub async fn reconcile(parts: Parts<'_>, options: ReconcileOptions) -> Result<Summary, EngineError> {
    let mut driver = Driver::begin(parts, options)?;
    driver.run().await?;
    Ok(driver.end())
}

impl<'a> Driver<'a> {
    fn begin(parts: Parts<'a>, options: ReconcileOptions) -> Result<Self, EngineError> {
        let Parts { site, index, registry, clock, stop, mut sink } = parts;
        let tips = site.tips()?;
        let repo = site.repo().reopen()?;
        let cache = repo.cache_dir();
        let checkouts = Checkouts::new(repo.reopen()?, cache.join("checkouts").join(&options.runner));
        for warning in &tips.warnings {
            sink(Event::Diagnostic(Box::new(warning.clone())));
        }
        let registry = registry(&tips.config);
        let configured = tips.config.jobs.map(|jobs| jobs as usize);
        let jobs = options.jobs.or(configured).unwrap_or(options.default_jobs);
        let (world, diagnostics) = World::open(repo, index, tips)?;
        let (attempts, messages) = Attempts::new(
            jobs,
            Arc::clone(&clock),
            registry.clone(),
            checkouts,
            cache.join("runs"),
            options.stream_output,
        );
        let remote = site.remote().is_some();
        let terms = super::live::terms(&world);
        let bucket = Bucket::new(&world.config, remote);
        let publisher = Some(Publisher::new(&site)?);
        let mut driver = Self {
            site,
            publisher,
            world,
            registry,
            clock,
            options,
            terms,
            attempts,
            messages,
            live: BTreeMap::new(),
            pending: Pending::default(),
            settled: HashMap::new(),
            sink,
            stop,
            leaving: false,
            pace: Pace::new(),
            bucket,
            begun: Instant::now(),
            races: 0,
            polled: Instant::now(),
            dashboard_at: None,
            summary: Summary::default(),
        };
        driver.announce(diagnostics)?;
        Ok(driver)
    }

    fn announce(&mut self, fresh: Vec<crate::diagnostic::Diagnostic>) -> Result<(), EngineError> {
        let at = self.clock.now();
        self.tell(Event::PassStarted {
            at,
            desired: self.world.desired.id.to_string(),
            status: self.world.status.commit.map(|id| id.to_string()),
            runner: self.options.runner.clone(),
        });
        let mut all = fresh;
        if all.is_empty() {
            // Files that were bad before still are: they were not read again because they did not change.
            for (path, blob) in self.world.index.bad_files()? {
                let bytes = self.world.repo.blob(blob, self.world.config.limits.file_bytes);
                let Ok(bytes) = bytes else { continue };
                all.extend(crate::manifest::parse(&path, &bytes, &self.world.config.limits).diagnostics);
            }
        }
        self.summary.invalid = all.iter().filter(|found| found.severity == Severity::Error).count();
        for diagnostic in all {
            self.tell(Event::Diagnostic(Box::new(diagnostic)));
        }
        Ok(())
    }

    pub(super) fn tell(&mut self, event: Event) {
        (self.sink)(event);
    }

    pub(super) fn planner<'s>(&self, runner: &'s str, now: Timestamp) -> Planner<'s> {
        Planner { runner, terms: self.terms, leaving: self.leaving, now }
    }

    async fn run(&mut self) -> Result<(), EngineError> {
        loop {
            self.take_work()?;
            self.work().await?;
            self.catch_up()?;
            if self.leaving {
                self.summary.interrupted = true;
                return Ok(());
            }
            if !self.world.index.work(self.clock.now())?.iter().all(|key| self.is_held_back(key)) {
                continue;
            }
            if !self.rest().await? {
                return Ok(());
            }
        }
    }

    /// Works until nothing moves by itself.
    async fn work(&mut self) -> Result<(), EngineError> {
        loop {
            self.heed_time();
            self.drain();
            self.attempts.pump();
            if self.may_publish().await?
                && let Some(batch) = self.assemble()?
            {
                self.publish(batch).await?;
                continue;
            }
            if self.attempts.is_idle() && self.pending.is_empty() && !self.has_unpublished() {
                return Ok(());
            }
            self.wait().await?;
        }
    }

    fn has_unpublished(&self) -> bool {
        self.live.values().any(|live| !live.finished.is_empty())
    }

    /// Waits until everything settled may have changed. Says whether to go on.
    async fn rest(&mut self) -> Result<bool, EngineError> {
        let now = self.clock.now();
        let wake = self.world.index.next_wake()?.map(|at| until(now, at));
        let pause = match (self.options.watch, wake) {
            (Some(watch), Some(wake)) => watch.min(wake),
            (Some(watch), None) => watch,
            (None, Some(wake)) if wake <= NEAR && !self.only_leases()? => wake,
            (None, _) => return Ok(false),
        };
        let pause = self.left().map_or(pause, |left| pause.min(left));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.stop.changed() => {}
        }
        self.heed_time();
        if self.leaving {
            return Ok(false);
        }
        if self.options.watch.is_some() {
            self.look().await?;
        }
        Ok(true)
    }

    /// Whether all that is due soon are leases of other runners: those are not waited for.
    fn only_leases(&self) -> Result<bool, EngineError> {
        let (_, waiting) = self.world.index.waiting(WAITING_SHOWN)?;
        let timed = |one: &&serde_json::Value| !one["until"].is_null();
        Ok(waiting.iter().filter(timed).all(|one| one["reason"] == "Leased"))
    }

    /// How much of the allowed time is left.
    fn left(&self) -> Option<Duration> {
        self.options.max_duration.map(|most| most.saturating_sub(self.begun.elapsed()))
    }

    /// Stops when asked to, or when the time is up.
    fn heed_time(&mut self) {
        let asked = *self.stop.borrow();
        let late = self.left().is_some_and(|left| left.is_zero());
        if (asked || late) && !self.leaving {
            self.leaving = true;
            self.attempts.shut_down();
            for live in self.live.values_mut() {
                live.dirty = true;
            }
        }
    }

    /// Whether the allowed time is so far gone that no new node is started: a twentieth of it, at most a minute, is kept
    /// for what runs to end by itself.
    pub(super) fn is_winding_down(&self) -> bool {
        let Some(most) = self.options.max_duration else { return false };
        self.left().is_some_and(|left| left < (most / 20).min(Duration::from_secs(60)))
    }

    /// Takes in, without waiting, what attempts have sent.
    fn drain(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            self.take(message);
        }
    }

    pub(super) fn take(&mut self, message: Message) {
        match message {
            Message::Ended(key, finished) => {
                self.attempts.ended(&key, &finished);
                if let Some(live) = self.live.get_mut(&key) {
                    live.finished.push(*finished);
                    live.dirty = true;
                }
            }
            line @ Message::Line(..) => {
                if let Some(event) = line.into_event() {
                    self.tell(event);
                }
            }
        }
    }

    /// Whether a commit may go out now; on a remote, pushes are spaced.
    async fn may_publish(&mut self) -> Result<bool, EngineError> {
        let Some(bucket) = &mut self.bucket else { return Ok(true) };
        let anything = self.live.values().any(|live| live.dirty) || !self.pending.is_empty();
        if !anything {
            return Ok(true);
        }
        let pause = bucket.take();
        if pause.is_zero() {
            return Ok(true);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Some(message) = self.messages.recv() => self.take(message),
            _ = self.stop.changed() => {}
        }
        Ok(false)
    }

    /// Waits for the next thing to happen.
    async fn wait(&mut self) -> Result<(), EngineError> {
        let now = self.clock.now();
        let every = if self.site.remote().is_some() { REMOTE_POLL } else { LOCAL_POLL };
        let mut pause = every.saturating_sub(self.polled.elapsed());
        for live in self.live.values() {
            if let Some(at) = live.renew_at {
                pause = pause.min(until(now, at));
            }
        }
        pause = self.left().map_or(pause, |left| pause.min(left)).max(Duration::from_millis(1));
        tokio::select! {
            Some(message) = self.messages.recv() => self.take(message),
            () = tokio::time::sleep(pause) => {}
            _ = self.stop.changed() => {}
        }
        let now = self.clock.now();
        for live in self.live.values_mut() {
            live.dirty |= live.renew_at.is_some_and(|at| at <= now);
        }
        if self.polled.elapsed() >= every {
            self.look().await?;
        }
        Ok(())
    }

    /// Looks whether somebody moved one of the branches.
    async fn look(&mut self) -> Result<(), EngineError> {
        self.polled = Instant::now();
        let tips = if self.site.remote().is_some() {
            let site = self.site.reopen()?;
            tokio::task::spawn_blocking(move || site.tips()).await.map_err(|_| EngineError::WorkerLost)??
        } else {
            self.site.tips()?
        };
        if tips.desired.id != self.world.desired.id && !self.is_newer(&tips)? {
            return Ok(());
        }
        if tips.desired.id == self.world.desired.id && tips.status == self.world.status.commit {
            return Ok(());
        }
        self.settle()?;
        let diagnostics = self.world.move_to(tips)?;
        self.announce(diagnostics)?;
        self.reload_live()?;
        self.take_work()
    }

    /// Desired state never runs backwards (design invariant 13); a rewritten branch is reported.
    fn is_newer(&mut self, tips: &super::Tips) -> Result<bool, EngineError> {
        let (old, new) = (self.world.desired.id, tips.desired.id);
        if self.world.repo.is_ancestor(old, new)? == Some(true) {
            return Ok(true);
        }
        let branch = self.site.branch().to_owned();
        let message =
            format!("branch `{branch}` was rewritten: {} is not ahead of {}", new.short(), old.short());
        self.tell(Event::Note { message });
        Ok(true)
    }

    /// After others moved the status branch: every live execution as it is recorded now.
    pub(super) fn reload_live(&mut self) -> Result<(), EngineError> {
        let keys: Vec<ResourceKey> = self.live.keys().cloned().collect();
        for key in keys {
            let record = self.world.record(&key)?;
            self.reload(&key, record);
        }
        Ok(())
    }

    /// One live execution as it is recorded now. Attempts that the record no longer knows are ended.
    pub(super) fn reload(&mut self, key: &ResourceKey, record: Option<Arc<crate::model::StatusRecord>>) {
        let Some(live) = self.live.get_mut(key) else { return };
        if live.record == record {
            return;
        }
        let had = live.token(&self.options.runner);
        live.record = record;
        live.dirty = true;
        let runner = &self.options.runner;
        self.attempts.stop_where(key, |node, attempt| live.runs(node, attempt, runner));
        if had.is_some() && live.token(runner).is_none() && live.status().is_some() {
            let message = format!("another runner took over {key}");
            self.tell(Event::Note { message });
        }
    }

    /// Everything that has to be planned, from the index.
    fn take_work(&mut self) -> Result<(), EngineError> {
        let work = self.world.index.work(self.clock.now())?;
        let held_back = self.hold_back(&work)?;
        for key in work {
            if held_back.contains(&key) {
                continue;
            }
            match self.live.get_mut(&key) {
                Some(live) => live.dirty = true,
                None => self.pending.add(key),
            }
        }
        Ok(())
    }

    /// Deletions that are too many to be carried out without being asked for.
    fn hold_back(&mut self, work: &[ResourceKey]) -> Result<BTreeSet<ResourceKey>, EngineError> {
        let mut gone = BTreeSet::new();
        for key in work {
            let declared = super::live::present(&self.world, key)?.is_some();
            if !declared && self.world.index.recorded(key)?.is_some_and(|record| record.source.is_some()) {
                gone.insert(key.clone());
            }
        }
        let (declared, recorded) = self.world.index.counts()?;
        let share = gone.len() as f64 / (recorded.max(1) as f64);
        let many = gone.len() >= 10 && share > self.world.config.limits.deletions;
        let empty = declared == 0 && !gone.is_empty();
        if self.options.allow_mass_delete || !(many || empty) {
            self.summary.held_back = 0;
            return Ok(BTreeSet::new());
        }
        if self.summary.held_back != gone.len() {
            self.summary.held_back = gone.len();
            let message = format!(
                "{} of {recorded} resources are no longer declared; that many are only removed with --allow-mass-delete",
                gone.len()
            );
            self.tell(Event::Note { message });
        }
        Ok(gone)
    }

    fn is_held_back(&self, key: &ResourceKey) -> bool {
        self.summary.held_back > 0 && !matches!(super::live::present(&self.world, key), Ok(Some(_)))
    }

    /// The resources whose planning looks at `key`.
    pub(super) fn dependents(&self, key: &ResourceKey) -> Result<Vec<ResourceKey>, EngineError> {
        let mut topics = vec![Topic::Resource(key.clone())];
        if key.kind == Kind::Binding {
            topics.push(Topic::Bindings(key.namespace.clone()));
        }
        let mut keys = Vec::new();
        for topic in &topics {
            keys.extend(self.world.index.waiters(topic)?);
        }
        if key.kind == Kind::Execution
            && let Some(goal) = self.world.index.declared(key)?.and_then(|declared| declared.goal)
        {
            keys.push(goal);
        }
        // What waits in this very process is not in the index yet.
        let texts: Vec<String> = topics.iter().map(ToString::to_string).collect();
        for (waiter, settled) in &self.settled {
            if settled.as_ref().is_some_and(|settled| settled.on.iter().any(|on| texts.contains(on))) {
                keys.push(waiter.clone());
            }
        }
        Ok(keys)
    }

    /// Plans these again.
    pub(super) fn requeue(&mut self, keys: impl IntoIterator<Item = ResourceKey>) {
        for key in keys {
            match self.live.get_mut(&key) {
                Some(live) => live.dirty = true,
                None => self.pending.add(key),
            }
        }
    }

    /// Writes down how everything was left.
    pub(super) fn settle(&mut self) -> Result<(), EngineError> {
        let settled: Vec<_> = std::mem::take(&mut self.settled).into_iter().collect();
        Ok(self.world.index.settle(&settled)?)
    }

    /// Brings the index to what was published.
    pub(super) fn catch_up(&mut self) -> Result<(), EngineError> {
        self.world.advance()?;
        self.settle()
    }

    fn end(mut self) -> Summary {
        let (count, waiting) = self.world.index.waiting(WAITING_SHOWN).unwrap_or_default();
        let waiting: Vec<Waiting> =
            waiting.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect();
        self.summary.waiting_count = count;
        self.summary.waiting = waiting.clone();
        self.summary.started = self.attempts.started;
        let finished = Event::Finished {
            at: self.clock.now(),
            commits: self.summary.commits,
            started: self.summary.started,
            waiting,
            failed: self.summary.failed.clone(),
        };
        self.tell(finished);
        self.summary
    }
}

fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
