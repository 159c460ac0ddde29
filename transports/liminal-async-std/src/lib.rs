//! liminal over async-std, **for programs that already run on it**.
//!
//! async-std is discontinued (RUSTSEC-2025-0052); its authors recommend smol, and so do we: new programs
//! use `liminal-smol`. This crate stays a thin adapter over the same driver, so an existing program can
//! converse today and move later by changing one name.
//!
//! ```
//! use std::time::Duration;
//!
//! use liminal_async_std::{Context, Received};
//!
//! async_std::task::block_on(async {
//!     // The serving side: an echo for every conversation on "echo".
//!     let server = liminal_async_std::bind("127.0.0.1:0").await?;
//!     server.register_inline("echo", || |context: &mut Context<'_>, message: Received| {
//!         context.reply(message.payload);
//!     })?;
//!     let (address, stopper) = (server.local_address().clone(), server.stopper());
//!     let running = async_std::task::spawn(server.run());
//!
//!     // The asking side: a handle to ask with, and a driver to run beside.
//!     let (handle, driver) = liminal_async_std::connect(&address).await?;
//!     async_std::task::spawn(driver.run());
//!     let conversation = handle.open("echo").await?;
//!     let reply = conversation.ask("hello", Duration::from_secs(5)).await?;
//!     assert_eq!(&reply[..], b"hello");
//!     conversation.close().await?;
//!
//!     stopper.stop();
//!     running.await?;
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Any client may be the participant, too. Whoever waits for one that is gone is told at once, and every error says which
//! of all the things it is that went wrong:
//!
//! ```
//! use std::time::Duration;
//!
//! use liminal_async_std::error::AskError;
//! use liminal_async_std::{Context, ExitReason, Received};
//!
//! # async_std::task::block_on(async {
//! # let server = liminal_async_std::bind("127.0.0.1:0").await?;
//! # let (address, stopper) = (server.local_address().clone(), server.stopper());
//! # let running = async_std::task::spawn(server.run());
//! let worker = liminal_async_std::connect_and_spawn(&address).await?;
//! let echo = || |context: &mut Context<'_>, message: Received| context.reply(message.payload);
//! let service = worker.serve_inline("work", echo, 8).await?;
//!
//! let handle = liminal_async_std::connect_and_spawn(&address).await?;
//! let conversation = handle.open("work").await?;
//! assert_eq!(&conversation.ask("hello", Duration::from_secs(5)).await?[..], b"hello");
//!
//! service.withdraw();
//! assert_eq!(conversation.exited().await?.reason, ExitReason::Withdrawn);
//! match conversation.ask("still there?", Duration::from_secs(5)).await {
//!     Ok(reply) => println!("{reply:?}"),
//!     Err(AskError::Exited(exited)) => println!("{exited}"), // participant 1 was withdrawn
//!     Err(AskError::Timeout) => println!("alive, and too late"),
//!     Err(AskError::Refused(refusal)) => println!("not dealt with: {refusal}"),
//!     Err(AskError::Lost(why)) => println!("dealt with or not, nobody knows: {why}"),
//!     Err(error) => println!("{error}"), // closed, or more than the connection takes
//! }
//!
//! # stopper.stop();
//! # running.await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A server is replaced, or a network fails: a handle that is told to [reconnect](Handle::reconnect) comes back, and
//! serves again what it [served](Handle::serve). Conversations end with their connection, and whoever waits in one is
//! told.

mod listener;
mod stream;

use std::sync::Arc;
use std::time::Instant;

use liminal_driver::asynchronous::{self, Halves, Sleep, Sleeper};
use liminal_driver::error::{BindError, ConnectError};

use crate::stream::halves;

pub use liminal_core::participant::{
    AsyncContext, AsyncParticipant, Context, Participant, Received, async_fn, from_fn,
};
pub use liminal_core::{Answer, Call, CrashPolicy, Invocation, RegisterError, Subject, Watched};
pub use liminal_driver::asynchronous::{
    Conversation, Driver, Handle, Monitor, Server, Service, Stopper, Watch,
};
pub use liminal_driver::client::{Backoff, Connectivity, Outage, Reconnect, Standing};
pub use liminal_driver::server::{Answers, Host, Hosted, Kind};
pub use liminal_driver::{Address, Monitoring, Recorder, ServerOptions, error};
pub use liminal_proto::{
    CloseReason, CommandError, Config, Content, ConversationId, ExitReason, Gap, GapReason, Limits, LogId,
    LogRecord, Logged, MessageId, Metadata, Notice, OnExit, Outcome, Pid, ReasonCode, RecordNumber, Reply,
    Terms, Unanswered, Version,
};

/// The timers of async-std.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStdTimers;

impl Sleeper for AsyncStdTimers {
    fn sleep_until(&self, at: Instant) -> Sleep {
        Box::pin(async_std::task::sleep(at.saturating_duration_since(Instant::now())))
    }
}

/// Connects to a server. Nothing is spawned: run the driver beside whatever uses the handle.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub async fn connect(address: impl Into<Address>) -> Result<(Handle, Driver), ConnectError> {
    connect_with(address, Config::default()).await
}

/// Connects with a configuration: a token, versions, limits, keepalive.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub async fn connect_with(
    address: impl Into<Address>,
    config: Config,
) -> Result<(Handle, Driver), ConnectError> {
    asynchronous::connect(&address.into(), config, Arc::new(AsyncStdTimers), dial).await
}

/// Connects, and has what this side says and is told written down, when a server of the same recorder runs at
/// the address. Whoever is recorded dials one after the other, and nobody else meanwhile.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub async fn connect_recorded(
    address: impl Into<Address>,
    config: Config,
    recorder: &Recorder,
) -> Result<(Handle, Driver), ConnectError> {
    asynchronous::connect_recorded(&address.into(), config, recorder, Arc::new(AsyncStdTimers), dial).await
}

/// Connects, and spawns the driver on async-std's executor.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub async fn connect_and_spawn(address: impl Into<Address>) -> Result<Handle, ConnectError> {
    let (handle, driver) = connect(address).await?;
    async_std::task::spawn(driver.run());
    Ok(handle)
}

async fn dial(address: Address) -> std::io::Result<Halves> {
    match address {
        Address::Tcp(address) => {
            let stream = async_std::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(halves(stream))
        }
        #[cfg(unix)]
        Address::Unix(path) => Ok(halves(async_std::os::unix::net::UnixStream::connect(path).await?)),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(std::io::ErrorKind::Unsupported.into()),
    }
}

/// A server that listens on `address`: register who serves what, then run it.
///
/// # Errors
///
/// The address is bad, or in use.
pub async fn bind(address: impl Into<Address>) -> Result<Server, BindError> {
    bind_with(address, ServerOptions::default()).await
}

/// The same with options: of connections, of the bus, of stopping.
///
/// # Errors
///
/// The address is bad, or in use.
pub async fn bind_with(address: impl Into<Address>, options: ServerOptions) -> Result<Server, BindError> {
    let address = address.into();
    let bound = listener::bind(&address).await;
    let (listener, address) = bound.map_err(|source| BindError { address, source })?;
    Ok(Server::new(listener, address, Arc::new(AsyncStdTimers), options))
}
