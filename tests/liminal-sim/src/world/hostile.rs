//! Hostile peers, and their connections.

use std::collections::VecDeque;

use liminal_core::{LinkId, Node};
use liminal_proto::{CloseReason, Config, Instant, LinkError};

use super::World;
use super::line::Way;
use super::network::{latency, piece};
use super::pipe::{End, Pipe};
use super::ready::Action;
use crate::Draws;
use crate::hostile::{Deed, Encounter, Hostile};
use crate::swarm::Swarm;

/// What a hostile peer or its connection can do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The bus is given what has arrived.
    Deliver,
    /// The bus is told that no more will.
    End,
    /// The output of the bus is taken.
    Carry,
    /// It reads what has arrived.
    Hear,
    /// It does its next deed.
    Act,
}

/// A hostile peer, and its one connection.
pub(super) struct Peer {
    /// Which bus of the plan it connects to.
    server: usize,
    deeds: VecDeque<Deed>,
    acts_at: Instant,
    reads: bool,
    link: Option<LinkId>,
    up: Pipe,
    down: Pipe,
    pub(super) encounter: Encounter,
}

impl Peer {
    pub(super) fn new((hostile, server): (Hostile, usize)) -> Self {
        Self {
            server,
            deeds: hostile.deeds,
            acts_at: Instant::ORIGIN,
            reads: true,
            link: None,
            up: Pipe::default(),
            down: Pipe::default(),
            encounter: Encounter::default(),
        }
    }

    fn is_done(&self) -> bool {
        self.encounter.began.is_some() && self.deeds.is_empty()
    }

    /// Everything that can happen now.
    fn moves(&self, now: Instant, node: &Node, window: usize) -> impl Iterator<Item = Move> {
        let link = self.link;
        let takes = link.is_some_and(|link| node.input_room(link) > 0);
        let wants = link.and_then(|link| node.wants(link));
        let writes = wants.is_some_and(|wants| wants.write) && self.down.room(window) > 0;
        let blocked = matches!(self.deeds.front(), Some(Deed::Write(_))) && self.up.room(window) == 0;
        let acts = if self.encounter.began.is_some() { link.is_some() && !blocked } else { true };
        let moves = [
            (takes && self.up.arrived(now).is_some(), Move::Deliver),
            (link.is_some() && self.up.is_end_due(now), Move::End),
            (writes, Move::Carry),
            (self.reads && self.down.arrived(now).is_some(), Move::Hear),
            (acts && !self.is_done() && self.acts_at <= now, Move::Act),
        ];
        moves.into_iter().filter(|(can, _)| *can).map(|(_, what)| what)
    }

    fn next_at(&self) -> impl Iterator<Item = Instant> {
        let acts = (!self.is_done()).then_some(self.acts_at);
        [self.up.next_at(), self.down.next_at(), acts].into_iter().flatten()
    }

    fn perform(
        &mut self,
        what: Move,
        now: Instant,
        node: &mut Node,
        config: &Config,
        (draws, swarm): (&mut Draws, &Swarm),
    ) {
        match (what, self.link) {
            (Move::Act, None) => {
                self.link = Some(node.accept(now, config.clone()));
                self.encounter.began = Some(now);
            }
            (Move::Act, Some(_)) => self.act(now, draws, swarm),
            (Move::Deliver, Some(link)) => {
                let taken = self.up.arrived(now).map_or(0, |bytes| node.receive(now, link, bytes));
                self.encounter.pieces += 1;
                self.up.taken(taken);
            }
            (Move::End, Some(link)) => match self.up.ended(now) {
                Some(End::Fin) => node.eof(now, link),
                Some(End::Lost(why)) => node.link_lost(now, link, why),
                None => {}
            },
            (Move::Carry, Some(link)) => {
                let room = self.down.room(swarm.window());
                let bytes = node.take_write(link, piece(draws, swarm).min(room));
                node.wrote(link, bytes.len());
                self.down.push(now.after(latency(draws, swarm)), bytes);
            }
            (Move::Hear, _) => {
                let bytes = self.down.arrived(now).cloned().unwrap_or_default();
                self.encounter.heard.extend_from_slice(&bytes);
                self.down.taken(bytes.len());
            }
            (Move::Deliver | Move::End | Move::Carry, None) => {}
        }
    }

    fn act(&mut self, now: Instant, draws: &mut Draws, swarm: &Swarm) {
        self.acts_at = now;
        match self.deeds.pop_front() {
            Some(Deed::Write(mut bytes)) => {
                let room = self.up.room(swarm.window());
                let rest = bytes.split_off(piece(draws, swarm).min(room).min(bytes.len()));
                if !rest.is_empty() {
                    self.deeds.push_front(Deed::Write(rest));
                }
                self.encounter.wrote += bytes.len();
                self.up.push(now.after(latency(draws, swarm)), bytes);
            }
            Some(Deed::Wait(time)) => self.acts_at = now.after(time),
            Some(Deed::Read(reads)) => self.reads = reads,
            Some(Deed::CloseHalf) => self.up.end(now, End::Fin),
            Some(Deed::Reset) => self.lose(now),
            None => {}
        }
    }

    fn lose(&mut self, now: Instant) {
        self.up.end(now, End::Lost(LinkError::Reset));
        self.down.cut(0);
        self.down.end(now, End::Lost(LinkError::Reset));
    }

    /// The bus has let go of its connection. What is on its way to it still arrives.
    fn is_let_go(&mut self, now: Instant) {
        self.link = None;
        self.deeds.clear();
        self.reads = true;
        self.encounter.ended = Some(now);
        self.up = Pipe::default();
    }

    fn weigh(&mut self, node: &Node) {
        let Some(link) = self.link else { return };
        let connection = node.connection(link).map_or(0, liminal_proto::Connection::held_bytes);
        let held = connection + node.held_reply_bytes(link) + node.bus().held_bytes(link);
        self.encounter.held_bytes_max = self.encounter.held_bytes_max.max(held);
    }
}

impl World {
    /// What came of the hostile peers, in the order of the plan.
    #[must_use]
    pub fn encounters(&self) -> Vec<Encounter> {
        self.hostile.iter().map(|peer| peer.encounter.clone()).collect()
    }

    pub(super) fn find_hostile(&self, ready: &mut Vec<Action>) {
        for (at, peer) in self.hostile.iter().enumerate() {
            let server = &self.servers[peer.server];
            let Some(node) = server.node.as_ref().filter(|_| server.runs(self.now)) else { continue };
            let moves = peer.moves(self.now, node, self.swarm.window());
            ready.extend(moves.map(|what| Action::Hostile(at, what)));
        }
    }

    pub(super) fn perform_hostile(&mut self, at: usize, what: Move) {
        let peer = &mut self.hostile[at];
        let of = peer.server;
        let Some(node) = self.servers[of].touch() else { return };
        let chance = (&mut self.plan.draws, &self.swarm);
        peer.perform(what, self.now, node, &self.plan.config, chance);
        self.count_links(of);
        if matches!(what, Move::Deliver | Move::End) {
            self.deliver_what_waits(of);
        }
    }

    /// The process of the bus finds more than one connection readable: what others say waits for its turn beside
    /// what a hostile peer has brought about.
    fn deliver_what_waits(&mut self, of: usize) {
        for at in 0..self.lines.len() {
            let line = &self.lines[at];
            let waits = || matches!(self.arrival(at, line, Way::Up), Some(Action::Deliver(..)));
            if line.far && line.server == of && waits() {
                self.deliver(at, Way::Up);
            }
        }
    }

    /// The connections of hostile peers that a bus holds.
    pub(super) fn hostile_links(&self, of: usize) -> impl Iterator<Item = LinkId> {
        self.hostile.iter().filter(move |peer| peer.server == of).filter_map(|peer| peer.link)
    }

    pub(super) fn hostile_is_done(&self) -> bool {
        self.hostile.iter().all(Peer::is_done)
    }

    pub(super) fn hostile_moments(&self) -> impl Iterator<Item = Instant> {
        self.hostile.iter().flat_map(Peer::next_at)
    }

    /// Notes what a bus holds for each, and closes the connections that are through.
    pub(super) fn settle_hostile(&mut self, of: usize) {
        for peer in self.hostile.iter_mut().filter(|peer| peer.server == of) {
            let server = &mut self.servers[of];
            let Some((node, link)) = server.node.as_mut().zip(peer.link) else { continue };
            peer.weigh(node);
            if node.wants(link).is_some_and(|wants| wants.finished) {
                node.remove(self.now, link);
                peer.is_let_go(self.now);
                server.touch();
            }
        }
    }

    pub(super) fn note_hostile_end(&mut self, of: usize, link: LinkId, reason: CloseReason) {
        let is_it = |peer: &&mut Peer| peer.server == of && peer.link == Some(link);
        if let Some(peer) = self.hostile.iter_mut().find(is_it) {
            peer.encounter.reason = Some(reason);
        }
    }

    /// A bus is gone, and every connection with it.
    pub(super) fn lose_hostile(&mut self, of: usize) {
        for peer in self.hostile.iter_mut().filter(|peer| peer.server == of && peer.link.is_some()) {
            peer.is_let_go(self.now);
        }
    }

    /// The end of the run: nobody speaks any more.
    pub(super) fn disconnect_hostile(&mut self) {
        for peer in &mut self.hostile {
            peer.deeds.clear();
            peer.lose(self.now);
        }
    }
}
