//! Property tests of conversations against the real liminal bus and real connections, in virtual time.
#![forbid(unsafe_code)]

mod diagram;
mod failure;
mod mark;
mod opener;
mod plan;
mod promises;
mod property;
mod scenario;
mod sim;
mod swarm;
mod tape;
mod world;
pub mod worlds;

pub use diagram::draw as draw_diagram;
pub use failure::Failure;
pub use mark::Mark;
pub use opener::{Caller, Opener, Script, Then, Workload};
pub use plan::{Plan, Speaks};
pub use promises::{Broken, Promise, check_promises};
pub use property::View;
pub use scenario::{NotAScenario, Scenario, scenarios_in};
pub use sim::{REPLAY, Ran, Report, Sim};
pub use swarm::{Fault, Network, Swarm};
pub use tape::{Draws, NotATape, Tape, Track, next_tape, shrink};
pub use world::World;
