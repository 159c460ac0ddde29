//! How often something may happen: a bucket of tokens that refills with time.

use crate::{Instant, Rate};

/// A bucket that holds up to `burst` tokens and gains `per_second` of them each second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// Tokens, in billionths, so that refilling needs no fractions.
    nanotokens: u64,
    refilled: Instant,
}

const TOKEN: u64 = 1_000_000_000;

impl Bucket {
    pub(super) const fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, nanotokens: rate.burst as u64 * TOKEN, refilled: now }
    }

    /// Takes one token; false when there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        match self.nanotokens.checked_sub(TOKEN) {
            Some(rest) => {
                self.nanotokens = rest;
                true
            }
            None => false,
        }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = u64::try_from(now.since(self.refilled).as_nanos()).unwrap_or(u64::MAX);
        let gained = elapsed.saturating_mul(u64::from(self.rate.per_second));
        let full = u64::from(self.rate.burst) * TOKEN;
        self.nanotokens = self.nanotokens.saturating_add(gained).min(full);
        self.refilled = now.max(self.refilled);
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::Bucket;
    use crate::{Instant, Rate};

    #[test]
    fn a_burst_is_allowed_and_then_only_the_rate() {
        let mut bucket = Bucket::new(Rate { per_second: 10, burst: 3 }, Instant::ORIGIN);
        let now = Instant::from_nanos(5);
        assert_eq!([(); 4].map(|()| bucket.take(now)), [true, true, true, false]);
        let later = now.after(Duration::from_millis(100));
        assert_eq!([(); 2].map(|()| bucket.take(later)), [true, false]);
    }

    #[test]
    fn silence_never_saves_up_more_than_the_burst() {
        let mut bucket = Bucket::new(Rate { per_second: 10, burst: 2 }, Instant::ORIGIN);
        let later = Instant::from_nanos(u64::MAX);
        assert_eq!([(); 3].map(|()| bucket.take(later)), [true, true, false]);
    }
}
