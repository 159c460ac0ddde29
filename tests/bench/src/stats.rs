//! Medians and percentiles.

use std::time::{Duration, Instant};

use crate::Failure;

/// Times each of `count` calls.
pub(crate) fn try_sample(
    count: usize,
    mut call: impl FnMut() -> Result<(), Failure>,
) -> Result<Samples, Failure> {
    let mut times = Times::with_capacity(count);
    for _ in 0..count {
        times.start();
        call()?;
        times.stop();
    }
    Ok(times.samples())
}

/// Times in the order in which they were taken.
pub(crate) struct Times {
    started: Instant,
    times: Vec<Duration>,
}

impl Times {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { started: Instant::now(), times: Vec::with_capacity(count) }
    }

    pub(crate) fn start(&mut self) {
        self.started = Instant::now();
    }

    pub(crate) fn stop(&mut self) {
        self.stop_at(Instant::now());
    }

    /// Stops what was over at that moment, which another thread may have seen.
    pub(crate) fn stop_at(&mut self, moment: Instant) {
        self.times.push(moment.saturating_duration_since(self.started));
    }

    pub(crate) fn samples(self) -> Samples {
        Samples::of(self.times)
    }
}

/// Times in ascending order.
pub(crate) struct Samples {
    times: Vec<Duration>,
}

impl Samples {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { times }
    }

    /// The time in microseconds below which `percent` of the calls stayed.
    pub(crate) fn micros(&self, percent: usize) -> f64 {
        let at = (self.times.len() * percent / 100).min(self.times.len().saturating_sub(1));
        self.times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The time of one call in nanoseconds, when it is too short to be timed alone: the best of several
/// batches, because everything that disturbs a batch only makes it longer.
pub(crate) fn nanos<R>(mut call: impl FnMut() -> R) -> f64 {
    const BATCH: u32 = 20_000;
    const BATCHES: usize = 200;
    let time = || {
        let start = Instant::now();
        for _ in 0..BATCH {
            std::hint::black_box(call());
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH)
    };
    std::iter::repeat_with(time).take(BATCHES).fold(f64::INFINITY, f64::min)
}
