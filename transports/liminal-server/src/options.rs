//! The command line.

use std::num::NonZeroUsize;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Parser, ValueEnum};
use liminal_cli::program::{self, Transport};
use liminal_driver::{Address, AdmissionOptions, Monitoring, ServerOptions, StopOptions};
use tracing::level_filters::LevelFilter;

use crate::NAME;
use crate::crash::{self, OnCrash};
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
  liminal-server --participant worker=exec:./worker --on-crash worker=route
  liminal ask greeter hello                        a conversation with it

A child process (exec:COMMAND) is started for each conversation, without a shell; COMMAND is split at
spaces, and quotes work as in a shell. Each message is a line on its stdin, and the line that it writes to
stdout for it is the reply; it must not buffer that line. With exec-frames:COMMAND it speaks frames instead.
With exec-per-message:COMMAND one is started for each message: the payload is its stdin, all of its stdout is
the reply, and a status other than 0 is its death.
Its stderr is the stderr of the server, and its environment has LIMINAL_SUBJECT and LIMINAL_PID; that of a
process for one message has the trace of it in TRACEPARENT and TRACESTATE. Whoever asks is told when it dies,
with its status or signal. When its conversation is over its stdin is closed; its process group gets SIGTERM
after 1 s and SIGKILL after 2 s.

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
    /// conversation, see below) or exec-per-message:COMMAND (one for each message). SUBJECT * is any that is not named. Repeatable, also for one subject: a
    /// conversation gets the one that has the fewest; replaces the default, which is '*=echo'
    #[arg(long = "participant", value_name = "SUBJECT=KIND")]
    offers: Vec<Offer>,
    /// What becomes of a conversation whose participant exits: fail (the default), route (it goes on with
    /// the next participant of SUBJECT) or compensate:SUBJECT2 (it fails, and SUBJECT2 is sent a notice of
    /// what was left undone, as COMPENSATION.md describes it). SUBJECT * is any that is not named.
    /// Repeatable
    #[arg(long = "on-crash", value_name = "SUBJECT=POLICY")]
    on_crash: Vec<OnCrash>,
    /// Child processes at once; beyond it a conversation with one is refused as busy. Each takes three file
    /// descriptors
    #[cfg(unix)]
    #[arg(long, value_name = "N", default_value_t = liminal_process::Options::default().processes_max)]
    processes_max: usize,
    /// How long a graceful stop may take: 300ms, 5s, 2m. Where there may be child processes, its last 2 s,
    /// or half of it, are for them to end; the rest is for clients to go
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = program::duration)]
    pub(crate) stop_time: Duration,
    /// Connections at once; beyond it a client is told that the limit is reached. Each costs a file
    /// descriptor (see ulimit -n), some KiB of memory while it is idle, and at worst some MiB, of which
    /// --memory-max bounds the sum
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
    /// Memory that all connections together may hold: 512MiB, 2GiB. When little of it is left, those that
    /// hold the most are not read from until there is more, and the others are served. At least 16MiB
    /// [default: a quarter of the memory of the machine]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory_max: Option<usize>,
    /// How long a client may take from its connection to the end of the handshake: 300ms, 5s
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = program::duration)]
    handshake_time: Duration,
    /// How long a participant has for a reply, or to join a conversation, whatever whoever asks would wait: 300ms,
    /// 2m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = program::duration)]
    reply_time: Duration,
    /// How long nothing may be said in a conversation before it ends, whatever its opener says: 30m, 24h
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = program::duration)]
    idle_time_max: Duration,
    /// Who may look on, with `liminal watch` or a program, and so read what others say
    #[arg(long, value_name = "WHO", value_enum, default_value_t = LookingOn::Local)]
    monitoring: LookingOn,
    /// What to log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "LIMINAL_LOG")]
    pub(crate) log: LevelFilter,
}

/// Who may look on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LookingOn {
    /// Nobody.
    Nobody,
    /// Whoever is on this machine: over loopback or a Unix socket. Behind a proxy on it that is everybody.
    Local,
    /// Everybody who may connect.
    Everybody,
}

impl From<LookingOn> for Monitoring {
    fn from(who: LookingOn) -> Self {
        match who {
            LookingOn::Nobody => Self::Nobody,
            LookingOn::Local => Self::Local,
            LookingOn::Everybody => Self::Everybody,
        }
    }
}

/// Less than a few of the largest frames need is a mistake.
fn memory(text: &str) -> Result<usize, String> {
    let size: ByteSize = text.parse().map_err(|_| "no size; write it like 512MiB or 2GiB".to_owned())?;
    if size < ByteSize::mib(16) {
        return Err("it must be 16MiB at least, so that it holds some of the largest frames".into());
    }
    Ok(usize::try_from(size.as_u64()).unwrap_or(usize::MAX))
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
    pub(crate) fn offers(&self) -> &[Offer] {
        if self.offers.is_empty() { &[Offer::DEFAULT] } else { &self.offers }
    }

    /// What becomes of conversations whose participant exits.
    pub(crate) fn on_crash(&self) -> Result<&[OnCrash], Error> {
        crash::check(&self.on_crash, self.offers())?;
        Ok(&self.on_crash)
    }

    pub(crate) fn server(&self) -> ServerOptions {
        let time = self.stop_time.saturating_sub(self.stop_time_of_processes());
        let mut options = ServerOptions {
            admission: AdmissionOptions {
                connections_max: self.connections_max.get(),
                connections_per_address_max: self.connections_per_address_max.get(),
                ..AdmissionOptions::default()
            },
            monitoring: self.monitoring.into(),
            stop: StopOptions { time, ..StopOptions::default() },
            ..ServerOptions::default()
        };
        options.connection.limits.handshake_time = self.handshake_time;
        options.bus.reply_time = self.reply_time;
        options.bus.conversation_idle_time_max = Some(self.idle_time_max);
        options.memory_bytes_max = self.memory_max.unwrap_or(options.memory_bytes_max);
        options
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
