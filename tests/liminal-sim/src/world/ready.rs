//! What can happen now.

use super::World;
use super::host::Running;
use super::hostile::Move;
use super::line::{Dialler, Line, Way};
use super::opening::Client;
use super::pipe::Due;

/// Something that can happen now. The order is the benign one: what arrives, what was worked, new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Deliver(usize, Way),
    End(usize, Way),
    /// Of which bus, and which of its calls.
    Work(usize, usize),
    Carry(usize, Way),
    /// Which client that serves.
    Dial(usize),
    Act(usize),
    Fault,
    /// Of which hostile peer. Last, so that in the benign order they delay others by what the bus does alone.
    Hostile(usize, Move),
}

/// Which openers' connections may have something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    None,
    /// That of this line.
    Line(usize),
    Any,
}

impl Action {
    /// Whom it may have touched among the openers. (Those of buses say so themselves.)
    pub(super) const fn touches(self) -> Touched {
        match self {
            Self::Deliver(line, Way::Down) | Self::End(line, Way::Down) | Self::Carry(line, Way::Up) => {
                Touched::Line(line)
            }
            Self::Deliver(_, Way::Up)
            | Self::End(_, Way::Up)
            | Self::Carry(_, Way::Down)
            | Self::Work(..)
            | Self::Dial(_)
            | Self::Hostile(..) => Touched::None,
            Self::Act(_) | Self::Fault => Touched::Any,
        }
    }
}

impl World {
    pub(super) fn find_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let mut departures = std::mem::take(&mut self.departures);
        for (at, line) in self.lines.iter().enumerate() {
            if line.is_idle() {
                continue;
            }
            for way in [Way::Up, Way::Down] {
                if let Some(arrival) = self.arrival(at, line, way) {
                    ready.push(arrival);
                }
            }
            self.find_departures(at, line, &mut departures);
        }
        for (of, server) in self.servers.iter().enumerate().filter(|(_, server)| server.runs(self.now)) {
            let is_ready = |(_, call): &(usize, &Running)| call.is_ready(self.now);
            let calls = server.host.calls.iter().enumerate().filter(is_ready);
            ready.extend(calls.map(|(at, _)| Action::Work(of, at)));
        }
        ready.append(&mut departures);
        self.departures = departures;
        let dials = (self.dialled()..self.servers.len()).filter(|of| self.may_dial(*of));
        ready.extend(dials.map(Action::Dial));
        for (at, client) in self.clients.iter().enumerate() {
            if client.acts_at().is_some_and(|due| due <= self.now) && self.may_act(client) {
                ready.push(Action::Act(at));
            }
        }
        if self.fault_at.is_some_and(|at| at <= self.now) {
            ready.push(Action::Fault);
        }
        self.find_hostile(&mut ready);
        self.ready = ready;
    }

    /// What has arrived in one direction, if its reader takes that.
    pub(super) fn arrival(&self, at: usize, line: &Line, way: Way) -> Option<Action> {
        let is_end = line.pipe(way).due(self.now)? == Due::End;
        let reads = match (line.reader(way), line.handle().filter(|_| way == Way::Down)) {
            (Some((of, link)), _) => {
                let server = &self.servers[of];
                server.runs(self.now) && (is_end || server.takes_input(link))
            }
            (None, Some(handle)) => {
                let takes = is_end || handle.closed || handle.connection.input_room() > 0;
                takes && self.dialler_runs(line)
            }
            (None, None) => true,
        };
        reads.then_some(if is_end { Action::End(at, way) } else { Action::Deliver(at, way) })
    }

    fn find_departures(&self, at: usize, line: &Line, ready: &mut Vec<Action>) {
        let window = self.swarm.window();
        if line.near_writes
            && line.near.is_some()
            && (!line.writes || !line.far || line.up.room(window) > 0)
            && self.dialler_runs(line)
        {
            ready.push(Action::Carry(at, Way::Up));
        }
        if line.far
            && line.far_writes
            && line.down.room(window) > 0
            && self.servers[line.server].runs(self.now)
        {
            ready.push(Action::Carry(at, Way::Down));
        }
    }

    /// Whether the process that has dialled runs.
    pub(super) fn dialler_runs(&self, line: &Line) -> bool {
        match line.dialler {
            Dialler::Opener(of) => self.clients[of].runs(self.now),
            Dialler::Client(of) => self.servers[of].runs(self.now),
        }
    }

    /// It may dial where there is a bus, and speak where it has got through to it.
    fn may_act(&self, client: &Client) -> bool {
        let server = &self.servers[client.server];
        if client.is_local() {
            return server.runs(self.now);
        }
        match client.line().and_then(|opener| self.line(opener)) {
            None => server.node.is_some(),
            Some(line) => {
                line.writes && line.handle().is_some_and(|handle| handle.connected && !handle.closed)
            }
        }
    }

    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Deliver(line, way) => self.deliver(line, way),
            Action::End(line, way) => self.end_way(line, way),
            Action::Work(server, call) => self.work(server, call),
            Action::Carry(line, Way::Up) => self.carry_up(line),
            Action::Carry(line, Way::Down) => self.carry_down(line),
            Action::Dial(client) => self.dial_to_serve(client),
            Action::Act(client) => self.act(client),
            Action::Fault => self.fault(),
            Action::Hostile(peer, what) => self.perform_hostile(peer, what),
        }
    }
}
