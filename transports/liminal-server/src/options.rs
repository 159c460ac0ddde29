//! The command line.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Parser;
use liminal_cli::program::{self, Transport};
use liminal_driver::{Address, AdmissionOptions, ServerOptions, StopOptions};
use tracing::level_filters::LevelFilter;

use crate::NAME;
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
    /// recorded, requests refused). SUBJECT * is any that is not named. Repeatable; replaces the default,
    /// which is '*=echo'
    #[arg(long = "participant", value_name = "SUBJECT=KIND")]
    offers: Vec<Offer>,
    /// How long a graceful stop waits for clients: 300ms, 5s, 2m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = program::duration)]
    stop_time: Duration,
    /// Connections at once; beyond it a client is told that the limit is reached. Each costs a file
    /// descriptor (see ulimit -n), and 5 MiB of memory at worst
    #[arg(long, value_name = "N", default_value_t = some(AdmissionOptions::default().connections_max))]
    connections_max: NonZeroUsize,
    /// Connections from one address at once; an IPv6 network (/64) counts as one, and this machine and
    /// Unix sockets are exempt. Behind a proxy all clients have its address: raise it there
    #[arg(
        long,
        value_name = "N",
        default_value_t = some(AdmissionOptions::default().connections_per_address_max)
    )]
    connections_per_address_max: NonZeroUsize,
    /// How long a client may take from its connection to the end of the handshake: 300ms, 5s
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = program::duration)]
    handshake_time: Duration,
    /// What to log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "LIMINAL_LOG")]
    pub(crate) log: LevelFilter,
}

/// A server that takes nobody is a mistake.
const fn some(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
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
        let mut options = ServerOptions {
            admission: AdmissionOptions {
                connections_max: self.connections_max.get(),
                connections_per_address_max: self.connections_per_address_max.get(),
                ..AdmissionOptions::default()
            },
            stop: StopOptions { time: self.stop_time, ..StopOptions::default() },
            ..ServerOptions::default()
        };
        options.connection.limits.handshake_time = self.handshake_time;
        options
    }
}
