//! One connection between an opener, or a client that serves, and the bus.

use bytes::Bytes;
use liminal_core::LinkId;
use liminal_core::transcript::{BusId, OpenerId};
use liminal_proto::{Connection, ConversationId, Event, Instant, LinkError, Next, Wake, Wants};

use super::pipe::{End, Pipe};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the bus that was dialled.
    Up,
    /// From there to who has dialled.
    Down,
}

pub(super) struct Line {
    pub(super) opener: OpenerId,
    /// Who has dialled.
    pub(super) dialler: Dialler,
    /// Which bus of the plan, and as which it was dialled.
    pub(super) server: usize,
    pub(super) bus: BusId,
    pub(super) link: LinkId,
    /// The side that has dialled, while its process lives and holds it.
    pub(super) near: Option<Near>,
    /// Whether the bus still holds its side.
    pub(super) far: bool,
    /// Whether either side has something to write, as of when it was settled last.
    pub(super) near_writes: bool,
    pub(super) far_writes: bool,
    /// Whether the side that has dialled can still write.
    pub(super) writes: bool,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// What each direction carried last.
    pub(super) carried: [Bytes; 2],
}

/// Who has dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialler {
    /// Which opener of the plan.
    Opener(usize),
    /// A client that serves: which server runs its participants.
    Client(usize),
}

/// The side that has dialled.
pub(super) enum Near {
    /// An opener's.
    Opener(Box<Handle>),
    /// That of a client that serves, whose own bus knows it as this link.
    Client(LinkId),
}

/// What an opener holds.
pub(super) struct Handle {
    pub(super) connection: Connection,
    pub(super) wants: Wants,
    /// Its connection may have something to say.
    pub(super) touched: bool,
    pub(super) connected: bool,
    pub(super) closed: bool,
    /// How much output was left when it closed: no more may be written afterwards.
    pub(super) farewell: usize,
    /// Replies that its opener has not read, and how long they are: it reads none before then.
    unread: Vec<(ConversationId, usize)>,
    reads_at: Instant,
}

impl Line {
    /// A connection that has just been dialled.
    pub(super) fn new(
        opener: OpenerId,
        dialler: Dialler,
        (server, bus): (usize, BusId),
        link: LinkId,
        near: Near,
    ) -> Self {
        Self {
            opener,
            dialler,
            server,
            bus,
            link,
            near: Some(near),
            far: true,
            near_writes: true,
            far_writes: false,
            writes: true,
            up: Pipe::default(),
            down: Pipe::default(),
            carried: Default::default(),
        }
    }

    pub(super) const fn pipe(&self, way: Way) -> &Pipe {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    pub(super) const fn pipe_mut(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    /// The bus at which this way ends, and what it knows the connection as.
    pub(super) const fn reader(&self, way: Way) -> Option<(usize, LinkId)> {
        match (way, &self.near, self.dialler) {
            (Way::Up, ..) if self.far => Some((self.server, self.link)),
            (Way::Down, Some(Near::Client(link)), Dialler::Client(of)) => Some((of, *link)),
            _ => None,
        }
    }

    /// What this bus knows it as, if it holds one of its sides. None holds both.
    pub(super) fn link_at(&self, of: usize) -> Option<LinkId> {
        match (&self.near, self.dialler) {
            _ if self.far && self.server == of => Some(self.link),
            (Some(Near::Client(link)), Dialler::Client(client)) if client == of => Some(*link),
            _ => None,
        }
    }

    /// What an opener holds of it, if it is one that has dialled.
    pub(super) const fn handle(&self) -> Option<&Handle> {
        match &self.near {
            Some(Near::Opener(handle)) => Some(handle),
            Some(Near::Client(_)) | None => None,
        }
    }

    pub(super) const fn handle_mut(&mut self) -> Option<&mut Handle> {
        match &mut self.near {
            Some(Near::Opener(handle)) => Some(handle),
            Some(Near::Client(_)) | None => None,
        }
    }

    /// Nothing travels, ends, or is to be written.
    pub(super) fn is_idle(&self) -> bool {
        !(self.near_writes || self.far_writes) && self.up.is_empty() && self.down.is_empty()
    }

    /// Nobody holds either side any more.
    pub(super) const fn is_over(&self) -> bool {
        self.near.is_none() && !self.far
    }

    /// The side that has dialled is given up, and its machine says so.
    pub(super) fn drop_near(&mut self, now: Instant, end: End) {
        (self.near, self.near_writes) = (None, false);
        self.up.end(now, end);
    }

    /// The bus's side is given up, and its machine says so.
    pub(super) fn drop_far(&mut self, now: Instant, end: End) {
        (self.far, self.far_writes) = (false, false);
        self.down.end(now, end);
    }

    /// The connection breaks: of what travels each way this many chunks still arrive.
    pub(super) fn reset(&mut self, now: Instant, keep_up: usize, keep_down: usize) {
        self.up.cut(keep_up);
        self.down.cut(keep_down);
        self.up.end(now, End::Lost(LinkError::Reset));
        self.down.end(now, End::Lost(LinkError::Reset));
    }
}

impl Handle {
    pub(super) const fn new(connection: Connection) -> Self {
        let wants = Wants { read: true, write: true, wake: Wake::Never, finished: false };
        Self {
            connection,
            wants,
            touched: true,
            connected: false,
            closed: false,
            farewell: 0,
            unread: Vec::new(),
            reads_at: Instant::ORIGIN,
        }
    }

    /// Its opener reads nothing until then.
    pub(super) fn stop_reading(&mut self, until: Instant) {
        self.reads_at = self.reads_at.max(until);
    }

    /// When its opener reads what it has not.
    pub(super) fn reads_at(&self) -> Option<Instant> {
        (!self.unread.is_empty()).then_some(self.reads_at)
    }

    /// Its opener reads what it has, if it reads.
    pub(super) fn read(&mut self, now: Instant) {
        if self.reads_at > now || self.unread.is_empty() {
            return;
        }
        for (conversation, len) in self.unread.drain(..) {
            self.connection.consumed(now, conversation, len);
        }
        self.touched = true;
    }

    /// The next event. What it waits for is noted.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Event> {
        match self.connection.poll() {
            Next::Event(event) => {
                if let Event::Reply(reply) = &event {
                    self.unread.push((reply.conversation, reply.len()));
                    self.read(now);
                }
                self.connected |= matches!(event, Event::Connected { .. });
                if matches!(event, Event::Closed(_)) {
                    self.closed = true;
                    self.farewell = self.connection.output_len();
                }
                Some(event)
            }
            Next::Wait(wants) => {
                self.wants = wants;
                self.touched = false;
                None
            }
        }
    }

    pub(super) fn input(&mut self, now: Instant, end: End) {
        self.touched = true;
        match end {
            End::Fin => self.connection.eof(now),
            End::Lost(why) => self.connection.link_lost(now, why),
        }
    }
}
