//! The command line.

use std::ffi::OsString;
use std::io;

use clap::{Parser, Subcommand, ValueEnum};

use crate::part::Part;
use crate::served::{Respond, Serve};

const HELP: &str = "\
Each part is measured pinned, with every thread on one core, and unpinned, where that makes a difference.
A figure that misses what is asked of it is marked. Figures go to stdout, progress to stderr. All of it
takes about five minutes.

System calls are counted with perf, where it is installed and allowed to; without it they stay unknown.

Examples:
  cargo run --release -p liminal-bench
  cargo run --release -p liminal-bench -- ask idle";

/// Measures liminal against bare programs that only pass the same bytes on
#[derive(Debug, Parser)]
#[command(name = "liminal-bench", version, after_help = HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    /// What to measure; everything, when nothing is named
    #[arg(value_enum)]
    pub(crate) parts: Vec<Part>,
    #[command(subcommand)]
    pub(crate) inner: Option<Inner>,
}

/// What a process of this program does for another one.
#[derive(Debug, Subcommand)]
pub(crate) enum Inner {
    /// Measures one part, and prints its figures for the table.
    #[command(hide = true)]
    Measure { part: Part, cores: Cores },
    /// Serves until its stdin is closed.
    #[command(hide = true)]
    Serve(Serve),
    /// Serves on a connection to a server until its stdin is closed.
    #[command(hide = true)]
    Respond(Respond),
    /// Is the program liminal-server.
    #[command(hide = true)]
    LiminalServer {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Which cores the threads of a part run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cores {
    /// One.
    Pinned,
    /// Whichever the system chooses.
    Unpinned,
}

impl Cores {
    pub(crate) const ALL: &[Self] = &[Self::Pinned, Self::Unpinned];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Unpinned => "unpinned",
        }
    }

    /// Puts this thread, and with it the threads and processes that it will start, where they belong. A
    /// process of its own does this first, because threads that exist already cannot be moved.
    pub(crate) fn take(self) -> io::Result<()> {
        if self == Self::Pinned {
            let last = std::thread::available_parallelism()?.get() - 1;
            let mut cores = rustix::thread::CpuSet::new();
            cores.set(last);
            rustix::thread::sched_setaffinity(None, &cores)?;
        }
        Ok(())
    }
}
