//! The liminal bus as a pure state machine: it routes conversations between those who open them and
//! those who take part in them.
//!
//! It is not a server and not an executor: it opens no socket, starts no thread, reads no clock, and
//! never calls a participant itself. `no_std`, no `unsafe`; equal inputs give equal outputs.
//!
//! ```text
//!   link ──event(Open, Message, Close, Closed)──▶ ┌─────┐ ──Run(ticket, call)────▶ host ─▶ participant
//!        ◀──Command(opened, reply, exited, …)──── │ Bus │ ◀─answer(ticket, reply)── host ◀─
//!                      clock ──tick(now)────────▶ └─────┘ ──Wait(until then)─────▶ whoever drives it
//! ```
//!
//! A conversation is an ordered log of records, and everything else is a view of it: a participant
//! joined, a message, a reply, a participant left, a participant **exited**. A death is a record like any
//! other, so it cannot race with what was said before it, and who asked is told at once.
//!
//! Here is a whole bus inside a program, with an opener and a participant in it. [`Node`] is the [`Bus`]
//! together with its connections; this one has none.
//!
//! ```
//! use liminal_core::{Answer, Command, Factory, Node, NodeNext, Offer, Settings, invoke, participant};
//! use liminal_proto::{Instant, Reply};
//!
//! let now = Instant::ORIGIN;
//! let echo = || participant::from_fn(|context, message| context.reply(message.payload));
//!
//! let mut node = Node::new(Settings::default());
//! node.register("echo".into(), Offer::Participant)?;
//!
//! let link = node.local(now);
//! let conversation = node.open(now, link, "echo")?;
//! let question = node.ask(now, link, conversation, None, "hello")?;
//!
//! let mut instance = echo.create();
//! let mut told = Vec::new();
//! loop {
//!     match node.poll() {
//!         NodeNext::Run(ticket, call) => {
//!             let mut answers: Vec<Answer> = Vec::new();
//!             invoke(&mut *instance, now, &call, &mut answers);
//!             for answer in answers {
//!                 node.answer(now, ticket, answer);
//!             }
//!         }
//!         NodeNext::Local(_, command) => told.push(command),
//!         NodeNext::Wait(_) => break,
//!         _ => {}
//!     }
//! }
//!
//! let [Command::Opened { .. }, Command::Reply(Reply { answers, payload, .. })] = &told[..] else {
//!     panic!("unexpected: {told:?}");
//! };
//! assert_eq!((*answers, &payload[..]), (question, &b"hello"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A host for many conversations keeps its participants by [`Invocation::conversation`], creates one at
//! [`Call::Join`], drops it at [`Call::Leave`], and catches its panics: `examples/in_process.rs` has one
//! in forty lines. [`guide`] shows a bus that several threads share. [`Phase`] draws the life of a
//! conversation, [`CrashPolicy`] says what becomes of one whose participant exits, and [`Settings`] gives
//! every bound with its reason.

#![no_std]
#![forbid(unsafe_code)]
// A new event or phase must be thought of wherever events and phases are. (Outside the pure crates this
// would mostly list the error kinds of the operating system.)
#![warn(clippy::wildcard_enum_match_arm)]

extern crate alloc;

mod backlog;
mod bus;
mod command;
#[doc = include_str!("guide.md")]
pub mod guide {}
mod id;
mod invocation;
mod node;
mod notice;
mod offer;
mod outbox;
pub mod participant;
mod phase;
mod policy;
mod record;
mod settings;
pub mod transcript;

pub use backlog::{Backlog, Overrun, Watched};
pub use bus::{Bus, BusNext, CANCELLED_PER_POLL, Uncompensated};
pub use command::{Command, Held, Lacks};
pub use id::{ConversationKey, LinkId, OfferId, Ticket};
pub use invocation::{Answer, Call, Invocation};
pub use node::{Node, NodeNext, NotLocal};
pub use offer::{Offer, RegisterError, Subject};
pub use outbox::Outbox;
pub use participant::{Context, Factory, Participant, Received, invoke};
pub use phase::{Phase, Trigger};
pub use policy::CrashPolicy;
pub use record::{Leaving, Record, Recorded};
pub use settings::{Counters, Load, Rights, Settings};
pub use transcript::Transcript;
