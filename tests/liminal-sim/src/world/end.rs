//! The course of a run, up to its end.

use std::time::Duration;

use liminal_core::Ticket;
use liminal_core::transcript::{BusId, Noted};
use liminal_proto::{CloseReason, Event, Instant};

use super::World;
use super::line::Handle;
use super::ready::Touched;
use super::server::Server;

/// A run that is not done after this much virtual time goes round in circles.
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the time of rest is given once more to work that gets on, and to clients that dial. What slows bytes down
/// comes from the tape, and ends with it.
const RESTS_MAX: u32 = 16;

impl World {
    pub(super) fn run_to_end(&mut self, watch: &mut dyn FnMut(&Self)) {
        let latest = self.now.after(TIME_MAX);
        self.settle(Touched::Any);
        while !self.broken && !self.is_quiet() && self.step(latest) {
            watch(self);
        }
        self.plan.draws.calm();
        self.fault_at = None;
        watch(self);
        self.rest(watch);
        self.note_credit();
        self.note_and_measure(&Noted::Calm);
        self.disconnect_all();
        self.settle(Touched::Any);
        self.rest(watch);
        self.note_and_measure(&Noted::Over);
        watch(self);
    }

    /// Inputs have ended, and no fault is to come.
    fn is_quiet(&self) -> bool {
        self.fault_at.is_none() && self.hostile_is_done() && self.clients.iter().all(super::Client::is_done)
    }

    /// Notes that every bus has come to this point, and what it holds there.
    fn note_and_measure(&mut self, point: &Noted) {
        for of in 0..self.servers.len() {
            self.note(self.servers[of].bus, point.clone());
            self.measure(of);
        }
    }

    fn rest(&mut self, watch: &mut dyn FnMut(&Self)) {
        let mut from = self.now;
        let mut until = self.all_are_back().after(self.plan.rest);
        self.run_until(until, watch);
        // Work that began at the last moment is given its time, and so is what waits behind it, as long as it gets on.
        // So is a client that has dialled then: its connection may have been given up for bytes that were slow to the
        // last.
        let mut known = Vec::new();
        for _ in 0..RESTS_MAX {
            let left = self.left_to_do();
            let gets_on = !left.is_empty() && left != known;
            known = left;
            if !gets_on && !self.has_dialled_since(from) {
                break;
            }
            (from, until) = (until, until.after(self.plan.rest));
            self.run_until(until, watch);
        }
        self.now = self.now.max(until);
    }

    /// What is left to do at each bus, where anything is: calls that have not returned, and what waits for its turn.
    fn left_to_do(&self) -> Vec<(BusId, Vec<Ticket>, usize)> {
        let of = |server: &Server| {
            let calls: Vec<_> = server.host.calls.iter().map(|call| call.ticket).collect();
            let held = server.node.as_ref().map_or(0, |node| node.bus().load().held_bytes);
            (held > 0 || !calls.is_empty()).then_some((server.bus, calls, held))
        };
        self.servers.iter().filter_map(of).collect()
    }

    fn run_until(&mut self, until: Instant, watch: &mut dyn FnMut(&Self)) {
        while !self.broken && self.step(until) {
            watch(self);
        }
    }

    /// When every process runs again and nothing stands still any more.
    fn all_are_back(&self) -> Instant {
        let lines = self.lines.iter().flat_map(|line| {
            let reads_at = line.handle().and_then(Handle::reads_at).unwrap_or(self.now);
            [line.up.back_at(), line.down.back_at(), reads_at]
        });
        let clients = self.clients.iter().map(|client| client.back_at);
        let servers = self.servers.iter().map(|server| server.back_at);
        lines.chain(clients).chain(servers).chain([self.now]).max().unwrap_or(self.now)
    }

    /// Inputs end here for openers that are not done, too: none dials again.
    fn disconnect_all(&mut self) {
        self.disconnect_hostile();
        self.clients.iter_mut().for_each(super::Client::finish);
        if let Some(search) = &mut self.search {
            search.on_every(self.now);
        }
        for line in &mut self.lines {
            let (bus, opener) = (line.bus, line.opener);
            let Some(handle) = line.handle_mut() else { continue };
            handle.connection.disconnect(self.now);
            handle.touched = true;
            let event = Event::Closed(CloseReason::Local);
            self.transcript.note(self.now, bus, Noted::Said { opener, event });
        }
        for of in 0..self.servers.len() {
            self.disconnect_client(of);
        }
        for of in 0..self.clients.len() {
            self.leave(of);
        }
    }
}
