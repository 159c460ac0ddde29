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
