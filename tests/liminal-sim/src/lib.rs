//! Property tests of conversations, against the real liminal bus and real connections, in virtual time.
//!
//! It is not a mock and not a model: the bus, the connections with their codec in both versions, and the
//! participants are those that run in production. What is simulated is what stands around them: the network,
//! the clock, the processes and their deaths. Nothing sleeps; a minute takes a fraction of a millisecond.
//!
//! ```text
//!   seed ─▶ Tape ─▶ World: openers ⇄ connections ⇄ network ⇄ bus ⇄ participants
//!             ▲        │
//!             │        ▼
//!          shrink ◀─ Transcript ─▶ the promises of the bus, and your properties
//! ```
//!
//! The first property has six lines. It checks every promise of the bus that is known to
//! [`Promise`], in 200 runs in which everything goes wrong that can:
//!
//! ```
//! use liminal_core::participant::from_fn;
//! use liminal_sim::{Script, Sim};
//!
//! Sim::new("echo", |plan| {
//!     plan.serve("echo", || from_fn(|context, message| context.reply(message.payload)));
//!     plan.opener(Script::new().open("echo").ask("hello").wait_for_replies().close());
//! })
//! .check();
//! ```
//!
//! [`guide`] goes on from here to a participant with a mistake that the kit finds. [`worlds`] has the world
//! in which the bus itself is tested.
//!
//! # How a run is decided
//!
//! All chance is drawn from one [`Tape`] of bytes. 0 is the benign choice, and past the end everything is 0.
//! So a seed, a fuzzer's input ([`Tape::from_bytes`]), a counterexample made small ([`shrink`]) and an
//! exhaustive search ([`Sim::check_exhaustively`]) are the same thing, and a tape that was saved stays valid:
//! a step that does not apply does nothing. At its beginning each run draws which [`Fault`]s exist in it at
//! all, and how often each happens.
//!
//! # What is checked
//!
//! - the [promises](Promise) of the bus, on the transcript of the run;
//! - [`always`](Sim::always), [`eventually`](Sim::eventually) and [`sometimes`](Sim::sometimes), on the state
//!   that the plan returned and on the transcript.
//!
//! A failure is made small, printed as a sequence diagram with a line that replays it, and saved as a
//! [`Scenario`] if there is a [folder](Sim::scenarios) for that; from then on every test run begins with it.
//! The variable [`FORMAT`] has it printed for Mermaid or as JSON lines instead, as [`Failure::run`] does.
//!
//! What the runs have not tested is told, too: [`Report::coverage`] has the transitions in the life of a
//! conversation that none of them reached, and [`Report::unseen`] the rare situations.

#![forbid(unsafe_code)]

mod coverage;
mod diagram;
mod failure;
#[doc = include_str!("guide.md")]
pub mod guide {}
mod mark;
mod opener;
mod plan;
mod promises;
mod property;
mod scenario;
mod sim;
#[cfg(feature = "proptest")]
pub mod strategy;
mod swarm;
mod tape;
mod world;
pub mod worlds;

pub use coverage::{Coverage, Transition};
pub use diagram::{Format, NotAFormat, draw as draw_diagram};
pub use failure::Failure;
pub use mark::Mark;
pub use opener::{Caller, Opener, Script, Then, Workload};
pub use plan::{Plan, Speaks};
pub use promises::{Broken, Promise, check_promises};
pub use property::View;
pub use scenario::{NotAScenario, Scenario, scenarios_in};
pub use sim::{FORMAT, REPLAY, Ran, Report, Sim};
pub use swarm::{Fault, Network, Swarm};
pub use tape::{Draws, NotATape, Tape, Track, next_tape, shrink};
pub use world::World;
