//! Clients that cost as little as a client can, so that what is measured with them is the server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use liminal_proto::wire::Dialect;
use liminal_proto::{Config, Connection, ConversationId, Event, Instant, Next, Terms, Wants};

use crate::served::Kind;
use crate::{Failure, bare};

/// What one read may bring: less than a connection takes at once.
const CHUNK: usize = 16 << 10;
const TIMEOUT: Duration = Duration::from_secs(10);

/// One connection to a server, with some requests under way at a time.
pub(crate) trait Peer: Send {
    /// How many requests can be under way.
    fn width(&self) -> usize;

    /// Sends so many requests: at most as many as are not under way.
    fn ask(&mut self, requests: usize) -> Result<(), Failure>;

    /// Waits for input, and says how many replies it completed.
    fn replies(&mut self) -> Result<usize, Failure>;

    /// What is readable when there is input.
    fn stream(&self) -> &TcpStream;
}

/// Asks, and with each reply asks again, as long as `more` says so. Ends when every request was replied to.
pub(crate) fn exchange(peer: &mut dyn Peer, mut more: impl FnMut() -> bool) -> Result<(), Failure> {
    let mut outstanding = (0..peer.width()).filter(|_| more()).count();
    peer.ask(outstanding)?;
    while outstanding > 0 {
        let replies = peer.replies()?;
        let again = (0..replies).filter(|_| more()).count();
        peer.ask(again)?;
        outstanding = outstanding + again - replies;
    }
    Ok(())
}

/// Connects to a server of this kind that serves `subject`; `width` requests will be under way.
pub(crate) fn connect(
    kind: Kind,
    address: &str,
    subject: &str,
    payload: usize,
    width: usize,
) -> Result<Box<dyn Peer>, Failure> {
    let stream = dial(address)?;
    Ok(if kind.is_bare() {
        Box::new(BarePeer::new(stream, payload, width))
    } else {
        Box::new(LiminalPeer::open(stream, subject, payload, width)?)
    })
}

/// A connection on which nothing waits to be sent.
pub(crate) fn dial(address: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One that knows no protocol.
struct BarePeer {
    stream: TcpStream,
    width: usize,
    request: usize,
    reply: usize,
    /// As many requests as can be due at once.
    requests: Vec<u8>,
    chunk: Vec<u8>,
    /// Bytes of a reply that is not complete.
    rest: usize,
}

impl BarePeer {
    fn new(stream: TcpStream, payload: usize, width: usize) -> Self {
        let (request, reply) = (bare::request(payload), bare::reply(payload).len());
        let requests = request.repeat(width);
        Self { stream, width, request: request.len(), reply, requests, chunk: vec![0; CHUNK], rest: 0 }
    }
}

impl Peer for BarePeer {
    fn width(&self) -> usize {
        self.width
    }

    fn ask(&mut self, requests: usize) -> Result<(), Failure> {
        let due = self.requests.get(..requests * self.request).ok_or("more replies than requests")?;
        Ok(self.stream.write_all(due)?)
    }

    fn replies(&mut self) -> Result<usize, Failure> {
        let read = self.stream.read(&mut self.chunk)?;
        if read == 0 {
            return Err("the server has gone away".into());
        }
        let replies = (self.rest + read) / self.reply;
        self.rest = (self.rest + read) % self.reply;
        Ok(replies)
    }

    fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// One that drives the state machine of the protocol by hand.
pub(crate) struct LiminalPeer {
    stream: TcpStream,
    connection: Connection,
    width: usize,
    /// Those without a request under way.
    idle: Vec<ConversationId>,
    payload: Bytes,
    chunk: Vec<u8>,
    origin: std::time::Instant,
}

impl LiminalPeer {
    pub(crate) fn open(
        stream: TcpStream,
        subject: &str,
        payload: usize,
        width: usize,
    ) -> Result<Self, Failure> {
        let config = Config { min_dialect: Dialect::V2, ..Config::default() };
        let mut this = Self {
            stream,
            connection: Connection::client(Instant::ORIGIN, config),
            width,
            idle: Vec::with_capacity(width),
            payload: vec![7; payload].into(),
            chunk: vec![0; CHUNK],
            origin: std::time::Instant::now(),
        };
        this.until(|event| matches!(event, Event::Connected { .. }))?;
        for _ in 0..width {
            this.open_on(subject, Terms::default())?;
        }
        Ok(this)
    }

    /// One conversation more.
    pub(crate) fn open_on(&mut self, subject: &str, terms: Terms) -> Result<(), Failure> {
        let conversation = self.connection.open_on(self.now(), subject, terms)?;
        self.until(|event| matches!(event, Event::Opened { .. }))?;
        self.idle.push(conversation);
        Ok(())
    }

    /// Tells what one read brings.
    pub(crate) fn hear(&mut self, mut told: impl FnMut(Event)) -> Result<(), Failure> {
        self.read()?;
        loop {
            match self.connection.poll() {
                Next::Event(event) => told(event),
                Next::Wait(wants) if wants.write => self.write(wants)?,
                Next::Wait(_) => return Ok(()),
            }
        }
    }

    fn until(&mut self, is_it: impl Fn(&Event) -> bool) -> Result<(), Failure> {
        loop {
            match self.connection.poll() {
                Next::Event(event) if is_it(&event) => return Ok(()),
                Next::Event(_) => {}
                Next::Wait(wants) => {
                    self.write(wants)?;
                    self.read()?;
                }
            }
        }
    }

    fn write(&mut self, wants: Wants) -> Result<(), Failure> {
        if wants.write {
            let bytes = self.connection.take_write(usize::MAX);
            self.stream.write_all(&bytes)?;
            self.connection.wrote(bytes.len());
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Failure> {
        let read = self.stream.read(&mut self.chunk)?;
        let now = self.now();
        let bytes = self.chunk.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return Err("the server has gone away".into());
        }
        if self.connection.receive(now, bytes) < read {
            return Err("a connection that was emptied does not take a chunk".into());
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::ORIGIN.after(self.origin.elapsed())
    }
}

impl Peer for LiminalPeer {
    fn width(&self) -> usize {
        self.width
    }

    fn ask(&mut self, requests: usize) -> Result<(), Failure> {
        let now = self.now();
        for _ in 0..requests {
            let conversation = self.idle.pop().ok_or("more replies than requests")?;
            let payload = self.payload.clone();
            let asked = self.connection.ask(now, conversation, Some(TIMEOUT), payload);
            asked.map_err(|rejected| rejected.reason)?;
        }
        match self.connection.poll() {
            Next::Wait(wants) => self.write(wants),
            Next::Event(event) => Err(format!("{event:?} after everything was heard").into()),
        }
    }

    fn replies(&mut self) -> Result<usize, Failure> {
        self.read()?;
        let mut replies = 0;
        loop {
            match self.connection.poll() {
                Next::Event(Event::Reply(reply)) => {
                    self.idle.push(reply.conversation);
                    replies += 1;
                }
                Next::Event(event) => return Err(format!("{event:?} instead of a reply").into()),
                Next::Wait(wants) if wants.write => self.write(wants)?,
                Next::Wait(_) => return Ok(replies),
            }
        }
    }

    fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
