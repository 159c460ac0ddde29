//! What came of runs.

use std::time::Duration;

use liminal_core::Transcript;

use crate::coverage::Coverage;
use crate::mark::{Mark, marks};
use crate::swarm::Swarm;
use crate::{Encounter, Network};

/// What came of one run.
#[derive(Debug)]
pub struct Ran {
    /// What has happened.
    pub transcript: Transcript,
    /// Which faults there were.
    pub swarm: Swarm,
    /// How many steps the world made.
    pub steps: u64,
    /// How much virtual time passed.
    pub time: Duration,
    /// How many turns the buses that ran last and their connections have had: what the run has cost them, in a
    /// measure that is the same on every machine.
    pub turns: u64,
    /// What came of the hostile peers, in the order of the plan.
    pub encounters: Vec<Encounter>,
    /// What does not hold, in words, behind the id of the promise or the kind and name of the property.
    pub broken: Option<String>,
    /// The entry of the transcript at which a promise was seen to be broken, or an `always` did not hold.
    pub entry: Option<usize>,
    /// Which properties held at some time, in their order.
    pub(crate) seen: Vec<bool>,
    /// How bytes travelled.
    pub network: Network,
}

impl Ran {
    /// The rare situations that it has seen.
    #[must_use]
    pub fn marks(&self) -> Vec<Mark> {
        if self.is_meaningful() { marks(&self.transcript).into_iter().collect() } else { Vec::new() }
    }

    /// Which transitions in the lives of conversations it has reached.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        if self.is_meaningful() { Coverage::of(&self.transcript) } else { Coverage::default() }
    }

    /// What is said on a network that changes bytes means nothing.
    fn is_meaningful(&self) -> bool {
        self.network == Network::Faithful
    }
}

/// What came of many.
///
/// There are two measures of how much was done. A **step** is one thing that was taken from all that could
/// happen at that moment, and done, with all that follows from it at once: bytes arrive, bytes are taken from an
/// output, a participant is called or its answer goes to the bus, an opener acts, something breaks. That
/// virtual time goes on is no step. An **event** is an entry of a transcript: something was said or told, a
/// record was sequenced, a call was made or answered, a bus was measured. Many steps make no event (half of a
/// frame arrives, a ping is answered), and some make several, so that there are about two steps to an event. The
/// runs that are made twice, to see that they are equal, are counted once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many runs were made.
    pub runs: u64,
    /// How many steps their worlds made.
    pub steps: u64,
    /// How many entries their transcripts have.
    pub events: u64,
    /// How much virtual time passed.
    pub time: Duration,
    /// In how many runs each of the rare situations was seen, in the order of [`Mark::ALL`].
    pub marks: Vec<u64>,
    /// Which transitions in the lives of conversations were reached.
    pub coverage: Coverage,
}

impl Report {
    pub(crate) fn add(&mut self, ran: &Ran) {
        self.runs += 1;
        self.steps += ran.steps;
        self.events += ran.transcript.entries().len() as u64;
        self.time += ran.time;
        for mark in ran.marks() {
            self.marks[mark as usize] += 1;
        }
        self.coverage.add(&ran.coverage());
    }

    /// The rare situations that no run has seen.
    #[must_use]
    pub fn unseen(&self) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|mark| self.marks.get(*mark as usize) == Some(&0)).collect()
    }
}
