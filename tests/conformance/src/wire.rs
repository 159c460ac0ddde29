//! A wire between clients and a server that carries little at a time: both sides read and write in small
//! pieces and have little room between them, whatever their own sockets would hold. It can be cut, and lead to
//! another server.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use liminal_driver::Address;
use socket2::{Domain, SockRef, Socket, Type};

/// What each socket of the wire holds, in bytes, if the system takes so little.
const BUFFER: usize = 4096;

/// A wire that is there until this is dropped; connections that it carries live on.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    to: Arc<Mutex<Option<SocketAddr>>>,
    gone: Arc<AtomicBool>,
    carried: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    /// A wire to a TCP server that carries at most `grain` bytes at a time.
    #[must_use]
    pub fn to(server: &Address, grain: usize) -> Self {
        let to = Arc::new(Mutex::new(Some(socket_address(server))));
        let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
        narrow(&SockRef::from(&listener)).expect("a buffer may be small");
        let address = listener.local_addr().expect("a listener has an address");
        let gone = Arc::new(AtomicBool::new(false));
        let carried = Arc::<Mutex<Vec<TcpStream>>>::default();
        let (is_gone, carries, leads_to) = (Arc::clone(&gone), Arc::clone(&carried), Arc::clone(&to));
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept()
                && !is_gone.load(Ordering::Acquire)
            {
                // Before it is looked where it leads: what is cut from now on is cut.
                let mut carries = carries.lock().unwrap_or_else(PoisonError::into_inner);
                let server = *leads_to.lock().unwrap_or_else(PoisonError::into_inner);
                // One that cannot be carried is cut off, as a wire does that.
                if let Some(Ok(both)) = server.map(|server| carry(client, server, grain)) {
                    carries.extend(both);
                }
            }
        });
        Self { address, to, gone, carried }
    }

    /// Leads to another server from now on, or nowhere. What it carries goes on.
    pub fn lead_to(&self, server: Option<&Address>) {
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) = server.map(socket_address);
    }

    /// Ends all that it carries, under both sides.
    pub fn cut(&self) {
        for stream in self.carried.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address.into()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
        // Wakes who accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn socket_address(server: &Address) -> SocketAddr {
    let Address::Tcp(server) = server else { panic!("a wire leads to TCP, not to {server}") };
    server.parse().expect("a server says where it listens")
}

fn narrow(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_send_buffer_size(BUFFER)
}

fn carry(client: TcpStream, server: SocketAddr, grain: usize) -> io::Result<[TcpStream; 2]> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    narrow(&SockRef::from(&socket))?;
    socket.connect(&server.into())?;
    let server = TcpStream::from(socket);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let both = [client.try_clone()?, server.try_clone()?];
    let back = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || copy(client, server, grain));
    thread::spawn(move || copy(back.0, back.1, grain));
    Ok(both)
}

/// Carries one direction to its end, and the end with it.
fn copy(mut from: TcpStream, mut to: TcpStream, grain: usize) {
    let mut piece = vec![0; grain];
    while let Ok(n) = from.read(&mut piece)
        && n > 0
        && to.write_all(&piece[..n]).is_ok()
    {}
    // The other side may be gone already.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
