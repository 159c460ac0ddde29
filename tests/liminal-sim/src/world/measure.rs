//! What is held, and how long who waited.

use liminal_core::transcript::{Holder, Noted};
use liminal_core::{LinkId, Node};

use super::World;

impl World {
    /// Compares what the bus says that it holds with a recount and with what it may hold.
    pub(super) fn measure(&mut self) {
        let Some(node) = self.server.node.as_ref().filter(|_| self.bus_runs()) else { return };
        let (load, recount) = (node.bus().load(), node.bus().recount());
        let links: Vec<LinkId> = self.links().collect();
        let held = links.iter().flat_map(|link| self.held(node, *link)).max_by_key(Held::concern);
        let waited = links.iter().filter_map(|link| Some((node.longest_wait(*link)?, *link))).max();
        self.note(Noted::Measured { load, recount });
        if let Some(Held { link, by, bytes, recount, bytes_max }) = held {
            self.note(Noted::Held { link, by, bytes, recount, bytes_max });
        }
        if let Some((turns, link)) = waited {
            self.links_max = self.links_max.max(links.len() as u64);
            let turns_max = (self.links_max + 1) * (Node::BUS_TURNS_MAX as u64 + 1);
            self.note(Noted::Waited { link, turns, turns_max });
        }
    }

    /// Sees that connections which are over say nothing more: what is left of their output only becomes less.
    pub(super) fn check_farewells(&mut self) {
        let Some(node) = &self.server.node else { return };
        let mut grown = None;
        self.farewells.retain(|link, left| {
            let Some(connection) = node.connection(*link) else { return false };
            let before = std::mem::replace(left, connection.output_len());
            grown = grown.or((*left > before).then_some(*link));
            true
        });
        if let Some(link) = grown {
            self.fail(format!("the bus has more output for {link} than at its end"));
        }
    }

    /// The connections that the bus holds.
    fn links(&self) -> impl Iterator<Item = LinkId> {
        let lines = self.lines.iter().filter(|line| line.far).map(|line| line.link);
        lines.chain(self.hostile_links())
    }

    fn held(&self, node: &Node, link: LinkId) -> Vec<Held> {
        let limits = &self.plan.config.limits;
        let held = |by, bytes, recount, bytes_max| Held { link, by, bytes, recount, bytes_max };
        let bus = node.bus().held_bytes(link);
        let outbox = node.held_reply_bytes(link);
        let connection = node
            .connection(link)
            .map(|it| held(Holder::Connection, it.held_bytes(), it.recount_held(), limits.held_bytes_max()));
        // The accounts of the bus are compared as a whole, and those of the outbox are its own.
        let others = [
            held(Holder::Bus, bus, bus, self.plan.settings.held_bytes_per_link_max),
            held(Holder::Outbox, outbox, outbox, Node::HELD_REPLY_BYTES_MAX),
        ];
        others.into_iter().chain(connection).collect()
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
