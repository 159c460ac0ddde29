//! The process of the bus.

use liminal_core::transcript::{BusId, Noted};
use liminal_core::{
    Answer, Call, ConversationKey, LinkId, Node, NodeNext, Offer, OfferId, Settings, Subject, Ticket,
};
use liminal_proto::{Instant, Wake};

use super::World;
use super::host::Host;
use super::line::{Line, Way};
use super::network::{distort, latency, piece};
use super::pipe::End;
use crate::Plan;
use crate::plan::Kind;

pub(super) struct Server {
    pub(super) bus: BusId,
    /// `None`: it has crashed, and is not started again yet.
    pub(super) node: Option<Node>,
    pub(super) host: Host,
    /// It stands still until then, or is started again then.
    pub(super) back_at: Instant,
    pub(super) wake: Wake,
    /// The bus may have something to say.
    pub(super) touched: bool,
    /// Which offers of the plan are registered, and as what.
    registered: Vec<Option<OfferId>>,
}

impl Server {
    /// A bus on which everything of the plan is registered.
    pub(super) fn start(bus: BusId, plan: &Plan) -> Self {
        let mut node = Node::new(Settings { recording: true, ..plan.settings.clone() });
        let mut host = Host::default();
        let offers = plan.offers.iter();
        let registered =
            offers.map(|(subject, kind)| register(&mut node, &mut host, subject, kind)).collect();
        for (subject, policy) in &plan.policies {
            let _ = node.on_crash(subject.clone(), policy.clone());
        }
        Self {
            bus,
            node: Some(node),
            host,
            back_at: Instant::ORIGIN,
            wake: Wake::Never,
            touched: true,
            registered,
        }
    }

    /// Takes back one of the registrations, or has it again.
    pub(super) fn withdraw(&mut self, which: usize, plan: &Plan) {
        let (Some(node), Some(place)) = (&mut self.node, self.registered.get_mut(which)) else { return };
        match place.take() {
            Some(offer) => {
                node.unregister(offer);
            }
            None => {
                if let Some((subject, kind)) = plan.offers.get(which) {
                    *place = register(node, &mut self.host, subject, kind);
                }
            }
        }
        self.touched = true;
    }

    pub(super) fn takes_input(&self, link: LinkId) -> bool {
        self.node.as_ref().is_some_and(|node| node.input_room(link) > 0)
    }

    pub(super) fn writes(&self, link: LinkId) -> bool {
        self.node.as_ref().and_then(|node| node.wants(link)).is_some_and(|wants| wants.write)
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
    pub(super) fn bus_runs(&self) -> bool {
        self.server.node.is_some() && self.server.back_at <= self.now
    }

    /// Lets the bus and the connections say what they have to say.
    pub(super) fn settle(&mut self) {
        loop {
            if self.server.touched && self.bus_runs() {
                self.server.touched = false;
                self.settle_bus();
            }
            let touched = |line: &Line| line.near.as_ref().is_some_and(|near| near.touched);
            let Some(at) =
                self.lines.iter().position(|line| touched(line) && self.clients[line.of].runs(self.now))
            else {
                break;
            };
            self.settle_near(at);
        }
        self.lines.retain(|line| !line.is_over());
    }

    fn settle_bus(&mut self) {
        while let Some(next) = self.server.node.as_mut().map(Node::poll) {
            match next {
                NodeNext::Wait(wake) => {
                    self.server.wake = wake;
                    break;
                }
                next => self.on_bus(next),
            }
        }
        self.check_farewells();
        self.drop_finished();
        self.settle_hostile();
    }

    fn on_bus(&mut self, next: NodeNext) {
        match next {
            NodeNext::Run(ticket, invocation) => {
                if matches!(invocation.what, Call::Join { .. }) {
                    self.note_owner(invocation.conversation);
                }
                self.note(Noted::Called { ticket, invocation: invocation.clone() });
                let (host, draws) = (&mut self.server.host, &mut self.draws);
                host.accept(self.now, ticket, invocation, draws, &self.swarm, &mut self.plan.faults_max);
            }
            NodeNext::Cancel(ticket) => {
                self.note(Noted::Cancelled { ticket });
                self.server.host.cancel(self.now, ticket);
            }
            NodeNext::Record(conversation, record) => {
                if record.number.get() == 1 {
                    self.note_owner(conversation);
                }
                self.note(Noted::Recorded { conversation, record });
            }
            NodeNext::LinkClosed(link, reason) => {
                self.note(Noted::LinkClosed { link });
                self.note_hostile_end(link, reason);
                self.farewells.insert(link, usize::MAX);
            }
            NodeNext::Uncompensated(it) => self.note(Noted::Uncompensated(it)),
            _ => {}
        }
    }

    /// Says to whom a conversation belongs, once.
    fn note_owner(&mut self, conversation: ConversationKey) {
        let owner = self.server.node.as_ref().and_then(|node| node.bus().owner(conversation));
        if let Some((link, id)) = owner {
            self.note(Noted::Owned { conversation, link, id });
        }
    }

    /// Connections that are through are closed.
    fn drop_finished(&mut self) {
        for line in &mut self.lines {
            let Some(node) = self.server.node.as_mut().filter(|_| line.far) else { continue };
            if node.wants(line.link).is_some_and(|wants| wants.finished) {
                node.remove(self.now, line.link);
                line.drop_far(self.now, End::Fin);
                self.server.touched = true;
            }
        }
    }

    /// The bus is given what has arrived, or what an opener is.
    pub(super) fn deliver(&mut self, at: usize, way: Way) {
        let now = self.now;
        let line = &mut self.lines[at];
        let Some(bytes) = line.pipe(way).arrived(now) else { return };
        let mut taken = bytes.len();
        match (way, &mut line.near) {
            (Way::Up, _) if line.far => {
                if let Some(node) = &mut self.server.node {
                    taken = node.receive(now, line.link, &bytes);
                    self.server.touched = true;
                }
            }
            (Way::Down, Some(near)) => {
                taken = near.connection.receive(now, &bytes);
                near.touched = true;
            }
            _ => {}
        }
        line.pipe(way).taken(taken);
    }

    /// One direction has ended.
    pub(super) fn end_way(&mut self, at: usize, way: Way) {
        let now = self.now;
        let line = &mut self.lines[at];
        let Some(end) = line.pipe(way).ended(now) else { return };
        match (way, &mut line.near) {
            (Way::Up, _) if line.far => {
                if let Some(node) = &mut self.server.node {
                    match end {
                        End::Fin => node.eof(now, line.link),
                        End::Lost(why) => node.link_lost(now, line.link, why),
                    }
                    self.server.touched = true;
                }
            }
            (Way::Down, Some(near)) => near.input(now, end),
            _ => {}
        }
    }

    pub(super) fn carry_down(&mut self, at: usize) {
        let line = &mut self.lines[at];
        let Some(node) = &mut self.server.node else { return };
        let max = piece(&mut self.draws, &self.swarm).min(line.down.room(self.swarm.window()));
        let bytes = node.take_write(line.link, max);
        node.wrote(line.link, bytes.len());
        self.server.touched = true;
        if line.near.is_none() {
            return;
        }
        let arrives = self.now.after(latency(&mut self.draws, &self.swarm));
        let bytes = distort(&mut self.draws, self.plan.network, bytes, &line.carried[1]);
        line.carried[1] = bytes.clone();
        if !bytes.is_empty() {
            line.down.push(arrives, bytes);
        }
    }

    /// A call goes on.
    pub(super) fn work(&mut self, call: usize) {
        let host = &mut self.server.host;
        if let Some((ticket, answer)) = host.go_on(call, self.now, &mut self.draws, &self.swarm) {
            self.note(Noted::Answered { ticket, answer: answer.clone() });
            self.answer(ticket, answer);
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        if let Some(node) = &mut self.server.node {
            node.answer(self.now, ticket, answer);
            self.server.touched = true;
        }
    }
}
