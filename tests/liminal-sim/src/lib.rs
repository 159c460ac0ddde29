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
//! With `liminal-core` and `liminal-sim` as dev-dependencies, the first property has six lines. Put it into a
//! `#[test]`: it checks every [`Promise`] of the bus in 200 runs in which everything goes wrong that can, and
//! panics with the whole story when one is broken.
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
//! A property of your own needs something to look at: what the plan returns. Here it is how often the participants
//! of a run are asked, which is not once in every run, because a question may be lost with its connection:
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//!
//! use liminal_core::participant::from_fn;
//! use liminal_sim::{Script, Sim};
//!
//! Sim::new("echo", |plan| {
//!     let asked = Arc::new(AtomicU32::new(0));
//!     let count = Arc::clone(&asked);
//!     plan.serve("echo", move || {
//!         let count = Arc::clone(&count);
//!         from_fn(move |context, message| {
//!             count.fetch_add(1, Ordering::Relaxed);
//!             context.reply(message.payload);
//!         })
//!     });
//!     plan.opener(Script::new().open("echo").ask("hello").wait_for_replies().close());
//!     asked
//! })
//! .always("it is asked once at most", |view| view.state.load(Ordering::Relaxed) <= 1)
//! .sometimes("it is asked", |view| view.state.load(Ordering::Relaxed) == 1)
//! .check();
//! ```
//!
//! A world has one bus or [several](Plan::another_bus), [clients that serve](Plan::client) on one, and openers that
//! dial one or are [in its program](Plan::local_opener). [`guide`] goes on from here: participants with a mistake that the kit
//! finds, up to one that is held against a model. [`worlds`] has the world in which the bus itself is tested.
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
//! Promises are checked on a [`Transcript`](liminal_core::Transcript), wherever it came from: a `Recorder` of
//! `liminal-driver` writes that of a real server, for [`check_promises`]. [`Sim::stage`] has what a plan needs to be
//! played over real connections, and [`Sim::races`] says whether it must then come to the same; the command
//! `liminal sim replay` does both with a saved scenario.
//!
//! A failure is made small, printed as a sequence diagram with a line that replays it, and saved as a
//! [`Scenario`] if there is a [folder](Sim::scenarios) for that; from then on every test run begins with it.
//! The variable [`FORMAT`] has it printed for Mermaid or as JSON lines instead, as [`Failure::run`] does.
//!
//! What the runs have not tested is told, too: [`Report::coverage`] has the transitions in the life of a
//! conversation that none of them reached, and [`Report::unseen`] the rare situations.
//!
//! # Features
//!
//! - `proptest`: the module `strategy` makes up frames, payloads, tapes and scenarios for tests with proptest.
//! - `arbitrary`: [`Tape`] and `AnyFrame` are made of what a fuzzer writes.
//!
//! [`Sim::fuzz`], with which a simulation is a fuzz target of one line, needs neither.

#![forbid(unsafe_code)]

mod coverage;
mod diagram;
mod failure;
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
mod frame;
pub mod fuzz;
pub mod guide;
mod hostile;
mod mark;
mod opener;
mod plan;
mod promises;
mod property;
mod race;
mod report;
mod scenario;
mod sim;
mod stage;
#[cfg(feature = "proptest")]
pub mod strategy;
mod swarm;
mod tape;
mod world;
pub mod worlds;

pub use coverage::{Coverage, Transition};
pub use diagram::{Format, NotAFormat, draw as draw_diagram};
pub use failure::Failure;
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
pub use frame::AnyFrame;
pub use hostile::{Encounter, Hostile};
pub use mark::Mark;
pub use opener::{Caller, Opener, Script, Then, Workload};
pub use plan::{Plan, Speaks};
pub use promises::{Broken, Promise, check_promises};
pub use property::View;
pub use race::Race;
pub use report::{Ran, Report};
pub use scenario::{NotAScenario, Scenario, scenarios_in};
pub use sim::{FORMAT, REPLAY, Sim};
pub use stage::{NotStaged, Role, Stage, StagedBus, StagedOpener};
pub use swarm::{Fault, Network, Swarm};
pub use tape::{Draws, NotATape, Tape, Track, next_tape, shrink};
pub use world::World;
