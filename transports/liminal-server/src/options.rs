//! The command line.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Parser;
use liminal_cli::program::{self, Transport};
use liminal_driver::{Address, ServerOptions, StopOptions};
use tracing::level_filters::LevelFilter;

use crate::NAME;
use crate::error::Error;
#[cfg(unix)]
use crate::offer::Kind;
use crate::offer::Offer;

const HELP: &str = "\
Once it accepts connections it prints one line to stdout:
  liminal-server listening on 127.0.0.1:5466 (smol)
Its log goes to stderr. SIGINT and SIGTERM stop it gracefully: clients are told, and waited for; a second
signal ends it at once.

Examples:
  liminal-server
  liminal-server --listen '[::]:0'                 any free port, on every interface
  liminal-server --listen unix:/run/liminal.sock   for this machine and user alone
  liminal-server --participant greeter=echo --participant audit=none
  liminal-server --participant 'leet=exec:sed -u y/elo/310/'
  liminal ask greeter hello                        a conversation with it

A child process (exec:COMMAND) is started for each conversation, without a shell; COMMAND is split at
spaces, and quotes work as in a shell. Each message is a line on its stdin, and the line that it writes to
stdout for it is the reply; it must not buffer that line. With exec-frames:COMMAND it speaks frames instead.
Its stderr is the stderr of the server, and its environment has LIMINAL_SUBJECT and LIMINAL_PID. Whoever asks
is told when it dies, with its status or signal. When its conversation is over its stdin is closed; its
process group gets SIGTERM after 1 s and SIGKILL after 2 s.

Exit codes:
  0    stopped gracefully
  1    wrong usage, or anything else
  2    cannot listen there: the port is in use, the path cannot be written, the host is unknown
  3    the program of a participant is not there, or may not be executed
  130  ended at once by a second signal";

/// A liminal server: conversations for everyone who connects
///
/// Without options it listens on 127.0.0.1:5466, for this machine alone, and an echo serves every
/// subject. Programs with participants of their own embed a server instead: see the crate liminal-smol.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = HELP)]
pub(crate) struct Options {
    /// Where to listen: HOST, HOST:PORT, [IPV6]:PORT or unix:PATH; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDR",
        default_value_t = Address::default(),
        value_parser = program::address
    )]
    pub(crate) listen: Address,
    /// What moves the bytes; conversations are the same
    #[arg(long, value_enum, default_value_t = Transport::Smol)]
    pub(crate) transport: Transport,
    /// Who serves a subject: KIND is echo (replies with what it is sent), none (nobody: messages are
    /// recorded, requests refused), exec:COMMAND or exec-frames:COMMAND (a child process for each
    /// conversation, see below). SUBJECT * is any that is not named. Repeatable; replaces the default, which
    /// is '*=echo'
    #[arg(long = "participant", value_name = "SUBJECT=KIND")]
    offers: Vec<Offer>,
    /// Child processes at once; beyond it a conversation with one is refused as busy. Each takes three file
    /// descriptors
    #[cfg(unix)]
    #[arg(long, value_name = "N", default_value_t = liminal_process::Options::default().processes_max)]
    processes_max: usize,
    /// How long a graceful stop may take: 300ms, 5s, 2m. Where there may be child processes, its last 2 s,
    /// or half of it, are for them to end; the rest is for clients to go
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = program::duration)]
    pub(crate) stop_time: Duration,
    /// What to log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "LIMINAL_LOG")]
    pub(crate) log: LevelFilter,
}

impl Options {
    /// Who serves what.
    pub(crate) fn offers(&self) -> Result<&[Offer], Error> {
        let mut seen = BTreeSet::new();
        match self.offers.iter().find(|offer| !seen.insert(&offer.subject)) {
            Some(offer) => Err(Error::Twice(offer.subject.clone())),
            None if self.offers.is_empty() => Ok(&[Offer::DEFAULT]),
            None => Ok(&self.offers),
        }
    }

    pub(crate) fn server(&self) -> ServerOptions {
        let time = self.stop_time.saturating_sub(self.stop_time_of_processes());
        let stop = StopOptions { time, ..StopOptions::default() };
        ServerOptions { stop, ..ServerOptions::default() }
    }

    /// What is kept of the stop time for processes that end when their clients are gone.
    #[cfg(unix)]
    fn stop_time_of_processes(&self) -> Duration {
        let some = self.offers.iter().any(|offer| matches!(offer.kind, Kind::Process(_)));
        if some { self.processes().kill_after.min(self.stop_time / 2) } else { Duration::ZERO }
    }

    #[cfg(not(unix))]
    fn stop_time_of_processes(&self) -> Duration {
        Duration::ZERO
    }

    #[cfg(unix)]
    pub(crate) fn processes(&self) -> liminal_process::Options {
        liminal_process::Options { processes_max: self.processes_max, ..Default::default() }
    }
}
