//! One connection, used within one deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use futures_lite::future;
use liminal_driver::Address;
use liminal_driver::asynchronous::{Driver, Handle};
use liminal_driver::error::ConnectError;
use liminal_proto::Config;

use crate::command::Protocol;
use crate::error::Error;
use crate::program::{self, Transport};

/// What connecting may take beyond the time of the whole command, so that the time of the command is
/// what ends it.
const SLACK: Duration = Duration::from_secs(1);

/// How long a command whose time is over has to say goodbye to the server.
const FAREWELL: Duration = Duration::from_millis(20);

/// Which server, and how long it may take.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// The server: HOST, HOST:PORT, [IPV6]:PORT or unix:PATH
    #[arg(
        long,
        value_name = "ADDR",
        default_value_t = Address::default(),
        value_parser = program::address
    )]
    pub(crate) server: Address,
    /// How long all of it may take, connecting included: 300ms, 5s, 2m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = program::duration)]
    timeout: Duration,
    /// What moves the bytes; the outcome is the same
    #[arg(long, value_enum, default_value_t = Transport::Blocking)]
    transport: Transport,
    /// The highest version of the protocol to offer
    #[arg(long, value_name = "VERSION", value_enum, default_value = "2.0")]
    pub(crate) protocol: Protocol,
}

/// What is done with a connection, in the words of both worlds.
pub(crate) trait Work: Send + 'static {
    /// What comes of it.
    type Outcome: Send + 'static;

    fn block(self, handle: &liminal_blocking::Handle, clock: &Clock) -> Result<Self::Outcome, Error>;

    async fn wait(self, handle: &Handle, clock: &Clock) -> Result<Self::Outcome, Error>;
}

/// When a command began, how long it may take, and how far it came.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    server: Address,
    began: Instant,
    timeout: Duration,
    connected: Arc<AtomicBool>,
}

impl Clock {
    /// How much time is left.
    pub(crate) fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.began.elapsed())
    }

    /// The error of a command whose time is over.
    pub(crate) fn timeout(&self) -> Error {
        if self.connected.load(Ordering::Relaxed) {
            Error::Timeout(self.timeout)
        } else {
            Error::ConnectTimeout { address: self.server.clone(), timeout: self.timeout }
        }
    }
}

impl Target {
    pub(crate) const fn new(server: Address, timeout: Duration, transport: Transport) -> Self {
        Self { server, timeout, transport, protocol: Protocol::V2 }
    }

    /// Connects and does the work, on a thread of its own: whatever it hangs in, a name that does not
    /// resolve included, it is given up when its time is over.
    pub(crate) fn run<W: Work>(self, work: W) -> Result<W::Outcome, Error> {
        let clock = Clock {
            server: self.server.clone(),
            began: Instant::now(),
            timeout: self.timeout,
            connected: Arc::default(),
        };
        let (sender, outcome) = mpsc::channel();
        let watch = clock.clone();
        thread::Builder::new()
            .name("liminal".into())
            .spawn(move || sender.send(self.connect_and(work, &watch)))
            .map_err(Error::Thread)?;
        let patience = clock.left().saturating_add(FAREWELL);
        outcome.recv_timeout(patience).unwrap_or_else(|missed| {
            Err(match missed {
                RecvTimeoutError::Timeout => clock.timeout(),
                RecvTimeoutError::Disconnected => Error::Inside,
            })
        })
    }

    fn connect_and<W: Work>(&self, work: W, clock: &Clock) -> Result<W::Outcome, Error> {
        let server = &self.server;
        let mut config = Config { max_dialect: self.protocol.dialect(), ..Config::default() };
        config.limits.handshake_time = self.timeout.saturating_add(SLACK);
        match self.transport {
            Transport::Blocking => {
                // Whoever waits moves the bytes; the driver would only serve the time between.
                let (handle, _driver) =
                    liminal_blocking::connect_with(server, config).map_err(Error::Connect)?;
                clock.connected.store(true, Ordering::Relaxed);
                work.block(&handle, clock)
            }
            Transport::Smol => smol::block_on(async {
                drive(liminal_smol::connect_with(server, config).await, work, clock).await
            }),
            Transport::AsyncStd => async_std::task::block_on(async {
                drive(liminal_async_std::connect_with(server, config).await, work, clock).await
            }),
        }
    }
}

async fn drive<W: Work>(
    connected: Result<(Handle, Driver), ConnectError>,
    work: W,
    clock: &Clock,
) -> Result<W::Outcome, Error> {
    let (handle, driver) = connected.map_err(Error::Connect)?;
    clock.connected.store(true, Ordering::Relaxed);
    let driven = async {
        driver.run().await;
        // Whoever uses the handle is told how the connection ended.
        future::pending().await
    };
    future::or(work.wait(&handle, clock), driven).await
}
