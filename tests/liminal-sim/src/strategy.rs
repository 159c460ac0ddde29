//! Tapes as a [`proptest`] strategy, for tests that draw more than the tape.
//!
//! ```
//! use liminal_sim::{Network, strategy, worlds};
//! use proptest::prelude::*;
//!
//! let sim = worlds::everything(Network::Faithful);
//! proptest!(ProptestConfig::with_cases(5), |(tape in strategy::tape(32))| {
//!     prop_assert_eq!(sim.run(&tape).broken, None);
//! });
//! ```

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};

use crate::{Tape, Track};

/// Tapes of at most this many bytes in each track. They shrink as vectors of bytes do, each track by itself.
pub fn tape(track_max: usize) -> impl Strategy<Value = Tape> {
    let track = || vec(any::<u8>(), 0..=track_max);
    [track(), track(), track(), track()].prop_map(|tracks| {
        let mut tape = Tape::default();
        for (track, bytes) in Track::ALL.into_iter().zip(tracks) {
            *tape.track_mut(track) = bytes;
        }
        tape
    })
}
