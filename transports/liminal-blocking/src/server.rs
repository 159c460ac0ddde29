//! The server: one thread for each connection.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use liminal_core::participant::AsyncFactory;
use liminal_core::{CrashPolicy, Factory, RegisterError, Subject};
use liminal_driver::client::{link_error, wake_at};
use liminal_driver::error::BindError;
use liminal_driver::server::{Host, Hub, Kind, Peer, Pool, ServerLink, Spawn, Task, TurnedAway, Waits};
use liminal_driver::{Address, ServerOptions, with_scratch};
use liminal_proto::Connection;

use crate::listener::{Listener, interrupt_accept};
use crate::park::{park_until, waker};
use crate::socket::Socket;
use crate::timers::{ThreadSleeper, Timers};
use crate::writer::{Handed, Writer};

/// How long a connection that is over is still read, so that the farewell is not destroyed by a reset.
const LINGER: Duration = Duration::from_millis(500);

/// Memory that every connection has to itself, on its stack; a read that fills it goes on in shared memory. With a
/// kibibyte more, a connection that has had a conversation keeps one more page of its stack.
const OWN_BUFFER: usize = 3 << 10;

/// The stack of a connection's thread: participants that run inline run on it. Only what is touched costs.
const STACK: usize = 1 << 20;

/// A server that listens and does not run yet.
pub struct Server {
    hub: Arc<Hub>,
    pool: Arc<Pool>,
    timers: Arc<Timers>,
    listener: Listener,
    address: Address,
    stopping: Arc<AtomicBool>,
}

/// Stops a server gracefully, from wherever it is.
#[derive(Clone, Debug)]
pub struct Stopper {
    address: Address,
    stopping: Arc<AtomicBool>,
}

impl Stopper {
    /// Asks every client to go, waits for them as long as the server's options say, and ends
    /// [`Server::run`].
    pub fn stop(&self) {
        if !self.stopping.swap(true, Ordering::AcqRel) {
            interrupt_accept(&self.address);
        }
    }
}

/// A server that listens on `address`: register who serves what, then run it.
///
/// # Errors
///
/// The address is bad, or in use.
pub fn bind(address: impl Into<Address>) -> Result<Server, BindError> {
    bind_with(address, ServerOptions::default())
}

/// The same with options: of connections, of the bus, of stopping.
///
/// # Errors
///
/// The address is bad, or in use.
pub fn bind_with(address: impl Into<Address>, options: ServerOptions) -> Result<Server, BindError> {
    let address = address.into();
    let (listener, address) = Listener::bind(&address).map_err(|source| BindError { address, source })?;
    let (timers, pool) = (Arc::new(Timers::default()), Pool::new(options.stop.blocking_seats));
    let (spawn, sleeper) = (OnPool(Arc::clone(&pool)), ThreadSleeper(Arc::clone(&timers)));
    let hub = Hub::new(options, Box::new(spawn), Arc::new(sleeper), Arc::clone(&pool));
    Ok(Server { hub, pool, timers, listener, address, stopping: Arc::default() })
}

impl Server {
    /// Where it listens; the real port when it was asked for port 0.
    #[must_use]
    pub const fn local_address(&self) -> &Address {
        &self.address
    }

    /// Serves a subject with participants that run where their messages are decoded. They must not
    /// block: their connection waits for them.
    ///
    /// # Errors
    ///
    /// The subject is too long, or is registered to be only recorded.
    pub fn register_inline(
        &self,
        subject: impl Into<Subject>,
        factory: impl Factory + 'static,
    ) -> Result<(), RegisterError> {
        self.register(subject, Kind::Inline(Arc::new(factory)))
    }

    /// Serves a subject with participants that may block, on a bounded pool of threads.
    ///
    /// # Errors
    ///
    /// The subject is too long, or is registered to be only recorded.
    pub fn register_blocking(
        &self,
        subject: impl Into<Subject>,
        factory: impl Factory + 'static,
    ) -> Result<(), RegisterError> {
        self.register(subject, Kind::Blocking(Arc::new(factory)))
    }

    /// Serves a subject with participants that await. Each call has a thread of the pool while it lasts.
    ///
    /// # Errors
    ///
    /// The subject is too long, or is registered to be only recorded.
    pub fn register_async(
        &self,
        subject: impl Into<Subject>,
        factory: impl AsyncFactory + 'static,
    ) -> Result<(), RegisterError> {
        self.register(subject, Kind::Async(Arc::new(factory)))
    }

    /// Serves a subject with participants that `host` calls, because they live outside this program.
    ///
    /// # Errors
    ///
    /// The subject is served already, or too long.
    pub fn register_hosted(&self, subject: impl Into<Subject>, host: impl Host) -> Result<(), RegisterError> {
        self.register(subject, Kind::Hosted(Arc::new(host)))
    }

    /// Serves a subject with nobody: opening succeeds, messages are recorded, requests are refused.
    ///
    /// # Errors
    ///
    /// The subject is served already, or too long.
    pub fn register_trace_only(&self, subject: impl Into<Subject>) -> Result<(), RegisterError> {
        self.register(subject, Kind::TraceOnly)
    }

    /// Sets what becomes of a conversation on a subject when its participant exits; without it the
    /// conversation fails. It is for conversations that are opened from now on.
    ///
    /// A subject may be registered several times: a new conversation gets the participants with the
    /// fewest conversations, and [`CrashPolicy::RouteToNext`] goes on with the next of them.
    ///
    /// # Errors
    ///
    /// The subject is too long, or the one to compensate on.
    pub fn on_crash(&self, subject: impl Into<Subject>, policy: CrashPolicy) -> Result<(), RegisterError> {
        self.hub.on_crash(subject.into(), policy)
    }

    /// Serves a subject with participants of a kind: what the other ways to register are short for.
    ///
    /// # Errors
    ///
    /// The subject is too long, or is registered to be only recorded, or this only records and the subject is
    /// served already.
    pub fn register(&self, subject: impl Into<Subject>, kind: Kind) -> Result<(), RegisterError> {
        self.hub.register(subject.into(), kind).map(drop)
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { address: self.address.clone(), stopping: Arc::clone(&self.stopping) }
    }

    /// Accepts and serves until it is stopped.
    ///
    /// # Errors
    ///
    /// The thread that watches the clock cannot be started. A failure to accept is logged and tried again.
    pub fn run(self) -> io::Result<()> {
        let Self { hub, pool, timers, listener, address: _, stopping } = self;
        let ended = Arc::new(AtomicBool::new(false));
        let clock = {
            let (hub, timers, ended) = (Arc::clone(&hub), Arc::clone(&timers), Arc::clone(&ended));
            thread::Builder::new().name("liminal-clock".into()).spawn(move || timers.run(&hub, &ended))?
        };
        accept(&hub, &listener, &stopping);
        drop(listener);
        stop(&hub);
        pool.close();
        ended.store(true, Ordering::Release);
        timers.wake();
        // It has no result, and a panic in it has been reported.
        let _ = clock.join();
        Ok(())
    }
}

fn accept(hub: &Arc<Hub>, listener: &Listener, stopping: &AtomicBool) {
    loop {
        while let Some(pause) = hub.accept_pause()
            && !stopping.load(Ordering::Acquire)
        {
            thread::sleep(pause);
        }
        let accepted = listener.accept();
        if stopping.load(Ordering::Acquire) {
            return;
        }
        let started = accepted.and_then(|(socket, peer)| start(hub, socket, peer));
        if let Err(error) = started {
            thread::sleep(hub.admission().failed(&error));
        }
    }
}

/// Asks every client to go, and waits until they have, or the time for it is over.
fn stop(hub: &Arc<Hub>) {
    hub.stop();
    park_while(Some(Instant::now() + hub.options().stop.time), |waker| !hub.is_idle(waker));
    hub.abandon();
    park_while(None, |waker| !hub.is_unlinked(waker));
    hub.over();
}

fn park_while(until: Option<Instant>, is_so: impl Fn(&Waker) -> bool) {
    let waker = waker();
    while is_so(&waker) && until.is_none_or(|until| Instant::now() < until) {
        park_until(until);
    }
}

fn start(hub: &Arc<Hub>, socket: Socket, peer: Peer) -> io::Result<()> {
    let admitted = match hub.admission().admit(peer) {
        Ok(admitted) => admitted,
        Err(turned_away) => return turn_away(socket, turned_away),
    };
    let socket = Arc::new(socket);
    let writer = Writer::new(Arc::clone(&socket), Arc::clone(hub));
    let connection = Connection::server(hub.clock().now(), hub.options().connection.clone());
    let handed = Box::new(Handed(Arc::clone(&writer)));
    // Here and not in the thread: a server that stops now waits for this connection, too.
    let connected =
        hub.connect(|id| ServerLink::new(id, admitted, hub.memory(), connection, handed, Waker::noop()));
    thread::Builder::new().name("liminal-connection".into()).stack_size(STACK).spawn(move || {
        let (hub, link) = (connected.hub(), connected.link());
        writer.serve(link, thread::current());
        let _look_anyway = link.watch(&waker());
        serve(hub, link, &socket);
        say_goodbye(link, &socket);
    })?;
    Ok(())
}

/// Tells a client that there is no room for it, if there is time for that.
fn turn_away(socket: Socket, turned_away: TurnedAway) -> io::Result<()> {
    let Some(farewell) = turned_away.farewell() else { return Ok(()) };
    thread::Builder::new().name("liminal-farewell".into()).stack_size(STACK).spawn(move || {
        // Far shorter than what any socket takes at once.
        if socket.write_now(&[IoSlice::new(&farewell)]).is_ok() {
            socket.shutdown(Shutdown::Write);
            drain(&socket);
        }
        drop(turned_away);
    })?;
    Ok(())
}

/// Reads and discards, until the peer has no more to say or it takes too long.
fn drain(socket: &Socket) {
    let until = Instant::now() + LINGER;
    let left = || Some(until.saturating_duration_since(Instant::now()));
    with_scratch(|scratch| while matches!(socket.read(scratch, left()), Ok(Some(n)) if n > 0) {});
}

fn serve(hub: &Arc<Hub>, link: &Arc<ServerLink>, socket: &Socket) {
    let mut buffer = [0; OWN_BUFFER];
    let mut waits = link.advance(hub, |_, _| ());
    while !waits.wants.finished {
        if waits.wants.read {
            let limit = waits.wants.wake.time_from(waits.now);
            let read = socket.read(buffer.get_mut(..waits.room.min(OWN_BUFFER)).unwrap_or_default(), limit);
            let more = matches!(read, Ok(Some(OWN_BUFFER)));
            waits = deliver(hub, link, &buffer, read);
            if more {
                waits = read_on(hub, link, socket, waits);
            }
        } else {
            park_until(wake_at(&waits.wants, hub.clock()));
            waits = link.advance(hub, |_, _| ());
        }
    }
}

/// There is more where that came from: read it in larger pieces, while it lasts.
fn read_on(hub: &Arc<Hub>, link: &Arc<ServerLink>, socket: &Socket, mut waits: Waits) -> Waits {
    with_scratch(|scratch| {
        while waits.wants.read {
            let room = waits.room.min(scratch.len());
            let read = socket.read_now(scratch.get_mut(..room).unwrap_or_default());
            let read = match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
                read => read.map(Some),
            };
            waits = deliver(hub, link, scratch, read);
        }
        waits
    })
}

fn deliver(hub: &Arc<Hub>, link: &Arc<ServerLink>, buffer: &[u8], read: io::Result<Option<usize>>) -> Waits {
    link.advance(hub, |connection, now| match read {
        Ok(None) => {}
        Ok(Some(0)) => connection.eof(now),
        Ok(Some(n)) => {
            connection.receive(now, buffer.get(..n).unwrap_or_default());
        }
        Err(error) => connection.link_lost(now, link_error(&error)),
    })
}

/// Closes our half, and discards for a moment what the peer still sends: closing a socket with unread
/// input would reset it, and the peer might lose the farewell.
fn say_goodbye(link: &ServerLink, socket: &Socket) {
    if link.is_lost() {
        return;
    }
    // A thread always can: there is nothing to wait for.
    let _ = link.poll_close(&Context::from_waker(Waker::noop()));
    drain(socket);
}

/// Async participants, each call on a thread of the pool.
pub(crate) struct OnPool(pub(crate) Arc<Pool>);

impl Spawn for OnPool {
    fn spawn(&self, task: Task) -> Result<(), Task> {
        let seat = Arc::new(Mutex::new(Some(task)));
        let taken = Arc::clone(&seat);
        let job = Box::new(move |seat| {
            let task = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(task) = task {
                let returned = futures_lite::future::block_on(task);
                drop(seat);
                returned.tell();
            }
        });
        match self.0.run(job) {
            Ok(()) => Ok(()),
            Err(_) => match seat.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(task) => Err(task),
                None => Ok(()),
            },
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}
