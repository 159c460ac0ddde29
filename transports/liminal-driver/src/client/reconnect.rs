//! When a client that has lost its connection tries again.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use liminal_proto::{CloseReason, ReasonCode};

use crate::error::ConnectError;

/// How a handle comes back when its connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// How long it pauses before each try.
    pub backoff: Backoff,
    /// How long a call that needs a connection waits for one while there is none: opening, serving, a ping. Default:
    /// 5 s, as long as a handshake may take. So whoever calls does not notice that a server was started anew, and is
    /// told within a time that people wait when it is gone.
    pub wait_time: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { backoff: Backoff::default(), wait_time: Duration::from_secs(5) }
    }
}

/// Pauses between tries: each is chosen by chance between none and a longest one, which grows from try to try.
///
/// All clients of a server lose it at the same moment. Chance over the whole range (what is known as full jitter)
/// spreads them best when they come back, and none of them does more tries than without. A connection that has
/// lasted as long as the longest pause counts as one that is there again: what is lost then begins with a short
/// pause, and what is lost sooner, again and again, does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest that the first pause may be. Default: 100 ms, which is about how long it takes to replace the
    /// process of a server with another.
    pub initial: Duration,
    /// How many times as long the longest pause is after each try. Default: 2, so that a server which is away for
    /// a second was tried some five times.
    pub factor: u32,
    /// The longest that any pause may be. Default: 10 s: nobody waits longer for a server that is back, five seconds
    /// in the mean, and a thousand clients that wait make two hundred tries in a second.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(100), factor: 2, max: Duration::from_secs(10) }
    }
}

/// Whoever asks for no pause at all would spin.
const CEILING_MIN: Duration = Duration::from_millis(1);

impl Backoff {
    /// The longest that the pause may be after so many tries; at least 1 ms.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use liminal_driver::client::Backoff;
    ///
    /// let millis = |millis| Duration::from_millis(millis);
    /// let backoff = Backoff { initial: millis(100), factor: 2, max: millis(500) };
    /// assert_eq!([0, 1, 2, 3, 9].map(|tries| backoff.ceiling(tries)), [100, 200, 400, 500, 500].map(millis));
    /// ```
    #[must_use]
    pub fn ceiling(&self, tries: u32) -> Duration {
        let grown = self.factor.max(1).saturating_pow(tries);
        self.initial.saturating_mul(grown).min(self.max).max(CEILING_MIN)
    }

    /// The pause after so many tries. `chance` is any number, all equally likely.
    #[must_use]
    pub fn pause(&self, tries: u32, chance: u64) -> Duration {
        let ceiling = u64::try_from(self.ceiling(tries).as_nanos()).unwrap_or(u64::MAX);
        let part = (u128::from(ceiling) * u128::from(chance)) >> u64::BITS;
        Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
    }
}

/// A number that nobody can tell beforehand.
pub(super) fn chance() -> u64 {
    // Each of these has keys of its own, which the operating system has chosen.
    RandomState::new().build_hasher().finish()
}

/// Whether a client that was told this need not come again: it would be told the same.
pub(super) fn is_for_good(reason: &CloseReason) -> bool {
    const FOR_GOOD: [ReasonCode; 3] =
        [ReasonCode::AUTHENTICATION, ReasonCode::VERSION_MISMATCH, ReasonCode::NOT_ALLOWED];
    match reason {
        CloseReason::Local | CloseReason::UnspokenVersion { .. } => true,
        CloseReason::Refused { reason, .. } => FOR_GOOD.contains(reason),
        _ => false,
    }
}

/// How a try ended that need not be repeated.
pub(super) fn refusal(error: &ConnectError) -> Option<&CloseReason> {
    match error {
        ConnectError::Handshake { reason, .. } => Some(reason).filter(|reason| is_for_good(reason)),
        ConnectError::Unreachable { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_longest_pause_grows_up_to_a_bound() {
        let backoff = Backoff::default();
        let ceilings: Vec<Duration> = (0..9).map(|tries| backoff.ceiling(tries)).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000].map(millis));
        assert_eq!(backoff.ceiling(u32::MAX), millis(10_000));
    }

    #[test]
    fn strange_settings_neither_panic_nor_spin() {
        for initial in [Duration::ZERO, millis(7), Duration::MAX] {
            for factor in [0, 1, u32::MAX] {
                for max in [Duration::ZERO, millis(5), Duration::MAX] {
                    let backoff = Backoff { initial, factor, max };
                    for tries in [0, 1, 2, u32::MAX] {
                        let ceiling = backoff.ceiling(tries);
                        assert!(ceiling >= CEILING_MIN && ceiling <= max.max(CEILING_MIN), "{backoff:?}");
                        assert!(backoff.pause(tries, u64::MAX) <= ceiling, "{backoff:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_pause_up_to_the_longest_is_as_likely() {
        let backoff = Backoff::default();
        assert_eq!(backoff.pause(0, 0), Duration::ZERO);
        assert_eq!(backoff.pause(0, u64::MAX / 4), millis(25) - Duration::from_nanos(1));
        assert_eq!(backoff.pause(3, u64::MAX / 2), millis(400) - Duration::from_nanos(1));
        assert_eq!(backoff.pause(20, u64::MAX), millis(10_000) - Duration::from_nanos(1));
    }

    #[test]
    fn chance_differs_each_time() {
        let drawn: std::collections::BTreeSet<u64> = (0..100).map(|_| chance()).collect();
        assert_eq!(drawn.len(), 100);
        let high = drawn.iter().filter(|number| **number > u64::MAX / 2).count();
        assert!((10..=90).contains(&high), "{high} of 100 are in the upper half");
    }
}
