//! The engine: drives Executions from the desired state and writes what happens to the status branch. The only place
//! where planning, providers, Git and the clock meet; what outputs see of it is `event`.

mod answers;
mod assemble;
mod attempts;
mod batch;
mod capabilities;
mod clock;
mod collect;
mod dashboard;
mod decide;
mod driver;
mod elsewhere;
mod error;
mod exclusion;
mod gates;
mod intake;
mod kinds;
mod live;
mod loaded;
mod look_again;
mod manifest_change;
mod metadata;
mod options;
mod parts;
mod pending;
mod pin;
mod polls;
mod publish;
mod publisher;
mod request;
mod rest;
mod resting;
mod site;
mod surroundings;
mod waiting;
mod workspace;
mod world;

pub use clock::{Clock, SystemClock};
pub use collect::{Collected, collect};
pub use decide::{Decider, Decision, Recorded, decide};
pub use driver::reconcile;
pub use error::EngineError;
pub use options::ReconcileOptions;
pub use parts::{Parts, Sink, Summary};
pub use site::{Published, Site, Tips, status_ref};
