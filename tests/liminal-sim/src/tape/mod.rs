//! The decision tape: all chance of a run.

mod draws;
mod exhaust;
mod shrink;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use self::draws::Draws;
pub(crate) use self::exhaust::next_branch;
pub use self::exhaust::next_tape;
pub use self::shrink::shrink;

/// What a decision is about. Each has a part of the tape to itself, so that shrinking one does not change
/// what the others say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Track {
    /// How bytes travel.
    Network,
    /// Who goes first, and how long work takes.
    Schedule,
    /// What breaks, and when.
    Faults,
    /// What openers do.
    Workload,
}

impl Track {
    /// Every track.
    pub const ALL: [Self; 4] = [Self::Network, Self::Schedule, Self::Faults, Self::Workload];

    /// Its name in scenario files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Schedule => "schedule",
            Self::Faults => "faults",
            Self::Workload => "workload",
        }
    }
}

/// The decisions of a run. 0 is the benign choice, and past the end everything is 0: so the end of a tape is
/// the moment when faults stop, and the empty tape is the run in which nothing goes wrong.
///
/// ```
/// use liminal_sim::{Tape, Track};
///
/// let tape = Tape::from_seed(7);
/// assert_eq!(tape, Tape::from_seed(7));
/// assert_eq!(tape.to_string().parse(), Ok(tape));
/// assert!(Tape::default().track(Track::Faults).is_empty());
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Tape([Vec<u8>; 4]);

/// The longest track that a seed makes, in bytes, in the order of [`Track::ALL`].
const SEEDED_MAX: [u64; 4] = [512, 1024, 256, 256];

impl Tape {
    /// The tape of a seed; the same on every machine. The lengths are drawn, too: short worlds find what
    /// long ones find, and are easier to read.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut random = SplitMix(seed);
        Self(SEEDED_MAX.map(|max| {
            let max = max >> (random.next() % 4);
            let len = random.next() % (max + 1);
            (0..len).map(|_| random.next().to_be_bytes()[0]).collect()
        }))
    }

    /// The tape that a fuzzer's input stands for: its bytes belong to the tracks in turn.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut tracks: [Vec<u8>; 4] = Default::default();
        for (nth, byte) in bytes.iter().enumerate() {
            tracks[nth % 4].push(*byte);
        }
        Self(tracks)
    }

    /// The bytes of a track.
    #[must_use]
    pub fn track(&self, track: Track) -> &[u8] {
        &self.0[track as usize]
    }

    /// The same, to be changed.
    pub const fn track_mut(&mut self, track: Track) -> &mut Vec<u8> {
        &mut self.0[track as usize]
    }

    /// The bytes of all tracks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Whether it decides nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same decisions without the zeros at the ends, which say nothing.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        for track in &mut self.0 {
            let len = track.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            track.truncate(len);
        }
        self
    }
}

/// As it is printed elsewhere, to be copied.
impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tape({self})")
    }
}

/// The tracks in their order as hexadecimal digits, with dots between them.
impl fmt::Display for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, track) in self.0.iter().enumerate() {
            f.write_str(if nth > 0 { "." } else { "" })?;
            for byte in track {
                write!(f, "{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// A text is no tape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "a tape is four rows of hexadecimal digits, two for each byte, with dots between the rows: {0:?} is none"
)]
pub struct NotATape(pub String);

impl FromStr for Tape {
    type Err = NotATape;

    fn from_str(text: &str) -> Result<Self, NotATape> {
        let not = || NotATape(text.to_owned());
        let tracks: Vec<Vec<u8>> =
            text.trim().split('.').map(from_hex).collect::<Option<_>>().ok_or_else(not)?;
        Ok(Self(tracks.try_into().map_err(|_| not())?))
    }
}

/// The bytes that these digits stand for. Space between bytes is of no account.
pub(crate) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2 && !text.starts_with('+'))?;
        u8::from_str_radix(text, 16).ok()
    };
    digits.chunks(2).map(byte).collect()
}

/// `SplitMix64` (Steele, Lea, Flood 2014): small, and the same everywhere for ever, so that a seed keeps its
/// meaning; a library would be free to change its numbers.
struct SplitMix(u64);

impl SplitMix {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut random = SplitMix(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn what_is_no_tape_is_refused() {
        for text in ["", "00", "0.0.0.0", "xx...", "00....", "+1..."] {
            assert!(text.parse::<Tape>().is_err(), "{text:?}");
        }
        assert_eq!("...".parse(), Ok(Tape::default()));
    }

    #[test]
    fn trimming_drops_zeros_at_the_ends_alone() {
        let tape: Tape = "0001.0100.00.".parse().unwrap();
        assert_eq!(tape.trimmed().to_string(), "0001.01..");
    }
}
