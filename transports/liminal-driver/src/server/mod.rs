//! The server's side: the bus behind a lock, the links around it, and the hosts of participants.
//! No sockets: the transports accept and move the bytes. A client that serves runs the same bus and hosts, with
//! its connection as the one link: see [`crate::client::Participants`].

mod admission;
mod brief;
mod hosted;
mod hub;
mod kind;
mod link;
mod machine;
mod memory;
mod monitoring;
mod outlet;
mod pool;
mod recording;
mod sync_host;
mod task_host;
mod writer;

use std::time::Duration;

pub use admission::{Admission, AdmissionOptions, Admitted, NoRoom, Peer, TurnedAway};
pub use hosted::{Answers, Host, Hosted};
pub use hub::{Connected, Hub, Returned, Spawn, Task};
pub use kind::Kind;
pub use link::{ServerLink, Waits};
pub use memory::MemoryBudget;
pub use monitoring::Monitoring;

use crate::Recorder;
use memory::MemoryAccount;
pub(crate) use outlet::{Flushed, Outlet};
pub use pool::{Job, Pool, PoolSeat};
pub use writer::TryWrite;

/// How a server treats its connections and its participants.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Each connection: versions, token, keepalive, limits.
    pub connection: liminal_proto::Config,
    /// The bus: reply time, limits of conversations. Default: that of the bus, but a conversation in which nothing was
    /// said for [a day](Self::CONVERSATION_IDLE_TIME_MAX) ends: there is none that is silent for ever.
    pub bus: liminal_core::Settings,
    /// How many connections there may be.
    pub admission: AdmissionOptions,
    /// Who may monitor and watch the conversations of others. Default: whoever is on this machine.
    pub monitoring: Monitoring,
    /// What replies may hold that wait for room in the output of their connection, in bytes with their
    /// charge, for each connection. Beyond it its peer counts as one that does not read, and is closed.
    /// Default: 16 MiB, which is sixteen of the largest replies: it takes a client that asks for more than it
    /// reads, because its participants are not called while a reply waits.
    pub held_reply_bytes_max: usize,
    /// What all connections together may hold of input, accepted messages, replies and output, in bytes;
    /// [`MemoryBudget`] says what becomes of those that hold the most when little of it is left. Default: a
    /// quarter of the memory of the machine, or of what the operating system lets this program have; 1 GiB
    /// where neither is known. Never taken as less than sixteen of the largest frames, so that one of them
    /// is no large part of it.
    pub memory_bytes_max: usize,
    /// Stopping and seats.
    pub stop: StopOptions,
    /// Who writes down what happens. Default: nobody, which costs nothing.
    pub recorder: Option<Recorder>,
}

impl ServerOptions {
    /// How long nothing may be said in a conversation, unless a server is told otherwise or its opener says less:
    /// 24 h, the longest time that anybody can name for a reply. Who forgot it will not come back to it, and who
    /// waits for people comes back before.
    pub const CONVERSATION_IDLE_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connection: liminal_proto::Config::default(),
            bus: liminal_core::Settings {
                conversation_idle_time_max: Some(Self::CONVERSATION_IDLE_TIME_MAX),
                ..liminal_core::Settings::default()
            },
            admission: AdmissionOptions::default(),
            monitoring: Monitoring::default(),
            held_reply_bytes_max: 16 << 20,
            memory_bytes_max: machine::memory().map_or(1 << 30, |bytes| bytes / 4),
            stop: StopOptions::default(),
            recorder: None,
        }
    }
}

/// How a server stops, and how many participants may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopOptions {
    /// How long a graceful stop waits for clients to answer. Default: 5 s.
    pub time: Duration,
    /// Seats of blocking participants: this many may be in a call at once, a further one is refused as
    /// busy. Each costs a thread while it is needed. Default: 64.
    pub blocking_seats: usize,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self { time: Duration::from_secs(5), blocking_seats: 64 }
    }
}
