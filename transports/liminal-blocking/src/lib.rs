//! liminal over blocking std: conversations through TCP and Unix sockets, for programs with threads.
//!
//! ```
//! use std::thread;
//! use std::time::Duration;
//!
//! use liminal_blocking::{Context, Received};
//!
//! // The serving side: an echo for every conversation on "echo".
//! let server = liminal_blocking::bind("127.0.0.1:0")?;
//! server.register_inline("echo", || |context: &mut Context<'_>, message: Received| {
//!     context.reply(message.payload);
//! })?;
//! let (address, stopper) = (server.local_address().clone(), server.stopper());
//! let running = thread::spawn(|| server.run());
//!
//! // The asking side: a handle to ask with, and a driver to run beside.
//! let (handle, driver) = liminal_blocking::connect(&address)?;
//! thread::spawn(|| driver.run());
//! let conversation = handle.open("echo")?;
//! let reply = conversation.ask("hello", Duration::from_secs(5))?;
//! assert_eq!(&reply[..], b"hello");
//! conversation.close()?;
//!
//! stopper.stop();
//! running.join().expect("the server does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Any client may be the participant, too. Whoever waits for one that is gone is told at once, and every error says which
//! of all the things it is that went wrong:
//!
//! ```
//! # use std::thread;
//! use std::time::Duration;
//!
//! use liminal_blocking::error::AskError;
//! use liminal_blocking::{Context, ExitReason, Received};
//!
//! # let server = liminal_blocking::bind("127.0.0.1:0")?;
//! # let (address, stopper) = (server.local_address().clone(), server.stopper());
//! # let running = thread::spawn(|| server.run());
//! let worker = liminal_blocking::connect_and_spawn(&address)?;
//! let echo = || |context: &mut Context<'_>, message: Received| context.reply(message.payload);
//! let service = worker.serve_blocking("work", echo, 8)?;
//!
//! let handle = liminal_blocking::connect_and_spawn(&address)?;
//! let conversation = handle.open("work")?;
//! assert_eq!(&conversation.ask("hello", Duration::from_secs(5))?[..], b"hello");
//!
//! service.withdraw();
//! assert_eq!(conversation.exited()?.reason, ExitReason::Withdrawn);
//! match conversation.ask("still there?", Duration::from_secs(5)) {
//!     Ok(reply) => println!("{reply:?}"),
//!     Err(AskError::Exited(exited)) => println!("{exited}"), // participant 1 was withdrawn
//!     Err(AskError::Timeout) => println!("alive, and too late"),
//!     Err(AskError::Refused(refusal)) => println!("not dealt with: {refusal}"),
//!     Err(AskError::Lost(why)) => println!("dealt with or not, nobody knows: {why}"),
//!     Err(error) => println!("{error}"), // closed, or more than the connection takes
//! }
//!
//! # stopper.stop();
//! # running.join().expect("the server does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A server is replaced, or a network fails: a handle that is told to [reconnect](Handle::reconnect) comes back, and
//! serves again what it [served](Handle::serve). Conversations end with their connection, and whoever waits in one is
//! told.

mod bell;
mod connect;
mod crew;
mod driver;
mod handle;
mod link;
mod listener;
mod monitor;
mod park;
mod server;
mod service;
mod socket;
mod timers;
mod writer;

pub use connect::{connect, connect_and_spawn, connect_recorded, connect_with};
pub use driver::Driver;
pub use handle::{Conversation, Handle};
pub use liminal_core::participant::{
    AsyncContext, AsyncParticipant, Context, Participant, Received, async_fn, from_fn,
};
pub use liminal_core::{Answer, Call, CrashPolicy, Invocation, RegisterError, Subject, Watched};
pub use liminal_driver::client::{Backoff, Connectivity, Outage, Reconnect, Standing};
pub use liminal_driver::server::{Answers, Host, Hosted, Kind};
pub use liminal_driver::{Address, Monitoring, Recorder, ServerOptions, error};
pub use liminal_proto::{
    CloseReason, CommandError, Config, Content, ConversationId, ExitReason, Gap, GapReason, Limits, LogId,
    LogRecord, Logged, MessageId, Metadata, Notice, OnExit, Outcome, Pid, ReasonCode, RecordNumber, Reply,
    Terms, Unanswered, Version,
};
pub use monitor::{Monitor, Watch};
pub use server::{Server, Stopper, bind, bind_with};
pub use service::Service;
