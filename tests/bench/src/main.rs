//! Benchmarks of liminal, as ratios within one run.
//!
//! `cargo run --release -p liminal-bench` prints the codec against a copy of the same bytes, then a
//! request on each transport against a bare ping-pong of the same bytes, first with every thread on one
//! core, then on whichever cores the system chooses. Rounds are interleaved, and a figure is the median
//! of its rounds: on a shared machine the absolute numbers wander, the ratios hardly do.

mod ask;
mod bare;
mod codec;
mod flat;
mod served;
mod stats;

use std::env;
use std::io::{self, Write};
use std::process::{Command, ExitCode};

/// Says that this process is to put itself on one core.
const PINNED: &str = "--pinned";
const UNPINNED: &str = "--unpinned";

fn main() -> ExitCode {
    let mut out = io::stdout();
    match run(&mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it with when this fails as well.
            let _ = writeln!(io::stderr(), "liminal-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    match env::args().nth(1).as_deref() {
        None => {
            codec::run(out)?;
            again(PINNED)?;
            again(UNPINNED)
        }
        Some(PINNED) => {
            pin()?;
            writeln!(out, "\n## Requests, every thread on one core\n")?;
            ask::run(out)?;
            flat::run(out)
        }
        Some(served::SERVE) => served::serve(out, &env::args().nth(2).unwrap_or_default()),
        Some(UNPINNED) => {
            writeln!(out, "\n## Requests, unpinned\n")?;
            ask::run(out)
        }
        Some(other) => {
            Err(format!("unknown argument {other:?}: there is {PINNED}, {UNPINNED}, or none").into())
        }
    }
}

/// Runs a part in a process of its own, because threads that exist already cannot be moved.
fn again(part: &str) -> Result<(), Box<dyn std::error::Error>> {
    let status = Command::new(env::current_exe()?).arg(part).status()?;
    if status.success() { Ok(()) } else { Err(format!("the part {part} failed: {status}").into()) }
}

/// Puts this thread, and those that it will start, on the last core.
fn pin() -> io::Result<()> {
    let last = std::thread::available_parallelism()?.get() - 1;
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(last);
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}
