//! What one of several runners takes of the work that they share.

/// While runners turn up, one takes at most one part in this many of what is free.
const NEWCOMERS: usize = 4;

/// The open Executions, as a runner sees them when it publishes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedWork {
    /// How many have something to do, whoever leases them.
    pub(crate) open: usize,
    /// How many of those nobody leases.
    pub(crate) free: usize,
    /// How many tasks of these have not ended.
    pub(crate) free_tasks: usize,
    /// How many runners are known, this one included.
    pub(crate) runners: usize,
    /// Whether one of them was not known a moment ago, so that more may come.
    pub(crate) is_growing: bool,
}

impl SharedWork {
    /// How many Executions the runner leases at most. What it has above that goes back with its next publication, which is when
    /// others are seen that came after it.
    pub(crate) fn share(&self) -> usize {
        // Among several, a share stays free: a runner is seen by what it publishes, so one that comes late and finds nothing
        // free would never be seen, and nobody would give anything back.
        self.open.div_ceil(if self.runners > 1 { self.runners + 1 } else { 1 })
    }

    /// How many Executions the runner takes up at most with one publication.
    pub(crate) fn intake(&self) -> usize {
        if self.runners < 2 {
            return self.free;
        }
        // All of them are about to have a turn. At the end of the work, what is left would else be done by whoever is first,
        // while the others have nothing to do.
        let part = (2 * self.free).div_ceil(self.runners);
        // Of sixteen that begin at the same time, the first sees one other, and would take a third.
        if self.is_growing { part.min(self.free.div_ceil(NEWCOMERS)) } else { part }
    }

    /// How many tasks a runner takes up at least with one publication, if in the time that everybody waits for a push more it does
    /// so many of them.
    pub(crate) fn worth_a_push(&self, per_push: usize) -> usize {
        // Taken by k runners, the work ends after one part in k of its time, and they push k times more. The sum is least where k
        // is the root of what is free, in pushes.
        let takers = (self.free_tasks / per_push.max(1)).isqrt().max(1);
        self.free_tasks.div_ceil(takers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(free: usize, runners: usize, is_growing: bool) -> SharedWork {
        SharedWork { open: 200, free, free_tasks: 5 * free, runners, is_growing }
    }

    #[test]
    fn several_runners_leave_a_share_to_one_that_is_still_to_come() {
        let share = |open, runners| SharedWork { open, ..work(0, runners, false) }.share();
        assert_eq!(share(200, 1), 200);
        assert_eq!([share(200, 2), share(200, 16), share(1, 16)], [67, 12, 1]);
    }

    #[test]
    fn one_that_is_alone_takes_what_it_can_do() {
        assert_eq!(work(200, 1, false).intake(), 200);
    }

    #[test]
    fn of_two_that_know_each_other_each_takes_up_its_whole_share() {
        assert_eq!(work(200, 2, false).intake(), 200);
        assert_eq!(work(200, 2, true).intake(), 50);
    }

    #[test]
    fn what_is_left_at_the_end_is_split_among_all() {
        assert_eq!(work(19, 16, false).intake(), 3);
        assert_eq!(work(1, 16, false).intake(), 1);
        assert_eq!(work(0, 16, false).intake(), 0);
    }

    #[test]
    fn what_is_left_goes_to_so_few_that_their_pushes_are_worth_it() {
        // Of 37 Executions of 5 tasks, 20 of which it does while everybody waits for a push.
        assert_eq!([37, 24, 12, 1, 0].map(|free| work(free, 16, false).worth_a_push(20)), [62, 60, 60, 5, 0]);
        assert_eq!(work(200, 16, false).worth_a_push(0), 33, "tasks that take longer than that");
    }

    #[test]
    fn of_sixteen_that_begin_at_once_each_finds_something_free() {
        for all in [200, 1_000] {
            let mut free: usize = all;
            let mut taken = Vec::new();
            for runners in 2..=17 {
                let work = SharedWork { open: all, free, ..work(free, runners, true) };
                let most = work.share().min(work.intake());
                free -= most;
                taken.push(most);
            }
            assert!(taken.iter().all(|&most| most > 0), "{all}: {taken:?}");
        }
    }
}
