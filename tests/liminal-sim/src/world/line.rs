//! One connection between an opener and the bus.

use bytes::Bytes;
use liminal_core::LinkId;
use liminal_core::transcript::{BusId, OpenerId};
use liminal_proto::{Connection, Event, Instant, LinkError, Next, Wake, Wants};

use super::pipe::{End, Pipe};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the opener to the bus.
    Up,
    /// From the bus to the opener.
    Down,
}

pub(super) struct Line {
    pub(super) opener: OpenerId,
    /// Which opener of the plan.
    pub(super) of: usize,
    /// Which bus of the plan, and as which it was dialled.
    pub(super) server: usize,
    pub(super) bus: BusId,
    pub(super) link: LinkId,
    /// The opener's side, while its process lives and holds it.
    pub(super) near: Option<Box<Near>>,
    /// Whether the bus still holds its side.
    pub(super) far: bool,
    /// Whether the bus has something to write, as of when it was settled last.
    pub(super) far_writes: bool,
    /// Whether the opener can still write.
    pub(super) writes: bool,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// What each direction carried last.
    pub(super) carried: [Bytes; 2],
}

/// The opener's side.
pub(super) struct Near {
    pub(super) connection: Connection,
    pub(super) wants: Wants,
    /// Its connection may have something to say.
    pub(super) touched: bool,
    pub(super) connected: bool,
    pub(super) closed: bool,
    /// How much output was left when it closed: no more may be written afterwards.
    pub(super) farewell: usize,
}

impl Line {
    /// A connection that has just been dialled.
    pub(super) fn new(
        opener: OpenerId,
        of: usize,
        (server, bus): (usize, BusId),
        link: LinkId,
        near: Near,
    ) -> Self {
        Self {
            opener,
            of,
            server,
            bus,
            link,
            near: Some(Box::new(near)),
            far: true,
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

    /// Nobody holds either side any more.
    pub(super) const fn is_over(&self) -> bool {
        self.near.is_none() && !self.far
    }

    /// The opener's side is given up, and its machine says so.
    pub(super) fn drop_near(&mut self, now: Instant, end: End) {
        self.near = None;
        self.up.end(now, end);
    }

    /// The bus's side is given up, and its machine says so.
    pub(super) fn drop_far(&mut self, now: Instant, end: End) {
        self.far = false;
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

impl Near {
    pub(super) const fn new(connection: Connection) -> Self {
        let wants = Wants { read: true, write: true, wake: Wake::Never, finished: false };
        Self { connection, wants, touched: true, connected: false, closed: false, farewell: 0 }
    }

    /// The next event. What it waits for is noted.
    pub(super) fn poll(&mut self) -> Option<Event> {
        match self.connection.poll() {
            Next::Event(event) => {
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
