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
pub use liminal_proto::{Config, Gap, GapReason, LogRecord, Logged, Notice, OnExit, Pid, Terms};
pub use monitor::{Monitor, Watch};
pub use server::{Server, Stopper, bind, bind_with};
pub use service::Service;
