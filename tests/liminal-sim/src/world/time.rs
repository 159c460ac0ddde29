//! Virtual time: when nothing can be done, it jumps to the next moment at which something can.

use liminal_core::transcript::{BusId, Noted};
use liminal_proto::Instant;

use super::World;
use super::host::Host;
use super::server::Server;

impl World {
    /// Jumps to the next moment at which something is due. False: there is none up to `until`.
    pub(super) fn pass_time(&mut self, until: Instant) -> bool {
        let Some(next) = self.next_moment().filter(|at| *at <= until) else { return false };
        self.now = self.now.max(next);
        self.come_back();
        self.tick();
        true
    }

    fn next_moment(&self) -> Option<Instant> {
        let server = &self.server;
        let bus = if self.bus_runs() {
            let calls = server.host.calls.iter().filter_map(Host::next_at);
            calls.chain(server.wake.at()).min()
        } else {
            Some(server.back_at)
        };
        let lines = self.lines.iter().flat_map(|line| {
            let wake = line.near.as_ref().and_then(|near| near.wants.wake.at());
            let runs = self.clients[line.of].runs(self.now);
            [line.up.next_at(), line.down.next_at(), wake.filter(|_| runs)]
        });
        let clients = self.clients.iter().flat_map(|it| {
            let back = (!it.runs(self.now)).then_some(it.back_at);
            [it.acts_at(), back]
        });
        // What is due already and yet not ready waits for something else.
        let moments =
            lines.chain(clients).flatten().chain(bus).chain(self.fault_at).chain(self.hostile_moments());
        moments.filter(|at| *at > self.now).min()
    }

    /// A bus that crashed is started again; one that stood still finds out what time it is.
    fn come_back(&mut self) {
        if self.server.node.is_none() && self.server.back_at <= self.now {
            self.server = Server::start(BusId::new(self.server.bus.get() + 1), &self.plan);
        }
    }

    fn tick(&mut self) {
        let now = self.now;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.bus_runs()
            && due(self.server.wake.at())
            && let Some(node) = &mut self.server.node
        {
            node.tick(now);
            self.server.touched = true;
        }
        for line in &mut self.lines {
            if let Some(near) = &mut line.near
                && self.clients[line.of].runs(now)
                && due(near.wants.wake.at())
            {
                near.connection.tick(now);
                near.touched = true;
            }
        }
    }

    /// The process of the bus ends. It is started again then.
    pub(super) fn crash_bus(&mut self, back_at: Instant) {
        self.note(Noted::BusLost);
        self.server.node = None;
        self.server.host = Host::default();
        self.lose_hostile();
        self.farewells.clear();
        self.server.back_at = back_at;
        let now = self.now;
        for line in self.lines.iter_mut().filter(|line| line.far) {
            line.far = false;
            line.reset(now, 0, usize::MAX);
        }
    }
}
