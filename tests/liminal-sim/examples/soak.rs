//! The long run: `cargo run --release -p liminal-sim --example soak -- --seeds N [--from SEED]`.
//!
//! Half of the seeds are run on a faithful network, half on a byzantine one. It ends with the first failure,
//! which it prints and saves in `target/soak-failures`, or with a report. It fails, too, when one of the rare
//! situations that matter never occurred, or a transition in the life of a conversation was never reached: a
//! run of a million seeds that misses one has not tested what it is for.

#![allow(clippy::print_stdout, reason = "the report is for a person at a terminal")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use liminal_sim::{Mark, Network, Report, worlds};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|it| it == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let (seeds, from) = (number("--seeds").unwrap_or(1_000), number("--from").unwrap_or(0));
    let begun = Instant::now();
    let mut reports = Vec::new();
    for (network, share) in [(Network::Faithful, seeds.div_ceil(2)), (Network::Byzantine, seeds / 2)] {
        let sim = worlds::everything(network).seeds(from..from + share).scenarios("target/soak-failures");
        match sim.try_check() {
            Ok(report) => reports.push(report),
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    print(&reports, begun.elapsed());
    let Some(faithful) = reports.first() else { return ExitCode::SUCCESS };
    let unseen: Vec<&str> = faithful.unseen().into_iter().map(Mark::text).collect();
    println!("{}", faithful.coverage);
    if !unseen.is_empty() {
        println!("never seen: {}", unseen.join("; "));
    }
    let is_complete = unseen.is_empty() && faithful.coverage.unreached().is_empty();
    if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn print(reports: &[Report], took: Duration) {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let (runs, steps, events) = (sum(|it| it.runs), sum(|it| it.steps), sum(|it| it.events));
    let time: Duration = reports.iter().map(|it| it.time).sum();
    let seconds = took.as_secs_f64();
    println!("{runs} runs, {steps} steps, {events} events in {seconds:.1} s");
    println!("{:.0} events and {:.0} steps per second", events as f64 / seconds, steps as f64 / seconds);
    println!("{:.1} days of simulated time per minute", time.as_secs_f64() / 86_400.0 / (seconds / 60.0));
    if let Some(faithful) = reports.first() {
        for (mark, count) in Mark::ALL.iter().zip(&faithful.marks) {
            println!("{count:>8} × {}", mark.text());
        }
    }
}
