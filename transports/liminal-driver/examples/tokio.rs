//! A transport for tokio: what a runtime that this workspace has no crate for needs, and all that it needs.
//!
//! The pump of `liminal_driver::asynchronous` moves the bytes. A runtime supplies its streams as
//! `futures-io` has them ([`halves`]), its timers ([`TokioTimers`]) and its listener. The conformance suite
//! of the workspace runs on exactly this file, both sides and both versions.

#![allow(unreachable_pub, missing_docs, reason = "a program, and the tests use it")]

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use liminal_core::participant::{Context, Received};
use liminal_driver::asynchronous::{
    self, Accept, Accepted, Accepting, Driver, Halves, Handle, Server, Sleep, Sleeper,
};
use liminal_driver::error::{BindError, ConnectError};
use liminal_driver::{Address, ServerOptions};
use liminal_proto::Config;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};

/// The timers of a runtime. They know which one, because handles may be awaited on any executor, and tokio
/// makes a timer only where its runtime is entered.
#[derive(Clone, Debug)]
pub struct TokioTimers(pub runtime::Handle);

impl Sleeper for TokioTimers {
    fn sleep_until(&self, at: Instant) -> Sleep {
        let _inside = self.0.enter();
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}

/// The two halves of a stream; dropping the halves of tokio's own split ends their directions.
fn halves(stream: TcpStream) -> io::Result<Halves> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    Ok((Box::pin(read.compat()), Box::pin(write.compat_write())))
}

struct Listener(TcpListener);

impl Accept for Listener {
    fn accept(&self) -> Accepting<'_> {
        Box::pin(async {
            let (stream, peer) = self.0.accept().await?;
            Ok(Accepted { halves: halves(stream)?, peer: peer.into() })
        })
    }
}

/// Connects to a server. Nothing is spawned: run the driver beside whatever uses the handle.
///
/// # Errors
///
/// Nobody there, or the handshake failed.
pub async fn connect(address: Address, config: Config) -> Result<(Handle, Driver), ConnectError> {
    let runtime = runtime::Handle::current();
    let timers = Arc::new(TokioTimers(runtime.clone()));
    asynchronous::connect(&address, config, timers, move |address| inside(runtime.clone(), dial(address)))
        .await
}

/// Polls inside a runtime: a driver may be awaited on any executor, too, and dials again when it is told to.
async fn inside<T>(runtime: runtime::Handle, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let _inside = runtime.enter();
        work.as_mut().poll(cx)
    })
    .await
}

async fn dial(address: Address) -> io::Result<Halves> {
    match address {
        Address::Tcp(address) => halves(TcpStream::connect(address).await?),
        Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// A server that listens on `address`: register who serves what, then run it.
///
/// # Errors
///
/// The address is bad, or in use.
pub async fn bind(address: Address, options: ServerOptions) -> Result<Server, BindError> {
    let (listener, bound) = listen(&address).await.map_err(|source| BindError { address, source })?;
    let timers = Arc::new(TokioTimers(runtime::Handle::current()));
    Ok(Server::new(Arc::new(Listener(listener)), bound.into(), timers, options))
}

async fn listen(address: &Address) -> io::Result<(TcpListener, SocketAddr)> {
    let Address::Tcp(address) = address else { return Err(io::ErrorKind::Unsupported.into()) };
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn echo(context: &mut Context<'_>, message: Received) {
    context.reply(message.payload);
}

async fn converse() -> Result<(), Box<dyn Error>> {
    let server = bind("127.0.0.1:0".into(), ServerOptions::default()).await?;
    server.register_inline("echo", || echo)?;
    let (address, stopper) = (server.local_address().clone(), server.stopper());
    let running = tokio::spawn(server.run());

    let (handle, driver) = connect(address, Config::default()).await?;
    tokio::spawn(driver.run());
    let conversation = handle.open("echo").await?;
    let reply = conversation.ask("hello", Duration::from_secs(5)).await?;
    assert_eq!(&reply[..], b"hello");
    conversation.close().await?;

    stopper.stop();
    Ok(running.await??)
}

/// Holds a conversation on tokio, from its server to its stop.
///
/// # Errors
///
/// Anything went wrong.
pub fn main() -> Result<(), Box<dyn Error>> {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(converse())
}
