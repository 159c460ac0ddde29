//! Listeners: TCP and Unix sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use liminal_driver::server::Peer;
use liminal_driver::{Address, widen_backlog};

use crate::socket::Socket;

/// Something that accepts connections.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: std::os::unix::net::UnixListener,
        /// Removed with the listener.
        _file: liminal_driver::unix_socket::SocketFile,
    },
}

impl Listener {
    /// Listens, and says where: the real port when it was asked for port 0.
    pub(crate) fn bind(address: &Address) -> io::Result<(Self, Address)> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                widen_backlog(&listener)?;
                let bound = listener.local_addr()?;
                Ok((Self::Tcp(listener), bound.into()))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let (listener, file) = liminal_driver::unix_socket::bind(path)?;
                Ok((Self::Unix { listener, _file: file }, address.clone()))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The next connection, and who it is.
    pub(crate) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok((Socket::new(stream), peer.into()))
            }
            #[cfg(unix)]
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept()?;
                Ok((Socket::new(stream), Peer::Local("a Unix socket".into())))
            }
        }
    }
}

/// Ends an accept that waits: by a connection, which is what it waits for.
pub(crate) fn interrupt_accept(listening: &Address) {
    // Nobody listens any more: then nobody accepts either.
    let _ = match listening {
        Address::Tcp(address) => match address.parse() {
            Ok(address) => TcpStream::connect(reachable(address)).map(drop),
            Err(_) => Ok(()),
        },
        #[cfg(unix)]
        Address::Unix(path) => std::os::unix::net::UnixStream::connect(path).map(drop),
        #[cfg(not(unix))]
        Address::Unix(_) => Ok(()),
    };
}

/// A listener on every address is reached through loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
