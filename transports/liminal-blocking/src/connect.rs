//! From an address to a handle.

use std::io;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::time::Instant;

use liminal_driver::client::{Client, Line};
use liminal_driver::error::ConnectError;
use liminal_driver::{Address, Clock, Recorder};
use liminal_proto::Config;
use liminal_proto::wire::Dialect;

use crate::bell::Bell;
use crate::crew::Crew;
use crate::driver::Driver;
use crate::handle::Handle;
use crate::link::Link;
use crate::socket::{Meanwhile, Socket};

/// How a try ends that nobody wants any more.
pub(crate) const NOT_WANTED: io::ErrorKind = io::ErrorKind::Interrupted;

/// Connects to a server. Nothing is spawned: run the driver on a thread beside whatever uses the handle.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub fn connect(address: impl Into<Address>) -> Result<(Handle, Driver), ConnectError> {
    connect_with(address, Config::default())
}

/// Connects with a configuration: a token, versions, limits, keepalive. A server that selects a 1.x which
/// this side does not speak is dialled once more, with an offer of 1.0 alone. Told to
/// [reconnect](Handle::reconnect), the driver dials again in the same way.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub fn connect_with(address: impl Into<Address>, config: Config) -> Result<(Handle, Driver), ConnectError> {
    let dialer = Dialer { address: address.into(), config };
    let link = dialer.dial(Clock::new(), &dialer.crew()?, &mut || Ok(None))?;
    Ok(begin(link, Some(dialer)))
}

/// Connects, and has what this side says and is told written down, when a server of the same recorder runs at
/// the address. Whoever is recorded dials one after the other, and nobody else meanwhile. It does not reconnect.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub fn connect_recorded(
    address: impl Into<Address>,
    config: Config,
    recorder: &Recorder,
) -> Result<(Handle, Driver), ConnectError> {
    let dialer = Dialer { address: address.into(), config };
    let link = dialer.dial_as(*recorder.clock(), Some(recorder), &dialer.crew()?, &mut || Ok(None))?;
    Ok(begin(link, None))
}

fn begin(link: Arc<Link>, dialer: Option<Dialer>) -> (Handle, Driver) {
    let address = dialer.as_ref().map(|dialer| dialer.address.clone());
    let line = Arc::new(Line::new(link, address));
    (Handle::new(Arc::clone(&line)), Driver::new(line, dialer))
}

/// Where a client connects, and how: as often as it is told to.
#[derive(Debug)]
pub(crate) struct Dialer {
    address: Address,
    config: Config,
}

impl Dialer {
    fn crew(&self) -> Result<Crew, ConnectError> {
        Crew::new().map_err(|source| self.unreachable(source))
    }

    /// Dials for a client that is told the time by this clock.
    pub(crate) fn dial(
        &self,
        clock: Clock,
        crew: &Crew,
        meanwhile: Meanwhile<'_>,
    ) -> Result<Arc<Link>, ConnectError> {
        self.dial_as(clock, None, crew, meanwhile)
    }

    fn dial_as(
        &self,
        clock: Clock,
        recorder: Option<&Recorder>,
        crew: &Crew,
        meanwhile: Meanwhile<'_>,
    ) -> Result<Arc<Link>, ConnectError> {
        let mut config = self.config.clone();
        loop {
            // Before it dials: the next link that a server of the recorder accepts is its.
            let recorded = recorder.map(|recorder| Client::recorded(config.clone(), recorder));
            let late = Instant::now().checked_add(config.limits.handshake_time);
            let socket = dial(&self.address, late, &crew.bell, meanwhile);
            let socket = socket.map_err(|source| self.unreachable(source))?;
            let client = recorded.unwrap_or_else(|| Client::with_clock(config.clone(), clock));
            let link = Arc::new(Link::new(client, socket, crew.clone()));
            let connected = link.shake_hands(meanwhile).map_err(|source| self.unreachable(source))?;
            match connected {
                Ok(_) => return Ok(link),
                Err(_) if link.lock().client.suggests_redial(&config) => {
                    config.min_dialect = Dialect::V1;
                    config.max_dialect = Dialect::V1;
                }
                Err(reason) => {
                    return Err(ConnectError::Handshake { address: self.address.clone(), reason });
                }
            }
        }
    }

    fn unreachable(&self, source: io::Error) -> ConnectError {
        ConnectError::Unreachable { address: self.address.clone(), source }
    }
}

/// Connects, and runs the driver on a thread of its own.
///
/// # Errors
///
/// Nobody there, the handshake failed, or no thread could be started.
pub fn connect_and_spawn(address: impl Into<Address>) -> Result<Handle, ConnectError> {
    let address = address.into();
    let (handle, driver) = connect(&address)?;
    std::thread::Builder::new()
        .name("liminal-driver".into())
        .spawn(move || driver.run())
        .map_err(|source| ConnectError::Unreachable { address, source })?;
    Ok(handle)
}

fn dial(
    address: &Address,
    late: Option<Instant>,
    bell: &Bell,
    meanwhile: Meanwhile<'_>,
) -> io::Result<Socket> {
    match address {
        Address::Tcp(address) => {
            let socket = dial_tcp(address, late, bell, meanwhile)?;
            socket.set_nodelay()?;
            Ok(socket)
        }
        #[cfg(unix)]
        Address::Unix(path) => Socket::connect_unix(path, late),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Tries every address that the name resolves to, all of them together in the time there is.
fn dial_tcp(
    address: &str,
    late: Option<Instant>,
    bell: &Bell,
    meanwhile: Meanwhile<'_>,
) -> io::Result<Socket> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match Socket::connect(address, late, bell, meanwhile) {
            Err(error) if !matches!(error.kind(), NOT_WANTED | io::ErrorKind::TimedOut) => failed = error,
            ended => return ended,
        }
    }
    Err(failed)
}
