//! The process of a bus: of one that is dialled, or of a client that serves.

use std::collections::BTreeMap;

use bytes::Bytes;
use liminal_core::transcript::{BusId, Noted};
use liminal_core::{Answer, LinkId, Node, NodeNext, Offer, OfferId, Settings, Subject, Ticket};
use liminal_proto::{Event, Instant, Wake};

use super::World;
use super::host::{Host, Running};
use super::line::{Line, Way};
use super::pipe::End;
use super::ready::Touched;
use super::serving::Service;
use crate::plan::{BusPlan, Kind};

pub(super) struct Server {
    plan: BusPlan,
    pub(super) bus: BusId,
    /// `None`: it has crashed, and is not started again yet.
    pub(super) node: Option<Node>,
    pub(super) host: Host,
    /// It stands still until then, or is started again then.
    pub(super) back_at: Instant,
    pub(super) wake: Wake,
    /// The bus may have something to say.
    touched: bool,
    /// Which offers of the plan are registered, and as what.
    registered: Vec<Option<OfferId>>,
    /// The openers in its program.
    pub(super) locals: BTreeMap<LinkId, usize>,
    /// The most connections that it has held at a time.
    pub(super) links_max: usize,
    /// Of connections that are over: how much output is left.
    pub(super) farewells: BTreeMap<LinkId, usize>,
    /// What it does on another bus, if it is that of a client that serves.
    pub(super) service: Option<Service>,
}

impl Server {
    pub(super) fn new(plan: BusPlan, bus: BusId, service: Option<Service>) -> Self {
        let mut this = Self {
            plan,
            bus,
            node: None,
            host: Host::default(),
            back_at: Instant::ORIGIN,
            wake: Wake::Never,
            touched: true,
            registered: Vec::new(),
            locals: BTreeMap::new(),
            links_max: 0,
            farewells: BTreeMap::new(),
            service,
        };
        this.start(Instant::ORIGIN, bus);
        this
    }

    /// Starts a bus on which everything of the plan is registered. Says which it was before.
    pub(super) fn start(&mut self, now: Instant, bus: BusId) -> BusId {
        let mut node = Node::new(Settings { recording: true, ..self.plan.settings.clone() });
        let mut host = Host::default();
        let offers = self.plan.offers.iter();
        self.registered =
            offers.map(|(subject, kind)| register(&mut node, &mut host, subject, kind)).collect();
        for (subject, policy) in &self.plan.policies {
            let _ = node.on_crash(subject.clone(), policy.clone());
        }
        (self.node, self.host) = (Some(node), host);
        if let Some(service) = &mut self.service {
            service.start(now, self.plan.offers.len());
        }
        (self.wake, self.touched) = (Wake::Never, true);
        std::mem::replace(&mut self.bus, bus)
    }

    /// Its process ends, and is started again then.
    pub(super) fn crash(&mut self, back_at: Instant) {
        self.node = None;
        self.host = Host::default();
        self.links_max = 0;
        self.farewells.clear();
        self.back_at = back_at;
    }

    pub(super) fn runs(&self, now: Instant) -> bool {
        self.node.is_some() && self.back_at <= now
    }

    /// The bus, if there is one, to be told something: it may have something to say then.
    pub(super) const fn touch(&mut self) -> Option<&mut Node> {
        self.touched = true;
        self.node.as_mut()
    }

    /// When it has something to do.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        if !self.runs(now) {
            return Some(self.back_at);
        }
        let calls = self.host.calls.iter().filter_map(Running::next_at);
        let dials = self.service.as_ref().and_then(Service::dials_at);
        calls.chain(self.wake.at()).chain(dials).filter(|at| *at > now).min()
    }

    /// Its bounds and times.
    pub(super) const fn settings(&self) -> &Settings {
        &self.plan.settings
    }

    /// How many registrations there can be.
    pub(super) fn offers(&self) -> usize {
        self.plan.offers.len()
    }

    /// The subject of one of them.
    pub(super) fn subject(&self, which: usize) -> Option<&Subject> {
        self.plan.offers.get(which).map(|(subject, _)| subject)
    }

    /// Which registration an offer is.
    pub(super) fn registration(&self, offer: OfferId) -> Option<usize> {
        self.registered.iter().position(|it| *it == Some(offer))
    }

    pub(super) fn is_registered(&self, which: usize) -> bool {
        self.registered.get(which).is_some_and(Option::is_some)
    }

    /// Takes back one of the registrations.
    pub(super) fn unregister(&mut self, which: usize) {
        let offer = self.registered.get_mut(which).and_then(Option::take);
        if let (Some(node), Some(offer)) = (&mut self.node, offer) {
            node.unregister(offer);
            self.touched = true;
        }
    }

    /// Has one of the registrations again.
    pub(super) fn register_again(&mut self, which: usize) {
        let (Some(node), Some(place)) = (&mut self.node, self.registered.get_mut(which)) else { return };
        if let Some((subject, kind)) = self.plan.offers.get(which).filter(|_| place.is_none()) {
            *place = register(node, &mut self.host, subject, kind);
            self.touched = true;
        }
    }

    /// What the connection of a link wants written, at most so much: it counts as written.
    pub(super) fn take_output(&mut self, link: LinkId, max: usize) -> Bytes {
        let Some(node) = self.touch() else { return Bytes::new() };
        let bytes = node.take_write(link, max);
        node.wrote(link, bytes.len());
        bytes
    }

    pub(super) fn takes_input(&self, link: LinkId) -> bool {
        self.node.as_ref().is_some_and(|node| node.input_room(link) > 0)
    }
}

/// A subject that cannot be registered is served by nobody, as it would be outside.
fn register(node: &mut Node, host: &mut Host, subject: &Subject, kind: &Kind) -> Option<OfferId> {
    let offer = if matches!(kind, Kind::TraceOnly) { Offer::TraceOnly } else { Offer::Participant };
    let id = node.register(subject.clone(), offer).ok()?;
    host.register(id, kind.clone());
    Some(id)
}

impl World {
    /// Lets the buses and those connections of openers say what they have to say.
    pub(super) fn settle(&mut self, touched: Touched) {
        // Whatever touches any of them may have been the end of one.
        let mut dropped = touched == Touched::Any;
        for of in 0..self.servers.len() {
            let server = &mut self.servers[of];
            if server.touched && server.runs(self.now) {
                server.touched = false;
                dropped |= self.settle_bus(of);
            }
        }
        let lines = match touched {
            Touched::None => 0..0,
            Touched::Line(at) => at..at + 1,
            Touched::Any => 0..self.lines.len(),
        };
        for at in lines {
            let line = &self.lines[at];
            if line.handle().is_some_and(|handle| handle.touched) && self.dialler_runs(line) {
                dropped |= self.settle_near(at);
            }
        }
        if dropped {
            self.lines.retain(|line| !line.is_over());
        }
    }

    /// Says whether it has let go of a connection.
    fn settle_bus(&mut self, of: usize) -> bool {
        while let Some(next) = self.servers[of].node.as_mut().map(Node::poll) {
            match next {
                NodeNext::Wait(wake) => {
                    self.servers[of].wake = wake;
                    if !self.offer_what_is_wanted(of) {
                        break;
                    }
                }
                next => self.on_bus(of, next),
            }
        }
        self.check_farewells(of);
        let dropped = self.look_at_lines(of);
        self.settle_hostile(of);
        dropped
    }

    fn on_bus(&mut self, of: usize, next: NodeNext) {
        let bus = self.servers[of].bus;
        match next {
            NodeNext::Run(ticket, invocation) => {
                self.note(bus, Noted::Called { ticket, invocation: invocation.clone() });
                self.may_withdraw(of, invocation.offer);
                let Self { now, swarm, plan, .. } = self;
                let host = &mut self.servers[of].host;
                host.accept(*now, ticket, invocation, &mut plan.draws, swarm, &mut plan.faults_max);
            }
            NodeNext::Cancel(ticket) => {
                self.note(bus, Noted::Cancelled { ticket });
                self.servers[of].host.cancel(self.now, ticket);
            }
            NodeNext::Owned(conversation, link, id) => {
                self.note(bus, Noted::Owned { conversation, link, id });
            }
            NodeNext::Record(conversation, record) => {
                self.note(bus, Noted::Recorded { conversation, record });
            }
            NodeNext::Local(link, command) => self.tell_local(of, link, command),
            NodeNext::Dialled(_, event) => self.tell_client(of, event),
            NodeNext::LinkClosed(link, reason) => {
                self.note(bus, Noted::LinkClosed { link });
                self.tell_client(of, Event::Closed(reason.clone()));
                self.note_hostile_end(of, link, reason);
                self.servers[of].farewells.insert(link, usize::MAX);
            }
            NodeNext::Served(noted) => self.note(bus, noted),
            NodeNext::Uncompensated(it) => self.note(bus, Noted::Uncompensated(it)),
            NodeNext::Wait(_) => {}
        }
    }

    /// Sees which connections of a bus have something to write. Those that are through are closed: says whether
    /// there were any.
    fn look_at_lines(&mut self, of: usize) -> bool {
        let mut dropped = false;
        while let Some((link, wants)) = self.servers[of].node.as_mut().and_then(Node::poll_wants) {
            let ends = |line: &Line| {
                [Way::Up, Way::Down].into_iter().find(|way| line.reader(*way) == Some((of, link)))
            };
            let line = self.lines.iter_mut().find_map(|line| Some((ends(line)?, line)));
            let Some((end, line)) = line else { continue };
            match end {
                Way::Up => line.far_writes = wants.write,
                Way::Down => line.near_writes = wants.write,
            }
            if wants.finished {
                match end {
                    Way::Up => line.drop_far(self.now, End::Fin),
                    Way::Down => line.drop_near(self.now, End::Fin),
                }
                self.let_go(of, link, end);
                dropped = true;
            }
        }
        dropped
    }

    /// A bus forgets a link that is through, and whoever has dialled dials again.
    fn let_go(&mut self, of: usize, link: LinkId, end: Way) {
        let server = &mut self.servers[of];
        if let Some(node) = server.touch() {
            node.remove(self.now, link);
        }
        if let Some(service) = server.service.as_mut().filter(|_| end == Way::Down) {
            service.lose(self.now);
        }
    }

    /// A call goes on.
    pub(super) fn work(&mut self, of: usize, call: usize) {
        let server = &mut self.servers[of];
        let (host, bus) = (&mut server.host, server.bus);
        let answered = host.go_on(call, self.now, &mut self.plan.draws, &self.swarm);
        if let Some((ticket, answer)) = answered {
            self.note(bus, Noted::Answered { ticket, answer: answer.clone() });
            self.answer(of, ticket, answer);
        }
    }

    fn answer(&mut self, of: usize, ticket: Ticket, answer: Answer) {
        if let Some(node) = self.servers[of].touch() {
            node.answer(self.now, ticket, answer);
        }
    }

    /// The process of a bus ends, and with it the openers in it. It is started again then.
    pub(super) fn crash_bus(&mut self, of: usize, back_at: Instant) {
        self.note(self.servers[of].bus, Noted::BusLost);
        self.servers[of].crash(back_at);
        for line in self.lines.iter_mut().filter(|line| line.far && line.server == of) {
            (line.far, line.far_writes) = (false, false);
            line.reset(self.now, 0, usize::MAX);
        }
        self.lose_hostile(of);
        for client in std::mem::take(&mut self.servers[of].locals).into_values() {
            self.lose_local(client);
        }
    }
}
