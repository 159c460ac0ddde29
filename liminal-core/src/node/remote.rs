//! A link with a connection: the commands that wait for room in its output.

use liminal_proto::{Connection, Event, Instant, LinkError, Next, TimerReason, Wake, Wants};

use crate::{Command, Outbox};

#[derive(Debug)]
pub(super) struct Remote {
    pub(super) connection: Connection,
    /// What it waited for when it was polled last.
    pub(super) wants: Wants,
    /// What the embedder was last told of that, where it asks to be told.
    told: Option<Wants>,
    /// It wants something else, and is noted for that.
    untold: bool,
    /// Since which turn it stands in the queue of connections to be polled, if it does.
    waits_since: Option<u64>,
    /// The longest that it ever stood there, in turns of others.
    pub(super) longest_wait: u64,
    /// What the bus has said and the connection has not.
    pub(super) outbox: Outbox,
    /// Whether it was told, as one that looks on, something that the bus does not know to be written.
    looked_on: bool,
}

impl Remote {
    pub(super) fn new(connection: Connection) -> Self {
        let wants = Wants { read: true, write: false, wake: Wake::Never, finished: false };
        Self {
            connection,
            wants,
            told: None,
            untold: false,
            waits_since: None,
            longest_wait: 0,
            outbox: Outbox::new(),
            looked_on: false,
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

    /// Whether the embedder is to be told what it wants, and was not yet to be: it is something else than was told
    /// last, the time of its next tick aside.
    pub(super) fn is_to_be_told(&mut self) -> bool {
        let of = |it: Wants| (it.read, it.write, it.finished);
        let is_news = !self.untold && self.told.map(of) != Some(of(self.wants));
        self.untold |= is_news;
        is_news
    }

    /// What it wants, which is told now.
    pub(super) const fn tell_wants(&mut self) -> Wants {
        (self.told, self.untold) = (Some(self.wants), false);
        self.wants
    }

    pub(super) fn wake(&self) -> Option<(Instant, TimerReason)> {
        match self.wants.wake {
            Wake::Never => None,
            Wake::At(at, reason) => Some((at, reason)),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.outbox.is_held()
    }

    /// Whether it was told something as one that looks on, and so little is left to be written that it may be told
    /// more. That is so once.
    pub(super) fn takes_drained(&mut self) -> bool {
        let drained = self.looked_on && !self.is_full() && self.connection.is_output_low();
        self.looked_on &= !drained;
        drained
    }

    /// What waits for room or for credit is charged so much.
    pub(super) fn held_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Whoever asks for that much more than it reads does not read.
    pub(super) fn give_up_beyond(&mut self, now: Instant, held_bytes_max: usize) {
        if self.held_bytes() > held_bytes_max {
            self.connection.link_lost(now, LinkError::TimedOut);
            self.retry(now);
        }
    }

    /// Does a command, or keeps it for later if there is no room or an earlier one of its conversation
    /// waits.
    pub(super) fn command(&mut self, now: Instant, command: Command) {
        self.looked_on |= command.is_looked_on();
        self.outbox.push(command);
        self.retry(now);
    }

    /// Some output was written, or the peer has given credit: does what waited for that.
    pub(super) fn retry(&mut self, now: Instant) {
        self.outbox.apply(now, &mut self.connection);
    }
}
