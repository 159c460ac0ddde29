//! The world of a run: the real bus, real connections, participants and openers, and virtual time.

mod end;
mod host;
mod hostile;
mod line;
mod measure;
mod network;
mod opening;
mod pipe;
mod search;
mod server;
mod time;
mod trouble;
mod waiting;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use liminal_core::transcript::{BusId, Noted, OpenerId};
use liminal_core::{LinkId, Transcript};
use liminal_proto::Instant;

use self::hostile::Peer;
use self::line::{Line, Way};
pub(crate) use self::network::LATENCIES;
use self::opening::Client;
pub(crate) use self::opening::{REDIAL, opener_id};
pub(crate) use self::search::Search;
use self::server::Server;
use crate::swarm::Swarm;
use crate::{Draws, Plan, Tape, Track};

/// More steps than a run of the longest tape ever takes: who needs more goes round in circles.
const STEPS_MAX: u64 = 500_000;
/// After how many steps the accounts of the bus are compared with a recount.
const MEASURE_EVERY: u64 = 16;

/// One run: what stands on the stage, what the tape says, and what has happened so far.
pub struct World {
    now: Instant,
    draws: Draws,
    swarm: Swarm,
    plan: Plan,
    transcript: Transcript,
    server: Server,
    lines: Vec<Line>,
    clients: Vec<Client>,
    hostile: Vec<Peer>,
    /// The most connections that the bus was seen to hold.
    links_max: u64,
    /// Of connections that are over at the bus: how much output is left.
    farewells: BTreeMap<LinkId, usize>,
    fault_at: Option<Instant>,
    steps: u64,
    ready: Vec<Action>,
    broken: bool,
    /// What is known of other runs, when all of them are made.
    search: Option<Search>,
}

/// Something that can happen now. The order is the benign one: what arrives, what was worked, new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Deliver(usize, Way),
    End(usize, Way),
    Work(usize),
    Carry(usize, Way),
    Act(usize),
    Fault,
    /// Of which hostile peer. Last, so that in the benign order they delay others by what the bus does alone.
    Hostile(usize, hostile::Move),
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("swarm", &self.swarm)
            .field("plan", &self.plan)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl World {
    /// The world of this plan, in which everything is decided by this tape.
    #[must_use]
    pub fn new(plan: Plan, tape: Tape) -> Self {
        Self::drawing(plan, Draws::new(tape), None)
    }

    pub(crate) fn drawing(mut plan: Plan, mut draws: Draws, search: Option<Search>) -> Self {
        let swarm = Swarm::draw(&mut draws, |fault| plan.faults.contains(&fault));
        let clients = std::mem::take(&mut plan.openers);
        let clients =
            clients.into_iter().map(|(opener, speaks)| Client::new(opener, speaks, &mut draws)).collect();
        let hostile = std::mem::take(&mut plan.hostile).into_iter().map(Peer::new).collect();
        let mut this = Self {
            now: Instant::ORIGIN,
            hostile,
            swarm,
            server: Server::start(BusId::new(1), &plan),
            plan,
            transcript: Transcript::new(),
            lines: Vec::new(),
            clients,
            links_max: 0,
            farewells: BTreeMap::new(),
            fault_at: None,
            steps: 0,
            ready: Vec::new(),
            broken: false,
            search,
            draws,
        };
        this.plan_fault();
        this
    }

    /// Runs to the end: until openers are done and faults have stopped, through the time of rest, and through
    /// the end of all connections. `watch` is shown the world after every step.
    pub fn run(&mut self, watch: &mut dyn FnMut(&Self)) {
        let ran = catch_unwind(AssertUnwindSafe(|| self.run_to_end(watch)));
        if let Err(panic) = ran {
            self.fail(format!("a panic: {}", words(&*panic)));
        }
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// What has happened so far.
    #[must_use]
    pub const fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    pub(crate) const fn transcript_mut(&mut self) -> &mut Transcript {
        &mut self.transcript
    }

    /// Which faults the run has.
    #[must_use]
    pub const fn swarm(&self) -> &Swarm {
        &self.swarm
    }

    /// How many steps were made.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// How many turns the bus that runs now and its connections have had.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.server.node.as_ref().map_or(0, liminal_core::Node::turns)
    }

    /// Whether faults have stopped and openers are done.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        self.draws.is_calm()
    }

    pub(crate) fn into_draws(self) -> (Draws, Option<Search>) {
        (self.draws, self.search)
    }

    /// Makes one step, or lets time pass until one can be made, but not beyond `until`. Says whether there
    /// was one.
    fn step(&mut self, until: Instant) -> bool {
        self.settle();
        self.find_ready();
        while self.ready.is_empty() {
            if !self.pass_time(until) {
                return false;
            }
            if let Some(search) = &mut self.search {
                search.on_time(self.now);
            }
            self.settle();
            self.find_ready();
        }
        if self.is_repetition() {
            return false;
        }
        let action = self.choose();
        self.steps += 1;
        let doing = self.search.is_some().then(|| (self.doing(action), self.draws.decided()));
        self.perform(action);
        self.settle();
        if let Some((doing, decided)) = doing {
            self.has_done(doing, decided);
        }
        if self.steps.is_multiple_of(MEASURE_EVERY) {
            self.measure();
        }
        if self.steps > STEPS_MAX {
            self.fail(format!("no rest after {STEPS_MAX} steps"));
        }
        true
    }

    fn choose(&mut self) -> Action {
        let tried = if self.draws.is_searched(Track::Schedule) { self.tied() } else { Vec::new() };
        self.ready[self.draws.below_of(Track::Schedule, self.ready.len(), &tried)]
    }

    fn find_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        for (at, line) in self.lines.iter().enumerate() {
            self.find_arrivals(at, line, &mut ready);
        }
        if self.bus_runs() {
            let calls = self.server.host.calls.iter().enumerate();
            ready.extend(
                calls
                    .filter(|(_, call)| host::Host::is_ready(call, self.now))
                    .map(|(at, _)| Action::Work(at)),
            );
        }
        for (at, line) in self.lines.iter().enumerate() {
            self.find_departures(at, line, &mut ready);
        }
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

    fn find_arrivals(&self, at: usize, line: &Line, ready: &mut Vec<Action>) {
        if (self.bus_runs() || !line.far) && self.has_arrived(line, Way::Up) {
            ready.push(Action::Deliver(at, Way::Up));
        } else if (self.bus_runs() || !line.far) && line.up.is_end_due(self.now) {
            ready.push(Action::End(at, Way::Up));
        }
        let awake = line.near.is_none() || self.clients[line.of].runs(self.now);
        if awake && self.has_arrived(line, Way::Down) {
            ready.push(Action::Deliver(at, Way::Down));
        } else if awake && line.down.is_end_due(self.now) {
            ready.push(Action::End(at, Way::Down));
        }
    }

    /// Whether something has arrived that its reader takes. What nobody reads any more is always taken.
    fn has_arrived(&self, line: &Line, way: Way) -> bool {
        let pipe = if way == Way::Up { &line.up } else { &line.down };
        if pipe.arrived(self.now).is_none() {
            return false;
        }
        match (way, &line.near) {
            (Way::Up, _) if line.far => self.server.takes_input(line.link),
            (Way::Down, Some(near)) => near.closed || near.connection.input_room() > 0,
            _ => true,
        }
    }

    fn find_departures(&self, at: usize, line: &Line, ready: &mut Vec<Action>) {
        let window = self.swarm.window();
        if let Some(near) = &line.near
            && self.clients[line.of].runs(self.now)
            && near.wants.write
            && (!line.writes || !line.far || line.up.room(window) > 0)
        {
            ready.push(Action::Carry(at, Way::Up));
        }
        if line.far && self.bus_runs() && self.server.writes(line.link) && line.down.room(window) > 0 {
            ready.push(Action::Carry(at, Way::Down));
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Deliver(line, way) => self.deliver(line, way),
            Action::End(line, way) => self.end_way(line, way),
            Action::Work(call) => self.work(call),
            Action::Carry(line, Way::Up) => self.carry_up(line),
            Action::Carry(line, Way::Down) => self.carry_down(line),
            Action::Act(client) => self.act(client),
            Action::Fault => self.fault(),
            Action::Hostile(peer, what) => self.perform_hostile(peer, what),
        }
    }

    fn note(&mut self, what: Noted) {
        self.transcript.note(self.now, self.server.bus, what);
    }

    fn note_opener(&mut self, line: usize, what: impl FnOnce(OpenerId) -> Noted) {
        let Line { bus, opener, .. } = self.lines[line];
        self.transcript.note(self.now, bus, what(opener));
    }

    fn fail(&mut self, text: String) {
        self.broken = true;
        self.note(Noted::Broken { text });
    }
}

/// What a panic said.
pub(crate) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}
