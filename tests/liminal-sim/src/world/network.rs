//! How bytes travel: in which pieces, when, and on a byzantine network: which.

use std::time::Duration;

use bytes::Bytes;

use crate::swarm::{Fault, Network, Swarm};
use crate::{Draws, Track};

/// The largest piece to carry at once.
pub(super) fn piece(draws: &mut Draws, swarm: &Swarm) -> usize {
    if !draws.chance(Track::Network, swarm.weight(Fault::Chunks)) {
        return usize::MAX;
    }
    draws.pick(Track::Network, &[1, 2, 5, 9, 10, 11, 64, 1000])
}

/// How long bytes may travel, in microseconds.
pub(crate) const LATENCIES: [u64; 6] = [50, 1_000, 5_000, 40_000, 300_000, 2_000_000];

/// How long it travels.
pub(super) fn latency(draws: &mut Draws, swarm: &Swarm) -> Duration {
    if !draws.chance(Track::Network, swarm.weight(Fault::Latency)) {
        return Duration::ZERO;
    }
    Duration::from_micros(draws.pick(Track::Network, &LATENCIES))
}

/// What arrives of these bytes. `before` is what this direction carried last.
pub(super) fn distort(draws: &mut Draws, network: Network, bytes: Bytes, before: &mut Bytes) -> Bytes {
    if network == Network::Faithful {
        return bytes;
    }
    let distorted = if !bytes.is_empty() && draws.chance(Track::Network, 24) {
        change(draws, &bytes, before)
    } else {
        bytes
    };
    before.clone_from(&distorted);
    distorted
}

/// Flips a bit, inserts, drops or repeats something, or goes on with what was carried before.
fn change(draws: &mut Draws, bytes: &Bytes, before: &Bytes) -> Bytes {
    let at = draws.below(Track::Network, bytes.len().min(255));
    let mut changed = bytes.to_vec();
    match draws.below(Track::Network, 5) {
        0 => changed[at] ^= 1 << draws.below(Track::Network, 8),
        1 => changed.insert(at, u8::try_from(draws.below(Track::Network, 255)).unwrap_or(0)),
        2 => {
            changed.remove(at);
        }
        3 => changed.extend_from_slice(&bytes[at..]),
        _ => {
            changed.truncate(at);
            changed.extend_from_slice(before);
        }
    }
    changed.into()
}
