//! Listeners of smol.

use std::io;
use std::sync::Arc;

use liminal_driver::asynchronous::{Accept, Accepted, Accepting, halves};
#[cfg(unix)]
use liminal_driver::server::Peer;
use liminal_driver::{Address, widen_backlog};

/// Listens, and says where: the real port when it was asked for port 0.
pub(crate) async fn bind(address: &Address) -> io::Result<(Arc<dyn Accept>, Address)> {
    match address {
        Address::Tcp(address) => {
            let listener = smol::net::TcpListener::bind(address).await?;
            widen_backlog(&listener)?;
            let bound = listener.local_addr()?;
            Ok((Arc::new(Tcp(listener)), bound.into()))
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let (listener, file) = liminal_driver::unix_socket::bind(path)?;
            let listener = smol::Async::new(listener)?.into();
            Ok((Arc::new(Unix { listener, _file: file }), address.clone()))
        }
        #[cfg(not(unix))]
        Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

struct Tcp(smol::net::TcpListener);

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
    listener: smol::net::unix::UnixListener,
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
