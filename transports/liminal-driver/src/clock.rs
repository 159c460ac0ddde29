//! Real time, as the pure crates count it.

use std::time;

use liminal_proto::Instant;

/// Turns the time of the operating system into the [`Instant`]s of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: time::Instant,
}

impl Clock {
    /// A clock whose origin is now.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a clock differs from one made a moment later")]
    pub fn new() -> Self {
        Self { origin: time::Instant::now() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.at(time::Instant::now())
    }

    /// A moment of the operating system, in the time of the protocol.
    #[must_use]
    pub fn at(&self, moment: time::Instant) -> Instant {
        Instant::ORIGIN.after(moment.saturating_duration_since(self.origin))
    }

    /// A moment of the protocol, in the time of the operating system.
    #[must_use]
    pub fn std(&self, moment: Instant) -> Option<time::Instant> {
        self.origin.checked_add(moment.since(Instant::ORIGIN))
    }
}
