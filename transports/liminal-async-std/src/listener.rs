//! Listeners of async-std.

use std::io;
use std::sync::Arc;

use async_std::net::ToSocketAddrs as _;
use liminal_driver::asynchronous::{Accept, Accepted, Accepting};
#[cfg(unix)]
use liminal_driver::server::Peer;
use liminal_driver::{Address, widen_backlog};

use crate::stream::halves;

/// Listens, and says where: the real port when it was asked for port 0.
pub(crate) async fn bind(address: &Address) -> io::Result<(Arc<dyn Accept>, Address)> {
    match address {
        Address::Tcp(address) => {
            // Bound by std, because a listener of async-std gives nothing away that an option could be set on.
            let resolved: Vec<_> = address.to_socket_addrs().await?.collect();
            let listener = std::net::TcpListener::bind(&resolved[..])?;
            widen_backlog(&listener)?;
            let bound = listener.local_addr()?;
            Ok((Arc::new(Tcp(listener.into())), bound.into()))
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let (listener, file) = liminal_driver::unix_socket::bind(path)?;
            let listener = listener.into();
            Ok((Arc::new(Unix { listener, _file: file }), address.clone()))
        }
        #[cfg(not(unix))]
        Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

struct Tcp(async_std::net::TcpListener);

impl Accept for Tcp {
    fn accept(&self) -> Accepting<'_> {
        Box::pin(async {
            let (stream, peer) = self.0.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Accepted { halves: halves(stream), peer: peer.into() })
        })
    }
}

#[cfg(unix)]
struct Unix {
    listener: async_std::os::unix::net::UnixListener,
    /// Removed with the listener.
    _file: liminal_driver::unix_socket::SocketFile,
}

#[cfg(unix)]
impl Accept for Unix {
    fn accept(&self) -> Accepting<'_> {
        Box::pin(async {
            let (stream, _) = self.listener.accept().await?;
            Ok(Accepted { halves: halves(stream), peer: Peer::Local("a Unix socket".into()) })
        })
    }
}
