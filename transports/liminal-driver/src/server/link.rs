//! One connection of a server, as its own thread or task and everybody who has something for it share it.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use liminal_core::{Command, Held, LinkId};
use liminal_proto::{CloseReason, Connection, Event, Instant, LinkError, Next, Phase, Wants};

use super::Hub;
use crate::unsent::Unsent;

/// Events handed to the bus at once. The bus is locked once for all of them, and the links that they
/// concern are written to once.
const EVENTS_MAX: usize = 64;

/// Replies that may wait for room in the output of one connection, in bytes. Beyond it the peer counts
/// as one that does not read. Default of every server: 16 MiB, which is sixteen of the largest replies.
const HELD_BYTES_MAX: usize = 16 << 20;

/// The half of a stream that is written, without ever waiting.
pub trait TryWrite: Send {
    /// Writes what the stream takes at once. `Pending`: `waker` is woken when it takes more.
    fn try_write(&mut self, slices: &[IoSlice<'_>], waker: &Waker) -> Poll<io::Result<usize>>;

    /// The stream takes no more. Wakes the reader, who then minds how long that lasts; a transport whose
    /// writer minds that by itself leaves the reader alone.
    fn blocked(&mut self, reader: &Waker) {
        reader.wake_by_ref();
    }

    /// Closes this half.
    fn try_close(&mut self, waker: &Waker) -> Poll<io::Result<()>>;
}

/// One connection of a server.
pub struct ServerLink {
    id: LinkId,
    /// Who it is, for the log.
    peer: String,
    state: Mutex<State>,
    /// What the bus has to say, in its order. Filled while the bus is locked, and so by itself.
    outbox: Mutex<Outbox>,
}

struct State {
    connection: Connection,
    /// The turn to write.
    writer: Option<Box<dyn TryWrite>>,
    unsent: Unsent,
    /// Who reads, and goes on writing when the stream was full.
    waker: Waker,
    full: bool,
    /// Whether the stream took no more at the last try.
    blocked: bool,
    /// Whether the reader was woken because the connection is over.
    over: bool,
    /// Whether something happened that the reader must look at.
    attention: bool,
}

#[derive(Default)]
struct Outbox {
    commands: VecDeque<Command>,
    bytes: usize,
}

/// What flushing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is no room for replies now.
    Full,
    /// There is again.
    Ready,
}

impl ServerLink {
    /// A new connection from `peer`. `waker` is woken when it must be looked at.
    #[must_use]
    pub fn new(
        id: LinkId,
        peer: String,
        connection: Connection,
        writer: Box<dyn TryWrite>,
        waker: &Waker,
    ) -> Arc<Self> {
        let state = State {
            connection,
            writer: Some(writer),
            unsent: Unsent::default(),
            waker: waker.clone(),
            full: false,
            blocked: false,
            over: false,
            attention: true,
        };
        Arc::new(Self { id, peer, state: Mutex::new(state), outbox: Mutex::default() })
    }

    /// Its id on the bus.
    #[must_use]
    pub const fn id(&self) -> LinkId {
        self.id
    }

    /// Who is to be woken from now on. Says whether there is something to look at: if not, what the
    /// connection wanted last is what it still wants.
    #[must_use]
    pub fn watch(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        state.waker.clone_from(waker);
        std::mem::take(&mut state.attention) || state.blocked
    }

    /// Does something to the connection, hands what happened to the bus, writes what came of it, and
    /// says what the connection waits for.
    pub fn advance(self: &Arc<Self>, hub: &Arc<Hub>, step: impl FnOnce(&mut Connection, Instant)) -> Wants {
        let mut step = Some(step);
        let mut flushed = false;
        let now = hub.clock().now();
        loop {
            let (events, wants) = self.poll(now, step.take());
            match wants {
                Some(wants) if events.is_empty() && (flushed || !wants.write) => return wants,
                _ if events.is_empty() => {
                    // Writing may end a pause, and what it finds may end the connection: look again.
                    hub.flush(self);
                    flushed = true;
                }
                _ => hub.events(now, self.id, events),
            }
        }
    }

    fn poll(
        &self,
        now: Instant,
        step: Option<impl FnOnce(&mut Connection, Instant)>,
    ) -> (Vec<Event>, Option<Wants>) {
        let mut state = self.lock();
        if let Some(step) = step {
            step(&mut state.connection, now);
        }
        state.connection.tick(now);
        let mut events = Vec::new();
        while events.len() < EVENTS_MAX {
            match state.connection.poll() {
                Next::Event(event) => {
                    self.log(&event);
                    events.push(event);
                }
                Next::Wait(wants) => return (events, Some(wants)),
            }
        }
        (events, None)
    }

    /// How many bytes of input the connection has room for.
    #[must_use]
    pub fn input_room(&self) -> usize {
        self.lock().connection.input_room()
    }

    /// Closes the half that is written.
    ///
    /// # Errors
    ///
    /// The stream is gone already.
    pub fn poll_close(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.lock().writer {
            Some(writer) => writer.try_close(cx.waker()),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The transport is taken away: the server has stopped.
    pub fn drop_transport(&self, now: Instant) {
        let mut state = self.lock();
        state.connection.link_lost(now, LinkError::Dropped);
        state.unsent.clear();
        state.wake_reader();
    }

    /// Something that the bus has to say. Called while the bus is locked. Says whether it is the first
    /// since the outbox was last emptied: then whoever pushed it flushes the link.
    pub(super) fn push(&self, command: Command) -> bool {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let first = outbox.commands.is_empty();
        outbox.bytes += len(&command);
        outbox.commands.push_back(command);
        first
    }

    /// Says what there is to say, as far as there is room, and writes as far as the stream takes it.
    pub(super) fn flush(&self, now: Instant) -> Option<Room> {
        let mut state = self.lock();
        loop {
            let held = self.apply(&mut state, now);
            let Some(mut writer) = state.take_writer() else {
                state.tell_if_over();
                return state.room(held);
            };
            let mut taken = std::mem::take(&mut state.unsent);
            let waker = state.waker.clone();
            drop(state);
            let written = write(&mut *writer, &taken, &waker);
            state = self.lock();
            state.writer = Some(writer);
            match written {
                Poll::Ready(Ok(n)) => {
                    taken.wrote(&mut state.connection, n);
                    state.unsent = taken;
                    // The reader may have paused because of it; the stream wakes it by itself.
                    state.attention |= std::mem::take(&mut state.blocked);
                }
                Poll::Ready(Err(error)) => {
                    state.connection.link_lost(now, crate::client::link_error(&error));
                    state.wake_reader();
                    return state.room(false);
                }
                Poll::Pending => {
                    state.unsent = taken;
                    state.block(&waker);
                    let held = self.apply(&mut state, now);
                    return state.room(held);
                }
            }
        }
    }

    /// Moves commands into the connection. Says whether one found no room.
    fn apply(&self, state: &mut State, now: Instant) -> bool {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(command) = outbox.commands.pop_front() {
            let bytes = len(&command);
            if let Err(Held(command)) = command.apply(now, &mut state.connection) {
                outbox.commands.push_front(command);
                if outbox.bytes > HELD_BYTES_MAX {
                    tracing::warn!(peer = self.peer, "does not read its replies");
                    state.connection.link_lost(now, LinkError::TimedOut);
                    state.wake_reader();
                }
                return true;
            }
            outbox.bytes -= bytes;
        }
        false
    }

    fn log(&self, event: &Event) {
        match event {
            Event::Connected { version } => tracing::debug!(peer = self.peer, %version, "connected"),
            Event::Closed(CloseReason::Violation(violation)) => {
                tracing::warn!(peer = self.peer, "connection closed: {violation}");
            }
            Event::Closed(reason) => tracing::debug!(peer = self.peer, "connection closed: {reason}"),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The turn to write, when it is free and there is something to write.
    fn take_writer(&mut self) -> Option<Box<dyn TryWrite>> {
        let writer = self.writer.take()?;
        if self.unsent.is_empty() && !self.unsent.refill(&mut self.connection) {
            self.writer = Some(writer);
            return None;
        }
        Some(writer)
    }

    /// The stream takes no more.
    fn block(&mut self, waker: &Waker) {
        if !self.blocked {
            self.blocked = true;
            if let Some(writer) = &mut self.writer {
                writer.blocked(waker);
            }
        }
    }

    fn wake_reader(&mut self) {
        self.attention = true;
        self.waker.wake_by_ref();
    }

    /// A command may have ended the connection; the one who reads must see to that, once.
    fn tell_if_over(&mut self) {
        if self.connection.phase() == Phase::Closed && !self.over {
            self.over = true;
            self.wake_reader();
        }
    }

    const fn room(&mut self, held: bool) -> Option<Room> {
        let changed = held != self.full;
        self.full = held;
        match (changed, held) {
            (false, _) => None,
            (true, true) => Some(Room::Full),
            (true, false) => Some(Room::Ready),
        }
    }
}

fn write(writer: &mut dyn TryWrite, unsent: &Unsent, waker: &Waker) -> Poll<io::Result<usize>> {
    loop {
        match unsent.write_with(|slices| writer.try_write(slices, waker)) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}

/// What a command costs while it waits.
fn len(command: &Command) -> usize {
    match command {
        Command::Reply(reply) => reply.payload.len(),
        _ => 0,
    }
}

impl fmt::Debug for ServerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerLink").field("id", &self.id).field("peer", &self.peer).finish_non_exhaustive()
    }
}
