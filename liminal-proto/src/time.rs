//! Time as a value.

use core::fmt;
use core::time::Duration;

/// A moment, in nanoseconds since an origin that the embedder chooses.
///
/// There is no `now()`: whoever drives a state machine tells it the time, so a test can run an hour
/// in a microsecond and two runs with equal inputs give equal outputs. Only differences matter;
/// arithmetic saturates at both ends (2^64 ns are 584 years).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ORIGIN: Self = Self(0);

    /// The moment `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `duration` later, or the last one there is.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        // Not `as_nanos`, which counts in 128 bits: this runs for every event.
        let seconds = duration.as_secs().saturating_mul(1_000_000_000);
        Self(self.0.saturating_add(seconds).saturating_add(duration.subsec_nanos() as u64))
    }

    /// The time from `earlier` until this moment; zero when `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use core::time::Duration;

    use super::Instant;

    #[test]
    fn a_moment_is_so_many_nanoseconds_and_both_ends_of_time_hold() {
        let moment = Instant::ORIGIN.after(Duration::new(2, 5));
        assert_eq!(moment.as_nanos(), 2_000_000_005);
        assert_eq!(
            (moment.since(Instant::ORIGIN), Instant::ORIGIN.since(moment)),
            (Duration::new(2, 5), Duration::ZERO)
        );
        let last = Instant::from_nanos(u64::MAX);
        assert_eq!((moment.after(Duration::MAX), last.after(Duration::from_nanos(1))), (last, last));
        assert_eq!(moment.to_string(), "2.000000005s");
    }
}
