//! liminal over smol: conversations through TCP and Unix sockets, for programs that await.
//!
//! ```
//! use std::time::Duration;
//!
//! use liminal_smol::{Context, Received};
//!
//! smol::block_on(async {
//!     // The serving side: an echo for every conversation on "echo".
//!     let server = liminal_smol::bind("127.0.0.1:0").await?;
//!     server.register_inline("echo", || |context: &mut Context<'_>, message: Received| {
//!         context.reply(message.payload);
//!     })?;
//!     let (address, stopper) = (server.local_address().clone(), server.stopper());
//!     let running = smol::spawn(server.run());
//!
//!     // The asking side: a handle to ask with, and a driver to run beside.
//!     let (handle, driver) = liminal_smol::connect(&address).await?;
//!     smol::spawn(driver.run()).detach();
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
//! use liminal_smol::error::AskError;
//! use liminal_smol::{Context, ExitReason, Received};
//!
//! # smol::block_on(async {
//! # let server = liminal_smol::bind("127.0.0.1:0").await?;
//! # let (address, stopper) = (server.local_address().clone(), server.stopper());
//! # let running = smol::spawn(server.run());
//! let worker = liminal_smol::connect_and_spawn(&address).await?;
//! let echo = || |context: &mut Context<'_>, message: Received| context.reply(message.payload);
//! let service = worker.serve_inline("work", echo, 8).await?;
//!
//! let handle = liminal_smol::connect_and_spawn(&address).await?;
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

use std::sync::Arc;
use std::time::Instant;

use liminal_driver::asynchronous::{self, Halves, Sleep, Sleeper};
use liminal_driver::error::{BindError, ConnectError};

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

/// The timers of smol.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmolTimers;

impl Sleeper for SmolTimers {
    fn sleep_until(&self, at: Instant) -> Sleep {
        let timer = smol::Timer::at(at);
        Box::pin(async move {
            timer.await;
        })
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
    asynchronous::connect(&address.into(), config, Arc::new(SmolTimers), dial).await
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
    asynchronous::connect_recorded(&address.into(), config, recorder, Arc::new(SmolTimers), dial).await
}

/// Connects, and spawns the driver on smol's global executor.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub async fn connect_and_spawn(address: impl Into<Address>) -> Result<Handle, ConnectError> {
    let (handle, driver) = connect(address).await?;
    smol::spawn(driver.run()).detach();
    Ok(handle)
}

async fn dial(address: Address) -> std::io::Result<Halves> {
    match address {
        Address::Tcp(address) => {
            let stream = smol::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(asynchronous::halves(stream))
        }
        #[cfg(unix)]
        Address::Unix(path) => Ok(asynchronous::halves(smol::net::unix::UnixStream::connect(path).await?)),
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
    Ok(Server::new(listener, address, Arc::new(SmolTimers), options))
}
