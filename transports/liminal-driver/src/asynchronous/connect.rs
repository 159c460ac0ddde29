//! From a stream to a handle.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use async_executor::Executor;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::FutureExt as _;
use liminal_proto::wire::Dialect;
use liminal_proto::{CloseReason, Config, Version};

use super::crew::Crew;
use super::driver::Driver;
use super::handle::{Handle, after};
use super::link::{Link, ReadHalf, WriteHalf};
use super::sleep::Sleeper;
use super::waiting::Waiting;
use crate::client::{Client, Line, Topic};
use crate::error::ConnectError;
use crate::{Address, Clock, Recorder};

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
/// more, with an offer of 1.0 alone. Told to [reconnect](Handle::reconnect), the driver dials again in the same way.
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
    D: Fn(Address) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<Halves>> + Send + 'static,
{
    let dialer = Dialer::new(address, config, sleeper, dial);
    let executor = Arc::new(Executor::new());
    let link = dialer.dial(Clock::new(), &Crew::new(&executor)).await?;
    Ok(begin(link, executor, Some(dialer)))
}

/// The same; what the client says and is told is written down, when a server of the same recorder runs at the
/// address. Whoever is recorded dials one after the other, and nobody else meanwhile. It does not reconnect.
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
    D: Fn(Address) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<Halves>> + Send + 'static,
{
    let dialer = Dialer::new(address, config, sleeper, dial);
    let executor = Arc::new(Executor::new());
    let link = dialer.dial_as(*recorder.clock(), Some(recorder), &Crew::new(&executor)).await?;
    Ok(begin(link, executor, None))
}

fn begin(link: Arc<Link>, executor: Arc<Executor<'static>>, dialer: Option<Dialer>) -> (Handle, Driver) {
    let address = dialer.as_ref().map(|dialer| dialer.address.clone());
    let line = Arc::new(Line::new(link, address));
    (Handle::new(Arc::clone(&line)), Driver::new(line, dialer, executor))
}

type Dialling = Pin<Box<dyn Future<Output = io::Result<Halves>> + Send>>;

/// Where a client connects, and how: as often as it is told to.
pub(super) struct Dialer {
    address: Address,
    config: Config,
    sleeper: Arc<dyn Sleeper>,
    dial: Box<dyn Fn(Address) -> Dialling + Send + Sync>,
}

impl Dialer {
    fn new<D, F>(address: &Address, config: Config, sleeper: Arc<dyn Sleeper>, dial: D) -> Self
    where
        D: Fn(Address) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Halves>> + Send + 'static,
    {
        let dial = Box::new(move |address| -> Dialling { Box::pin(dial(address)) });
        Self { address: address.clone(), config, sleeper, dial }
    }

    /// Dials for a client that is told the time by this clock.
    pub(super) async fn dial(&self, clock: Clock, crew: &Crew) -> Result<Arc<Link>, ConnectError> {
        self.dial_as(clock, None, crew).await
    }

    async fn dial_as(
        &self,
        clock: Clock,
        recorder: Option<&Recorder>,
        crew: &Crew,
    ) -> Result<Arc<Link>, ConnectError> {
        let mut config = self.config.clone();
        loop {
            // Before it dials: the next link that a server of the recorder accepts is its.
            let recorded = recorder.map(|recorder| Client::recorded(config.clone(), recorder));
            let halves = self.reach().await.map_err(|source| {
                let address = self.address.clone();
                ConnectError::Unreachable { address, source }
            })?;
            let client = recorded.unwrap_or_else(|| Client::with_clock(config.clone(), clock));
            let link = Arc::new(Link::new(client, halves, Arc::clone(&self.sleeper), crew.clone()));
            match handshake(&link).await {
                Ok(_) => return Ok(link),
                Err(_) if link.lock().client.suggests_redial(&config) => {
                    config.min_dialect = Dialect::V1;
                    config.max_dialect = Dialect::V1;
                }
                Err(reason) => return Err(ConnectError::Handshake { address: self.address.clone(), reason }),
            }
        }
    }

    async fn reach(&self) -> io::Result<Halves> {
        let late = self.sleeper.sleep_until(after(self.config.limits.handshake_time));
        let late = async {
            late.await;
            Err(io::ErrorKind::TimedOut.into())
        };
        (self.dial)(self.address.clone()).or(late).await
    }
}

async fn handshake(link: &Link) -> Result<Version, CloseReason> {
    link.flush(None);
    Waiting::new(link, Topic::Connection, |client| client.connected()).await
}

/// Takes over a stream that is connected already: a pipe, a TLS session, a WebSocket. It does not reconnect.
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
    let link = Arc::new(Link::new(Client::new(config), halves, sleeper, Crew::new(&executor)));
    match handshake(&link).await {
        Ok(_) => Ok(begin(link, executor, None)),
        Err(reason) => Err(link.lock().client.ended().unwrap_or(reason)),
    }
}
