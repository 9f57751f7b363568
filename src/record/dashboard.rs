//! The dashboard.
/// What the dashboard shows.
#[derive(Debug, Clone)]
pub struct DashboardInput;
