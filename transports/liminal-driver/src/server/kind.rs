//! The kinds of participants: three in process, those of a host outside, and none.

use std::fmt;
use std::sync::Arc;

use liminal_core::participant::AsyncFactory;
use liminal_core::{Factory, Offer};

use super::Host;

/// Where a participant runs.
#[derive(Clone)]
#[non_exhaustive]
pub enum Kind {
    /// On the thread that decoded its message, outside every lock. It must not block.
    Inline(Arc<dyn Factory>),
    /// On a thread of a bounded pool. It may block; when no seat is free, the request is refused as busy.
    Blocking(Arc<dyn Factory>),
    /// As a task. It may wait for other things.
    Async(Arc<dyn AsyncFactory>),
    /// With a host of its own, outside this program perhaps.
    Hosted(Arc<dyn Host>),
    /// Nobody: messages are recorded, requests are refused.
    TraceOnly,
}

impl Kind {
    /// What the bus is told of it.
    #[must_use]
    pub const fn offer(&self) -> Offer {
        match self {
            Self::Inline(_) | Self::Blocking(_) | Self::Async(_) | Self::Hosted(_) => Offer::Participant,
            Self::TraceOnly => Offer::TraceOnly,
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inline(_) => "Inline",
            Self::Blocking(_) => "Blocking",
            Self::Async(_) => "Async",
            Self::Hosted(_) => "Hosted",
            Self::TraceOnly => "TraceOnly",
        })
    }
}
