//! # A participant against a model of it
//!
//! Some participants have more to say than a property can. Then write them a second time, as simply as possible,
//! without a bus, conversations or locks, and demand that both always give the same answers. The crate
//! [`proptest-state-machine`] makes up what is said, in any order, and makes what fails small; the kit runs it
//! against the real bus. For that the example needs the feature `proptest`.
//!
//! The ticket desk has learned to take seats back. A buyer may `reserve`, `buy` and `cancel`, and the desk answers
//! `done`, `sold out` or `you hold none`.
//!
//! ## The model
//!
//! A number of free seats, a number of seats for each buyer, and a table of what is answered. It is the reference
//! of a state machine, in which a transition is that one of the buyers says something. Part of its beginning is a
//! [`Tape`](crate::Tape), so that no two cases are run on the same network.
//!
//! ```ignore
#![doc = include_str!("../../tests/model/model.rs")]
//! ```
//!
//! ## The participant
//!
//! It must give the same answers, but each buyer has a clerk of its own, and the clerks share the number of free
//! seats. The mistake of a careless one is a single line: a seat is freed for whoever cancels.
//!
//! ```ignore
#![doc = include_str!("../../tests/model/clerk.rs")]
//! ```
//!
//! ## The buyers
//!
//! What was made up is said by an [`Opener`](crate::Opener): each step when the one before it was answered,
//! because the model knows no two at a time.
//!
//! ```ignore
#![doc = include_str!("../../tests/model/buyers.rs")]
//! ```
//!
//! ## The one against the other
//!
//! A world runs from its beginning to its end, so a case is one run: the state machine only collects the steps,
//! and the run is made at the end of the case. [`Sim::check_tape`](crate::Sim::check_tape) makes it, and checks the
//! promises of the bus with it.
//!
//! ```ignore
#![doc = include_str!("../../tests/model/main.rs")]
//! ```
//!
//! These four files are `tests/model` of this crate.
//!
//! ## What it prints about the careless one
//!
//! ```text
//! Test failed: desk and model: always the desk says what the model says: does not hold at 0ns.
//!
//! faults of this run: no faults
//!
//!       time  o1          bus         p1
//!        0ns  ├───────────▶           │  dials
//!        …
//!        0ns  ├───────────▶           │  c1 ask m1 "cancel"
//!        …
//!        0ns  ◀───────────┤           │  c1 reply to m1 "you hold none"
//!        …
//!        0ns  ├───────────▶           │  c1 ask m7 "reserve"
//!        0ns  │           *           │  log 1 r8 Request(7, until 5s, 7 bytes)
//!        0ns  │           ├───────────▶  r8 "reserve"?
//!        0ns  │           ◀───────────┤  reply "done"
//!        …
//! minimal failing input: (initial_state, transitions, seen_counter) = (
//!     Model {
//!         free: 2,
//!         …
//!         tape: Tape(...),
//!     },
//!     [
//!         Says(
//!             0,
//!             "cancel",
//!         ),
//!         …
//! ```
//!
//! Of all that was made up a `cancel` and three times `reserve` are left, on a network that does nothing (the tape
//! is empty). The answer to the first is right, and no rule about the desk that its clerks could check is broken.
//! But a seat has come into being, and the fourth answer shows it: the third seat of two is reserved.
//!
//! # A small world, all of it
//!
//! Random runs find what is likely enough. Where the world is small, every run of it can be made:
//! [`Sim::check_exhaustively`](crate::Sim::check_exhaustively) makes every decision of some tracks in turn while
//! the others stay benign; with `&[Track::Faults]` that is every fault at every moment at which the kit can have
//! one happen. [`Plan::only_faults`](crate::Plan::only_faults) and [`Plan::faults_max`](crate::Plan::faults_max)
//! keep it finite. Let one opener say little: the number of runs grows with every choice, and that of the schedule
//! fastest. [`worlds::small`](crate::worlds::small) has the worlds in which the bus itself is searched.
//!
//! The question here is whether a seat is free again, wherever its clerk dies:
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//!
//! use liminal_core::{Context, Participant, Received};
//! use liminal_sim::{Fault, Plan, Script, Sim, Track};
//!
//! /// Serves one buyer. What it holds is free again when it is gone, however it goes.
//! struct Clerk { free: Arc<Mutex<u32>>, mine: u32 }
//!
//! impl Participant for Clerk {
//!     fn message(&mut self, context: &mut Context<'_>, _: Received) {
//!         let mut free = self.free.lock().unwrap();
//!         if *free == 0 {
//!             return context.reply("sold out");
//!         }
//!         *free -= 1;
//!         self.mine += 1;
//!         context.reply("reserved");
//!     }
//! }
//!
//! impl Drop for Clerk {
//!     fn drop(&mut self) {
//!         *self.free.lock().unwrap() += self.mine;
//!     }
//! }
//!
//! fn desk(plan: &mut Plan) -> Arc<Mutex<u32>> {
//!     let free = Arc::new(Mutex::new(1));
//!     let of_clerks = Arc::clone(&free);
//!     plan.serve("desk", move || Clerk { free: Arc::clone(&of_clerks), mine: 0 });
//!     plan.only_faults(&[Fault::Kill, Fault::Panic, Fault::LatePanic]).faults_max(2);
//!     plan.opener(Script::new().open("desk").ask("reserve").wait(Duration::from_secs(1)).close());
//!     free
//! }
//!
//! let (report, complete) = Sim::new("one seat", desk)
//!     .eventually("the seat is free", Duration::ZERO, |view| *view.state.lock().unwrap() == 1)
//!     .sometimes("it is not", |view| *view.state.lock().unwrap() == 0)
//!     .check_exhaustively(&[Track::Faults], 10_000)?;
//! assert!(complete, "{} runs were not all", report.runs);
//! # assert!(report.runs > 50, "{}", report.runs);
//! # Ok::<(), Box<liminal_sim::Failure>>(())
//! ```
//!
//! [`proptest-state-machine`]: https://docs.rs/proptest-state-machine
