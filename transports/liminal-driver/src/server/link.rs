//! One connection of a server, as its own thread or task and everybody who has something for it share it.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use liminal_core::{Command, LinkId, Outbox};
use liminal_proto::{CloseReason, Connection, ConversationId, Event, Instant, LinkError, Next, Phase, Wants};

use smallvec::SmallVec;

use super::writer::{TryWrite, Writer};
use super::{Admitted, Flushed, Hub, MemoryAccount, MemoryBudget, Outlet, Peer};
use crate::unsent::Unsent;

/// Events handed to the bus at once. The bus is locked once for all of them, and the links that they
/// concern are written to once.
const EVENTS_MAX: usize = 64;

/// What is handed over at once is mostly one message.
type Events = SmallVec<[Event; 1]>;

/// One connection of a server.
pub struct ServerLink {
    id: LinkId,
    /// Who it is, and its place among the connections.
    admitted: Admitted,
    /// What it holds of what all of them share.
    memory: MemoryAccount,
    state: Mutex<State>,
    /// What the bus has to say, in its order. Filled while the bus is locked, and so by itself.
    outbox: Mutex<Outbox>,
    /// Whether something was put into the outbox since it was last emptied, or what waited there has credit.
    said: AtomicBool,
    /// Whether the bus waits until what it has said is taken. Set while the outbox is locked.
    awaited: AtomicBool,
    /// Whether the bus has told it, as one that looks on, something that it does not know to be written.
    looked_on: AtomicBool,
    /// Whether that was written, or nearly all of it, and the bus does not know.
    drained: AtomicBool,
    /// Whether a reply found no room at the last try. Changed while the state is locked.
    full: AtomicBool,
}

struct State {
    connection: Connection,
    /// The turn to write.
    writer: Option<Writer>,
    /// Somebody else wanted the turn: whoever has it tries once more. The stream may have taken more since
    /// the last try, and said so to nobody but the one who found the turn taken.
    again: bool,
    unsent: Unsent,
    /// Who reads, and goes on writing when the stream was full.
    waker: Waker,
    /// Whether the stream took no more at the last try.
    blocked: bool,
    /// Whether nothing is read, so that only a write or an answer moves the connection on.
    stands: bool,
    /// Whether nothing is read because the connection holds too much of what all of them share.
    withheld: bool,
    /// What the outbox holds that found no room.
    outbox_bytes: usize,
    /// Whether the transport was taken away.
    dropped: bool,
    /// Whether the reader was told that the connection is over.
    over: bool,
    /// Whether something happened that the reader must look at.
    attention: bool,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// What it wants.
    pub wants: Wants,
    /// How many bytes of input it has room for.
    pub room: usize,
    /// What time it is.
    pub now: Instant,
}

impl ServerLink {
    /// A new connection, which draws on `memory` with the others. `waker` is woken when it must be looked at.
    #[must_use]
    pub fn new(
        id: LinkId,
        admitted: Admitted,
        memory: &Arc<MemoryBudget>,
        connection: Connection,
        writer: Box<dyn TryWrite>,
        waker: &Waker,
    ) -> Arc<Self> {
        let state = State {
            connection,
            writer: Some(Writer { half: writer, waker: waker.clone() }),
            again: false,
            unsent: Unsent::default(),
            waker: waker.clone(),
            blocked: false,
            stands: false,
            withheld: false,
            outbox_bytes: 0,
            dropped: false,
            over: false,
            attention: true,
        };
        let [said, awaited, looked_on, drained, full] = [false; 5].map(AtomicBool::new);
        let memory = memory.account(id);
        Arc::new(Self {
            id,
            admitted,
            memory,
            state: Mutex::new(state),
            outbox: Mutex::default(),
            said,
            awaited,
            looked_on,
            drained,
            full,
        })
    }

    /// Who is to be woken from now on. Says whether there is something to look at: if not, what the
    /// connection wanted last is what it still wants.
    #[must_use]
    pub fn watch(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        state.waker.clone_from(waker);
        std::mem::take(&mut state.attention) || state.blocked || state.withheld
    }

    /// Does something to the connection, hands what happened to the bus, writes what came of it, and
    /// says what the connection waits for.
    pub fn advance(self: &Arc<Self>, hub: &Arc<Hub>, step: impl FnOnce(&mut Connection, Instant)) -> Waits {
        let mut step = Some(step);
        let mut flushed = false;
        // What was put off is as good as that.
        let mut credited = self.drained.load(Ordering::Acquire);
        let mut now = hub.clock().now();
        loop {
            let (events, waits) = self.poll(now, step.take(), &mut credited);
            match waits {
                Some(waits) if events.is_empty() && !credited && (flushed || !waits.wants.write) => {
                    return waits;
                }
                _ if events.is_empty() => {
                    // Writing may end a pause, and what it finds may end the connection: look again.
                    hub.flush_at(now, self);
                    flushed = true;
                    credited = false;
                }
                _ => now = hub.events(now, self.id, events),
            }
        }
    }

    fn poll(
        &self,
        now: Instant,
        step: Option<impl FnOnce(&mut Connection, Instant)>,
        credited: &mut bool,
    ) -> (Events, Option<Waits>) {
        let mut state = self.lock();
        if let Some(step) = step {
            step(&mut state.connection, now);
        }
        state.connection.tick(now);
        let (mut events, mut wants) = (Events::new(), None);
        while events.len() < EVENTS_MAX && wants.is_none() {
            match state.connection.poll() {
                Next::Event(Event::Room { conversation }) => *credited |= self.on_room(conversation),
                Next::Event(event) => events.push(event),
                Next::Wait(wait) => wants = Some(wait),
            }
            if wants.is_none() && state.connection.input_len() == 0 {
                // What it waits for is asked once what has happened was dealt with.
                break;
            }
        }
        if let Some(wants) = &mut wants {
            // What was taken out of the connection and not written yet is output, too.
            wants.write |= !state.unsent.is_empty();
            self.memory.hold_in_connection(state.held_bytes());
            state.withheld = wants.read && !self.memory.may_read(&state.waker);
            wants.read &= !state.withheld;
        }
        state.stands = wants.is_some_and(|wants| !wants.read);
        let (withheld, room) = (state.withheld, state.connection.input_room());
        drop(state);
        if withheld {
            self.memory.log();
        }
        events.iter().for_each(|event| self.note(event));
        (events, wants.map(|wants| Waits { wants, room, now }))
    }

    /// The peer has given credit. Says whether something waited for it.
    fn on_room(&self, conversation: Option<ConversationId>) -> bool {
        let mut outbox = self.outbox();
        let waited = outbox.credited(conversation);
        if waited {
            self.said.store(true, Ordering::Release);
        }
        waited
    }

    /// Who is at its other end.
    pub(super) const fn peer(&self) -> &Peer {
        self.admitted.peer()
    }

    /// Closes the half that is written.
    ///
    /// # Errors
    ///
    /// The stream is gone already.
    pub fn poll_close(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.lock().writer {
            Some(writer) => writer.half.try_close(cx.waker()),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Whether the transport is gone, so that there is nobody to say goodbye to.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lock().dropped
    }

    /// Moves commands into the connection, and says whether there were any. Of those that are held there may be
    /// `held_max` bytes.
    fn apply(&self, state: &mut State, now: Instant, held_max: usize, full: &mut Full) -> bool {
        // Whoever pushes into an empty outbox flushes, so nothing is missed by not looking.
        if !self.said.load(Ordering::Acquire) && !full.link {
            return false;
        }
        let phase = state.connection.phase();
        let mut outbox = self.outbox();
        self.said.store(false, Ordering::Release);
        let some = outbox.apply(now, &mut state.connection);
        full.link = outbox.is_held();
        full.conversations |= outbox.has_changes();
        state.outbox_bytes = outbox.bytes();
        drop(outbox);
        if state.connection.phase() != phase {
            // A disconnect changes what time has to do, which the reader minds.
            state.wake_reader();
        }
        let too_much = state.outbox_bytes > held_max;
        if too_much {
            state.lose(now, LinkError::TimedOut);
        }
        some
    }

    /// Notes who is through the handshake, and tells the log.
    fn note(&self, event: &Event) {
        let peer = self.admitted.peer();
        match event {
            Event::Connected { version } => {
                self.admitted.identify();
                tracing::debug!(%peer, %version, "connected");
            }
            Event::Closed(CloseReason::Violation(violation)) => {
                tracing::warn!(%peer, "connection closed: {violation}");
            }
            Event::Closed(reason) => tracing::debug!(%peer, "connection closed: {reason}"),
            _ => {}
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet for ServerLink {
    fn id(&self) -> LinkId {
        self.id
    }

    fn push(&self, command: Command) -> bool {
        let mut outbox = self.outbox();
        if command.is_looked_on() {
            self.looked_on.store(true, Ordering::Release);
        }
        self.said.store(true, Ordering::Release);
        outbox.push(command)
    }

    fn flush(&self, now: Instant, held_max: usize) -> Flushed {
        let mut state = self.lock();
        let mut full = Full { link: self.is_full(), conversations: false };
        let mut moved = false;
        loop {
            moved |= self.apply(&mut state, now, held_max, &mut full);
            let Some(mut writer) = state.take_writer() else { break };
            let mut taken = std::mem::take(&mut state.unsent);
            drop(state);
            let written = writer.write(&taken);
            state = self.lock();
            state.writer = Some(writer);
            match written {
                Poll::Ready(Ok(n)) => {
                    taken.wrote(&mut state.connection, n);
                    state.unsent = taken;
                    moved = true;
                    // The reader may have paused because of it; the stream wakes it by itself.
                    state.attention |= std::mem::take(&mut state.blocked);
                }
                Poll::Ready(Err(error)) => {
                    state.lose(now, crate::client::link_error(&error));
                    break;
                }
                Poll::Pending if std::mem::take(&mut state.again) => state.unsent = taken,
                Poll::Pending => {
                    state.unsent = taken;
                    state.block();
                    moved |= self.apply(&mut state, now, held_max, &mut full);
                    break;
                }
            }
        }
        if (moved && state.stands) || state.connection.has_events() {
            state.wake_reader();
        }
        self.memory.hold_in_connection(state.held_bytes());
        if self.looked_on.load(Ordering::Acquire) && !full.link && state.connection.is_output_low() {
            self.looked_on.store(false, Ordering::Relaxed);
            self.drained.store(true, Ordering::Release);
        }
        state.tell_if_over();
        Flushed {
            changed: self.full.swap(full.link, Ordering::AcqRel) != full.link || full.conversations,
            taken: take(&self.awaited),
            drained: take(&self.drained),
        }
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    fn take_changes(&self) -> Vec<(ConversationId, bool)> {
        self.outbox().take_changes()
    }

    fn has_taken_all(&self) -> bool {
        let _outbox = self.outbox();
        let awaited = self.said.load(Ordering::Acquire);
        self.awaited.store(awaited, Ordering::Release);
        !awaited
    }

    fn put_off(&self) {
        self.drained.store(true, Ordering::Release);
        let mut state = self.lock();
        state.attention = true;
        let waker = state.waker.clone();
        // Whoever has the turn to write comes by here afterwards.
        if let Some(writer) = &mut state.writer {
            writer.half.put_off(&waker);
        }
    }

    fn drop_transport(&self, now: Instant) {
        self.lock().lose(now, LinkError::Dropped);
    }

    fn hold_on_bus(&self, bytes: usize) {
        self.memory.hold_on_bus(bytes);
    }

    fn stalls(&self, now: std::time::Instant) -> bool {
        self.admitted.stalls(now)
    }
}

/// Whether it is set, and not any more.
fn take(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::AcqRel)
}

impl State {
    /// What the connection and its outbox hold.
    const fn held_bytes(&self) -> usize {
        self.connection.held_bytes() + self.outbox_bytes
    }

    /// The transport is gone.
    fn lose(&mut self, now: Instant, why: LinkError) {
        self.connection.link_lost(now, why);
        self.unsent.clear();
        self.dropped = true;
        self.wake_reader();
        self.tell_if_over();
    }

    /// The turn to write, when it is free and there is something to write.
    fn take_writer(&mut self) -> Option<Writer> {
        let Some(writer) = &mut self.writer else {
            self.again = true;
            return None;
        };
        if self.unsent.is_empty() && !self.unsent.refill(&mut self.connection) {
            return None;
        }
        writer.waker.clone_from(&self.waker);
        self.writer.take()
    }

    /// The stream takes no more.
    fn block(&mut self) {
        if !self.blocked {
            self.blocked = true;
            if let Some(writer) = &mut self.writer {
                writer.half.blocked(&self.waker);
            }
        }
    }

    fn wake_reader(&mut self) {
        self.attention = true;
        self.waker.wake_by_ref();
    }

    /// A command may have ended the connection; the one who reads must see to that, once. While the
    /// turn to write is taken, whoever has it comes by here afterwards.
    fn tell_if_over(&mut self) {
        let is_over = self.dropped || self.connection.phase() == Phase::Closed;
        if is_over
            && !self.over
            && let Some(writer) = &mut self.writer
        {
            self.over = true;
            writer.half.interrupt();
            self.wake_reader();
        }
    }
}

/// What an outbox that was emptied as far as it goes has found full.
struct Full {
    /// The link: something finds no room.
    link: bool,
    /// Conversations have become full, or are so no more.
    conversations: bool,
}

impl fmt::Debug for ServerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerLink")
            .field("id", &self.id)
            .field("peer", self.admitted.peer())
            .finish_non_exhaustive()
    }
}
