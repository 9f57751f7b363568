//! The dashboard.
/// What the dashboard shows.
#[derive(Debug, Clone)]
pub struct DashboardInput;
/// The dashboard.
pub fn dashboard(_: &DashboardInput) -> String {
    String::new()
}
