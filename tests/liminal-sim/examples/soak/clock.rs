//! How long something takes: figures for one core must not count the time in which others had it.

use std::time::{Duration, Instant};

/// Runs from its start on.
pub(crate) struct Clock {
    wall: Instant,
    worked: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { wall: Instant::now(), worked: worked() }
    }

    /// How much time has passed.
    pub(crate) fn passed(&self) -> Duration {
        self.wall.elapsed()
    }

    /// For how much of that time this process had a core.
    pub(crate) fn worked(&self) -> Duration {
        if cfg!(unix) { worked().saturating_sub(self.worked) } else { self.passed() }
    }
}

#[cfg(unix)]
fn worked() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

#[cfg(not(unix))]
fn worked() -> Duration {
    Duration::ZERO
}
