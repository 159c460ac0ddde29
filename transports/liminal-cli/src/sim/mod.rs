//! `liminal sim`: runs of the simulator, again.

mod pending;
mod play;
mod replay;
mod report;
mod transport;

use std::io::Write;

use clap::{Args, Subcommand};

use self::replay::Replay;
use crate::error::Error;

const INTRODUCTION: &str = "\
The simulator runs the real bus and real connections in virtual time while everything goes wrong that
can. What it finds it saves as a scenario: a small file of text that says which simulation it is of and
what was decided in it. Scenarios of liminal itself lie in tests/liminal-sim/scenarios.

  liminal sim replay FILE                  makes the run again, and says what each conversation came to
  liminal sim replay FILE --over smol      and once more over real sockets, to compare
  liminal sim replay FILE --format json    writes the run down, for a program or as a drawing

liminal sim replay --help tells the rest.";

pub(crate) const HELP: &str = "\
Examples:
  liminal sim replay a-run.scenario
  liminal sim replay a-run.scenario --diagram
  liminal sim replay a-run.scenario --over blocking
  liminal sim replay a-run.scenario --format mermaid > a-run.mmd";

const REPLAY_HELP: &str = "\
A digest stands for what a conversation came to: what its owner said in which order, what was answered to
each, who took part and how that ended. Times are not in it, nor numbers that buses and connections give
out. So what does not depend on who is first comes to the same digests in the simulator and over sockets.

Whether it depends is found out by making the run again in other orders, over other networks, and without
its faults. One that races says so, and what it comes to over sockets is then one of several things that it
may. (Openers that do what the tape says draw it in turn, so where there are several they race.)

Over sockets a server of that transport runs in this process, on a free port of this machine, and so do the
openers. Time is real there: what sleeps for a second in the scenario takes one, and a deadline that is
missed by a hair in the simulator may be kept. Faults are made in the simulator alone. Of what must hold,
the promises of the bus are checked there, on what has really happened.

With --format the output is the run alone: as a sequence diagram in text, as one for Mermaid, or as JSON
lines, an object for each thing that happened, with its keys as the documentation of liminal_sim::Format has
them. It is the run in the simulator, whether or not what must hold does.

Exit codes:
  0  promises hold, and over sockets it came to the same, or it races
  1  wrong usage, no such file, no scenario, a simulation that this command does not know
  6  a promise or a property does not hold, in the simulator or over sockets
  7  it came to something else over sockets, though no race was found";

/// Make a run of the simulator again, in it or over real sockets
#[derive(Debug, Args)]
pub(crate) struct Sim {
    #[command(subcommand)]
    command: Option<SimCommand>,
}

#[derive(Debug, Subcommand)]
enum SimCommand {
    #[command(after_help = REPLAY_HELP)]
    Replay(Replay),
}

impl Sim {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<(), Error> {
        match self.command {
            None => writeln!(out, "{INTRODUCTION}").map_err(Error::output),
            Some(SimCommand::Replay(replay)) => replay.run(out),
        }
    }
}
