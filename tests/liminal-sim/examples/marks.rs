//! A scenario for each rare situation: `cargo run --release -p liminal-sim --example marks`.
//!
//! Of each that no saved scenario shows any more it finds a run among the seeds, makes that small, and saves it.
//! So when the behaviour of the bus or of the world changes, the scenarios are renewed, and the test of them says
//! which that were.

#![allow(clippy::print_stdout, reason = "the report is for a person at a terminal")]

use std::io;
use std::path::Path;
use std::process::ExitCode;

use liminal_sim::{Mark, Network, Scenario, Sim, Tape, shrink, worlds};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

/// How many seeds are tried for one of them. The rarest is in one run of two thousand.
const SEEDS: u64 = 100_000;
/// How many runs may be made to make one small.
const SHRINK_RUNS_MAX: usize = 20_000;

fn main() -> ExitCode {
    let sim = worlds::everything(Network::Faithful);
    let missing: Vec<Mark> = Mark::ALL.iter().copied().filter(|mark| !is_shown(&sim, *mark)).collect();
    for mark in &missing {
        match find(&sim, *mark).map(|tape| save(*mark, tape)) {
            Some(Ok(())) => println!("saved: {}", mark.text()),
            Some(Err(error)) => println!("not saved: {}: {error}", mark.text()),
            None => println!("not found: {}", mark.text()),
        }
    }
    let is_complete = missing.iter().all(|mark| is_shown(&sim, *mark));
    if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn file(mark: Mark) -> String {
    format!("{FOLDER}/{}.scenario", mark.text().replace(' ', "-"))
}

fn shows(sim: &Sim<()>, tape: &Tape, mark: Mark) -> bool {
    let ran = sim.run(tape);
    ran.broken.is_none() && ran.marks().contains(&mark)
}

fn is_shown(sim: &Sim<()>, mark: Mark) -> bool {
    let saved = std::fs::read_to_string(Path::new(&file(mark))).ok();
    let saved = saved.and_then(|text| text.parse().ok());
    saved.is_some_and(|saved: Scenario| shows(sim, &saved.tape, mark))
}

fn find(sim: &Sim<()>, mark: Mark) -> Option<Tape> {
    let tape = (0..SEEDS).map(Tape::from_seed).find(|tape| shows(sim, tape, mark))?;
    Some(shrink(&tape, SHRINK_RUNS_MAX, |tape| shows(sim, tape, mark)))
}

fn save(mark: Mark, tape: Tape) -> io::Result<()> {
    let scenario =
        Scenario { sim: worlds::NAMES[0].into(), broken: format!("nothing: {}", mark.text()), tape };
    std::fs::write(file(mark), scenario.to_string())
}
