//! Virtual time: when nothing can be done, it jumps to the next moment at which something can.

use liminal_core::transcript::{BusId, Noted};
use liminal_proto::Instant;

use super::World;
use super::line::{Dialler, Near};

impl World {
    /// Jumps to the next moment at which something is due. False: there is none up to `until`.
    pub(super) fn pass_time(&mut self, until: Instant) -> bool {
        let Some(next) = self.next_moment().filter(|at| *at <= until) else { return false };
        self.now = self.now.max(next);
        self.come_back();
        self.tick();
        true
    }

    /// What is due already and yet not ready waits for something else.
    fn next_moment(&self) -> Option<Instant> {
        let now = self.now;
        let mut next: Option<Instant> = None;
        let mut see = |at: Option<Instant>| {
            if let Some(at) = at.filter(|at| *at > now && next.is_none_or(|next| *at < next)) {
                next = Some(at);
            }
        };
        see(self.fault_at);
        for line in &self.lines {
            see(line.up.next_at());
            see(line.down.next_at());
            if let Some(handle) = line.handle().filter(|_| self.dialler_runs(line)) {
                see(handle.wants.wake.at());
                see(handle.reads_at());
            }
        }
        for client in &self.clients {
            see(client.acts_at());
            // It stands still until then.
            see(Some(client.back_at));
        }
        self.servers.iter().for_each(|server| see(server.next_at(now)));
        self.hostile_moments().for_each(|at| see(Some(at)));
        next
    }

    /// A bus that crashed is started again; one that stood still finds out what time it is.
    fn come_back(&mut self) {
        for server in &mut self.servers {
            if server.node.is_none() && server.back_at <= self.now {
                self.buses += 1;
                let after = server.start(self.now, BusId::new(self.buses));
                self.transcript.note(self.now, server.bus, Noted::BusStarted { after });
            }
        }
    }

    fn tick(&mut self) {
        let now = self.now;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        for server in self.servers.iter_mut().filter(|server| server.runs(now)) {
            if due(server.wake.at())
                && let Some(node) = server.touch()
            {
                node.tick(now);
            }
        }
        for line in &mut self.lines {
            if let (Some(Near::Opener(handle)), Dialler::Opener(of)) = (&mut line.near, line.dialler)
                && self.clients[of].runs(now)
            {
                handle.read(now);
                if due(handle.wants.wake.at()) {
                    handle.connection.tick(now);
                    handle.touched = true;
                }
            }
        }
    }
}
