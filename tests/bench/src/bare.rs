//! Bare ping-pongs: the same bytes over the same kind of socket, and nothing else.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use bytes::Bytes;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::ask::Asker;
use crate::served::Served;
use crate::stats::{Samples, Times, try_sample};

/// What a 2.0 request with a timeout adds to its payload, and what its reply does.
const REQUEST_OVERHEAD: usize = 10 + 8 + 4;
const REPLY_OVERHEAD: usize = 10 + 8 + 8;

/// A client of an echo that knows no protocol, over std.
pub(crate) struct BareBlocking {
    stream: TcpStream,
    request: Vec<u8>,
    reply: Vec<u8>,
    _server: Served,
}

impl BareBlocking {
    pub(crate) fn start(payload: usize) -> Result<Self, Box<dyn Error>> {
        let server = Served::start(&format!("bare-std:{payload}"))?;
        let stream = TcpStream::connect(&server.address)?;
        stream.set_nodelay(true)?;
        let (request, reply) = (vec![1; payload + REQUEST_OVERHEAD], vec![2; payload + REPLY_OVERHEAD]);
        Ok(Self { stream, request, reply, _server: server })
    }
}

impl Asker for BareBlocking {
    fn measure(&mut self, _payload: &Bytes, count: usize) -> Result<Samples, Box<dyn Error>> {
        try_sample(count, || {
            self.stream.write_all(&self.request)?;
            Ok(self.stream.read_exact(&mut self.reply)?)
        })
    }
}

/// The same over smol.
pub(crate) struct BareSmol {
    payload: usize,
    server: Served,
}

impl BareSmol {
    pub(crate) fn start(payload: usize) -> Result<Self, Box<dyn Error>> {
        Ok(Self { payload, server: Served::start(&format!("bare-smol:{payload}"))? })
    }
}

impl Asker for BareSmol {
    fn measure(&mut self, _payload: &Bytes, count: usize) -> Result<Samples, Box<dyn Error>> {
        let (request, mut reply) =
            (vec![1; self.payload + REQUEST_OVERHEAD], vec![2; self.payload + REPLY_OVERHEAD]);
        smol::block_on(async {
            let mut stream = smol::net::TcpStream::connect(&self.server.address).await?;
            stream.set_nodelay(true)?;
            let mut times = Times::with_capacity(count);
            for _ in 0..count {
                times.start();
                stream.write_all(&request).await?;
                stream.read_exact(&mut reply).await?;
                times.stop();
            }
            Ok(times.samples())
        })
    }
}

/// Serves one bare connection after the other over std.
pub(crate) fn serve_std(listener: &TcpListener, payload: usize) -> Result<(), Box<dyn Error>> {
    let (mut asked, answer) = (vec![0; payload + REQUEST_OVERHEAD], vec![2; payload + REPLY_OVERHEAD]);
    loop {
        let (mut peer, _) = listener.accept()?;
        peer.set_nodelay(true)?;
        // Its end is the end of its client.
        while peer.read_exact(&mut asked).and_then(|()| peer.write_all(&answer)).is_ok() {}
    }
}

/// The same over smol.
pub(crate) fn serve_smol(listener: TcpListener, payload: usize) -> Result<(), Box<dyn Error>> {
    let (mut asked, answer) = (vec![0; payload + REQUEST_OVERHEAD], vec![2; payload + REPLY_OVERHEAD]);
    smol::block_on(async {
        let listener = smol::net::TcpListener::try_from(listener)?;
        loop {
            let (mut peer, _) = listener.accept().await?;
            peer.set_nodelay(true)?;
            // Its end is the end of its client.
            while peer.read_exact(&mut asked).await.is_ok() && peer.write_all(&answer).await.is_ok() {}
        }
    })
}
