//! When commits go out: a limit of pushes to a remote, and the share of the time that publishing may take locally.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;

/// Who made a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushedBy {
    /// A runner, which waits for its turn.
    Runner,
    /// A person who decided something, which waits for nobody.
    Person,
}

/// So many tokens are kept for what somebody waits for, such as a question, or the end of all work.
const RESERVE: f64 = 2.0;

/// What may happen at once, and what comes back of it with time.
#[derive(Debug)]
struct TokenBucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    last: Instant,
}

impl TokenBucket {
    /// A full one.
    fn new(burst: f64, per_second: f64) -> Self {
        Self { tokens: burst, burst, per_second, last: Instant::now() }
    }

    /// How long until there is a token.
    fn pause(&mut self, now: Instant) -> Duration {
        self.refill(now.saturating_duration_since(self.last));
        self.last = now;
        Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / self.per_second)
    }

    /// Puts back what was not used.
    fn put_back(&mut self, tokens: f64) {
        self.tokens = (self.tokens + tokens).min(self.burst);
    }

    /// Takes so many tokens, without a debt, and leaves `kept`.
    fn spend(&mut self, tokens: usize, kept: f64) {
        self.tokens = (self.tokens - tokens as f64).max(kept);
    }

    fn refill(&mut self, elapsed: Duration) {
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.per_second).min(self.burst);
    }
}

/// Spaces pushes to a remote. Hosts count the pushes to a repository, whoever makes them, so the budget is shared: every runner
/// takes from its own copy what it reads of the others' commits.
#[derive(Debug)]
pub(crate) struct PushLimiter {
    bucket: TokenBucket,
    /// Before this time it is another runner's turn.
    not_before: Option<Instant>,
    /// What the last push of this runner took.
    taken: f64,
}

impl PushLimiter {
    /// The limiter of a repository; none where it has no remote.
    pub(crate) fn new(config: &Config, remote: bool) -> Option<Self> {
        // Zero would divide by zero in `window`, and make a runner that can never push.
        let burst = f64::from(config.publish.burst.max(1));
        let per_second = f64::from(config.publish.per_minute.max(1)) / 60.0;
        // No host counts what happens in a local repository.
        remote.then(|| Self { bucket: TokenBucket::new(burst, per_second), not_before: None, taken: 0.0 })
    }

    /// Takes in other limits, with what is left of the budget.
    pub(crate) fn reconfigure(&mut self, config: &Config) {
        if let Some(Self { bucket: new, .. }) = Self::new(config, true) {
            let bucket = &mut self.bucket;
            (bucket.burst, bucket.per_second) = (new.burst, new.per_second);
            bucket.tokens = bucket.tokens.min(bucket.burst);
        }
    }

    /// How far back a push still counts.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs_f64(self.bucket.burst / self.bucket.per_second)
    }

    /// Takes in how long ago pushes were made before this process began, and by whom, the oldest first.
    pub(crate) fn replay(&mut self, pushes: &[(Duration, PushedBy)]) {
        let mut before = self.window();
        for &(age, by) in pushes {
            self.bucket.refill(before.saturating_sub(age));
            before = age;
            self.spend(1, by);
        }
        self.bucket.refill(before);
    }

    /// How long to wait before the next push.
    pub(crate) fn pause(&mut self, now: Instant) -> Duration {
        let turn = self.not_before.map(|at| at.saturating_duration_since(now)).unwrap_or_default();
        turn.max(self.bucket.pause(now))
    }

    /// For how long each of so many runners lets gather what nobody waits for. With tokens to spare not at all; the fewer are
    /// left, the longer, until it is the time in which each of them gets a new one.
    pub(crate) fn spacing(&mut self, now: Instant, runners: usize) -> Duration {
        self.pause(now);
        let TokenBucket { tokens, burst, .. } = self.bucket;
        // Half of a burst; and for every runner one push for what it begins, and one for what came of it.
        let plenty = (burst / 2.0).max(2.0 * runners as f64);
        let reserve = RESERVE.min(burst / 4.0);
        let missing = ((plenty - tokens) / (plenty - reserve)).clamp(0.0, 1.0);
        self.round(runners).mul_f64(missing)
    }

    /// For how long everybody waits for one push more, where tokens run short for so many runners.
    pub(crate) fn price(&mut self, now: Instant, runners: usize) -> Option<Duration> {
        (!self.spacing(now, runners).is_zero()).then(|| self.round(1))
    }

    /// How long it takes until each of so many runners has had a token.
    pub(crate) fn round(&self, runners: usize) -> Duration {
        Duration::from_secs_f64(runners as f64 / self.bucket.per_second)
    }

    /// Takes the token for a push. A renewal goes out without one, and is not paid for later.
    pub(crate) fn take(&mut self, now: Instant) {
        self.pause(now);
        let before = self.bucket.tokens;
        self.spend(1, PushedBy::Runner);
        self.taken = before - self.bucket.tokens;
        // The lot was drawn for this push. The next one is drawn when others have pushed again.
        self.not_before = None;
    }

    /// The push that began last lost its race. Git asks the remote first where its reference is, and has sent nothing.
    pub(crate) fn put_back(&mut self) {
        // Not a whole one for a renewal, which took what there was.
        self.bucket.put_back(std::mem::take(&mut self.taken));
    }

    /// Takes in that others pushed. All runners see the next token at the same moment: a random wait keeps one of them
    /// from winning every time, and the others from pushing in vain.
    pub(crate) fn count_others(&mut self, pushes: usize, now: Instant, jitter: f64) {
        self.pause(now);
        self.spend(pushes, PushedBy::Runner);
        let bucket = &self.bucket;
        // With tokens left nobody waits for the next one, so there is nothing to draw lots about.
        if bucket.tokens < 1.0 {
            // At most half the time of a token, which is less than what is waited for anyway.
            let next = (1.0 - bucket.tokens + jitter / 2.0) / bucket.per_second;
            self.not_before = Some(now + Duration::from_secs_f64(next));
        }
    }

    /// Takes in that people decided something so often. They wait for nobody and draw no lots: whoever waits for the next token
    /// gets it at the same time as without them.
    pub(crate) fn count_decisions(&mut self, pushes: usize, now: Instant) {
        self.pause(now);
        self.spend(pushes, PushedBy::Person);
    }

    fn spend(&mut self, pushes: usize, by: PushedBy) {
        // People are paid from what was saved, and never from the token that a runner waits for: somebody who answers question
        // after question would stop all work. Nor is there ever a debt: renewals go out without a token, and one from them would
        // silence the runner for minutes.
        let kept = match by {
            PushedBy::Runner => 0.0,
            PushedBy::Person => self.bucket.tokens.min(1.0),
        };
        self.bucket.spend(pushes, kept);
    }
}

/// Spaces the commits of a local repository while work goes ahead of them, and only then: nothing waits for this. A commit takes
/// longer than many a task: of a chain of short ones, two fifths of the time went into a commit for each.
#[derive(Debug)]
pub(crate) struct LocalPace(TokenBucket);

/// How many commits of a local repository may follow each other without a pause.
const LOCAL_BURST: f64 = 30.0;
/// And how many a second after those. What went ahead of its commit and is not known after a crash is 50 ms of work; where commits
/// take long, five times as long as one takes, so that publishing takes the share of the time that it takes elsewhere.
const LOCAL_RATE: f64 = 20.0;

impl LocalPace {
    pub(crate) fn new() -> Self {
        Self(TokenBucket::new(LOCAL_BURST, LOCAL_RATE))
    }

    /// How long work may go ahead of the next commit, where one takes so long.
    pub(crate) fn pause(&mut self, now: Instant, commit: CommitPacer) -> Duration {
        // Of a plan of 10,000 nodes in layers, two thirds of our own processor time went into 20 commits a second, most of each into
        // trees that the next one makes again.
        self.0.per_second = LOCAL_RATE.min(1.0 / commit.gathering().as_secs_f64().max(0.001));
        self.0.pause(now)
    }

    /// Counts a commit.
    pub(crate) fn take(&mut self, now: Instant, commit: CommitPacer) {
        self.pause(now, commit);
        self.0.spend(1, 0.0);
    }
}

/// How long the last publications took, and when the last one ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitPacer {
    mean: Duration,
    last: Option<Instant>,
}

/// Publishing takes about one part in this many of the time, as long as no slot waits for it.
const SHARE: u32 = 6;
/// The longest that ends of attempts gather before they are published.
const LONGEST_GATHERING: Duration = Duration::from_millis(500);

impl CommitPacer {
    pub(crate) fn new() -> Self {
        // A guess for the first commit; half of it is gone with the first one that is measured.
        Self { mean: Duration::from_millis(5), last: None }
    }

    /// How long a publication takes.
    pub(crate) fn mean(self) -> Duration {
        self.mean
    }

    /// How long it takes from one publication to the end of the next, when ends of attempts gather in between.
    pub(crate) fn cycle(self) -> Duration {
        self.mean + self.gathering()
    }

    /// How long ends of attempts gather at most.
    fn gathering(self) -> Duration {
        (self.mean * (SHARE - 1)).min(LONGEST_GATHERING)
    }

    /// Until when ends of attempts gather.
    pub(crate) fn next(self) -> Option<Instant> {
        Some(self.last? + self.gathering())
    }

    pub(crate) fn took(&mut self, since: Instant) {
        self.tried(since);
        self.last = Some(Instant::now());
    }

    /// One did not get through, and took as long as one that does.
    pub(crate) fn tried(&mut self, since: Instant) {
        // The last one weighs half, so that a disk that turns slow is followed within a few commits.
        self.mean = (self.mean + since.elapsed()) / 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter() -> PushLimiter {
        PushLimiter::new(&Config::default(), true).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_goes_out_at_once_and_then_six_a_minute() {
        let mut limiter = limiter();
        let now = Instant::now();
        for _ in 0..30 {
            assert_eq!(limiter.pause(now), Duration::ZERO);
            limiter.take(now);
        }
        assert!(limiter.pause(now) > seconds(9));
        assert_eq!(limiter.pause(now + seconds(11)), Duration::ZERO);
    }

    #[test]
    fn pushes_of_other_runners_are_taken_from_the_same_budget() {
        let mut limiter = limiter();
        let now = Instant::now();
        limiter.count_others(29, now, 0.0);
        assert_eq!(limiter.pause(now), Duration::ZERO);
        limiter.take(now);
        assert!(limiter.pause(now) > seconds(9));
    }

    #[test]
    fn after_anothers_push_the_turn_is_drawn_by_lot() {
        let mut limiter = limiter();
        let now = Instant::now();
        limiter.count_others(40, now, 0.8);
        assert!(limiter.pause(now + seconds(11)) > seconds(2));
        assert_eq!(limiter.pause(now + seconds(15)), Duration::ZERO);
    }

    #[test]
    fn what_was_pushed_before_this_process_began_counts() {
        let mut fresh = limiter();
        fresh.replay(&[(seconds(1), PushedBy::Runner); 30]);
        assert!(fresh.pause(Instant::now()) > seconds(8));
        let mut old = limiter();
        old.replay(&[(seconds(299), PushedBy::Runner); 30]);
        assert_eq!(old.pause(Instant::now()), Duration::ZERO);
        let mut decided = limiter();
        decided.replay(&[(seconds(1), PushedBy::Person); 60]);
        assert_eq!(decided.pause(Instant::now()), Duration::ZERO);
        assert!(decided.spacing(Instant::now(), 1) > seconds(9), "what was saved is spent");
    }

    #[test]
    fn the_fewer_tokens_are_left_the_longer_what_nobody_waits_for_gathers() {
        let mut limiter = limiter();
        let now = Instant::now();
        let mut spacing = Vec::new();
        for _ in 0..30 {
            spacing.push(limiter.spacing(now, 1));
            limiter.take(now);
        }
        assert!(spacing[..=15].iter().all(Duration::is_zero), "half of a burst goes out at once");
        assert!(spacing[15..].is_sorted());
        // Two are left for what somebody waits for: from here on, no more is spent than comes back.
        assert_eq!(spacing[28..], [seconds(10), seconds(10)]);
    }

    #[test]
    fn tokens_are_saved_until_every_runner_has_had_two() {
        let mut limiter = limiter();
        let now = Instant::now();
        assert!(limiter.spacing(now, 15).is_zero() && !limiter.spacing(now, 16).is_zero());
        limiter.count_others(16, now, 0.0);
        // What each took up at first lasts for longer than half a minute.
        assert!(limiter.spacing(now, 16) > seconds(60));
        assert_eq!(limiter.round(16), seconds(160));
    }

    #[test]
    fn a_push_that_lost_its_race_costs_no_token() {
        let mut limiter = limiter();
        let now = Instant::now();
        for _ in 0..100 {
            limiter.take(now);
            limiter.put_back();
        }
        assert!(limiter.pause(now).is_zero() && limiter.spacing(now, 1).is_zero());
        limiter.count_others(30, now, 0.0);
        limiter.take(now);
        limiter.put_back();
        assert!(!limiter.pause(now).is_zero(), "a renewal took none");
    }

    #[test]
    fn a_local_repository_takes_a_burst_and_then_twenty_commits_a_second() {
        let mut pace = LocalPace::new();
        let now = Instant::now();
        let commit = |mean| CommitPacer { mean: Duration::from_millis(mean), last: None };
        for _ in 0..30 {
            assert_eq!(pace.pause(now, commit(2)), Duration::ZERO);
            pace.take(now, commit(2));
        }
        // Five times as long as a commit takes, and never longer than half a second.
        for (mean, expected) in [(0, 50), (2, 50), (10, 50), (40, 200), (90, 450), (5_000, 500)] {
            let pause = pace.pause(now, commit(mean)).as_millis();
            assert!(pause > expected * 9 / 10 && pause <= expected, "{mean}: {pause}");
        }
        assert_eq!(pace.pause(now + Duration::from_millis(51), commit(2)), Duration::ZERO);
    }

    #[test]
    fn a_local_repository_has_no_limiter() {
        assert!(PushLimiter::new(&Config::default(), false).is_none());
    }
}
