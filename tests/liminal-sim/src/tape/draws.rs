//! Reading a tape.

use super::{Tape, Track};

/// Draws decisions from a tape, and notes which there were.
#[derive(Clone, Debug)]
pub struct Draws {
    tape: Tape,
    at: [usize; 4],
    /// Faults have stopped: every further draw of this track is 0.
    calm: bool,
    choices: Option<Vec<Choice>>,
    /// Of which tracks all decisions are made, one after the other; the others stay benign.
    searched: &'static [Track],
}

/// One decision that was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) track: Track,
    /// Which byte of its track.
    pub(super) at: usize,
    /// The value to try next, if one is left.
    pub(super) next: Option<u8>,
}

impl Draws {
    /// From the beginning of a tape.
    #[must_use]
    pub const fn new(tape: Tape) -> Self {
        Self { tape, at: [0; 4], calm: false, choices: None, searched: &[] }
    }

    /// The same; what is drawn of these tracks is noted, for [`next_tape`](super::next_tape), and of the others
    /// everything is 0.
    #[must_use]
    pub const fn noting(tape: Tape, searched: &'static [Track]) -> Self {
        Self { tape, at: [0; 4], calm: false, choices: Some(Vec::new()), searched }
    }

    /// From now on no fault is drawn any more.
    pub const fn calm(&mut self) {
        self.calm = true;
    }

    /// Whether no fault is drawn any more.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        self.calm
    }

    /// One of `n`: 0 to `n - 1`. Of one there is nothing to decide, and nothing is drawn.
    pub fn below(&mut self, track: Track, n: usize) -> usize {
        let values = u8::try_from(n).unwrap_or(u8::MAX);
        if values <= 1 {
            return 0;
        }
        usize::from(self.byte(track, 0, |value| Some(value + 1).filter(|it| *it < values)) % values)
    }

    /// One of `n`, of which a search of all runs tries these alone, because the others lead to nothing else.
    ///
    /// # Panics
    ///
    /// When there is none to try.
    pub(crate) fn below_of(&mut self, track: Track, n: usize, tried: &[usize]) -> usize {
        if n <= 1 || !self.is_searched(track) {
            return self.below(track, n);
        }
        let mut tried = tried.iter().filter_map(|it| u8::try_from(*it).ok());
        let first = tried.clone().next().unwrap_or(0);
        usize::from(self.byte(track, first, |value| tried.find(|it| *it > value)))
    }

    /// One of these; the first is the benign one.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn pick<T: Copy>(&mut self, track: Track, of: &[T]) -> T {
        of[self.below(track, of.len())]
    }

    /// Whether something happens that does so `weight` times in 256. What never happens draws nothing.
    pub fn chance(&mut self, track: Track, weight: u8) -> bool {
        let other = |value| Some(u8::MAX).filter(|_| value == 0);
        weight > 0 && self.byte(track, 0, other) > u8::MAX - weight
    }

    /// Whether every value of this track is tried.
    pub(crate) fn is_searched(&self, track: Track) -> bool {
        self.choices.is_some() && self.searched.contains(&track)
    }

    /// The next byte of a track. A search begins with `first`, and goes on with what is `next`.
    fn byte(&mut self, track: Track, first: u8, next: impl FnOnce(u8) -> Option<u8>) -> u8 {
        let is_searched = self.is_searched(track);
        if (self.calm && track == Track::Faults) || (self.choices.is_some() && !is_searched) {
            return 0;
        }
        let at = self.at[track as usize];
        self.at[track as usize] += 1;
        let bytes = self.tape.track_mut(track);
        if is_searched && bytes.len() == at {
            bytes.push(first);
        }
        let byte = bytes.get(at).copied().unwrap_or(0);
        if let Some(choices) = &mut self.choices {
            choices.push(Choice { track, at, next: next(byte) });
        }
        byte
    }

    /// How many decisions of a search were made.
    pub(crate) fn decided(&self) -> usize {
        self.choices().len()
    }

    /// The decisions from this one on.
    pub(crate) fn decided_since(&self, first: usize) -> Vec<Option<u8>> {
        let value = |it: &Choice| self.tape.track(it.track).get(it.at).copied();
        self.choices().iter().skip(first).map(value).collect()
    }

    pub(crate) const fn tape(&self) -> &Tape {
        &self.tape
    }

    pub(super) fn choices(&self) -> &[Choice] {
        self.choices.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_end_everything_is_benign() {
        let mut draws = Draws::new(".ff..".trim_end_matches('.').to_owned().parse().unwrap_or_default());
        assert_eq!(draws.below(Track::Network, 7), 0);
        assert!(!draws.chance(Track::Faults, u8::MAX));
    }

    #[test]
    fn what_cannot_happen_or_has_one_outcome_draws_nothing() {
        let mut draws = Draws::noting("ff.ff.ff.ff".parse().unwrap(), &[Track::Faults]);
        assert!(!draws.chance(Track::Faults, 0));
        assert_eq!(draws.below(Track::Faults, 1), 0);
        assert!(draws.choices().is_empty());
        assert!(draws.chance(Track::Faults, 1));
    }

    #[test]
    fn no_fault_is_drawn_when_faults_have_stopped() {
        let mut draws = Draws::new("ff.ff.ff.ff".parse().unwrap());
        draws.calm();
        assert!(!draws.chance(Track::Faults, u8::MAX));
        assert!(draws.chance(Track::Network, u8::MAX));
    }
}
