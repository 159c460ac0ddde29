//! What there is to measure.

use clap::ValueEnum;

use crate::options::Cores;
use crate::report::Report;
use crate::{Counter, Failure, allocations, ask, codec, fair, flat, idle, kill, load, loss, relay, watch};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Decoding and encoding a message of 64 bytes, against copying its bytes
    Codec,
    /// How often memory is asked for: by the codec, by a connection, for each request
    Allocations,
    /// One request at a time on each transport, against bare ping-pongs
    Ask,
    /// The 4,000th request on a conversation, against the first ones
    Flat,
    /// 64 conversations on 8 connections, against bare echoes
    Load,
    /// 64 active connections: whether all of them are served alike
    Fair,
    /// 1,000 idle connections: processor time and memory
    Idle,
    /// From the SIGKILL of a child process that serves to the error of whoever asked
    Kill,
    /// A request that a server passes on to a participant on another connection, against bare relays
    Relay,
    /// From the SIGKILL of a process that serves on a connection to the notice of everyone who spoke with it
    Loss,
    /// One request at a time, while nobody watches, and while somebody does
    Watch,
}

impl Part {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Codec => "Codec: a message with a payload of 64 bytes",
            Self::Allocations => "Allocations",
            Self::Ask => "Ask: one request at a time to an inline echo",
            Self::Flat => "Flat: 4,000 requests on one conversation, blocking",
            Self::Load => "Load: 64 conversations on 8 connections, one request of 64 bytes each at a time",
            Self::Fair => "Fair: 64 connections that ask without a pause, for one second",
            Self::Idle => "Idle: 1,000 connections",
            Self::Relay => "Relay: asker, server, responder and back, 64 bytes",
            Self::Loss => {
                "Loss: from the SIGKILL of a process that serves to the notice of those who spoke with it"
            }
            Self::Watch => "Watch: one request of 64 bytes at a time, of which others are told",
            Self::Kill => "Kill: from the SIGKILL of a child process in a request to the asker's error",
        }
    }

    /// On which cores it is worth measuring.
    pub(crate) const fn cores(self) -> &'static [Cores] {
        match self {
            // One thread: pinned it is not moved about.
            Self::Codec | Self::Allocations | Self::Flat => &[Cores::Pinned],
            // Nothing runs.
            Self::Idle => &[Cores::Unpinned],
            Self::Ask | Self::Load | Self::Fair | Self::Kill | Self::Relay | Self::Loss | Self::Watch => {
                Cores::ALL
            }
        }
    }

    /// Whether it needs an allocator that counts.
    pub(crate) const fn counts(self) -> bool {
        matches!(self, Self::Allocations)
    }

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(crate) fn measure(self, report: &mut Report, counter: Option<Counter>) -> Result<(), Failure> {
        match self {
            Self::Codec => codec::measure(report),
            Self::Allocations => {
                allocations::measure(report, counter.ok_or("the allocator of this program does not count")?)
            }
            Self::Ask => ask::measure(report),
            Self::Flat => flat::measure(report),
            Self::Load => load::measure(report),
            Self::Fair => fair::measure(report),
            Self::Idle => idle::measure(report),
            Self::Kill => kill::measure(report),
            Self::Relay => relay::measure(report),
            Self::Loss => loss::measure(report),
            Self::Watch => watch::measure(report),
        }
    }
}
