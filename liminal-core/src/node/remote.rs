//! A link with a connection: the commands that wait for room in its output.

use alloc::collections::{BTreeMap, VecDeque};

use liminal_proto::{
    Config, Connection, ConversationId, Event, Instant, LinkError, Next, TimerReason, Wake, Wants,
};

use crate::{Command, Held};

#[derive(Debug)]
pub(super) struct Remote {
    pub(super) connection: Connection,
    /// What it waited for when it was polled last.
    pub(super) wants: Wants,
    /// Since which turn it stands in the queue of connections to be polled, if it does.
    waits_since: Option<u64>,
    /// The longest that it ever stood there, in turns of others.
    pub(super) longest_wait: u64,
    /// Commands for which there was no room, and those behind them, in their order.
    held: VecDeque<Command>,
    /// How many of them each conversation has.
    held_of: BTreeMap<ConversationId, usize>,
    /// What they are charged.
    held_bytes: usize,
}

impl Remote {
    pub(super) fn new(now: Instant, config: Config) -> Self {
        let wants = Wants { read: true, write: false, wake: Wake::Never, finished: false };
        let connection = Connection::server(now, config);
        Self {
            connection,
            wants,
            waits_since: None,
            longest_wait: 0,
            held: VecDeque::new(),
            held_of: BTreeMap::new(),
            held_bytes: 0,
        }
    }

    /// It may have something to say, as of this turn. False: that was known.
    pub(super) fn waits_for_turn(&mut self, turn: u64) -> bool {
        let is_news = self.waits_since.is_none();
        self.waits_since.get_or_insert(turn);
        is_news
    }

    /// This turn is its.
    pub(super) fn on_turn(&mut self, turn: u64) {
        let waited = self.waits_since.take().map_or(0, |since| turn.saturating_sub(since + 1));
        self.longest_wait = self.longest_wait.max(waited);
    }

    /// The next event. What it waits for is noted.
    pub(super) fn poll(&mut self) -> Option<Event> {
        match self.connection.poll() {
            Next::Event(event) => Some(event),
            Next::Wait(wants) => {
                self.wants = wants;
                None
            }
        }
    }

    pub(super) fn wake(&self) -> Option<(Instant, TimerReason)> {
        match self.wants.wake {
            Wake::Never => None,
            Wake::At(at, reason) => Some((at, reason)),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        !self.held.is_empty()
    }

    /// What the commands that wait for room are charged.
    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whoever asks for that much more than it reads does not read.
    pub(super) fn give_up_beyond(&mut self, now: Instant, held_bytes_max: usize) {
        if self.held_bytes > held_bytes_max {
            self.connection.link_lost(now, LinkError::TimedOut);
            self.retry(now);
        }
    }

    /// Does a command, or keeps it for later if there is no room or an earlier one of its conversation
    /// waits.
    pub(super) fn command(&mut self, now: Instant, command: Command) {
        let waits = command.conversation().is_some_and(|id| self.held_of.contains_key(&id));
        if waits {
            self.hold(command);
        } else if let Err(Held(command)) = command.apply(now, &mut self.connection) {
            self.hold(command);
        }
    }

    /// Some output was written: does what waited for that.
    pub(super) fn retry(&mut self, now: Instant) {
        while let Some(command) = self.held.pop_front() {
            let (id, charge) = (command.conversation(), command.charge());
            if let Err(Held(command)) = command.apply(now, &mut self.connection) {
                self.held.push_front(command);
                return;
            }
            self.held_bytes -= charge;
            self.release(id);
        }
    }

    fn hold(&mut self, command: Command) {
        if let Some(id) = command.conversation() {
            *self.held_of.entry(id).or_default() += 1;
        }
        self.held_bytes += command.charge();
        self.held.push_back(command);
    }

    fn release(&mut self, id: Option<ConversationId>) {
        let Some(id) = id else { return };
        let left = self.held_of.remove(&id).unwrap_or(0).saturating_sub(1);
        if left > 0 {
            self.held_of.insert(id, left);
        }
    }
}
