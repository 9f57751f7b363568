//! The driver: the one owner of all run state. Takes in what changed, has it planned, publishes, starts what was
//! claimed, and waits for what happens next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::active::ActiveExecution;
use super::attempt_factory::AttemptFactory;
use super::attempts::{AttemptMessage, Attempts, CommitPacer};
use super::clock::Clock;
use super::inputs::{EventSink, ReconcileInputs, ReconcileSummary};
use super::pending::Pending;
use super::poll_result::PollTimes;
use super::polls::Polls;
use super::publisher::{Publisher, PushLimiter};
use super::snapshot::Snapshot;
use super::step::PlannerTerms;
use super::unsaved_waits::UnsavedWaits;
use super::workspace::Checkouts;
use super::{Branches, EngineError, ReconcileOptions};
use crate::diagnostic::Severity;
use crate::event::Event;
use crate::model::{ResourceKey, after};
use crate::plan::LeaseTerms;
use crate::provider::Registry;

/// What is due within this time, a little longer than retries are waited for, has to be planned by this reconcile.
const SOON: Duration = Duration::from_secs(120);
/// How often a local repository is looked at while attempts run.
const LOCAL_POLL: Duration = Duration::from_millis(250);
/// How often a remote is, at most: never more often than it would be pushed to.
const REMOTE_POLL: Duration = Duration::from_secs(10);
/// How many things that wait are named at the end.
const WAITING_SHOWN: usize = 50;

/// The driver of one reconcile.
pub(super) struct Driver<'a> {
    pub(super) branches: Branches,
    /// Made for the first commit; away while it makes one.
    pub(super) publisher: Option<Publisher>,
    pub(super) snapshot: Snapshot,
    pub(super) registry: Registry,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: ReconcileOptions,
    pub(super) terms: LeaseTerms,
    pub(super) attempts: Attempts,
    pub(super) polls: Polls,
    pub(super) messages: mpsc::UnboundedReceiver<AttemptMessage>,
    pub(super) active: BTreeMap<ResourceKey, ActiveExecution>,
    pub(super) pending: Pending,
    pub(super) unsaved: UnsavedWaits,
    /// When what was left has to be planned again, as far as this process knows.
    pub(super) wakes: BTreeSet<(Timestamp, ResourceKey)>,
    /// When something was last recorded or begun here.
    pub(super) moved: Instant,
    /// What could go on and got no slot; planned again after a rest.
    pub(super) left_over: BTreeSet<ResourceKey>,
    pub(super) sink: EventSink<'a>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) leaving: bool,
    pub(super) pace: CommitPacer,
    pub(super) bucket: Option<PushLimiter>,
    pub(super) begun: Instant,
    pub(super) races: u32,
    pub(super) polled: Instant,
    pub(super) dashboard_at: Option<Instant>,
    pub(super) summary: ReconcileSummary,
}

/// Reconciles until nothing more can progress without the outside world.
///
/// # Errors
/// Git, the index, an invalid configuration. Bad manifests and failed executions are in the summary.
pub async fn reconcile(
    parts: ReconcileInputs<'_>,
    options: ReconcileOptions,
) -> Result<ReconcileSummary, EngineError> {
    let mut driver = Driver::begin(parts, options)?;
    if !driver.is_late()? {
        driver.run().await?;
    }
    Ok(driver.end())
}

impl<'a> Driver<'a> {
    fn begin(parts: ReconcileInputs<'a>, options: ReconcileOptions) -> Result<Self, EngineError> {
        let ReconcileInputs { branches, mut index, registry, clock, stop, mut sink } = parts;
        let tips = branches.tips()?;
        let repo = branches.repo().reopen()?;
        let cache = repo.cache_dir();
        let checkouts = cache.join("checkouts").join(&options.runner);
        let checkouts = Checkouts::new(repo.common_dir(), branches.remote().cloned(), checkouts);
        for warning in &tips.warnings {
            sink(Event::Diagnostic(Box::new(warning.clone())));
        }
        let registry = registry(&tips.config);
        let configured = tips.config.jobs.map(|jobs| jobs as usize);
        let jobs = options.jobs.or(configured).unwrap_or(options.default_jobs);
        // An index with nothing to plan is only read, unless this reconcile goes on for longer than that holds.
        let soon = after(clock.now(), SOON);
        if options.watch.is_some() || index.is_busy(soon)? {
            index.make_writable()?;
        }
        let (snapshot, diagnostics) = Snapshot::open(repo, index, tips)?;
        let maker = AttemptFactory::new(checkouts, cache.join("runs"));
        let (attempts, messages) =
            Attempts::new(jobs, Arc::clone(&clock), registry.clone(), maker, options.stream_output);
        let polls = Polls::beside(&attempts, PollTimes::load(&cache));
        let remote = branches.remote().is_some();
        let terms = super::active::terms(&snapshot);
        let bucket = PushLimiter::new(&snapshot.config, remote);
        let mut driver = Self {
            branches,
            publisher: None,
            snapshot,
            registry,
            clock,
            options,
            terms,
            attempts,
            polls,
            messages,
            active: BTreeMap::new(),
            pending: Pending::default(),
            unsaved: UnsavedWaits::default(),
            wakes: BTreeSet::new(),
            moved: Instant::now(),
            left_over: BTreeSet::new(),
            sink,
            stop,
            leaving: false,
            pace: CommitPacer::new(),
            bucket,
            begun: Instant::now(),
            races: 0,
            polled: Instant::now(),
            dashboard_at: None,
            summary: ReconcileSummary::default(),
        };
        driver.announce(diagnostics)?;
        Ok(driver)
    }

    pub(super) fn announce(&mut self, fresh: Vec<crate::diagnostic::Diagnostic>) -> Result<(), EngineError> {
        let at = self.clock.now();
        self.tell(Event::PassStarted {
            at,
            desired: self.snapshot.desired.id.to_string(),
            status: self.snapshot.status.commit.map(|id| id.to_string()),
            runner: self.options.runner.clone(),
        });
        let mut all = fresh;
        if all.is_empty() {
            // Files that were bad before still are: they were not read again because they did not change.
            for (path, blob) in self.snapshot.index.bad_files()? {
                let bytes = self.snapshot.repo.blob(blob, self.snapshot.config.limits.file_bytes);
                let Ok(bytes) = bytes else { continue };
                all.extend(crate::manifest::parse(&path, &bytes, &self.snapshot.config.limits).diagnostics);
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

    pub(super) fn planner<'s>(&self, runner: &'s str, now: Timestamp) -> PlannerTerms<'s> {
        let holding_back = self.summary.held_back > 0;
        PlannerTerms { runner, terms: self.terms, leaving: self.leaving, holding_back, now }
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
            let work = self.snapshot.index.work(self.clock.now())?;
            if !work.iter().all(|key| self.left_over.contains(key) || self.is_held_back(key)) {
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
            if let Some(deadline) = self.gathering() {
                self.gather(deadline, true).await;
                continue;
            }
            if !self.may_publish().await {
                continue;
            }
            if let Some(batch) = self.assemble()? {
                self.publish(batch).await?;
                continue;
            }
            let idle = self.attempts.is_idle() && self.polls.is_idle();
            if idle && self.pending.is_empty() && !self.active.values().any(ActiveExecution::has_news) {
                // What is left has no slot and will get none here, such as that of a provider whose limit is 0. It stays
                // in the index as work for the next reconcile.
                self.left_over.extend(std::mem::take(&mut self.active).into_keys());
                return Ok(());
            }
            self.wait().await?;
        }
    }

    /// How much of the allowed time is left.
    pub(super) fn left(&self) -> Option<Duration> {
        self.options.max_duration.map(|most| most.saturating_sub(self.begun.elapsed()))
    }

    /// Stops when asked to, or when the time is up.
    pub(super) fn heed_time(&mut self) {
        let asked = *self.stop.borrow();
        let late = self.left().is_some_and(|left| left.is_zero());
        let done = self.is_winding_down() && self.attempts.is_idle();
        if (asked || late || done) && !self.leaving {
            self.leaving = true;
            self.attempts.shut_down();
            self.polls.shut_down();
            for active in self.active.values_mut() {
                active.dirty = true;
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

    pub(super) fn take(&mut self, message: AttemptMessage) {
        match message {
            AttemptMessage::Ended(key, finished) => {
                self.attempts.ended(&key, &finished);
                if let Some(active) = self.active.get_mut(&key) {
                    active.finished.push(*finished);
                    active.dirty = true;
                }
            }
            AttemptMessage::Polled(key, looked) => self.take_look(&key, *looked),
            AttemptMessage::RemoteCancelled(key, node, done) => self.take_call_off(&key, node, done),
            line @ AttemptMessage::Line(..) => {
                if let Some(event) = line.into_event() {
                    self.tell(event);
                }
            }
        }
    }

    /// Whether a commit may go out now; on a remote, pushes are spaced. Waits for that, or for something to happen. The
    /// last word of a runner that leaves is not held back.
    async fn may_publish(&mut self) -> bool {
        let anything =
            self.active.values().any(|active| active.dirty || active.hungry) || !self.pending.is_empty();
        let left = self.left();
        let Some(bucket) = self.bucket.as_mut().filter(|_| anything && !self.leaving) else { return true };
        let pause = bucket.pause();
        if pause.is_zero() {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(left.map_or(pause, |left| pause.min(left))) => {}
            Some(message) = self.messages.recv() => self.take(message),
            _ = self.stop.changed() => {}
        }
        false
    }

    /// Waits for the next thing to happen.
    async fn wait(&mut self) -> Result<(), EngineError> {
        let now = self.clock.now();
        let every = if self.branches.remote().is_some() { REMOTE_POLL } else { LOCAL_POLL };
        let pause = self.until_due(now, every.saturating_sub(self.polled.elapsed()));
        let pause = self.left().map_or(pause, |left| pause.min(left)).max(Duration::from_millis(1));
        tokio::select! {
            Some(message) = self.messages.recv() => self.take(message),
            () = tokio::time::sleep(pause) => {}
            _ = self.stop.changed() => {}
        }
        self.wake_due(self.clock.now());
        if self.polled.elapsed() >= every {
            self.look().await?;
        }
        Ok(())
    }

    /// Brings the index to what was published.
    pub(super) fn catch_up(&mut self) -> Result<(), EngineError> {
        self.snapshot.advance()?;
        self.polls.times.save(self.clock.now());
        self.settle()
    }

    fn end(mut self) -> ReconcileSummary {
        let (count, waiting) = self.snapshot.index.waiting(WAITING_SHOWN).unwrap_or_default();
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
