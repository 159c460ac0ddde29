//! The liminal protocol as a pure state machine: bytes ⇄ frames ⇄ one side of one connection.
//!
//! It is not a client and not a server: it opens no socket, starts no thread, reads no clock and knows
//! no runtime. It is what both are made of. `no_std`, no `unsafe`; equal inputs give equal outputs.
//!
//! ```text
//!             receive(now, bytes) ─┐               ┌─▶ poll() ─▶ Event: what happened
//!   transport                      ├─ Connection ──┤            Wait:  read? write? wake when?
//!             to_write(), wrote() ◀┘               └── open, message, ask, reply, close, …
//! ```
//!
//! One turn: hand in what arrived, poll until it says [`Next::Wait`], write what is to be written, wait
//! for what it wants. Here two of them talk through nothing at all:
//!
//! ```
//! use liminal_proto::{Config, Connection, Event, Instant, Next, Reply};
//!
//! let now = Instant::ORIGIN;
//! let mut client = Connection::client(now, Config::default());
//! let mut server = Connection::server(now, Config::default());
//!
//! let carry = |from: &mut Connection, to: &mut Connection| {
//!     let bytes = from.take_write(usize::MAX);
//!     assert_eq!(to.receive(now, &bytes), bytes.len());
//!     from.wrote(bytes.len());
//! };
//!
//! carry(&mut client, &mut server);
//! assert!(matches!(server.poll(), Next::Event(Event::Connected { .. })));
//! carry(&mut server, &mut client);
//! assert!(matches!(client.poll(), Next::Event(Event::Connected { .. })));
//!
//! let conversation = client.open(now, "greeter")?;
//! let request = client.ask(now, conversation, None, "hello")?;
//! carry(&mut client, &mut server);
//!
//! while let Next::Event(event) = server.poll() {
//!     match event {
//!         Event::Open { conversation, .. } => server.opened(now, conversation, None)?,
//!         Event::Message(message) => server.reply(now, Reply {
//!             conversation: message.conversation,
//!             answers: message.id,
//!             record: None,
//!             last: true,
//!             payload: message.payload,
//!             metadata: message.metadata,
//!         })?,
//!         _ => {}
//!     }
//! }
//! carry(&mut server, &mut client);
//!
//! assert!(matches!(client.poll(), Next::Event(Event::Opened { .. })));
//! let Next::Event(Event::Reply(reply)) = client.poll() else { panic!("no reply") };
//! assert_eq!((reply.answers, &reply.payload[..]), (request, &b"hello"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Connection`] states the laws that make this hard to get wrong, [`guide`] how to drive it on whatever
//! moves bytes, [`Limits`] what bounds it, and `PROTOCOL.md` beside this crate what stands on the wire.

#![no_std]
#![forbid(unsafe_code)]
// A new event or phase must be thought of wherever events and phases are. (Outside the pure crates this
// would mostly list the error kinds of the operating system.)
#![warn(clippy::wildcard_enum_match_arm)]

extern crate alloc;

mod code;
mod config;
mod connection;
mod content;
mod error;
mod event;
#[doc = include_str!("guide.md")]
pub mod guide {}
mod id;
mod id_map;
mod small_map;
#[cfg(test)]
mod table;
mod terms;
mod time;
mod watch;
pub mod wire;

pub use code::ReasonCode;
pub use config::{Config, CreditGiven, Keepalive, Limits, Rate};
pub use connection::{
    Connection, ConversationPhase, ConversationTrigger, CreditLeft, MonitorPhase, MonitorTrigger, OfferPhase,
    OfferTrigger, Phase,
};
pub use content::Content;
pub use error::{CloseReason, CommandError, LinkError, Misuse, Rejected, Resemblance, Side, Violation};
pub use event::{
    Event, Exit, ExitReason, Expects, Message, Next, Outcome, Reply, TimerReason, Unanswered, Wake, Wants,
};
pub use id::{ConversationId, LogId, MessageId, Pid, RecordNumber, StreamId};
#[doc(hidden)]
pub use id_map::{Id, IdMap};
#[doc(hidden)]
pub use small_map::SmallMap;
pub use terms::{OnExit, Terms};
pub use time::Instant;
pub use watch::{Gap, GapReason, LogRecord, Logged, Notice};
pub use wire::{InvalidHeader, Metadata, MetadataBuilder, Version};
