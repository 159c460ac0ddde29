//! The long run: `cargo run --release -p liminal-sim --example soak -- --seeds N [--from SEED]`.
//!
//! Half of the seeds are run on a faithful network, half on a byzantine one. It ends with the first failure,
//! which it prints and saves in `target/soak-failures`, or with a report. It fails, too, when one of the rare
//! situations that matter never occurred, or a transition in the life of a conversation was never reached: a
//! run of a million seeds that misses one has not tested what it is for. It has one thread: on more cores run
//! more of it, from other seeds.

#![allow(clippy::print_stdout, reason = "the report is for a person at a terminal")]

mod clock;
mod empty;

use std::process::ExitCode;
use std::time::Duration;

use liminal_sim::{Failure, Mark, Network, Report, worlds};

use self::clock::Clock;

fn main() -> ExitCode {
    let (seeds, from) = (argument("--seeds").unwrap_or(1_000), argument("--from").unwrap_or(0));
    match soak(from, seeds) {
        Ok(faithful) => unseen(&faithful),
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// What stands behind this name on the command line.
fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|it| it != name);
    arguments.nth(1)?.parse().ok()
}

/// Makes all runs, and prints what they took. The report of those on a faithful network.
fn soak(from: u64, seeds: u64) -> Result<Report, Box<Failure>> {
    let run = |network, share| -> Result<(Report, Duration), Box<Failure>> {
        let sim = worlds::everything(network).seeds(from..from + share).scenarios("target/soak-failures");
        let clock = Clock::start();
        let report = sim.try_check()?;
        print_figures(&format!("{network:?}").to_lowercase(), &report, &clock);
        Ok((report, clock.worked()))
    };
    let (faithful, one) = run(Network::Faithful, seeds.div_ceil(2))?;
    let (byzantine, other) = run(Network::Byzantine, seeds / 2)?;
    let (runs, steps) = (faithful.runs + byzantine.runs, faithful.steps + byzantine.steps);
    let clock = Clock::start();
    let empty = empty::run(from, runs, steps);
    print_figures("empty loop", &empty, &clock);
    let ratio = per_second(empty.steps, clock.worked()) / per_second(steps, one + other);
    println!("    a step of the empty loop takes 1/{ratio:.0} of the time of a real one");
    for (mark, count) in Mark::ALL.iter().zip(&faithful.marks) {
        println!("{count:>8} × {}", mark.text());
    }
    Ok(faithful)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per_second(count: u64, worked: Duration) -> f64 {
    count as f64 / worked.as_secs_f64()
}

fn print_figures(name: &str, report: &Report, clock: &Clock) {
    let Report { runs, steps, events, time, .. } = report;
    let (took, worked) = (clock.passed(), clock.worked());
    println!("{name}: {runs} runs, {steps} steps, {events} events; {worked:.1?} of work in {took:.1?}");
    let (steps, events) = (per_second(*steps, worked), per_second(*events, worked));
    println!("    each second of work: {steps:.0} steps, {events:.0} events");
    if *time > Duration::ZERO {
        let days = time.as_secs_f64() / 86_400.0 / (worked.as_secs_f64() / 60.0);
        println!("    each minute of work: {days:.1} days of simulated time");
    }
}

/// What a long run never sees is a hole in what it tests.
fn unseen(faithful: &Report) -> ExitCode {
    let unseen: Vec<&str> = faithful.unseen().into_iter().map(Mark::text).collect();
    println!("{}", faithful.coverage);
    if !unseen.is_empty() {
        println!("never seen: {}", unseen.join("; "));
    }
    let is_complete = unseen.is_empty() && faithful.coverage.unreached().is_empty();
    if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
