//! The driver: the one owner of all run state. Takes in what changed, has it planned, publishes, starts what was
//! claimed, and waits for what happens next.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info, info_span, trace};

use super::shutdown::Shutdown;
use super::tips::TipReader;
use super::waits::lease::LeaseWaits;
use super::work_queue::WorkQueue;
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::EngineError;
use crate::engine::attempt::factory::AttemptFactory;
use crate::engine::attempt::running::Attempts;
use crate::engine::claimed::WorkFolders;
use crate::engine::clock::Clock;
use crate::engine::commit::lane::CommitLane;
use crate::engine::commit::pacing::PushLimiter;
use crate::engine::commit::packing::Packing;
use crate::engine::execution::active::terms;
use crate::engine::execution::step::PlannerTerms;
use crate::engine::inputs::{EventSink, ReconcileInputs, ReconcileOptions, ReconcileSummary};
use crate::engine::message::AttemptMessage;
use crate::engine::remote_work::poll_times::PollTimes;
use crate::engine::remote_work::polls::Polls;
use crate::engine::snapshot::Snapshot;
use crate::event::Event;
use crate::manifest::codes;
use crate::model::after;
use crate::provider::Registry;

/// What is due within this time, a little longer than retries are waited for, has to be planned by this reconcile.
const SOON: Duration = Duration::from_secs(120);
/// A runner that leaves after a lost race tries again after this time at the latest.
const LAST_BACKOFF: Duration = Duration::from_millis(100);
/// How many waiting things are named at the end.
const WAITING_SHOWN: usize = 50;

/// The driver of one reconcile.
pub(super) struct Driver<'a> {
    registry: Box<dyn Fn(&Config) -> Registry + 'a>,
    pub(super) tips: TipReader,
    pub(super) snapshot: Snapshot,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: ReconcileOptions,
    pub(super) queue: WorkQueue,
    pub(super) lane: CommitLane,
    pub(super) shutdown: Shutdown,
    pub(super) lease_waits: LeaseWaits,
    pub(super) packing: Packing,
    /// When nothing moved by itself any more, if this reconcile came to that.
    pub(super) settled_at: Option<Timestamp>,
    pub(super) attempts: Attempts,
    pub(super) polls: Polls,
    pub(super) messages: mpsc::UnboundedReceiver<AttemptMessage>,
    pub(super) sink: EventSink<'a>,
    pub(super) summary: ReconcileSummary,
}

/// Reconciles until nothing more can progress without the outside world.
///
/// # Errors
/// Git, the index, an invalid configuration. Bad manifests and failed executions are in the summary.
pub async fn reconcile(
    inputs: ReconcileInputs<'_>,
    options: ReconcileOptions,
) -> Result<ReconcileSummary, EngineError> {
    let mut driver = Driver::begin(inputs, options)?;
    if driver.options.dry_run {
        driver.foresee().await?;
        return Ok(driver.summary);
    }
    if !driver.is_late()? {
        driver.run().await?;
    }
    Ok(driver.end())
}

/// How many attempts run here at once.
fn jobs_of(config: &Config, options: &ReconcileOptions) -> usize {
    let configured = config.jobs.map(|jobs| jobs as usize);
    options.jobs.or(configured).unwrap_or(options.default_jobs)
}

impl<'a> Driver<'a> {
    fn begin(inputs: ReconcileInputs<'a>, options: ReconcileOptions) -> Result<Self, EngineError> {
        let ReconcileInputs { branches, mut index, registry, clock, stop, mut sink } = inputs;
        let tips = branches.tips_in_force()?;
        // The loop has a handle of its own: libgit2 lets one thread at a time use one, and publishing and
        // asking a remote happen on other threads.
        let repo = branches.repo().reopen()?;
        let cache = repo.cache_dir();
        let folders = WorkFolders {
            here: options.work_here.clone(),
            root: options.work_dir.clone(),
            bucket: options.bucket.clone(),
        };
        let factory = AttemptFactory::of_runner(&branches, &tips.config, &folders, &clock);
        for warning in &tips.warnings {
            sink(Event::Diagnostic(Box::new(warning.clone())));
        }
        // From the configuration of the desired commit, never from a working tree (Invariant 7): the list of
        // allowed providers must not come from the change that wants to use one.
        let providers = registry(&tips.config);
        let jobs = jobs_of(&tips.config, &options);
        // A writable index takes a lock and a transaction. One with nothing to plan is only read, unless this reconcile
        // goes on for longer than that holds.
        let soon = after(clock.now(), SOON);
        if options.watch.is_some() || index.is_busy(soon)? || index.is_ahead_of(clock.now())? {
            index.make_writable()?;
        }
        let (snapshot, diagnostics) = Snapshot::open(repo, index, tips, branches.remote().cloned())?;
        let (attempts, messages) =
            Attempts::new(jobs, Arc::clone(&clock), providers, factory, options.stream_output);
        let polls = Polls::beside(&attempts, PollTimes::load(&cache, clock.now()));
        let limiter = PushLimiter::new(&snapshot.config, branches.remote().is_some());
        let mut driver = Self {
            registry,
            tips: TipReader::new(branches, Arc::clone(&clock)),
            snapshot,
            clock,
            queue: WorkQueue::default(),
            lane: CommitLane::new(limiter),
            shutdown: Shutdown::new(stop, options.max_duration),
            lease_waits: LeaseWaits::default(),
            packing: Packing::default(),
            settled_at: None,
            options,
            attempts,
            polls,
            messages,
            sink,
            summary: ReconcileSummary::default(),
        };
        let tip = driver.snapshot.status.commit;
        // Before the first push. A job that begins right after another would else have a fresh burst, while
        // the host counts the pushes of both.
        driver.lane.count_history(&driver.snapshot.repo, tip, driver.clock.now())?;
        driver.announce(diagnostics)?;
        Ok(driver)
    }

    /// Goes by a configuration that was merged meanwhile. What runs already is left alone.
    pub(super) fn reconfigure(&mut self) {
        let config = &self.snapshot.config;
        let jobs = jobs_of(config, &self.options);
        info!(desired = %self.snapshot.desired.id, jobs, "take in a changed configuration");
        // Also the providers: one that was taken off the list must start nothing more, however long this process runs.
        let providers = (self.registry)(config);
        self.polls.reconfigure(providers.clone());
        self.attempts.reconfigure(providers, jobs);
        self.lane.reconfigure(config);
        self.queue.touch_all();
    }

    /// Says at which commits a pass begins, and what is wrong with the manifests there.
    pub(super) fn announce(&mut self, fresh: Vec<Diagnostic>) -> Result<(), EngineError> {
        let desired = self.snapshot.desired.id;
        let status = self.snapshot.status.commit;
        info!(%desired, status = status.map(tracing::field::display), runner = self.options.runner, "start pass");
        self.emit(Event::PassStarted {
            at: self.clock.now(),
            desired: desired.to_string(),
            status: status.map(|id| id.to_string()),
            runner: self.options.runner.clone(),
            dry_run: self.options.dry_run,
        });
        let mut all = fresh;
        // Files that were bad before still are: the advance did not read them, because they did not change. That a file
        // declares what another one declares is known only once both are read.
        let read: HashSet<String> = all.iter().map(|found| found.location.path.clone()).collect();
        let mut known = self.snapshot.index.findings(&self.snapshot.repo, &self.snapshot.config.limits)?;
        known.retain(|found| found.code == codes::DUPLICATE_RESOURCE || !read.contains(&found.location.path));
        all.append(&mut known);
        self.summary.invalid = all.iter().filter(|found| found.severity == Severity::Error).count();
        for diagnostic in all {
            self.emit(Event::Diagnostic(Box::new(diagnostic)));
        }
        Ok(())
    }

    pub(super) fn emit(&mut self, event: Event) {
        (self.sink)(event);
    }

    pub(super) fn planner<'s>(&self, runner: &'s str, now: Timestamp) -> PlannerTerms<'s> {
        let leaving = self.shutdown.is_leaving();
        let holding_back = self.summary.held_back > 0;
        PlannerTerms { runner, terms: terms(&self.snapshot), leaving, holding_back, now }
    }

    async fn run(&mut self) -> Result<(), EngineError> {
        loop {
            self.take_work()?;
            self.work().await?;
            // Once a round and not once a commit: bringing the index up to date is a write transaction.
            self.catch_up()?;
            if self.shutdown.is_leaving() {
                self.summary.interrupted = true;
                return Ok(());
            }
            let now = self.clock.now();
            let work = self.snapshot.index.work(now)?;
            // What is left over or held back stays work in the index. Counted here, it would keep this
            // reconcile busy for ever.
            if !work.iter().all(|key| self.queue.is_left_over(key) || self.is_held_back(key)) {
                debug!(resources = work.len(), "plan what has become due");
                continue;
            }
            if !self.idle(now).await? {
                return Ok(());
            }
        }
    }

    /// Works until nothing moves by itself.
    async fn work(&mut self) -> Result<(), EngineError> {
        loop {
            // Before anything is planned: once asked to stop, this very round gives leases back instead of
            // claiming more.
            self.check_shutdown();
            // Not only when idle: with other work under way, or while pushes are spaced, it may not come to that for long.
            self.attempts.health().try_again(Instant::now());
            // Before planning, so that ends which came together go into one commit.
            self.drain();
            if self.tips.is_stale(terms(&self.snapshot).duration / 3) {
                // After a gap, such as a suspended machine, others may have taken over what this process thinks it holds.
                self.read_tips().await?;
            }
            self.attempts.pump();
            // The record still names this runner as the holder, so planning takes the lease for usable. Only
            // a renewal moves the fence.
            for key in self.attempts.take_renewals() {
                self.queue.renew_now(&key, self.clock.now());
            }
            if let Some(deadline) = self.gathering() {
                self.gather(deadline, self.lane.lead_time()).await;
                continue;
            }
            if !self.may_publish().await? {
                continue;
            }
            self.bring_in_history().await?;
            if let Some(commit) = self.assemble()? {
                self.publish(commit).await?;
                continue;
            }
            // A whole window of Executions may have nothing to say, and those behind them need not wait for anything.
            if self.snapshot.merged.is_wanted() || self.queue.has_place() {
                continue;
            }
            let idle = self.attempts.is_idle() && self.polls.is_idle();
            if idle && !self.queue.has_news() {
                // What is left has no slot and will get none here, such as that of a provider whose limit is 0. It stays
                // in the index as work for the next reconcile.
                self.queue.leave_over();
                return Ok(());
            }
            self.wait().await?;
        }
    }

    /// Stops when asked to, or when the time is up.
    pub(super) fn check_shutdown(&mut self) {
        let given_up = self.summary.runner_fault.is_some() && self.options.watch.is_none();
        if self.shutdown.begin_if_due(self.attempts.is_idle(), given_up) {
            self.attempts.shut_down();
            self.polls.shut_down();
            // Every lease that is held has to be given back.
            self.queue.touch_all();
        }
    }

    /// This machine failed twice in a row, so that nothing is claimed any more: by a runner that stays, for a while.
    fn note_illness(&mut self, cause: &str) {
        let message =
            match self.attempts.health().pause(Instant::now()).filter(|_| self.options.watch.is_some()) {
                Some(pause) => {
                    let pause = pause.as_secs_f64().ceil();
                    format!("this machine cannot do the work; nothing is claimed for {pause} s: {cause}")
                }
                None => format!("this machine cannot do the work; nothing more is claimed: {cause}"),
            };
        self.summary.runner_fault = Some(cause.to_owned());
        self.emit(Event::Note { message });
    }

    /// Takes in, without waiting, what attempts have sent.
    fn drain(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            self.take(message);
        }
    }

    pub(super) fn take(&mut self, message: AttemptMessage) {
        match message {
            AttemptMessage::Ended(key, end) => {
                if let Some(cause) = self.attempts.ended(&key, &end) {
                    self.note_illness(&cause);
                }
                if let Some(active) = self.queue.get_mut(&key) {
                    // Kept until a commit that holds it is on the branch: after a lost race the step is
                    // planned anew from this list.
                    active.finished.push(*end);
                    active.dirty = true;
                } else {
                    debug!(execution = %key, node = %end.attempt.node, "drop the end of an attempt that nobody waits for");
                }
            }
            AttemptMessage::Polled(key, result) => self.take_poll_result(&key, *result),
            AttemptMessage::RemoteCancelled(key, uid, node, done) => {
                self.take_cancel_result(&key, &uid, node, done);
            }
            AttemptMessage::Line(key, node, line) => self.emit(Event::Output { key, node, line }),
        }
    }

    /// Whether a commit may go out now; on a remote, pushes are spaced. Waits for that, or for something to happen.
    async fn may_publish(&mut self) -> Result<bool, EngineError> {
        let anything = self.queue.has_work() || !self.lane.unpublished().is_empty();
        // The last commit of a runner that leaves gives its leases back: held back, it would make every other wait.
        if self.shutdown.is_leaving() || !anything {
            let backoff = self.lane.backoff().min(LAST_BACKOFF);
            // A sleep of no time takes up to a millisecond.
            if !backoff.is_zero() {
                tokio::time::sleep(backoff).await;
            }
            return Ok(true);
        }
        // Others go on meanwhile, so that the tip which this race was lost to is not the newest any more.
        if self.lane.take_backoff_over() {
            self.read_tips().await?;
            return Ok(false);
        }
        let backoff = self.lane.backoff();
        // A renewal that waits behind the limit loses the lease of a healthy runner. What waits with it goes along.
        let renewal = backoff.is_zero() && self.queue.renewal_due(self.clock.now());
        let pause = self.lane.pause().max(backoff);
        let spacing = self.lane.spacing();
        if pause.max(spacing).is_zero() || renewal {
            return Ok(true);
        }
        // Slots need not idle until the next push: what may start under the published lease alone starts now (Invariant 4).
        let ahead = self.go_ahead().await?;
        if ahead.started {
            return Ok(false);
        }
        // Only what went ahead waits for the spacing, and no work waits for that.
        let awaited = self.is_awaited(ahead);
        if pause.is_zero() && awaited {
            return Ok(true);
        }
        let pause = if awaited { pause } else { pause.max(spacing) };
        debug!(pause_ms = pause.as_millis(), awaited, "wait: the limit of pushes is reached");
        // Renewals do not wait for the limit, and a cancellation has to be seen in time: both end the pause
        // early.
        let pause = self.queue.until_due(self.clock.now(), pause.min(self.tips.until_due()));
        self.wait_for_message(pause.max(Duration::from_millis(1))).await;
        self.queue.wake_due(self.clock.now());
        if !self.tips.is_fresh() {
            self.read_tips().await?;
        }
        Ok(false)
    }

    /// Waits for a message or a request to stop, at most for `pause` and for what is left of the allowed time.
    async fn wait_for_message(&mut self, pause: Duration) {
        // `recv` may be dropped half-way: a message that loses against the timer stays in the channel.
        let message = tokio::select! {
            biased;
            message = self.messages.recv() => message,
            () = tokio::time::sleep(self.shutdown.limit(pause)) => None,
            () = self.shutdown.requested() => None,
        };
        if let Some(message) = message {
            self.take(message);
        }
    }

    /// Waits for the next thing to happen.
    async fn wait(&mut self) -> Result<(), EngineError> {
        let pause = self.queue.until_due(self.clock.now(), self.tips.until_due());
        // A time that is due and changes nothing must not turn the loop into a busy one.
        let pause = pause.max(Duration::from_millis(1));
        trace!(pause_ms = pause.as_millis(), attempts = self.attempts.running(), "wait for the next event");
        self.wait_for_message(pause).await;
        self.queue.wake_due(self.clock.now());
        // A cancellation, a takeover or a merge does not wake this process, so the branches are read although
        // nothing happens here.
        if !self.tips.is_fresh() {
            self.read_tips().await?;
        }
        Ok(())
    }

    /// Brings the index to what was published.
    pub(super) fn catch_up(&mut self) -> Result<(), EngineError> {
        let _span = info_span!("catch_up").entered();
        self.snapshot.advance()?;
        // Neither of these files holds truth (Invariant 1): killed before here, the next run polls early and
        // waits longer for a lease of another runner.
        self.polls.save_times(self.clock.now());
        self.snapshot.sightings.save();
        self.snapshot.merged.save();
        self.save_waits()
    }

    fn end(mut self) -> ReconcileSummary {
        let (count, waiting) = self.snapshot.index.waiting(WAITING_SHOWN).unwrap_or_default();
        self.summary.waiting_count = count;
        self.summary.waiting.clone_from(&waiting);
        self.summary.next_due = self.next_due().ok().flatten();
        self.summary.started = self.attempts.started();
        self.summary.runner_fault = self.attempts.health().illness().map(str::to_owned);
        let finished = Event::Finished {
            at: self.clock.now(),
            commits: self.summary.commits,
            started: self.summary.started,
            waiting,
            failed: self.summary.failed.clone(),
        };
        info!(commits = self.summary.commits, started = self.summary.started, waiting = count, "end pass");
        self.emit(finished);
        self.summary
    }
}
