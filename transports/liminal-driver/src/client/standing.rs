//! How a handle and what it serves stand, where connections come and go.

use std::sync::Arc;
use std::time::Instant;

use liminal_proto::CloseReason;

use crate::error::{ConnectError, ServiceEnd};

/// How the connection of a handle stands.
///
/// ```text
///                  lost, told to reconnect
///   Connected ─────────────────────────────▶ Reconnecting ──┐ a try failed
///    │     ▲                                   │   │   ▲    │
///    │     └───────────────────────────────────┘   │   └────┘
///    │ lost, or closed by this side                │ refused for good, or closed by this side
///    ▼                                             ▼
///   Closed ◀───────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Connectivity {
    /// There is a connection.
    Connected {
        /// Which one of this handle, from 1 on. One that was lost and came back is another.
        connection: u64,
    },
    /// There is none, and the driver tries to change that.
    Reconnecting(Outage),
    /// There is none, and there will be none.
    Closed(CloseReason),
}

/// A time without a connection.
#[derive(Clone, Debug)]
pub struct Outage {
    /// How the last connection ended.
    pub lost: CloseReason,
    /// How the last try since then ended, if there was one.
    pub error: Option<Arc<ConnectError>>,
    /// When the next try begins, or when the one began that is under way.
    pub next: Instant,
}

impl PartialEq for Outage {
    /// Errors are the same if they are of the same try.
    fn eq(&self, other: &Self) -> bool {
        let tries = [self, other].map(|outage| outage.error.as_ref().map(Arc::as_ptr));
        self.lost == other.lost && self.next == other.next && tries[0] == tries[1]
    }
}

impl Eq for Outage {}

/// How a service stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// The subject is served.
    Serving {
        /// On which connection of the handle, from 1 on.
        connection: u64,
    },
    /// It is not served now, and will be offered again, or has been and the server has not answered yet.
    Interrupted {
        /// How the connection ended on which it was served.
        lost: CloseReason,
    },
    /// It is not served any more.
    Ended(ServiceEnd),
}
