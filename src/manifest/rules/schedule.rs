//! The rules of a Schedule: a cron expression that can be read, a time zone that exists, one thing to run.

use crate::manifest::problem::Problem;
use crate::manifest::{codes, suggest};
use crate::model::ScheduleSpec;
use crate::run::cron::{CronError, CronTimes, zone_names};

pub(super) fn check(spec: &ScheduleSpec, problems: &mut Vec<Problem>) {
    match CronTimes::new(&spec.cron, spec.time_zone.as_deref()) {
        Ok(_) => {}
        Err(CronError::Expression { why, field }) => {
            let hint = "as in `30 2 * * 1-5`: at 02:30 from Monday to Friday".to_owned();
            let problem = Problem::new(codes::BAD_SCHEDULE, "/spec/cron", why).hint(hint);
            problems.push(match field {
                Some(field) => problem.part(field),
                None => problem,
            });
        }
        Err(error @ CronError::Zone(_)) => {
            let names = zone_names();
            let word = spec.time_zone.as_deref().unwrap_or_default();
            let hint = suggest::did_you_mean(word, names.iter().map(String::as_str))
                .or_else(|| Some("use an IANA name such as `Europe/Berlin` or `UTC`".to_owned()));
            problems.push(Problem::new(codes::BAD_SCHEDULE, "/spec/timeZone", error.to_string()).hint(hint));
        }
    }
    // Not in the schema, whose message would say "matches both" or "matches none".
    let problem = match (&spec.plan_ref, &spec.goal_ref) {
        (Some(_), Some(_)) => {
            Problem::new(codes::CONFLICTING_FIELDS, "/spec/goalRef", "`goalRef` does not go with `planRef`")
                .at_key()
        }
        (None, None) => {
            Problem::new(codes::MISSING_FIELD, "/spec", "has neither `planRef` nor `goalRef`").at_start()
        }
        _ => return,
    };
    problems.push(problem.hint("name the plan to run, or the goal whose active plan is run".to_owned()));
}
