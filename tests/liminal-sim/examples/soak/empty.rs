//! A world in which nothing happens: what the figures of a real one are compared with.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::Duration;

use liminal_proto::Instant;
use liminal_sim::{Draws, Report, Tape, Track};

/// How many things are due at any time: about as many as in a world of [`liminal_sim::worlds`].
const DUE: u64 = 8;

/// As many runs and steps as the real ones made. A step takes the next thing that is due, draws from the tape
/// when it is due again, and puts it back.
pub(crate) fn run(from: u64, runs: u64, steps: u64) -> Report {
    let mut report = Report { runs, ..Report::default() };
    for run in 0..runs {
        let mut draws = Draws::new(Tape::from_seed(from + run));
        let mut due: BinaryHeap<_> = (0..DUE).map(|what| Reverse((Instant::ORIGIN, what))).collect();
        for _ in 0..steps / runs {
            let Some(Reverse((at, what))) = due.pop() else { break };
            let pause = draws.below(Track::Schedule, 200) as u64;
            due.push(Reverse((black_box(at.after(Duration::from_micros(pause))), what)));
            report.steps += 1;
        }
    }
    report
}
