//! What breaks, and when.

use std::time::Duration;

use liminal_core::transcript::Noted;
use liminal_proto::{ExitReason, Instant, LinkError};

use super::World;
use super::line::{Dialler, Way};
use super::pipe::End;
use crate::Track;
use crate::swarm::Fault;

/// How long it is from one fault to the next, in microseconds. The first choice is: there is none.
const GAPS: [u64; 10] = [0, 0, 50, 1_000, 5_000, 20_000, 100_000, 500_000, 2_000_000, 6_000_000];
/// When a transport gives up a peer that is gone without a word.
const TRANSPORT_TIMEOUT: Duration = Duration::from_secs(60);

/// When a process is started again that has ended, in microseconds.
const BACK_AFTER: [u64; 4] = [10, 1_000, 100_000, 8_000_000];

/// Faults that happen at a moment; the others happen to what is done.
const EVENTS: [Fault; 12] = [
    Fault::Stall,
    Fault::BlackHole,
    Fault::Reset,
    Fault::HalfClose,
    Fault::OpenerCrash,
    Fault::OpenerVanishes,
    Fault::OpenerPause,
    Fault::Unread,
    Fault::BusPause,
    Fault::BusCrash,
    Fault::Kill,
    Fault::Withdraw,
];

impl World {
    /// Draws when the next fault happens, if there is another.
    pub(super) fn plan_fault(&mut self) {
        let any = self.plan.faults_max > 0 && EVENTS.iter().any(|fault| self.swarm.has(*fault));
        // Where a search tries every order, a fault that is due at once comes anywhere.
        let draws = &mut self.plan.draws;
        let tried = if draws.is_searched(Track::Schedule) { 2 } else { GAPS.len() };
        let tried: Vec<usize> = (0..tried).collect();
        let gap = if any { draws.below_of(Track::Faults, GAPS.len(), &tried) } else { 0 };
        self.fault_at = (gap > 0).then(|| self.now.after(Duration::from_micros(GAPS[gap])));
    }

    /// Whether the faults that happen at a moment happen to the bus and its participants alone.
    pub(super) fn faults_are_of_bus(&self) -> bool {
        let of_bus = |fault: &Fault| matches!(fault, Fault::Kill | Fault::Withdraw);
        EVENTS.iter().all(|fault| of_bus(fault) || !self.swarm.has(*fault))
    }

    /// A fault happens, where it applies.
    pub(super) fn fault(&mut self) {
        self.plan.faults_max = self.plan.faults_max.saturating_sub(1);
        self.fault_at = None;
        let exist: Vec<Fault> = EVENTS.into_iter().filter(|fault| self.swarm.has(*fault)).collect();
        let fault = self.plan.draws.pick(Track::Faults, &exist);
        match fault {
            Fault::BusPause | Fault::BusCrash | Fault::Kill | Fault::Withdraw => self.fault_of_bus(fault),
            fault => self.fault_of_line(fault),
        }
        self.plan_fault();
    }

    fn fault_of_bus(&mut self, fault: Fault) {
        match fault {
            // What happens to the process of a client that serves is what happens to that of an opener.
            Fault::BusPause => {
                let of = self.plan.draws.below(Track::Faults, self.dialled());
                let until = self.after_draw(&[1_000, 50_000, 1_000_000, 7_000_000]);
                self.pause_bus(of, until);
            }
            Fault::BusCrash => {
                let of = self.plan.draws.below(Track::Faults, self.dialled());
                let back_at = self.after_draw(&BACK_AFTER);
                if self.servers[of].node.is_some() {
                    self.crash_bus(of, back_at);
                }
            }
            Fault::Kill => {
                let of = self.plan.draws.below(Track::Faults, self.servers.len());
                self.kill(of);
            }
            _ => self.withdraw(),
        }
    }

    /// One of the registrations of a bus is taken back, or there again.
    fn withdraw(&mut self) {
        let of = self.plan.draws.below(Track::Faults, self.servers.len());
        let server = &mut self.servers[of];
        let which = self.plan.draws.below(Track::Faults, server.offers());
        if server.service.is_some() {
            self.withdraw_from_service(of, which);
        } else if server.is_registered(which) {
            server.unregister(which);
        } else {
            server.register_again(which);
        }
    }

    fn fault_of_line(&mut self, fault: Fault) {
        let held = self.lines.iter().enumerate().filter(|(_, line)| line.near.is_some());
        let held: Vec<usize> = held.map(|(at, _)| at).collect();
        if held.is_empty() {
            return;
        }
        let at = self.plan.draws.pick(Track::Faults, &held);
        match fault {
            Fault::Stall => {
                let until = self.after_draw(&[100, 5_000, 300_000, 6_000_000, 12_000_000]);
                let way = self.plan.draws.pick(Track::Faults, &[Way::Up, Way::Down]);
                self.lines[at].pipe_mut(way).stall(until);
            }
            Fault::BlackHole => self.black_hole(at),
            Fault::Reset => self.reset(at),
            Fault::HalfClose => self.half_close(at),
            Fault::Unread => {
                let until = self.after_draw(&[50_000, 1_000_000, 7_000_000]);
                self.stop_reading(at, until);
            }
            Fault::OpenerCrash => {
                let end = self.plan.draws.pick(Track::Faults, &[End::Fin, End::Lost(LinkError::Reset)]);
                self.crash_dialler(at, self.now, end);
            }
            Fault::OpenerVanishes => {
                let up = self.lines[at].up.chunks();
                let kept = self.plan.draws.below(Track::Faults, up + 1);
                self.lines[at].up.cut(kept);
                let end = End::Lost(LinkError::TimedOut);
                self.crash_dialler(at, self.now.after(TRANSPORT_TIMEOUT), end);
            }
            Fault::OpenerPause => {
                let until = self.after_draw(&[1_000, 50_000, 1_000_000, 7_000_000]);
                match self.lines[at].dialler {
                    Dialler::Opener(of) => self.pause_opener(of, at, until),
                    Dialler::Client(of) => self.pause_bus(of, until),
                }
            }
            _ => {}
        }
    }

    /// The process that has dialled is gone.
    fn crash_dialler(&mut self, at: usize, when: Instant, end: End) {
        match self.lines[at].dialler {
            Dialler::Opener(of) => self.crash_opener(of, at, when, end),
            Dialler::Client(of) => {
                let back_at = self.after_draw(&BACK_AFTER);
                self.crash_client(of, at, (when, end), back_at);
            }
        }
    }

    /// Nothing arrives either way, until it does again or the transport gives up.
    fn black_hole(&mut self, at: usize) {
        let until = self.after_draw(&[200_000, 3_000_000, 20_000_000, 60_000_000]);
        let heals = self.plan.draws.below(Track::Faults, 2) == 0;
        let line = &mut self.lines[at];
        line.up.stall(until);
        line.down.stall(until);
        if !heals {
            line.up.end(until, End::Lost(LinkError::TimedOut));
            line.down.end(until, End::Lost(LinkError::TimedOut));
            line.up.cut(0);
            line.down.cut(0);
        }
    }

    fn reset(&mut self, at: usize) {
        let (up, down) = (self.lines[at].up.chunks(), self.lines[at].down.chunks());
        let keep_up = self.plan.draws.below(Track::Faults, up + 1);
        let keep_down = self.plan.draws.below(Track::Faults, down + 1);
        self.lines[at].reset(self.now, keep_up, keep_down);
    }

    /// Who has dialled writes what it has, closes its half, and says no more.
    fn half_close(&mut self, at: usize) {
        if !self.lines[at].writes {
            return;
        }
        let bytes = self.take_output(at, usize::MAX);
        let line = &mut self.lines[at];
        line.writes = false;
        if line.far && !bytes.is_empty() {
            line.up.push(self.now, bytes);
        }
        line.up.end(self.now, End::Fin);
    }

    fn pause_bus(&mut self, of: usize, until: Instant) {
        let server = &mut self.servers[of];
        if server.runs(self.now) {
            server.back_at = until;
            let bus = server.bus;
            self.note(bus, Noted::Paused { opener: None, until });
        }
    }

    /// A host learns that a participant is no more.
    fn kill(&mut self, of: usize) {
        let server = &mut self.servers[of];
        let alive: Vec<_> = server.host.alive().collect();
        if alive.is_empty() || !server.runs(self.now) {
            return;
        }
        let dead = self.plan.draws.pick(Track::Faults, &alive);
        let (conversation, pid) = dead;
        let reason = ExitReason::Signal { signal: 9 };
        let died = Noted::Died { conversation, pid, reason: reason.clone() };
        self.transcript.note(self.now, server.bus, died);
        server.host.kill(self.now, dead);
        if let Some(node) = server.touch() {
            node.exited(self.now, conversation, pid, reason);
        }
    }

    fn after_draw(&mut self, micros: &[u64]) -> Instant {
        self.now.after(Duration::from_micros(self.plan.draws.pick(Track::Faults, micros)))
    }
}
