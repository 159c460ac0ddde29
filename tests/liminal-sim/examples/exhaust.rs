//! Every run of the small worlds: `cargo run --release -p liminal-sim --example exhaust -- [--runs-max N] [NAME]`.
//!
//! It prints for each how many runs there are, whether those are all, and how long they took, and ends with
//! the first failure.

#![allow(clippy::print_stdout, reason = "the report is for a person at a terminal")]

use std::process::ExitCode;
use std::time::Instant;

use liminal_sim::{Coverage, worlds};

/// How many runs are begun of each world unless N says otherwise: a few minutes for all worlds.
const RUNS_MAX: u64 = 1_000_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runs_max = arguments.iter().position(|it| it == "--runs-max");
    let runs_max = runs_max.and_then(|at| arguments.get(at + 1)).and_then(|it| it.parse().ok());
    let named = arguments.first().filter(|it| !it.starts_with("--")).cloned().unwrap_or_default();
    let (mut runs, mut coverage, begun) = (0, Coverage::default(), Instant::now());
    for small in worlds::small::all().into_iter().filter(|it| it.sim.name().contains(&named)) {
        let begun = Instant::now();
        match small.check(runs_max.unwrap_or(RUNS_MAX)) {
            Ok((report, complete)) => {
                let (name, seconds) = (small.sim.name(), begun.elapsed().as_secs_f64());
                let all = if complete { "all" } else { "not all" };
                println!("{name:48} {:>9} runs, {all}, {seconds:>6.1} s", report.runs);
                runs += report.runs;
                coverage.add(&report.coverage);
            }
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{runs} runs in {:.1} s; {coverage}", begun.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
