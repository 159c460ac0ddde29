//! A server in one thread: a `Node`, many connections, and `mio` to say which sockets are ready.
//!
//! One turn: wait for readiness or for the moment that the node names, let the sockets read and write what
//! they can, tell the time, make the calls, and wait again. Nothing blocks but the one call of `poll`.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a program, and the tests run it"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{self, SocketAddr};
use std::thread;
use std::time::Duration;

use liminal_core::participant::{Context, Participant, Received};
use liminal_core::{
    Call, ConversationKey, Invocation, LinkId, Node, NodeNext, Offer, Settings, Ticket, invoke,
};
use liminal_proto::{Config, Connection, Event, Instant, LinkError, Next};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

/// The tokens of the listener and of the one who stops; connections have the ones behind them.
const LISTENER: Token = Token(0);
const STOP: Token = Token(1);

/// What one read may bring; all connections share it, so an idle one holds no buffer.
const SCRATCH: usize = 64 << 10;

/// A socket, and what is known of its readiness: `mio` tells changes, so that what was left unread or
/// unwritten must be remembered here.
struct Socket {
    stream: TcpStream,
    link: LinkId,
    readable: bool,
    writable: bool,
}

/// Counts the requests of its conversation.
#[derive(Default)]
struct Counter(u64);

impl Participant for Counter {
    fn message(&mut self, context: &mut Context<'_>, _: Received) {
        self.0 += 1;
        context.reply(self.0.to_string());
    }
}

struct Server {
    node: Node,
    config: Config,
    poll: Poll,
    listener: TcpListener,
    sockets: BTreeMap<Token, Socket>,
    next: usize,
    participants: BTreeMap<ConversationKey, Counter>,
    scratch: Vec<u8>,
    origin: std::time::Instant,
}

impl Server {
    fn bind(address: SocketAddr, config: Config) -> Result<Self, Box<dyn Error>> {
        let mut node = Node::new(Settings::default());
        node.register("counter".into(), Offer::Participant)?;
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            node,
            config,
            poll,
            listener,
            sockets: BTreeMap::new(),
            next: 2,
            participants: BTreeMap::new(),
            scratch: vec![0; SCRATCH],
            origin: std::time::Instant::now(),
        })
    }

    /// What stops it, from another thread.
    fn stopper(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), STOP)
    }

    fn now(&self) -> Instant {
        Instant::ORIGIN.after(self.origin.elapsed())
    }

    /// Serves until it is stopped and the last client has gone.
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut stopping = false;
        while !stopping || !self.sockets.is_empty() {
            let timeout = self.turn()?;
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    STOP => {
                        stopping = true;
                        self.node.stop(self.now());
                    }
                    token => {
                        if let Some(socket) = self.sockets.get_mut(&token) {
                            socket.readable |= event.is_readable();
                            socket.writable |= event.is_writable();
                        }
                    }
                }
            }
            self.node.tick(self.now());
        }
        Ok(())
    }

    /// Makes the calls, and lets each socket write and read once. Says how long nothing else will happen.
    fn turn(&mut self) -> io::Result<Option<Duration>> {
        let wake = loop {
            match self.node.poll() {
                NodeNext::Run(ticket, call) => self.call(ticket, &call),
                NodeNext::Wait(wake) => break wake,
                // Calls here return before they could be cancelled, and the end of a link is seen below.
                _ => {}
            }
        };
        let now = self.now();
        let mut moved = false;
        for socket in self.sockets.values_mut() {
            moved |= socket.write(now, &mut self.node) | socket.read(now, &mut self.node, &mut self.scratch);
        }
        self.close_those_that_have_finished(now)?;
        // What moved may have made more to do. It is done after a look at the other sockets, so that one that
        // never stops sending delays nobody for longer than a turn.
        Ok(if moved { Some(Duration::ZERO) } else { wake.time_from(now) })
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let (mut stream, _) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.next);
            self.next += 1;
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            let link = self.node.accept(self.now(), self.config.clone());
            self.sockets.insert(token, Socket { stream, link, readable: true, writable: true });
        }
    }

    /// Makes a call, here and now: the participants of this program do not block, and do not panic.
    fn call(&mut self, ticket: Ticket, call: &Invocation) {
        let now = self.now();
        let participant = self.participants.entry(call.conversation).or_default();
        let mut answers = Vec::new();
        invoke(participant, now, call, &mut answers);
        if matches!(call.what, Call::Leave { .. }) {
            self.participants.remove(&call.conversation);
        }
        for answer in answers {
            self.node.answer(now, ticket, answer);
        }
    }

    fn close_those_that_have_finished(&mut self, now: Instant) -> io::Result<()> {
        let has_finished = |it: &Socket| self.node.wants(it.link).is_none_or(|wants| wants.finished);
        let finished = self.sockets.iter().filter(|(_, it)| has_finished(it)).map(|(token, _)| *token);
        for token in finished.collect::<Vec<_>>() {
            if let Some(mut socket) = self.sockets.remove(&token) {
                self.poll.registry().deregister(&mut socket.stream)?;
                self.node.remove(now, socket.link);
            }
        }
        Ok(())
    }
}

impl Socket {
    /// Writes what the socket takes. Says whether anything moved.
    fn write(&mut self, now: Instant, node: &mut Node) -> bool {
        let mut moved = false;
        while self.writable {
            let mut segments = [&[][..]; 16];
            let count = node.to_write(self.link, &mut segments);
            if count == 0 {
                return moved;
            }
            let slices: Vec<_> = segments.iter().take(count).map(|segment| IoSlice::new(segment)).collect();
            match self.stream.write_vectored(&slices) {
                Ok(n) => node.wrote(self.link, n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.lose(now, node, &error),
            }
            moved = true;
        }
        moved
    }

    /// Reads once, if the connection wants that and there is something. Says whether anything moved.
    fn read(&mut self, now: Instant, node: &mut Node, scratch: &mut [u8]) -> bool {
        let room = node.input_room(self.link).min(scratch.len());
        let wants_more = node.wants(self.link).is_some_and(|wants| wants.read);
        if !self.readable || !wants_more || room == 0 {
            return false;
        }
        let space = scratch.get_mut(..room).unwrap_or_default();
        match self.stream.read(space) {
            Ok(0) => {
                self.readable = false;
                node.eof(now, self.link);
            }
            Ok(n) => {
                node.receive(now, self.link, space.get(..n).unwrap_or_default());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                return false;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.lose(now, node, &error),
        }
        true
    }

    fn lose(&mut self, now: Instant, node: &mut Node, error: &io::Error) {
        (self.readable, self.writable) = (false, false);
        let why = match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => LinkError::Reset,
            _ => LinkError::Failed,
        };
        node.link_lost(now, self.link, why);
    }
}

/// A client that waits in its own thread: asks so often, and returns the last reply.
fn ask(address: SocketAddr, times: u64) -> Result<String, Box<dyn Error + Send + Sync>> {
    let mut stream = net::TcpStream::connect(address)?;
    let now = Instant::ORIGIN;
    let mut connection = Connection::client(now, Config { keepalive: None, ..Config::default() });
    let (mut opened, mut replies, mut last) = (None, 0, String::new());
    loop {
        match connection.poll() {
            Next::Event(Event::Connected { .. }) => {
                let conversation = connection.open(now, "counter")?;
                connection.ask(now, conversation, None, "next")?;
                opened = Some(conversation);
            }
            Next::Event(Event::Reply(reply)) => {
                replies += 1;
                last = String::from_utf8_lossy(&reply.payload).into_owned();
                match opened {
                    Some(conversation) if replies < times => {
                        connection.ask(now, conversation, None, "next")?;
                    }
                    _ => connection.disconnect(now),
                }
            }
            Next::Event(_) => {}
            Next::Wait(wants) if wants.write => {
                let bytes = connection.take_write(usize::MAX);
                stream.write_all(&bytes)?;
                connection.wrote(bytes.len());
            }
            Next::Wait(wants) if wants.finished => return Ok(last),
            Next::Wait(_) => match connection.read_space().map(|space| stream.read(space)).transpose()? {
                Some(0) | None => connection.eof(now),
                Some(n) => connection.read_done(now, n),
            },
        }
    }
}

/// Fifty clients count to twenty at once, each in a conversation of its own, while a stranger who says
/// nothing is closed when his time is over.
///
/// # Errors
///
/// Anything went wrong.
pub fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.limits.handshake_time = Duration::from_secs(1);
    let mut server = Server::bind("127.0.0.1:0".parse()?, config)?;
    let (address, stopper) = (server.listener.local_addr()?, server.stopper()?);
    let running = thread::spawn(move || server.run());

    let mut stranger = net::TcpStream::connect(address)?;
    let clients: Vec<_> = (0..50).map(|_| thread::spawn(move || ask(address, 20))).collect();
    for client in clients {
        let counted = client.join().map_err(|_| "a client panicked")?.map_err(|error| error.to_string())?;
        assert_eq!(counted, "20");
    }
    let mut told = Vec::new();
    stranger.read_to_end(&mut told)?;
    // A ConnectError: he was too slow.
    assert_eq!(told.first(), Some(&3));
    println!("50 clients counted to 20, and a stranger was shown the door");

    stopper.wake()?;
    Ok(running.join().map_err(|_| "the server panicked")??)
}
