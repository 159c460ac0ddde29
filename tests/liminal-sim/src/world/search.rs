//! A search of all runs that does not try the same thing twice.
//!
//! Most orders of two steps make no difference, because the steps change nothing for each other. Of those it
//! tries one: some steps are made at once ([`World::tied`]), and a run ends where another has been before.
//! What the bus, an opener or a direction of a connection is like follows from what was done with it, in its
//! order; so two runs stand at the same place when all of these have the same history. A history is kept as a
//! number of 64 bits: that two differ and have the same is as good as impossible.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use liminal_proto::Instant;

use super::World;
use super::line::{Dialler, Way};
use super::ready::Action;

/// What a search knows.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// The places where some run has been.
    known: HashSet<u64>,
    /// How many decisions of this run were made before by another: it has been at their places.
    repeated: usize,
    histories: BTreeMap<Part, u64>,
    /// This run has come where another has been.
    pub(crate) is_repetition: bool,
}

/// What has a state of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    /// What is decided for all of them.
    World,
    /// Which of the servers. The openers in its program are told in the same step what it has to say: they are
    /// parts of it.
    Bus(usize),
    /// All of them: they may share what no bus knows anything of.
    Participants,
    /// Which of the plan, of those that dial.
    Opener(usize),
    /// One direction of the connection with this number.
    Pipe(u64, bool),
}

/// Something that is done.
pub(super) struct Doing {
    /// What tells it from everything else that is done with the same parts at the same moment.
    what: (u64, usize, u64),
    /// None: all of them.
    parts: Vec<Part>,
}

impl Search {
    /// Begins the next run, of which this many decisions are those of an earlier one.
    pub(crate) fn begin(&mut self, repeated: usize) {
        self.repeated = repeated;
        self.histories.clear();
        self.is_repetition = false;
    }

    /// Something is done with these parts: from now on each has the history of all of them.
    fn on_step(&mut self, parts: &[Part], what: impl Hash) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        for part in parts {
            (part, self.histories.get(part)).hash(&mut hasher);
        }
        for part in parts {
            self.histories.insert(*part, hasher.finish());
        }
    }

    pub(super) fn on_every(&mut self, what: impl Hash) {
        self.histories.entry(Part::World).or_default();
        let parts: Vec<Part> = self.histories.keys().copied().collect();
        self.on_step(&parts, what);
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        for history in self.histories.values_mut() {
            let mut hasher = DefaultHasher::new();
            (*history, now).hash(&mut hasher);
            *history = hasher.finish();
        }
    }

    /// Notes this place. Says whether some run has been here.
    fn arrives(&mut self, now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        (now, &self.histories).hash(&mut hasher);
        !self.known.insert(hasher.finish())
    }
}

impl World {
    /// Of what is ready, what a search of all runs must try: if there is something that nothing else can
    /// change or be changed by, that alone; otherwise everything.
    ///
    /// What a connection has to write is carried at once: in which pieces bytes travel is no matter of the
    /// schedule. What has arrived at an opener, or has ended there, concerns it alone, and it may be told at
    /// once unless it is about to act. A fault of a connection changes all that travels: before it every order
    /// counts.
    pub(super) fn tied(&self) -> Vec<usize> {
        // Faults have stopped and openers are done: what is left is the end of the connections.
        if self.is_calm() {
            return vec![0];
        }
        let every = || (0..self.ready.len()).collect();
        if self.ready.contains(&Action::Fault) && !self.faults_are_of_bus() {
            return every();
        }
        let alone = self.ready.iter().position(|action| self.is_private(*action));
        alone.map_or_else(every, |at| vec![at])
    }

    fn is_private(&self, action: Action) -> bool {
        match action {
            Action::Carry(..) => true,
            Action::Deliver(line, Way::Down) | Action::End(line, Way::Down) => {
                match self.lines[line].dialler {
                    Dialler::Opener(of) => !self.ready.contains(&Action::Act(of)),
                    // It concerns its bus, with all that happens there.
                    Dialler::Client(_) => false,
                }
            }
            Action::Deliver(_, Way::Up)
            | Action::End(_, Way::Up)
            | Action::Work(..)
            | Action::Dial(_)
            | Action::Act(_)
            | Action::Fault
            | Action::Hostile(..) => false,
        }
    }

    /// Whether a search has been at this place. The run is of no use then.
    pub(super) fn is_repetition(&mut self) -> bool {
        let Some(search) = &mut self.search else { return false };
        if search.histories.is_empty() {
            search.on_every(self.plan.draws.decided_since(0));
        }
        if self.plan.draws.decided() >= search.repeated && search.arrives(self.now) {
            search.is_repetition = true;
            self.broken = true;
        }
        search.is_repetition
    }

    /// What is about to be done, and with which parts.
    pub(super) fn doing(&self, action: Action) -> Doing {
        let pipe = |line: usize, way: Way| Part::Pipe(self.lines[line].opener.get(), way == Way::Up);
        let opener = |line: usize| match self.lines[line].dialler {
            Dialler::Opener(of) => Part::Opener(of),
            Dialler::Client(of) => Part::Bus(of),
        };
        let bus = |line: usize| Part::Bus(self.lines[line].server);
        let (what, parts) = match action {
            Action::Deliver(line, Way::Up) => ((1, 0, 0), vec![bus(line), pipe(line, Way::Up)]),
            Action::Deliver(line, Way::Down) => ((2, 0, 0), vec![opener(line), pipe(line, Way::Down)]),
            Action::End(line, Way::Up) => ((3, 0, 0), vec![bus(line), pipe(line, Way::Up)]),
            Action::End(line, Way::Down) => ((4, 0, 0), vec![opener(line), pipe(line, Way::Down)]),
            Action::Carry(line, Way::Up) => ((5, 0, 0), vec![opener(line), pipe(line, Way::Up)]),
            Action::Carry(line, Way::Down) => ((6, 0, 0), vec![bus(line), pipe(line, Way::Down)]),
            Action::Work(of, call) => return self.doing_work(of, call),
            Action::Dial(of) => {
                let service = self.servers[of].service.as_ref();
                let on = service.map(|service| Part::Bus(service.serves_on()));
                ((10, of, 0), [Part::Bus(of)].into_iter().chain(on).collect())
            }
            Action::Act(of) => ((0, of, 0), self.acting(of)),
            Action::Fault if self.faults_are_of_bus() => {
                let buses = (0..self.servers.len()).map(Part::Bus);
                ((8, 0, 0), [Part::World, Part::Participants].into_iter().chain(buses).collect())
            }
            Action::Fault => ((8, 0, 0), Vec::new()),
            // A hostile peer is no part of its own: what it does may concern everything.
            Action::Hostile(peer, what) => ((9, peer, what as u64), Vec::new()),
        };
        Doing { what, parts }
    }

    fn doing_work(&self, of: usize, call: usize) -> Doing {
        let call = &self.servers[of].host.calls[call];
        let bus = (!call.is_to_start()).then_some(Part::Bus(of));
        let parts = bus.into_iter().chain([Part::Participants]).collect();
        Doing { what: (7, of, call.ticket.get()), parts }
    }

    /// With which parts an opener acts. It dials the bus where it has no connection.
    fn acting(&self, of: usize) -> Vec<Part> {
        let client = &self.clients[of];
        let bus = Part::Bus(client.server);
        match (client.is_local(), client.line()) {
            (true, _) => vec![bus],
            (false, Some(_)) => vec![Part::Opener(of)],
            (false, None) => vec![Part::Opener(of), bus],
        }
    }

    /// That was done, and this was decided on the way. No parts are all of them.
    pub(super) fn has_done(&mut self, Doing { what, parts }: Doing, decided: usize) {
        let Some(search) = &mut self.search else { return };
        let what = (what, self.now, self.plan.draws.decided_since(decided));
        if parts.is_empty() {
            search.on_every(what);
        } else {
            search.on_step(&parts, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use liminal_core::participant::from_fn;

    use crate::{Fault, Plan, Script, Sim, Tape, Track};

    /// Whoever is created first has the only seat, on whatever bus.
    fn desk(plan: &mut Plan, seats: &Arc<AtomicBool>) {
        let seats = Arc::clone(seats);
        plan.serve("desk", move || {
            let has_it = seats.swap(false, Ordering::AcqRel);
            from_fn(move |context, _| context.reply(if has_it { "yours" } else { "sold out" }))
        });
    }

    fn ask() -> Script {
        Script::new().open("desk").ask("a seat")
    }

    const ONE_BUS: fn(&mut Plan) = |plan| {
        desk(plan, &Arc::new(AtomicBool::new(true)));
        plan.only_faults(&[Fault::Kill]).faults_max(1).local_opener(ask());
    };
    const TWO_BUSES: fn(&mut Plan) = |plan| {
        let seats = Arc::new(AtomicBool::new(true));
        desk(plan.only_faults(&[]), &seats);
        desk(plan.local_opener(ask()).another_bus(), &seats);
        plan.local_opener(Script::new().open("desk"));
    };

    #[test]
    fn nothing_is_missed_that_seeds_find_with_several_buses_and_local_openers() {
        for stage in [ONE_BUS, TWO_BUSES] {
            let sim = Sim::new("the last seat", stage);
            let mut found = BTreeSet::new();
            let complete = sim.search(&[Track::Schedule, Track::Faults], 100_000, |_, ran| {
                found.insert(ran.transcript.conversations_digest());
                Ok(())
            });
            assert_eq!(complete, Ok(true));
            let end = |seed| sim.run(&Tape::from_seed(seed)).transcript.conversations_digest();
            let seen: BTreeSet<u64> = (0..200).map(end).collect();
            assert!(seen.len() > 1 && seen.is_subset(&found), "{seen:?}, {found:?}");
        }
    }
}
