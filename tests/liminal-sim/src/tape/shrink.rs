//! Making a tape that fails smaller.

use super::{Tape, Track};

/// Finds a smaller tape that still fails: drops pieces, sets them to 0 and lowers bytes, on each track by
/// itself, until nothing helps any more or `runs_max` runs were made. There is no other precondition than
/// that the run fails: every tape is a valid one.
///
/// ```
/// use liminal_sim::{Tape, Track, shrink};
///
/// let fails = |tape: &Tape| tape.track(Track::Faults).iter().filter(|byte| **byte >= 7).count() >= 2;
/// let tape = (0..).map(Tape::from_seed).find(fails).unwrap_or_default();
/// assert_eq!(shrink(&tape, 10_000, fails).to_string(), "..0707.");
/// ```
pub fn shrink(tape: &Tape, runs_max: usize, mut fails: impl FnMut(&Tape) -> bool) -> Tape {
    let mut search = Search { best: tape.clone().trimmed(), left: runs_max, fails: &mut fails };
    // Whole tracks first: most failures need only some of them.
    for track in Track::ALL {
        search.attempt(track, |bytes| bytes.clear());
    }
    loop {
        let before = search.best.clone();
        for track in Track::ALL {
            search.drop_pieces(track);
            search.zero_pieces(track);
            search.lower_bytes(track);
        }
        if search.best == before || search.left == 0 {
            return search.best;
        }
    }
}

struct Search<'a> {
    best: Tape,
    left: usize,
    fails: &'a mut dyn FnMut(&Tape) -> bool,
}

impl Search<'_> {
    /// Keeps a change after which the run still fails. One that changes nothing costs no run.
    fn attempt(&mut self, track: Track, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut tape = self.best.clone();
        change(tape.track_mut(track));
        let tape = tape.trimmed();
        if tape == self.best || self.left == 0 {
            return false;
        }
        self.left -= 1;
        let smaller = (self.fails)(&tape);
        if smaller {
            self.best = tape;
        }
        smaller
    }

    /// From the end on, pieces of half the track down to one byte.
    fn drop_pieces(&mut self, track: Track) {
        self.pieces(track, |bytes, from, to| {
            bytes.drain(from..to);
        });
    }

    fn zero_pieces(&mut self, track: Track) {
        self.pieces(track, |bytes, from, to| bytes[from..to].fill(0));
    }

    fn pieces(&mut self, track: Track, change: impl Fn(&mut Vec<u8>, usize, usize)) {
        let mut size = self.best.track(track).len().next_power_of_two();
        while size > 0 {
            let mut end = self.best.track(track).len();
            while end > 0 {
                let start = end.saturating_sub(size);
                self.attempt(track, |bytes| change(bytes, start, end));
                end = start.min(self.best.track(track).len());
            }
            size /= 2;
        }
    }

    fn lower_bytes(&mut self, track: Track) {
        for at in 0..self.best.track(track).len() {
            // The smallest values choose most things; halving finds the neighbourhood of others, and steps of
            // one the value itself.
            while let Some(&byte) = self.best.track(track).get(at).filter(|byte| **byte > 0) {
                let lower = [1, 2, 3, byte / 2, byte - 1];
                let mut lower = lower.into_iter().filter(|it| *it < byte);
                if !lower.any(|it| self.attempt(track, |bytes| bytes[at] = it)) {
                    break;
                }
            }
        }
    }
}
