//! Whether what a run comes to depends on who is first.

use std::time::Duration;

#[cfg(doc)]
use crate::Plan;
use crate::world::LATENCIES;
use crate::{Draws, Fault, NotStaged, Sim, Stage, Tape, Track};

/// What decides what a run comes to, apart from what everybody does in it. One that has none of this comes to
/// the same wherever it is made.
///
/// What runs come to is told apart by [`Transcript::conversations`](liminal_core::Transcript::conversations).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Race {
    /// Which of several things that can happen at a moment happens first. (Openers that draw from the tape do so
    /// in turn, and so race whenever there are several.)
    Order,
    /// In which pieces bytes travel, and how long that takes. Told where the order alone decides nothing.
    Network,
    /// The faults that happen in it. Without them it comes to something else.
    Faults,
}

/// How many other runs are made for each thing that may decide. Each takes a few milliseconds.
const RUNS: u64 = 32;

/// Faults that only change in which order things happen, and are no more than any network does. (A participant
/// that is slow is none of them: slow enough, it misses every deadline.)
const MILD: [Fault; 2] = [Fault::Chunks, Fault::Latency];

/// How long bytes may travel: as far as they must, and no handshake is given up for it, nor does a deadline pass.
const LATENCY_MAX: Duration = Duration::from_millis(40);

/// The choice of [`Swarm::draw`](crate::Swarm::draw) that has a fault happen often.
const OFTEN: u8 = 3;

impl<S> Sim<S> {
    /// What its plan has on the stage, for whoever plays it outside of the world.
    ///
    /// # Errors
    ///
    /// An opener of the plan is a [local one](Plan::local_opener), or it has a [client that serves](Plan::client).
    pub fn stage(&self, tape: &Tape) -> Result<Stage, NotStaged> {
        Stage::new(self.plan(Draws::new(tape.clone())).0)
    }

    /// What decides what the run of this tape comes to: the same is made again without its faults, in other
    /// orders, and over other networks, and compared. A race that none of these runs shows is not found.
    #[must_use]
    pub fn races(&self, tape: &Tape) -> Vec<Race> {
        let comes_to = |tape: &Tape| self.run(tape).transcript.conversations();
        let all = comes_to(tape);
        let mut calm = tape.clone();
        calm.track_mut(Track::Faults).clear();
        let without_faults = comes_to(&calm);
        let mut races = Vec::new();
        let differs =
            |other: &dyn Fn(u64) -> Tape| (0..RUNS).any(|seed| comes_to(&other(seed)) != without_faults);
        if differs(&|seed| with(&calm, Track::Schedule, seed)) {
            races.push(Race::Order);
        }
        let mild = self.mild_faults(tape);
        let over_network = |seed| {
            let mut tape = with(&with(&calm, Track::Schedule, seed), Track::Network, seed + RUNS);
            tape.track_mut(Track::Faults).clone_from(&mild);
            tape.track_mut(Track::Network).retain(is_near);
            tape
        };
        if races.is_empty() && differs(&over_network) {
            races.push(Race::Network);
        }
        if all != without_faults {
            races.push(Race::Faults);
        }
        races
    }

    /// The part of a tape with which bytes travel in pieces and take their time, and nothing else goes wrong.
    fn mild_faults(&self, tape: &Tape) -> Vec<u8> {
        let allowed = self.plan(Draws::new(tape.clone())).0.faults;
        let drawn = Fault::ALL.iter().filter(|fault| allowed.contains(fault));
        drawn.map(|fault| if MILD.contains(fault) { OFTEN } else { 0 }).collect()
    }
}

/// Whether this choice, if it is one of a latency, is one of a short one.
fn is_near(byte: &u8) -> bool {
    let latency = LATENCIES[usize::from(*byte) % LATENCIES.len()];
    Duration::from_micros(latency) <= LATENCY_MAX
}

/// The same tape with a track of a seed that is long enough for a run that matters.
fn with(tape: &Tape, track: Track, seed: u64) -> Tape {
    let mut tape = tape.clone();
    let long = (seed * 1_000..).map(Tape::from_seed).find(|it| it.track(track).len() >= 64);
    *tape.track_mut(track) = long.map(|it| it.track(track).to_vec()).unwrap_or_default();
    tape
}
