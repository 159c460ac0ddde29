//! A bus with its connections: for single-threaded embedders, for a bus inside a program, for simulation.

mod dialled;
mod local;
mod remote;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use liminal_proto::{
    CloseReason, Config, Connection, ConversationId, CreditGiven, Event, ExitReason, Instant, LinkError, Pid,
    TimerReason, Wake, Wants,
};

use self::dialled::is_of_guest;
use self::local::Local;
pub use self::local::NotLocal;
use self::remote::Remote;
use crate::transcript::Noted;
use crate::{
    Answer, Bus, BusNext, Command, ConversationKey, CrashPolicy, Invocation, LinkId, Offer, OfferId, Record,
    RegisterError, Rights, Settings, Subject, Ticket, Uncompensated,
};

/// A [`Bus`] with its side of its connections behind the verbs of a connection, by link: the server's side of
/// those that it has [accepted](Self::accept), the client's of those that it has [dialled](Self::dial).
///
/// One turn: hand in what arrived, [`poll`](Self::poll) until it waits, make the calls that it asks for,
/// write what [`wants`](Self::wants) to be written.
#[derive(Debug)]
pub struct Node {
    bus: Bus,
    now: Instant,
    peers: BTreeMap<LinkId, Peer>,
    /// Connections that may have something to say; each says one thing per turn.
    touched: VecDeque<LinkId>,
    /// At most one entry for each connection.
    wakes: BTreeSet<(Instant, LinkId, TimerReason)>,
    /// Connections that want something else than was told last, or of which nobody has asked yet.
    changed: BTreeSet<LinkId>,
    /// How many turns bus and connections have had.
    turns: u64,
    /// How many of them the bus had since a connection had one.
    bus_turns: usize,
    held_reply_bytes_max: usize,
}

#[derive(Debug)]
enum Peer {
    Remote(Box<Remote>),
    Local(Local),
}

/// What a node wants done, or has to tell.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeNext {
    /// Make this call, and [`answer`](Node::answer) with its ticket.
    Run(Ticket, Invocation),
    /// What this call may still reply is of no use to anybody. It must return nevertheless, and say so.
    Cancel(Ticket),
    /// A conversation belongs to this link, under this id. In front of all that comes of it. Only with
    /// [`Settings::recording`].
    Owned(ConversationKey, LinkId, ConversationId),
    /// A record of the log. Only with [`Settings::recording`].
    Record(ConversationKey, Record),
    /// The bus has a participant on a link called or has let go of it, or has been told something by a link that
    /// serves: what is noted of that, [`Noted::CalledOn`], [`Noted::LetGo`] or [`Noted::Heard`]. Only with
    /// [`Settings::recording`].
    Served(Noted),
    /// A compensation has failed: a person should know.
    Uncompensated(Uncompensated),
    /// A local opener is told this.
    Local(LinkId, Command),
    /// The connection of a link that was [dialled](Node::dial) tells this of what was begun on this side: that it
    /// is connected, what becomes of offers, and of the conversations that were opened through
    /// [`client`](Node::client).
    Dialled(LinkId, Event),
    /// The connection of this link is over. Its farewell may still be written, until it wants to be
    /// finished; then [`remove`](Node::remove) it.
    LinkClosed(LinkId, CloseReason),
    /// Nothing until the world moves; [`tick`](Node::tick) is due then.
    Wait(Wake),
}

impl Node {
    /// Turns that the bus has in a row while connections wait for theirs: what one link has brought about,
    /// such as the end of ten thousand conversations, delays what others say by no more than this.
    pub const BUS_TURNS_MAX: usize = 64;
    /// What replies may hold that wait for room in the output of their link, unless
    /// [configured](Self::with_held_reply_bytes_max): 16 MiB, which is sixteen of the largest replies.
    pub const HELD_REPLY_BYTES_MAX: usize = 16 << 20;

    /// A node without links.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            bus: Bus::new(settings),
            now: Instant::ORIGIN,
            peers: BTreeMap::new(),
            touched: VecDeque::new(),
            wakes: BTreeSet::new(),
            changed: BTreeSet::new(),
            turns: 0,
            bus_turns: 0,
            held_reply_bytes_max: Self::HELD_REPLY_BYTES_MAX,
        }
    }

    /// Sets what replies may hold that wait for room in the output of their link, in bytes with their charge.
    /// Beyond it the peer counts as one that does not read, and its link is lost.
    #[must_use]
    pub const fn with_held_reply_bytes_max(mut self, bytes: usize) -> Self {
        self.held_reply_bytes_max = bytes;
        self
    }

    /// Registers what conversations on a subject get. Several may serve one.
    ///
    /// # Errors
    ///
    /// Those of [`Bus::register`].
    pub fn register(&mut self, subject: Subject, offer: Offer) -> Result<OfferId, RegisterError> {
        self.bus.register(subject, offer)
    }

    /// Sets what becomes of a conversation on a subject when its participant exits.
    ///
    /// # Errors
    ///
    /// Those of [`Bus::on_crash`].
    pub fn on_crash(&mut self, subject: Subject, policy: CrashPolicy) -> Result<(), RegisterError> {
        self.bus.on_crash(subject, policy)
    }

    /// Takes back a registration and says what it was for. Conversations that are open go on.
    pub fn unregister(&mut self, offer: OfferId) -> Option<Subject> {
        self.bus.unregister(offer)
    }

    /// The bus: its load and counters.
    #[must_use]
    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    // The world tells us.

    /// A transport was connected.
    pub fn accept(&mut self, now: Instant, config: Config) -> LinkId {
        self.see(now);
        self.link(Connection::server(self.now, Self::counting(config)))
    }

    /// The bus says itself when it is through with what it was told.
    fn counting(config: Config) -> Config {
        Config { credit: CreditGiven::Consumed, ..config }
    }

    fn link(&mut self, connection: Connection) -> LinkId {
        let id = self.bus.connect(self.now);
        self.peers.insert(id, Peer::Remote(Box::new(Remote::new(connection))));
        self.touch(id);
        id
    }

    /// What a link may do from now on, besides opening conversations and serving subjects; see [`Bus::grant`].
    pub fn grant(&mut self, link: LinkId, rights: Rights) {
        self.bus.grant(link, rights);
    }

    /// These bytes arrived. Returns how many were taken; fewer than all: poll, then offer the rest.
    pub fn receive(&mut self, now: Instant, link: LinkId, bytes: &[u8]) -> usize {
        self.see(now);
        let now = self.now;
        self.with(link, |it| it.connection.receive(now, bytes)).unwrap_or(bytes.len())
    }

    /// How many bytes [`receive`](Self::receive) would take now.
    #[must_use]
    pub fn input_room(&self, link: LinkId) -> usize {
        self.remote(link).map_or(0, |it| it.connection.input_room())
    }

    /// Space to read input into directly. `None`: reading is paused, or over.
    pub fn read_space(&mut self, link: LinkId) -> Option<&mut [u8]> {
        self.remote_mut(link)?.connection.read_space()
    }

    /// `n` bytes were read into the space.
    pub fn read_done(&mut self, now: Instant, link: LinkId, n: usize) {
        self.see(now);
        let now = self.now;
        self.with(link, |it| it.connection.read_done(now, n));
    }

    /// The peer has closed its half.
    pub fn eof(&mut self, now: Instant, link: LinkId) {
        self.see(now);
        let now = self.now;
        self.with(link, |it| it.connection.eof(now));
    }

    /// The transport is gone. Takes effect after the input that is already buffered.
    pub fn link_lost(&mut self, now: Instant, link: LinkId, why: LinkError) {
        self.see(now);
        let now = self.now;
        self.with(link, |it| it.connection.link_lost(now, why));
    }

    /// The first `n` bytes of the output were written.
    pub fn wrote(&mut self, link: LinkId, n: usize) {
        let now = self.now;
        let drained = self.with(link, |it| {
            it.connection.wrote(n);
            it.retry(now);
            it.takes_drained()
        });
        self.tell_room(link);
        if drained == Some(true) {
            self.bus.link_drained(link);
        }
    }

    /// Forgets a link at once, and with it its conversations. For a connection this is due when it wants
    /// to be finished, and the end of a local opener at any time.
    pub fn remove(&mut self, now: Instant, link: LinkId) {
        self.see(now);
        if let Some(peer) = self.peers.remove(&link) {
            self.changed.remove(&link);
            if let Peer::Remote(remote) = &peer
                && let Some((at, reason)) = remote.wake()
            {
                self.wakes.remove(&(at, link, reason));
            }
            let reason = CloseReason::Link(LinkError::Dropped);
            self.bus.event(self.now, link, Event::Closed(reason));
        }
    }

    /// What a host says of a call.
    pub fn answer(&mut self, now: Instant, ticket: Ticket, answer: Answer) {
        self.see(now);
        self.bus.answer(self.now, ticket, answer);
    }

    /// A host says that a participant is no more; see [`Bus::exited`].
    pub fn exited(&mut self, now: Instant, conversation: ConversationKey, pid: Pid, reason: ExitReason) {
        self.see(now);
        self.bus.exited(self.now, conversation, pid, reason);
    }

    /// Time has passed. A tick too many costs nothing.
    pub fn tick(&mut self, now: Instant) {
        self.see(now);
        self.bus.tick(self.now);
        let now = self.now;
        while self.wakes.first().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, link, _)) = self.wakes.pop_first() {
                self.with(link, |it| it.connection.tick(now));
            }
        }
    }

    /// Stops gracefully: every link is told to disconnect, and new conversations are refused.
    pub fn stop(&mut self, now: Instant) {
        self.see(now);
        self.bus.stop(self.now);
    }

    // We tell the world.

    /// The next output segments of a link, for one vectored write.
    pub fn to_write<'a>(&'a self, link: LinkId, into: &mut [&'a [u8]]) -> usize {
        self.remote(link).map_or(0, |it| it.connection.to_write(into))
    }

    /// Up to `max` bytes of the output of a link as an owned buffer. They count as queued until
    /// [`wrote`](Self::wrote).
    pub fn take_write(&mut self, link: LinkId, max: usize) -> Bytes {
        self.remote_mut(link).map_or_else(Bytes::new, |it| it.connection.take_write(max))
    }

    /// What the connection of a link waits for, as of the last [`NodeNext::Wait`]. `None`: there is no
    /// such connection.
    #[must_use]
    pub fn wants(&self, link: LinkId) -> Option<Wants> {
        self.remote(link).map(|it| it.wants)
    }

    /// A connection that wants to be read, written or finished otherwise than when this told it last, as of the last
    /// [`NodeNext::Wait`], and what it [wants](Self::wants) now. For an embedder with many connections, which need
    /// not ask each of them after every turn; others need not ask at all. (When it wants a tick is in the `Wait`.)
    pub fn poll_wants(&mut self) -> Option<(LinkId, Wants)> {
        let link = self.changed.pop_first()?;
        let wants = self.remote_mut(link)?.tell_wants();
        Some((link, wants))
    }

    /// What to do next, or what happened.
    pub fn poll(&mut self) -> NodeNext {
        loop {
            let waits = match self.poll_bus() {
                Some(BusNext::Command(link, command)) => {
                    let called =
                        if self.bus.is_recording() { self.bus.called_on(link, &command) } else { None };
                    let local = self.on_command(link, command).map(|command| NodeNext::Local(link, command));
                    match local.or(called.map(NodeNext::Served)) {
                        Some(next) => return next,
                        None => continue,
                    }
                }
                Some(BusNext::Run(ticket, invocation)) => return NodeNext::Run(ticket, invocation),
                Some(BusNext::Cancel(ticket)) => return NodeNext::Cancel(ticket),
                Some(BusNext::Owned(conversation, link, id)) => {
                    return NodeNext::Owned(conversation, link, id);
                }
                Some(BusNext::Record(conversation, record)) => return NodeNext::Record(conversation, record),
                Some(BusNext::Uncompensated(it)) => return NodeNext::Uncompensated(it),
                Some(BusNext::Wait(wake)) => Some(wake),
                None => None,
            };
            self.bus_turns = 0;
            match (self.next_event(), waits) {
                (Some((link, event)), _) => {
                    if let Some(next) = self.on_event(link, event) {
                        return next;
                    }
                }
                (None, Some(wake)) => return NodeNext::Wait(wake.or_earlier(self.next_wake())),
                (None, None) => {}
            }
        }
    }

    // Questions.

    /// The connection of a link, to be asked what it holds and where it is in its life.
    #[must_use]
    pub fn connection(&self, link: LinkId) -> Option<&Connection> {
        self.remote(link).map(|it| &it.connection)
    }

    /// Bytes of replies, with their charge, that wait for room in the output of a link.
    #[must_use]
    pub fn held_reply_bytes(&self, link: LinkId) -> usize {
        self.remote(link).map_or(0, Remote::held_bytes)
    }

    /// How many turns the bus and the connections have had: what has been done so far, in a measure that is the
    /// same on every machine.
    #[must_use]
    pub const fn turns(&self) -> u64 {
        self.turns
    }

    /// The longest that the connection of a link has ever waited for its turn when it had something to say, in
    /// [`turns`](Self::turns) of others. `None`: there is no such connection.
    #[must_use]
    pub fn longest_wait(&self, link: LinkId) -> Option<u64> {
        self.remote(link).map(|it| it.longest_wait)
    }

    /// What the bus wants. `None`: it has had turns enough in a row, and connections wait for theirs.
    fn poll_bus(&mut self) -> Option<BusNext> {
        if self.bus_turns >= Self::BUS_TURNS_MAX && !self.touched.is_empty() {
            return None;
        }
        self.bus_turns += 1;
        self.turns += 1;
        Some(self.bus.poll())
    }

    /// Has the connection of a link do it. Gives it back if the link is a local one.
    fn on_command(&mut self, link: LinkId, command: Command) -> Option<Command> {
        match self.peers.get_mut(&link) {
            Some(Peer::Local(_)) => {
                if command.is_looked_on() {
                    self.bus.link_drained(link);
                }
                // Credit is for those who cannot be told otherwise.
                return Some(command).filter(|it| !matches!(it, Command::Consumed { .. }));
            }
            Some(Peer::Remote(remote)) => {
                remote.command(self.now, command);
                remote.give_up_beyond(self.now, self.held_reply_bytes_max);
            }
            None => return None,
        }
        let (full, drained) = self.with(link, |it| (it.is_full(), it.takes_drained())).unwrap_or_default();
        if full {
            self.bus.link_full(link);
        }
        if drained {
            self.bus.link_drained(link);
        }
        self.tell_full_conversations(link);
        None
    }

    /// Tells the bus for what there is room on a link.
    fn tell_room(&mut self, link: LinkId) {
        if self.remote(link).is_some_and(|it| !it.is_full()) {
            self.bus.link_ready(link);
        }
        self.tell_full_conversations(link);
    }

    fn tell_full_conversations(&mut self, link: LinkId) {
        let changes = self.remote_mut(link).map(|it| it.outbox.take_changes());
        for (conversation, full) in changes.into_iter().flatten() {
            if full {
                self.bus.conversation_full(link, conversation);
            } else {
                self.bus.conversation_ready(link, conversation);
            }
        }
    }

    /// The peer of a link has given credit.
    fn on_room(&mut self, link: LinkId, conversation: Option<ConversationId>) {
        let now = self.now;
        self.with(link, |it| {
            it.outbox.credited(conversation);
            it.retry(now);
        });
        self.tell_room(link);
    }

    /// What a connection tells goes to the bus, but for what concerns whoever has dialled.
    fn on_event(&mut self, link: LinkId, event: Event) -> Option<NodeNext> {
        if let Event::Room { conversation } = event {
            self.on_room(link, conversation);
            return self.is_told_of_room(link, conversation).then_some(NodeNext::Dialled(link, event));
        }
        let next = if let Event::Closed(reason) = &event {
            Some(NodeNext::LinkClosed(link, reason.clone()))
        } else if self.is_dialled(link) {
            if !is_of_guest(&event) {
                return Some(NodeNext::Dialled(link, event));
            }
            None
        } else if self.bus.is_recording() {
            Noted::heard(link, &event).map(NodeNext::Served)
        } else {
            None
        };
        self.bus.event(self.now, link, event);
        next
    }

    /// Lets the connections speak in turn until one has something to say.
    fn next_event(&mut self) -> Option<(LinkId, Event)> {
        while let Some(id) = self.touched.pop_front() {
            self.turns += 1;
            let turns = self.turns;
            let Some(remote) = self.remote_mut(id) else { continue };
            remote.on_turn(turns);
            let old = remote.wake();
            let event = remote.poll();
            let new = remote.wake();
            if let Some(event) = event {
                self.touch(id);
                return Some((id, event));
            }
            if remote.is_to_be_told() {
                self.changed.insert(id);
            }
            self.set_wake(id, old, new);
        }
        None
    }

    fn set_wake(
        &mut self,
        id: LinkId,
        old: Option<(Instant, TimerReason)>,
        new: Option<(Instant, TimerReason)>,
    ) {
        // A wake that a tick took out is in the past, and wanted by nobody again.
        if old == new {
            return;
        }
        if let Some((at, reason)) = old {
            self.wakes.remove(&(at, id, reason));
        }
        if let Some((at, reason)) = new {
            self.wakes.insert((at, id, reason));
        }
    }

    fn next_wake(&self) -> Wake {
        self.wakes.first().map_or(Wake::Never, |(at, _, reason)| Wake::At(*at, *reason))
    }

    fn see(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Notes that a connection may have something to say.
    fn touch(&mut self, id: LinkId) {
        let turns = self.turns;
        if self.remote_mut(id).is_some_and(|remote| remote.waits_for_turn(turns)) {
            self.touched.push_back(id);
        }
    }

    fn with<R>(&mut self, id: LinkId, change: impl FnOnce(&mut Remote) -> R) -> Option<R> {
        let result = change(self.remote_mut(id)?);
        self.touch(id);
        Some(result)
    }

    fn remote(&self, id: LinkId) -> Option<&Remote> {
        match self.peers.get(&id)? {
            Peer::Remote(remote) => Some(remote),
            Peer::Local(_) => None,
        }
    }

    fn remote_mut(&mut self, id: LinkId) -> Option<&mut Remote> {
        match self.peers.get_mut(&id)? {
            Peer::Remote(remote) => Some(remote),
            Peer::Local(_) => None,
        }
    }
}
