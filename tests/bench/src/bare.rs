//! Bare echoes: the same bytes over the same kind of socket, and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::Failure;

/// What a 2.0 request with a timeout adds to its payload, and what its reply does.
const REQUEST_OVERHEAD: usize = 10 + 8 + 4;
const REPLY_OVERHEAD: usize = 10 + 8 + 8;

/// As many bytes as a request with a payload of this length has.
pub(crate) fn request(payload: usize) -> Vec<u8> {
    vec![1; payload + REQUEST_OVERHEAD]
}

/// As many bytes as a reply with a payload of this length has.
pub(crate) fn reply(payload: usize) -> Vec<u8> {
    vec![2; payload + REPLY_OVERHEAD]
}

/// How long the notice is that a bare relay pushes when its responder is gone.
pub(crate) const NOTICE: usize = 64;

/// What one read may bring.
const CHUNK: usize = 64 << 10;

/// What a bare server knows of one connection.
struct Echo {
    chunk: Vec<u8>,
    /// Bytes of a request that is not complete.
    rest: usize,
    request: usize,
    reply: usize,
    /// As many replies as a chunk can ask for.
    replies: Arc<[u8]>,
}

impl Echo {
    fn new(payload: usize, replies: &Arc<[u8]>) -> Self {
        let (request, reply) = (request(payload).len(), reply(payload).len());
        Self { chunk: vec![0; CHUNK], rest: 0, request, reply, replies: Arc::clone(replies) }
    }

    /// What to write after so many bytes were read.
    fn replies(&mut self, read: usize) -> &[u8] {
        let requests = (self.rest + read) / self.request;
        self.rest = (self.rest + read) % self.request;
        self.replies.get(..requests * self.reply).unwrap_or_default()
    }
}

fn replies(payload: usize) -> Arc<[u8]> {
    reply(payload).repeat(CHUNK / request(payload).len() + 1).into()
}

/// Serves each connection with a thread over std.
pub(crate) fn serve_std(listener: &TcpListener, payload: usize) -> Result<(), Failure> {
    let replies = replies(payload);
    loop {
        let (peer, _) = listener.accept()?;
        peer.set_nodelay(true)?;
        let echo = Echo::new(payload, &replies);
        thread::spawn(move || echo_std(peer, echo));
    }
}

/// The end of a connection is the end of its client.
fn echo_std(mut peer: TcpStream, mut echo: Echo) {
    while let Ok(read @ 1..) = peer.read(&mut echo.chunk) {
        let replies = echo.replies(read);
        if !replies.is_empty() && peer.write_all(replies).is_err() {
            return;
        }
    }
}

/// Serves each connection with a task over smol, all of them on this thread.
pub(crate) fn serve_smol(listener: TcpListener, payload: usize) -> Result<(), Failure> {
    let replies = replies(payload);
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = smol::net::TcpListener::try_from(listener)?;
        loop {
            let (peer, _) = listener.accept().await?;
            peer.set_nodelay(true)?;
            executor.spawn(echo_smol(peer, Echo::new(payload, &replies))).detach();
        }
    }))
}

/// Serves one connection after the other over smol: without an executor, which takes a tenth more.
pub(crate) fn serve_smol_alone(listener: TcpListener, payload: usize) -> Result<(), Failure> {
    let replies = replies(payload);
    smol::block_on(async {
        let listener = smol::net::TcpListener::try_from(listener)?;
        loop {
            let (peer, _) = listener.accept().await?;
            peer.set_nodelay(true)?;
            echo_smol(peer, Echo::new(payload, &replies)).await;
        }
    })
}

async fn echo_smol(mut peer: smol::net::TcpStream, mut echo: Echo) {
    while let Ok(read @ 1..) = peer.read(&mut echo.chunk).await {
        let replies = echo.replies(read);
        if !replies.is_empty() && peer.write_all(replies).await.is_err() {
            return;
        }
    }
}

// Relays: the first connection is the responder's, the second the asker's.

fn pair(listener: &TcpListener) -> Result<(TcpStream, TcpStream), Failure> {
    let ((responder, _), (asker, _)) = (listener.accept()?, listener.accept()?);
    responder.set_nodelay(true)?;
    asker.set_nodelay(true)?;
    Ok((responder, asker))
}

/// Passes on one request at a time over std.
pub(crate) fn relay_std_alone(listener: &TcpListener, payload: usize) -> Result<(), Failure> {
    let (mut responder, mut asker) = pair(listener)?;
    let (mut request, mut reply) = (request(payload), reply(payload));
    loop {
        asker.read_exact(&mut request)?;
        responder.write_all(&request)?;
        responder.read_exact(&mut reply)?;
        asker.write_all(&reply)?;
    }
}

/// Passes on whatever comes, with a thread for each direction, and says when the responder is gone.
pub(crate) fn relay_std(listener: &TcpListener) -> Result<(), Failure> {
    let (responder, mut asker) = pair(listener)?;
    let (from_asker, to_responder) = (asker.try_clone()?, responder.try_clone()?);
    thread::spawn(move || pass_on(from_asker, to_responder));
    pass_on(responder, asker.try_clone()?);
    Ok(asker.write_all(&[3; NOTICE])?)
}

/// Until one of the two is gone.
fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        if to.write_all(chunk.get(..read).unwrap_or_default()).is_err() {
            return;
        }
    }
}

/// Passes on one request at a time over smol.
pub(crate) fn relay_smol_alone(listener: TcpListener, payload: usize) -> Result<(), Failure> {
    smol::block_on(async {
        let (mut responder, mut asker) = pair_of_smol(listener).await?;
        let (mut request, mut reply) = (request(payload), reply(payload));
        loop {
            asker.read_exact(&mut request).await?;
            responder.write_all(&request).await?;
            responder.read_exact(&mut reply).await?;
            asker.write_all(&reply).await?;
        }
    })
}

/// Passes on whatever comes over smol, both directions on this thread.
pub(crate) fn relay_smol(listener: TcpListener) -> Result<(), Failure> {
    smol::block_on(async {
        let (responder, asker) = pair_of_smol(listener).await?;
        let there = pass_on_smol(asker.clone(), responder.clone());
        smol::future::zip(there, pass_on_smol(responder, asker)).await;
        Ok(())
    })
}

async fn pair_of_smol(
    listener: TcpListener,
) -> Result<(smol::net::TcpStream, smol::net::TcpStream), Failure> {
    let listener = smol::net::TcpListener::try_from(listener)?;
    let ((responder, _), (asker, _)) = (listener.accept().await?, listener.accept().await?);
    responder.set_nodelay(true)?;
    asker.set_nodelay(true)?;
    Ok((responder, asker))
}

async fn pass_on_smol(mut from: smol::net::TcpStream, mut to: smol::net::TcpStream) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        if to.write_all(chunk.get(..read).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}

/// Responds over std to what a relay passes on.
pub(crate) fn respond_std(address: &str, payload: usize) -> Result<impl FnOnce(), Failure> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let echo = Echo::new(payload, &replies(payload));
    Ok(move || echo_std(stream, echo))
}

/// The same over smol.
pub(crate) fn respond_smol(address: &str, payload: usize) -> Result<impl FnOnce(), Failure> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let stream = smol::net::TcpStream::try_from(stream)?;
    let echo = Echo::new(payload, &replies(payload));
    Ok(move || smol::block_on(echo_smol(stream, echo)))
}
