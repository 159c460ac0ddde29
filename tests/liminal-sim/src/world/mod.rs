//! The world of a run: the real bus, real connections, participants and openers, and virtual time.

mod carry;
mod end;
mod host;
mod hostile;
mod line;
mod local;
mod measure;
mod network;
mod opening;
mod pipe;
mod ready;
mod search;
mod server;
mod serving;
mod time;
mod trouble;
mod waiting;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use liminal_core::transcript::{BusId, Noted};
use liminal_core::{Node, Transcript};
use liminal_proto::Instant;

use self::hostile::Peer;
use self::line::Line;
pub(crate) use self::local::Side;
pub(crate) use self::network::LATENCIES;
use self::opening::Client;
pub(crate) use self::opening::{REDIAL, opener_id};
use self::ready::{Action, Touched};
pub(crate) use self::search::Search;
use self::server::Server;
use self::serving::Service;
use crate::plan::ClientPlan;
use crate::swarm::Swarm;
use crate::{Draws, Plan, Track};

/// More steps than a run of the longest tape ever takes: who needs more goes round in circles.
const STEPS_MAX: u64 = 500_000;
/// After how many steps the accounts of the bus are compared with a recount.
const MEASURE_EVERY: u64 = 16;

/// For how many entries a transcript has room at first: those of most runs.
const ENTRIES: usize = 256;

/// One run: what stands on the stage, what the tape says, and what has happened so far.
pub struct World {
    now: Instant,
    swarm: Swarm,
    /// Without its buses, clients that serve, openers and hostile peers, which have become these:
    plan: Plan,
    /// The buses that are dialled, and behind them those of clients that serve.
    servers: Vec<Server>,
    /// How many of them are dialled.
    dialled: usize,
    clients: Vec<Client>,
    hostile: Vec<Peer>,
    /// In the order in which they were dialled.
    lines: Vec<Line>,
    transcript: Transcript,
    /// How many buses were started.
    buses: u64,
    fault_at: Option<Instant>,
    steps: u64,
    ready: Vec<Action>,
    /// Empty, and kept for its room.
    departures: Vec<Action>,
    broken: bool,
    /// What is known of other runs, when all of them are made.
    search: Option<Search>,
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
    /// The world of this plan, in which everything is decided by its tape. `search` is for one run of all.
    pub(crate) fn new(mut plan: Plan, search: Option<Search>) -> Self {
        let swarm = Swarm::draw(&mut plan.draws, |fault| plan.faults.contains(&fault));
        let clients = std::mem::take(&mut plan.openers);
        let clients_count = clients.len();
        let clients = clients.into_iter().map(|opener| Client::new(opener, &mut plan.draws)).collect();
        let hostile = std::mem::take(&mut plan.hostile).into_iter().map(Peer::new).collect();
        let dialled = plan.buses.len();
        let servers = start_all(&mut plan, clients_count);
        let mut transcript = Transcript::new();
        transcript.entries_mut().reserve(ENTRIES);
        let mut this = Self {
            now: Instant::ORIGIN,
            swarm,
            plan,
            buses: servers.len() as u64,
            servers,
            dialled,
            clients,
            hostile,
            lines: Vec::new(),
            transcript,
            fault_at: None,
            steps: 0,
            ready: Vec::new(),
            departures: Vec::new(),
            broken: false,
            search,
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

    /// How many turns the buses that run now and their connections have had.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.servers.iter().filter_map(|server| server.node.as_ref()).map(Node::turns).sum()
    }

    /// Whether faults have stopped and openers are done.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        self.plan.draws.is_calm()
    }

    /// What was drawn, and what is known of other runs, when this one is over.
    pub(crate) fn into_draws(self) -> (Draws, Option<Search>) {
        (self.plan.draws, self.search)
    }

    /// Makes one step, or lets time pass until one can be made, but not beyond `until`. Says whether there
    /// was one.
    fn step(&mut self, until: Instant) -> bool {
        self.find_ready();
        while self.ready.is_empty() {
            if !self.pass_time(until) {
                return false;
            }
            if let Some(search) = &mut self.search {
                search.on_time(self.now);
            }
            self.settle(Touched::Any);
            self.find_ready();
        }
        if self.is_repetition() {
            return false;
        }
        let action = self.choose();
        self.steps += 1;
        let doing = self.search.is_some().then(|| (self.doing(action), self.plan.draws.decided()));
        self.perform(action);
        self.settle(action.touches());
        if let Some((doing, decided)) = doing {
            self.has_done(doing, decided);
        }
        if self.steps.is_multiple_of(MEASURE_EVERY) {
            self.measure((self.steps / MEASURE_EVERY) as usize % self.servers.len());
        }
        if self.steps > STEPS_MAX {
            self.fail(format!("no rest after {STEPS_MAX} steps"));
        }
        true
    }

    fn choose(&mut self) -> Action {
        let tried = if self.plan.draws.is_searched(Track::Schedule) { self.tied() } else { Vec::new() };
        self.ready[self.plan.draws.below_of(Track::Schedule, self.ready.len(), &tried)]
    }

    fn note(&mut self, bus: BusId, what: Noted) {
        self.transcript.note(self.now, bus, what);
    }

    fn fail(&mut self, text: String) {
        self.broken = true;
        let bus = self.servers[0].bus;
        self.note(bus, Noted::Broken { text });
    }
}

/// Starts every bus of a plan: those that are dialled, and behind them those of clients that serve, which dial when
/// so many openers do.
fn start_all(plan: &mut Plan, openers: usize) -> Vec<Server> {
    let dialled = std::mem::take(&mut plan.buses).into_iter().map(|bus| (bus, None));
    let clients = std::mem::take(&mut plan.clients).into_iter().enumerate();
    let clients = clients.map(|(nth, ClientPlan { serves_on, capacity, bus })| {
        (bus, Some(Service::new(serves_on, capacity, openers + nth)))
    });
    let all = (1..).zip(dialled.chain(clients));
    all.map(|(number, (bus, service))| Server::new(bus, BusId::new(number), service)).collect()
}

/// What a panic said.
pub(crate) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}
