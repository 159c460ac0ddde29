//! From an address to a handle.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use liminal_driver::client::{Client, Topic};
use liminal_driver::error::ConnectError;
use liminal_driver::{Address, Recorder};
use liminal_proto::Config;
use liminal_proto::wire::Dialect;

use crate::driver::Driver;
use crate::handle::Handle;
use crate::link::{Link, Patience};
use crate::socket::Socket;

/// Connects to a server. Nothing is spawned: run the driver on a thread beside whatever uses the handle.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub fn connect(address: impl Into<Address>) -> Result<(Handle, Driver), ConnectError> {
    connect_with(address, Config::default())
}

/// Connects with a configuration: a token, versions, limits, keepalive. A server that selects a 1.x which
/// this side does not speak is dialled once more, with an offer of 1.0 alone.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub fn connect_with(address: impl Into<Address>, config: Config) -> Result<(Handle, Driver), ConnectError> {
    connect_as(address.into(), config, None)
}

/// Connects, and has what this side says and is told written down, when a server of the same recorder runs at
/// the address. Whoever is recorded dials one after the other, and nobody else meanwhile.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub fn connect_recorded(
    address: impl Into<Address>,
    config: Config,
    recorder: &Recorder,
) -> Result<(Handle, Driver), ConnectError> {
    connect_as(address.into(), config, Some(recorder))
}

fn connect_as(
    address: Address,
    mut config: Config,
    recorder: Option<&Recorder>,
) -> Result<(Handle, Driver), ConnectError> {
    loop {
        // Before it dials: the next link that a server of the recorder accepts is its.
        let recorded = recorder.map(|recorder| Client::recorded(config.clone(), recorder));
        let socket = dial(&address, config.limits.handshake_time)
            .map_err(|source| ConnectError::Unreachable { address: address.clone(), source })?;
        let client = recorded.unwrap_or_else(|| Client::new(config.clone()));
        let link = Link::new(client, socket)
            .map_err(|source| ConnectError::Unreachable { address: address.clone(), source })?;
        let link = Arc::new(link);
        match link.wait(Topic::Connection, Patience::forever(), |client, _| client.connected()) {
            Some(Ok(_)) => return Ok((Handle::new(Arc::clone(&link)), Driver::new(link))),
            _ if link.lock().client.suggests_redial(&config) => {
                config.min_dialect = Dialect::V1;
                config.max_dialect = Dialect::V1;
            }
            Some(Err(reason)) => return Err(ConnectError::Handshake { address, reason }),
            None => {
                let source = io::ErrorKind::TimedOut.into();
                return Err(ConnectError::Unreachable { address, source });
            }
        }
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

fn dial(address: &Address, time: Duration) -> io::Result<Socket> {
    match address {
        Address::Tcp(address) => {
            let stream = dial_tcp(address, Instant::now() + time)?;
            stream.set_nodelay(true)?;
            Ok(Socket::new(stream))
        }
        #[cfg(unix)]
        Address::Unix(path) => Ok(Socket::new(std::os::unix::net::UnixStream::connect(path)?)),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Tries every address that the name resolves to, all of them together in the time there is.
fn dial_tcp(address: &str, until: Instant) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        let time = until.saturating_duration_since(Instant::now());
        if time.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, time) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
