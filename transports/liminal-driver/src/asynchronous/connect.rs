//! From a stream to a handle.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor;
use futures_io::{AsyncRead, AsyncWrite};
use liminal_proto::wire::Dialect;
use liminal_proto::{CloseReason, Config, Version};

use super::driver::Driver;
use super::handle::{Handle, after};
use super::link::{Link, ReadHalf, Waiting, WriteHalf};
use super::sleep::Sleeper;
use crate::client::{Client, Topic};
use crate::error::ConnectError;
use crate::{Address, Recorder};

/// Both halves of a stream.
pub type Halves = (ReadHalf, WriteHalf);

/// The halves of a stream that can be used from two places at once through clones of it.
pub fn halves<S: AsyncRead + AsyncWrite + Clone + Send + 'static>(stream: S) -> Halves {
    (Box::pin(stream.clone()), Box::pin(stream))
}

/// The halves of any stream: TLS, WebSockets, pipes in memory.
pub fn split<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Halves {
    let (read, write) = futures_lite::io::split(stream);
    (Box::pin(read), Box::pin(write))
}

/// Dials and shakes hands. A server that selects a 1.x which this side does not speak is dialled once
/// more, with an offer of 1.0 alone.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub async fn connect<D, F>(
    address: &Address,
    config: Config,
    sleeper: Arc<dyn Sleeper>,
    dial: D,
) -> Result<(Handle, Driver), ConnectError>
where
    D: Fn(Address) -> F,
    F: Future<Output = io::Result<Halves>>,
{
    connect_as(address, config, None, sleeper, dial).await
}

/// The same; what the client says and is told is written down, when a server of the same recorder runs at the
/// address. Whoever is recorded dials one after the other, and nobody else meanwhile.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub async fn connect_recorded<D, F>(
    address: &Address,
    config: Config,
    recorder: &Recorder,
    sleeper: Arc<dyn Sleeper>,
    dial: D,
) -> Result<(Handle, Driver), ConnectError>
where
    D: Fn(Address) -> F,
    F: Future<Output = io::Result<Halves>>,
{
    connect_as(address, config, Some(recorder), sleeper, dial).await
}

async fn connect_as<D, F>(
    address: &Address,
    mut config: Config,
    recorder: Option<&Recorder>,
    sleeper: Arc<dyn Sleeper>,
    dial: D,
) -> Result<(Handle, Driver), ConnectError>
where
    D: Fn(Address) -> F,
    F: Future<Output = io::Result<Halves>>,
{
    loop {
        let time = config.limits.handshake_time;
        // Before it dials: the next link that a server of the recorder accepts is its.
        let recorded = recorder.map(|recorder| Client::recorded(config.clone(), recorder));
        let dialled = within(&*sleeper, time, dial(address.clone())).await;
        let dialled = dialled.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
        let halves =
            dialled.map_err(|source| ConnectError::Unreachable { address: address.clone(), source })?;
        let client = recorded.unwrap_or_else(|| Client::new(config.clone()));
        let executor = Arc::new(Executor::new());
        let link = Arc::new(Link::new(client, halves, Arc::clone(&sleeper), Arc::downgrade(&executor)));
        match handshake(&link).await {
            Ok(_) => return Ok((Handle::new(Arc::clone(&link)), Driver::new(link, executor))),
            Err(_) if link.lock().client.suggests_redial(&config) => {
                config.min_dialect = Dialect::V1;
                config.max_dialect = Dialect::V1;
            }
            Err(reason) => return Err(ConnectError::Handshake { address: address.clone(), reason }),
        }
    }
}

async fn handshake(link: &Link) -> Result<Version, CloseReason> {
    link.flush(None);
    Waiting::new(link, Topic::Connection, |client| client.connected()).await
}

async fn within<T>(
    sleeper: &dyn Sleeper,
    timeout: Duration,
    dial: impl Future<Output = io::Result<T>>,
) -> Option<io::Result<T>> {
    let late = sleeper.sleep_until(after(timeout));
    futures_lite::future::or(async { Some(dial.await) }, async {
        late.await;
        None
    })
    .await
}

/// Takes over a stream that is connected already: a pipe, a TLS session, a WebSocket.
///
/// # Errors
///
/// How the handshake failed.
pub async fn connect_over(
    halves: Halves,
    config: Config,
    sleeper: Arc<dyn Sleeper>,
) -> Result<(Handle, Driver), CloseReason> {
    let executor = Arc::new(Executor::new());
    let link = Arc::new(Link::new(Client::new(config), halves, sleeper, Arc::downgrade(&executor)));
    match handshake(&link).await {
        Ok(_) => Ok((Handle::new(Arc::clone(&link)), Driver::new(link, executor))),
        Err(reason) => Err(link.lock().client.ended().unwrap_or(reason)),
    }
}
