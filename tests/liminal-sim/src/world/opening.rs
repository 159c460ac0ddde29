//! The processes of the openers.

use liminal_core::transcript::{BusId, Entry, Noted, OpenerId};
use liminal_core::{Command, LinkId};
use liminal_proto::wire::{Dialect, Version};
use liminal_proto::{CloseReason, Config, Connection, CreditGiven, Event, Instant};

use super::World;
use super::line::{Dialler, Handle, Line, Near};
use super::local::{LocalLink, Side};
use super::pipe::End;
use crate::Draws;
use crate::opener::{Caller, Opener, Then};
use crate::plan::{OpenerPlan, Reach};

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
    /// Which bus of the plan is its.
    pub(super) server: usize,
    /// What it dials with; `None`: it is local to its bus.
    dialect: Option<Dialect>,
    /// It stands still until then.
    pub(super) back_at: Instant,
    acts: Acts,
    /// How often it has dialled.
    dials: u64,
    holds: Option<Held>,
}

/// What an opener holds of its bus.
enum Held {
    Line(OpenerId),
    Local(LocalLink),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Acts {
    At(Instant),
    WhenTold,
    Done,
}

impl Client {
    pub(super) fn new(plan: OpenerPlan, draws: &mut Draws) -> Self {
        let dialect = match plan.reach {
            Reach::Dials(speaks) => Some(speaks.draw(draws)),
            Reach::Local => None,
        };
        let (opener, server, acts) = (plan.opener, plan.bus, Acts::At(Instant::ORIGIN));
        Self { opener, server, dialect, back_at: Instant::ORIGIN, acts, dials: 0, holds: None }
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

    pub(super) const fn is_local(&self) -> bool {
        self.dialect.is_none()
    }

    /// The connection that it holds.
    pub(super) const fn line(&self) -> Option<OpenerId> {
        match &self.holds {
            Some(Held::Line(opener)) => Some(*opener),
            _ => None,
        }
    }

    /// When it has something to do.
    pub(super) fn acts_at(&self) -> Option<Instant> {
        match self.acts {
            Acts::At(at) => Some(at.max(self.back_at)),
            Acts::WhenTold | Acts::Done => None,
        }
    }

    /// Its connection tells it something.
    fn is_told(&mut self, now: Instant, event: &Event) {
        if matches!(event, Event::Connected { .. }) {
            self.opener.connected();
        }
        self.opener.told(event);
        self.notices(now);
        if matches!(event, Event::Closed(_)) {
            self.waits_to_redial(now);
        }
    }

    /// Something has happened to its connection.
    fn notices(&mut self, now: Instant) {
        if self.acts == Acts::WhenTold {
            self.acts = Acts::At(now);
        }
    }

    fn waits_to_redial(&mut self, now: Instant) {
        if let Acts::At(due) = self.acts {
            self.acts = Acts::At(due.max(now.after(REDIAL)));
        }
    }
}

impl World {
    /// The connection of this opener.
    pub(super) fn line(&self, opener: OpenerId) -> Option<&Line> {
        self.lines.get(self.line_at(opener)?)
    }

    fn line_at(&self, opener: OpenerId) -> Option<usize> {
        self.lines.iter().position(|line| line.opener == opener)
    }

    /// An opener does its next thing, or dials for that.
    pub(super) fn act(&mut self, of: usize) {
        let client = &self.clients[of];
        let line = client.line().and_then(|opener| self.line_at(opener));
        let client = &mut self.clients[of];
        let server = &mut self.servers[client.server];
        let at_bus = server.bus;
        let (bus, opener, side) = match (&mut client.holds, line) {
            (Some(Held::Local(local)), _) => {
                let opener = local.opener;
                let Some(node) = server.touch() else { return };
                (at_bus, opener, Side::Local(node, local))
            }
            (Some(Held::Line(opener)), Some(line)) => {
                let line = &mut self.lines[line];
                let bus = line.bus;
                let Some(handle) = line.handle_mut() else { return };
                handle.touched = true;
                (bus, *opener, Side::Remote(&mut handle.connection))
            }
            _ => return self.dial(of),
        };
        let (transcript, draws) = (&mut self.transcript, &mut self.plan.draws);
        let caller = &mut Caller { side, transcript, draws, now: self.now, bus, opener };
        client.acts = match client.opener.act(caller) {
            Then::After(time) => Acts::At(self.now.after(time)),
            Then::WhenTold => Acts::WhenTold,
            Then::Done => Acts::Done,
        };
        if matches!(&client.holds, Some(Held::Local(local)) if local.leaves) {
            self.remove_local(of);
        }
    }

    fn dial(&mut self, of: usize) {
        let all = self.diallers();
        let client = &mut self.clients[of];
        let server = &mut self.servers[client.server];
        let bus = server.bus;
        let Some(node) = server.touch() else { return };
        let opener = opener_id(of, all, client.dials);
        client.dials += 1;
        let Some(dialect) = client.dialect else {
            let link = node.local(self.now);
            server.locals.insert(link, of);
            client.holds = Some(Held::Local(LocalLink::new(opener, link)));
            self.note(bus, Noted::Dialled { opener, link });
            return self.tell(of, (bus, opener), Event::Connected { version: Version::V2_0 });
        };
        let link = node.accept(self.now, self.plan.config.clone());
        let (max_dialect, credit) = (dialect, CreditGiven::Consumed);
        let config = Config { max_dialect, credit, ..self.plan.config.clone() };
        let handle = Handle::new(Connection::client(self.now, config));
        client.holds = Some(Held::Line(opener));
        let (server, near) = (client.server, Near::Opener(Box::new(handle)));
        self.lines.push(Line::new(opener, Dialler::Opener(of), (server, bus), link, near));
        self.count_links(server);
        self.note(bus, Noted::Dialled { opener, link });
    }

    fn tell(&mut self, of: usize, (bus, opener): (BusId, OpenerId), event: Event) {
        self.note(bus, Noted::Told { opener, event });
        if let Some(Entry { what: Noted::Told { event, .. }, .. }) = self.transcript.entries().last() {
            self.clients[of].is_told(self.now, event);
        }
    }

    // Those with a connection.

    /// Lets a connection say what it has to say. Says whether its opener has let go of it.
    pub(super) fn settle_near(&mut self, at: usize) -> bool {
        let Line { dialler: Dialler::Opener(of), bus, opener, .. } = self.lines[at] else { return false };
        while let Some(event) = self.lines[at].handle_mut().and_then(|handle| handle.poll(self.now)) {
            self.tell(of, (bus, opener), event);
        }
        let line = &mut self.lines[at];
        let Some(handle) = line.handle() else { return false };
        let (finished, writes) = (handle.wants.finished, handle.wants.write);
        if handle.closed && handle.connection.output_len() > handle.farewell {
            self.fail(format!("{opener} has more output than at its end"));
        } else if finished {
            line.drop_near(self.now, End::Fin);
            self.clients[of].holds = None;
        } else {
            line.near_writes = writes;
        }
        finished
    }

    /// The process of an opener is gone.
    pub(super) fn crash_opener(&mut self, of: usize, at: usize, when: Instant, end: End) {
        let line = &mut self.lines[at];
        let (bus, opener) = (line.bus, line.opener);
        line.drop_near(when, end);
        self.lose(of, (bus, opener));
    }

    fn lose(&mut self, of: usize, (bus, opener): (BusId, OpenerId)) {
        self.note(bus, Noted::Gone { opener });
        let client = &mut self.clients[of];
        client.holds = None;
        client.notices(self.now);
        client.waits_to_redial(self.now);
    }

    /// An opener of which the process stands still.
    pub(super) fn pause_opener(&mut self, of: usize, at: usize, until: Instant) {
        let Line { bus, opener, .. } = self.lines[at];
        let client = &mut self.clients[of];
        client.back_at = client.back_at.max(until);
        self.note(bus, Noted::Paused { opener: Some(opener), until });
    }

    /// An opener reads no replies for a while.
    pub(super) fn stop_reading(&mut self, at: usize, until: Instant) {
        let Line { bus, opener, .. } = self.lines[at];
        if let Some(handle) = self.lines[at].handle_mut() {
            handle.stop_reading(until);
            self.note(bus, Noted::Unread { opener, until });
        }
    }

    // Those in the program of a bus.

    /// The bus tells a local opener something.
    pub(super) fn tell_local(&mut self, server: usize, link: LinkId, command: Command) {
        let Some(of) = self.servers[server].locals.get(&link).copied() else { return };
        let Some(Held::Local(local)) = &mut self.clients[of].holds else { return };
        let (bus, opener) = (self.servers[server].bus, local.opener);
        for event in local.told(command) {
            self.tell(of, (bus, opener), event);
        }
    }

    /// A local opener asks for the end of its link, if it has one.
    pub(super) fn leave(&mut self, of: usize) {
        let client = &self.clients[of];
        if let Some(Held::Local(local)) = &client.holds {
            let (opener, bus) = (local.opener, self.servers[client.server].bus);
            self.note(bus, Noted::Said { opener, event: Event::Closed(CloseReason::Local) });
            self.remove_local(of);
        }
    }

    fn remove_local(&mut self, of: usize) {
        let server = &mut self.servers[self.clients[of].server];
        let bus = server.bus;
        let Some(Held::Local(local)) = self.clients[of].holds.take() else { return };
        let (opener, link) = (local.opener, local.link);
        server.locals.remove(&link);
        if let Some(node) = server.touch() {
            node.remove(self.now, link);
        }
        self.note(bus, Noted::LinkClosed { link });
        for event in local.ended() {
            self.tell(of, (bus, opener), event);
        }
    }

    /// A local opener is gone with its bus.
    pub(super) fn lose_local(&mut self, of: usize) {
        let client = &self.clients[of];
        if let Some(Held::Local(local)) = &client.holds {
            let at = (self.servers[client.server].bus, local.opener);
            self.lose(of, at);
        }
    }
}
