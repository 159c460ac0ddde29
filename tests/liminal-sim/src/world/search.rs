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

use super::line::Way;
use super::{Action, World};

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
    Bus,
    /// All of them: they may share what the bus knows nothing of.
    Participants,
    Opener(usize),
    /// One direction of the connection with this number.
    Pipe(u64, bool),
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
                !self.ready.contains(&Action::Act(self.lines[line].of))
            }
            Action::Deliver(_, Way::Up)
            | Action::End(_, Way::Up)
            | Action::Work(_)
            | Action::Act(_)
            | Action::Fault
            | Action::Hostile(..) => false,
        }
    }

    /// Whether a search has been at this place. The run is of no use then.
    pub(super) fn is_repetition(&mut self) -> bool {
        let Some(search) = &mut self.search else { return false };
        if search.histories.is_empty() {
            search.on_every(self.draws.decided_since(0));
        }
        if self.draws.decided() >= search.repeated && search.arrives(self.now) {
            search.is_repetition = true;
            self.broken = true;
        }
        search.is_repetition
    }

    /// What is about to be done, and with which parts.
    pub(super) fn doing(&self, action: Action) -> (u64, Vec<Part>) {
        let pipe = |line: usize, way: Way| Part::Pipe(self.lines[line].opener.get(), way == Way::Up);
        let opener = |line: usize| Part::Opener(self.lines[line].of);
        match action {
            Action::Deliver(line, Way::Up) => (1, vec![Part::Bus, pipe(line, Way::Up)]),
            Action::Deliver(line, Way::Down) => (2, vec![opener(line), pipe(line, Way::Down)]),
            Action::End(line, Way::Up) => (3, vec![Part::Bus, pipe(line, Way::Up)]),
            Action::End(line, Way::Down) => (4, vec![opener(line), pipe(line, Way::Down)]),
            Action::Carry(line, Way::Up) => (5, vec![opener(line), pipe(line, Way::Up)]),
            Action::Carry(line, Way::Down) => (6, vec![Part::Bus, pipe(line, Way::Down)]),
            Action::Work(call) => {
                let call = &self.server.host.calls[call];
                let parts = if call.is_to_start() {
                    vec![Part::Participants]
                } else {
                    vec![Part::Bus, Part::Participants]
                };
                (7 + call.ticket.get(), parts)
            }
            Action::Act(of) if self.holds_line(of) => (0, vec![Part::Opener(of)]),
            Action::Act(of) => (0, vec![Part::Opener(of), Part::Bus]),
            Action::Fault if self.faults_are_of_bus() => {
                (0, vec![Part::World, Part::Bus, Part::Participants])
            }
            // A hostile peer is no part of its own: what it does may concern everything.
            Action::Fault | Action::Hostile(..) => (0, Vec::new()),
        }
    }

    /// That was done, and this was decided on the way. No parts are all of them.
    pub(super) fn has_done(&mut self, (what, parts): (u64, Vec<Part>), decided: usize) {
        let Some(search) = &mut self.search else { return };
        let what = (what, self.now, self.draws.decided_since(decided));
        if parts.is_empty() {
            search.on_every(what);
        } else {
            search.on_step(&parts, what);
        }
    }
}
