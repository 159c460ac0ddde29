//! The processes of the openers.

use liminal_core::transcript::{Noted, OpenerId};
use liminal_proto::wire::Dialect;
use liminal_proto::{Config, Connection, Event, Instant};

use super::World;
use super::line::{Line, Near};
use super::network::{distort, latency, piece};
use super::pipe::{End, Pipe};
use crate::opener::{Caller, Opener, Then};
use crate::plan::Speaks;
use crate::{Draws, Track};

/// How long an opener waits before it dials again.
pub(crate) const REDIAL: std::time::Duration = std::time::Duration::from_millis(100);

/// What an opener of a plan is called when it has dialled so often already. It does not depend on who dials
/// first: `of` those that there are in all, the first has 1, the second 2, …, and with every further connection
/// that many more.
pub(crate) const fn opener_id(of: usize, all: usize, dials: u64) -> OpenerId {
    OpenerId::new(of as u64 + 1 + dials * all as u64)
}

pub(super) struct Client {
    opener: Box<dyn Opener>,
    dialect: Dialect,
    /// It stands still until then.
    pub(super) back_at: Instant,
    acts: Acts,
    /// How often it has dialled.
    dials: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Acts {
    At(Instant),
    WhenTold,
    Done,
}

impl Client {
    pub(super) fn new(opener: Box<dyn Opener>, speaks: Speaks, draws: &mut Draws) -> Self {
        let dialect = match speaks {
            Speaks::Only(dialect) => dialect,
            Speaks::Either => draws.pick(Track::Workload, &[Dialect::V2, Dialect::V1]),
        };
        Self { opener, dialect, back_at: Instant::ORIGIN, acts: Acts::At(Instant::ORIGIN), dials: 0 }
    }

    pub(super) fn runs(&self, now: Instant) -> bool {
        self.back_at <= now
    }

    pub(super) fn is_done(&self) -> bool {
        self.acts == Acts::Done
    }

    /// It does nothing any more, whatever it waits for.
    pub(super) const fn finish(&mut self) {
        self.acts = Acts::Done;
    }

    /// When it has something to do.
    pub(super) fn acts_at(&self) -> Option<Instant> {
        match self.acts {
            Acts::At(at) => Some(at.max(self.back_at)),
            Acts::WhenTold | Acts::Done => None,
        }
    }

    /// Something has happened to its connection.
    fn is_told(&mut self, now: Instant) {
        if self.acts == Acts::WhenTold {
            self.acts = Acts::At(now);
        }
    }
}

impl World {
    /// The connection of an opener, while it holds one.
    fn line_of(&self, client: usize) -> Option<usize> {
        self.lines.iter().position(|line| line.of == client && line.near.is_some())
    }

    /// Whether an opener has a connection: without one it dials when it acts.
    pub(super) fn holds_line(&self, client: usize) -> bool {
        self.line_of(client).is_some()
    }

    /// It may dial where there is a bus, and speak where the handshake is through.
    pub(super) fn may_act(&self, client: &Client) -> bool {
        let of = self.clients.iter().position(|it| std::ptr::eq(it, client));
        match of.and_then(|of| self.line_of(of)) {
            None => self.server.node.is_some(),
            Some(at) => {
                self.lines[at].writes
                    && self.lines[at].near.as_ref().is_some_and(|it| it.connected && !it.closed)
            }
        }
    }

    /// An opener does its next thing, or dials for that.
    pub(super) fn act(&mut self, of: usize) {
        let Some(at) = self.line_of(of) else { return self.dial(of) };
        let Line { opener, bus, near: Some(near), .. } = &mut self.lines[at] else { return };
        let caller = &mut Caller {
            connection: &mut near.connection,
            transcript: &mut self.transcript,
            draws: &mut self.draws,
            now: self.now,
            bus: *bus,
            opener: *opener,
        };
        let client = &mut self.clients[of];
        client.acts = match client.opener.act(caller) {
            Then::After(time) => Acts::At(self.now.after(time)),
            Then::WhenTold => Acts::WhenTold,
            Then::Done => Acts::Done,
        };
        near.touched = true;
    }

    fn dial(&mut self, of: usize) {
        let Some(node) = &mut self.server.node else { return };
        let link = node.accept(self.now, self.plan.config.clone());
        self.server.touched = true;
        let opener = opener_id(of, self.clients.len(), self.clients[of].dials);
        self.clients[of].dials += 1;
        let config = Config { max_dialect: self.clients[of].dialect, ..self.plan.config.clone() };
        let near = Near::new(Connection::client(self.now, config));
        self.note(Noted::Dialled { opener, link });
        self.lines.push(Line {
            opener,
            of,
            bus: self.server.bus,
            link,
            near: Some(near),
            far: true,
            writes: true,
            up: Pipe::default(),
            down: Pipe::default(),
            carried: Default::default(),
        });
    }

    /// Lets a connection say what it has to say.
    pub(super) fn settle_near(&mut self, at: usize) {
        while let Some(event) = self.lines[at].near.as_mut().and_then(Near::poll) {
            self.tell(at, event);
        }
        let line = &mut self.lines[at];
        let Some(near) = &line.near else { return };
        if near.closed && near.connection.output_len() > near.farewell {
            let text = format!("{} has more output than at its end", line.opener);
            return self.fail(text);
        }
        if near.wants.finished {
            line.drop_near(self.now, End::Fin);
        }
    }

    fn tell(&mut self, at: usize, event: Event) {
        let of = self.lines[at].of;
        self.note_opener(at, |opener| Noted::Told { opener, event: event.clone() });
        let client = &mut self.clients[of];
        if matches!(event, Event::Connected { .. }) {
            client.opener.connected();
        }
        client.opener.told(&event);
        client.is_told(self.now);
        if let (Event::Closed(_), Acts::At(due)) = (&event, client.acts) {
            client.acts = Acts::At(due.max(self.now.after(REDIAL)));
        }
    }

    pub(super) fn carry_up(&mut self, at: usize) {
        let line = &mut self.lines[at];
        let Some(near) = &mut line.near else { return };
        let arrives = self.now.after(latency(&mut self.draws, &self.swarm));
        let reads = line.writes && line.far;
        let room = if reads { line.up.room(self.swarm.window()) } else { usize::MAX };
        let bytes = near.connection.take_write(piece(&mut self.draws, &self.swarm).min(room));
        near.connection.wrote(bytes.len());
        near.touched = true;
        let bytes = distort(&mut self.draws, self.plan.network, bytes, &line.carried[0]);
        line.carried[0] = bytes.clone();
        if reads && !bytes.is_empty() {
            line.up.push(arrives, bytes);
        }
    }

    /// The process of an opener is gone.
    pub(super) fn crash_opener(&mut self, at: usize, end: Option<(Instant, End)>) {
        self.note_opener(at, |opener| Noted::Gone { opener });
        let of = self.lines[at].of;
        self.lines[at].near = None;
        if let Some((when, end)) = end {
            self.lines[at].up.end(when, end);
        }
        let client = &mut self.clients[of];
        client.is_told(self.now);
        if let Acts::At(due) = client.acts {
            client.acts = Acts::At(due.max(self.now.after(REDIAL)));
        }
    }

    /// An opener of which the process stands still.
    pub(super) fn pause_opener(&mut self, at: usize, until: Instant) {
        let of = self.lines[at].of;
        let client = &mut self.clients[of];
        client.back_at = client.back_at.max(until);
        self.note_opener(at, |opener| Noted::Paused { opener: Some(opener), until });
    }
}
