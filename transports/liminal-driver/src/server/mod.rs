//! The server's side: the bus behind a lock, the links around it, and the hosts of participants.
//! No sockets: the transports accept and move the bytes.

mod hosted;
mod hub;
mod kind;
mod link;
mod pool;
mod sync_host;
mod task_host;

pub use hosted::{Answers, Host, Hosted};
pub use hub::{Connected, Hub, Returned, Spawn, Task};
pub use kind::Kind;
pub use link::{ServerLink, TryWrite};
pub use pool::{Job, Pool, PoolSeat};

/// How a server treats its connections and its participants.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Each connection: versions, token, keepalive, limits.
    pub connection: liminal_proto::Config,
    /// The bus: reply time, limits of conversations.
    pub bus: liminal_core::Settings,
    /// Stopping and seats.
    pub stop: StopOptions,
}

/// How a server stops, and how many participants may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopOptions {
    /// How long a graceful stop waits for clients to answer. Default: 5 s.
    pub time: std::time::Duration,
    /// Seats of blocking participants: this many may be in a call at once, a further one is refused as
    /// busy. Each costs a thread while it is needed. Default: 64.
    pub blocking_seats: usize,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self { time: std::time::Duration::from_secs(5), blocking_seats: 64 }
    }
}
