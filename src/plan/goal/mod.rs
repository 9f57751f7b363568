//! Goals: which plan serves one, and where it stands.

mod select;
mod status;
mod version;

pub(crate) use select::{GoalView, PlanView, is_meant_for, select_plan};
pub(crate) use status::{RunView, deadline, goal_status};
