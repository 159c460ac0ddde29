//! All tapes of a small world, one after the other.

use super::{Draws, Tape, Track};

/// The tape after the one that was drawn from, depth first: the last decision that has a value left takes
/// its next one, and what came after it is open again. `None`: that was the last.
///
/// The draws must have been [noted](Draws::noting). It ends for worlds that draw finitely often.
///
/// ```
/// use liminal_sim::{Draws, Tape, Track, next_tape};
///
/// let mut seen = Vec::new();
/// let mut tape = Some(Tape::default());
/// while let Some(this) = tape {
///     let mut draws = Draws::noting(this, &[Track::Faults, Track::Network]);
///     let fault = draws.chance(Track::Faults, 10);
///     seen.push((fault, if fault { draws.below(Track::Network, 3) } else { 0 }));
///     tape = next_tape(&draws);
/// }
/// assert_eq!(seen, [(false, 0), (true, 0), (true, 1), (true, 2)]);
/// ```
#[must_use]
pub fn next_tape(draws: &Draws) -> Option<Tape> {
    next_branch(draws).map(|(tape, _)| tape)
}

/// The same, and how many decisions it has in common with those that were made, the last of them being
/// another.
pub(crate) fn next_branch(draws: &Draws) -> Option<(Tape, usize)> {
    let mut tape = draws.tape().clone();
    let mut kept = draws.choices().to_vec();
    while let Some(choice) = kept.pop() {
        let Some(next) = choice.next else { continue };
        for track in Track::ALL {
            let len = kept.iter().filter(|it| it.track == track).count();
            tape.track_mut(track).resize(len, 0);
        }
        tape.track_mut(choice.track).push(next);
        return Some((tape, kept.len() + 1));
    }
    None
}
