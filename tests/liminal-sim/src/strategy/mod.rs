//! Strategies for [`proptest`]: frames, payloads, and the runs of a simulation.
//!
//! The kit itself draws tapes from seeds and makes them small, and needs none of this. It is for tests that
//! draw more than the run, and for tests of a codec, a driver or a server of your own.
//!
//! ```
//! use liminal_sim::{Network, strategy, worlds};
//! use proptest::prelude::*;
//!
//! let sim = worlds::everything(Network::Faithful);
//! proptest!(ProptestConfig::with_cases(5), |(tape in strategy::tape(32))| {
//!     sim.check_tape(&tape)?;
//! });
//! ```

mod frame;
mod payload;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};

pub use self::frame::{any_frame, dialect, encoded_frame, frame, frame_of};
pub use self::payload::{payload, payload_len};

use crate::swarm::{WEIGHTS, WINDOWS};
use crate::{Fault, Scenario, Tape, Track};

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

/// Scenarios of the simulation of this name, with tracks of about that many bytes: first which of the faults exist
/// and how often each happens, then what happens. They do not depend on the plan. Every one is valid for each;
/// where a plan does not allow all faults, a part of what is drawn for them decides something else.
///
/// A fault goes away as a whole when the scenario shrinks. What it prints is a scenario file.
///
/// ```
/// use liminal_sim::{Network, strategy, worlds};
/// use proptest::prelude::*;
///
/// let sim = worlds::everything(Network::Faithful);
/// proptest!(ProptestConfig::with_cases(5), |(scenario in strategy::scenario("everything", 32))| {
///     let ran = sim.check_tape(&scenario.tape)?;
///     prop_assert!(ran.time.as_secs() >= 70, "the world rests before it ends:\n{}", scenario);
/// });
/// ```
pub fn scenario(sim: &str, track_max: usize) -> impl Strategy<Value = Scenario> + use<> {
    let weights = vec(0..WEIGHTS.len() as u8, Fault::ALL.len());
    let window = 0..WINDOWS.len() as u8;
    (Just(sim.to_owned()), weights, window, tape(track_max)).prop_map(|(sim, weights, window, mut tape)| {
        let narrow = weights[Fault::NarrowBuffers as usize] > 0;
        let swarm = weights.into_iter().chain(narrow.then_some(window));
        tape.track_mut(Track::Faults).splice(0..0, swarm);
        Scenario { sim, broken: String::new(), tape }
    })
}
