//! What is held, and how long who waited.

use std::collections::BTreeMap;

use liminal_core::transcript::{BusId, Credited, Entry, Holder, Noted};
use liminal_core::{Call, LinkId, Node};
use liminal_proto::wire::Version;
use liminal_proto::{Connection, ConversationId, Phase};

use super::World;
use super::line::{Line, Way};
use super::server::Server;

impl World {
    /// Compares what a bus says that it holds with a recount and with what it may hold.
    pub(super) fn measure(&mut self, of: usize) {
        let server = &self.servers[of];
        let Some(node) = server.node.as_ref().filter(|_| server.runs(self.now)) else { return };
        let bus = server.bus;
        let (load, recount) = (node.bus().load(), node.bus().recount());
        let links: Vec<LinkId> = self.links(of).chain(server.locals.keys().copied()).collect();
        let held = links.iter().copied().flat_map(|link| self.held(of, node, link)).max_by_key(Held::concern);
        let waited = links.iter().filter_map(|link| Some((node.longest_wait(*link)?, *link))).max();
        let turns_max = (server.links_max as u64 + 1) * (Node::BUS_TURNS_MAX as u64 + 1);
        self.note(bus, Noted::Measured { load, recount });
        if let Some(Held { link, by, bytes, recount, bytes_max }) = held {
            self.note(bus, Noted::Held { link, by, bytes, recount, bytes_max });
        }
        if let Some((turns, link)) = waited {
            self.note(bus, Noted::Waited { link, turns, turns_max });
        }
    }

    /// Notes how credit stands at both sides of every connection on which nothing is under way.
    pub(super) fn note_credit(&mut self) {
        let mut known: BTreeMap<(BusId, LinkId), Vec<ConversationId>> = BTreeMap::new();
        for Entry { bus, what, .. } in self.transcript.entries() {
            match what {
                Noted::Owned { link, id, .. } => known.entry((*bus, *link)).or_default().push(*id),
                Noted::CalledOn { link, id, invocation, .. }
                    if matches!(invocation.what, Call::Join { .. }) =>
                {
                    known.entry((*bus, *link)).or_default().push(*id);
                }
                _ => {}
            }
        }
        let mut notes = Vec::new();
        for line in self.lines.iter().filter(|line| line.is_idle()) {
            let Some((here, there)) = self.both_sides(line) else { continue };
            let (link, mut credits) = (line.link, Vec::new());
            for id in known.get(&(line.bus, link)).into_iter().flatten() {
                let both = here.credit_left(*id).zip(there.credit_left(*id));
                credits.extend(both.map(|both| (Credited::Conversation(*id), both)));
            }
            let both = here.connection_credit_left().into_iter().zip(there.connection_credit_left());
            credits.extend([Credited::Messages, Credited::Replies].into_iter().zip(both));
            let noted = |(of, (here, there))| (line.bus, Noted::Credit { link, of, here, there });
            notes.extend(credits.into_iter().map(noted));
        }
        for (bus, what) in notes {
            self.note(bus, what);
        }
    }

    /// Both sides of a connection, if they are there, speak 2.0 and have not begun to part.
    fn both_sides<'a>(&'a self, line: &'a Line) -> Option<(&'a Connection, &'a Connection)> {
        let connection = |(of, link): (usize, LinkId)| self.servers.get(of)?.node.as_ref()?.connection(link);
        let here = line.reader(Way::Up).and_then(connection)?;
        let near = || line.reader(Way::Down).and_then(connection);
        let there = line.handle().map(|handle| &handle.connection).or_else(near)?;
        let talks = |it: &Connection| it.phase() == Phase::Active && it.version() == Some(Version::V2_0);
        (talks(here) && talks(there)).then_some((here, there))
    }

    /// Sees that connections which are over say nothing more: what is left of their output only becomes less.
    pub(super) fn check_farewells(&mut self, of: usize) {
        let Server { node: Some(node), farewells, .. } = &mut self.servers[of] else { return };
        let mut grown = None;
        farewells.retain(|link, left| {
            let Some(connection) = node.connection(*link) else { return false };
            let before = std::mem::replace(left, connection.output_len());
            grown = grown.or((*left > before).then_some(*link));
            true
        });
        if let Some(link) = grown {
            self.fail(format!("the bus has more output for {link} than at its end"));
        }
    }

    /// A bus may hold one connection more.
    pub(super) fn count_links(&mut self, of: usize) {
        let links = self.links(of).count();
        let server = &mut self.servers[of];
        server.links_max = server.links_max.max(links);
    }

    /// The connections that a bus holds.
    fn links(&self, of: usize) -> impl Iterator<Item = LinkId> {
        self.lines.iter().filter_map(move |line| line.link_at(of)).chain(self.hostile_links(of))
    }

    fn held(&self, of: usize, node: &Node, link: LinkId) -> impl Iterator<Item = Held> {
        let (limits, settings) = (&self.plan.config.limits, self.servers[of].settings());
        let held = move |by, bytes, recount, bytes_max| Held { link, by, bytes, recount, bytes_max };
        let bus = node.bus().held_bytes(link);
        let outbox = node.held_reply_bytes(link);
        let connection = node
            .connection(link)
            .map(|it| held(Holder::Connection, it.held_bytes(), it.recount_held(), limits.held_bytes_max()));
        // The accounts of the bus are compared as a whole, and those of the outbox are its own.
        let others = [
            held(Holder::Bus, bus, bus, settings.held_bytes_per_link_max),
            held(Holder::Outbox, outbox, outbox, Node::HELD_REPLY_BYTES_MAX),
        ];
        others.into_iter().chain(connection)
    }
}

/// What is held for a link in one place.
struct Held {
    link: LinkId,
    by: Holder,
    bytes: usize,
    recount: usize,
    bytes_max: usize,
}

impl Held {
    /// An account that is wrong concerns more than one that is full.
    fn concern(&self) -> (bool, usize) {
        let per_mille = self.bytes.saturating_mul(1000) / self.bytes_max.max(1);
        (self.bytes != self.recount, per_mille)
    }
}
