//! Goals: which plan serves one, and where it stands (design section 5).

mod select;
mod status;
mod version;

pub use select::{Candidate, GoalView, PlanView, Selection, Standing, select_plan};
pub use status::{RunView, deadline, goal_status};
pub use version::compare_versions;
