//! Benchmarks of liminal, as ratios within one run.
//!
//! `cargo run --release -p liminal-bench` measures everything, `-- --help` says what there is. Every part
//! runs in a process of its own, first with every thread on one core, then on whichever cores the system
//! chooses. Rounds are interleaved, and a figure is the median of its rounds: on a shared machine the
//! absolute numbers wander, the ratios hardly do.

mod allocations;
mod ask;
mod bare;
mod codec;
mod fair;
mod flat;
mod idle;
mod kill;
mod load;
mod loss;
mod options;
mod part;
mod peer;
mod process;
mod relay;
mod report;
mod runner;
mod served;
mod stats;
mod table;
mod watch;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use options::{Inner, Options};
use report::Report;

/// How often memory was asked for since the start, where the allocator counts.
pub type Counter = fn() -> usize;

/// An error of whichever kind, told to a person in the end.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Does what the command line says.
#[must_use]
pub fn run(counter: Option<Counter>) -> ExitCode {
    match obey(Options::parse(), counter) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn obey(options: Options, counter: Option<Counter>) -> Result<ExitCode, Failure> {
    match options.inner {
        None => runner::run(&options.parts)?,
        Some(Inner::Measure { part, cores }) => {
            cores.take()?;
            part.measure(&mut Report::new(io::stdout(), cores), counter)?;
        }
        Some(Inner::Serve(serve)) => serve.run(counter)?,
        Some(Inner::Respond(respond)) => respond.run()?,
        Some(Inner::LiminalServer { arguments }) => return Ok(liminal_server::run(arguments)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says on stderr how far it is, or what is wrong.
pub(crate) fn complain(what: impl std::fmt::Display) {
    // Nothing is left to tell it with when this fails as well.
    let _ = writeln!(io::stderr(), "liminal-bench: {what}");
}
