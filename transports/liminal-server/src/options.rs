//! The command line.

use std::time::Duration;

use clap::Parser;
use liminal_cli::program::{self, Transport};
use liminal_driver::{Address, ServerOptions, StopOptions};
use tracing::level_filters::LevelFilter;

use crate::NAME;
use crate::crash::{self, OnCrash};
use crate::error::Error;
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
  liminal-server --participant greeter=echo --participant greeter=echo --on-crash greeter=route
  liminal ask greeter hello                        a conversation with it

Exit codes:
  0    stopped gracefully
  1    wrong usage, or anything else
  2    cannot listen there: the port is in use, the path cannot be written, the host is unknown
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
    /// Who serves a subject: KIND is echo (replies with what it is sent) or none (nobody: messages are
    /// recorded, requests refused). SUBJECT * is any that is not named. Repeatable, also for one subject:
    /// a conversation gets the one that has the fewest; replaces the default, which is '*=echo'
    #[arg(long = "participant", value_name = "SUBJECT=KIND")]
    offers: Vec<Offer>,
    /// What becomes of a conversation whose participant exits: fail (the default), route (it goes on with
    /// the next participant of SUBJECT) or compensate:SUBJECT2 (it fails, and SUBJECT2 is sent a notice of
    /// what was left undone, as COMPENSATION.md describes it). SUBJECT * is any that is not named.
    /// Repeatable
    #[arg(long = "on-crash", value_name = "SUBJECT=POLICY")]
    on_crash: Vec<OnCrash>,
    /// How long a graceful stop waits for clients: 300ms, 5s, 2m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = program::duration)]
    stop_time: Duration,
    /// What to log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "LIMINAL_LOG")]
    pub(crate) log: LevelFilter,
}

impl Options {
    /// Who serves what.
    pub(crate) fn offers(&self) -> &[Offer] {
        if self.offers.is_empty() { &[Offer::DEFAULT] } else { &self.offers }
    }

    /// What becomes of conversations whose participant exits.
    pub(crate) fn on_crash(&self) -> Result<&[OnCrash], Error> {
        crash::check(&self.on_crash, self.offers())?;
        Ok(&self.on_crash)
    }

    pub(crate) fn server(&self) -> ServerOptions {
        let stop = StopOptions { time: self.stop_time, ..StopOptions::default() };
        ServerOptions { stop, ..ServerOptions::default() }
    }
}
