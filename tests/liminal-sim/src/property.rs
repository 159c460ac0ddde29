//! What must hold of the user's own state and of the transcript.

use std::fmt;
use std::time::Duration;

use liminal_core::Transcript;
use liminal_proto::Instant;

/// What a property sees: the state that the plan gave, and what has happened so far.
#[derive(Debug)]
pub struct View<'a, S> {
    /// The state of the user.
    pub state: &'a S,
    /// What has happened so far.
    pub transcript: &'a Transcript,
    /// The time.
    pub now: Instant,
}

type Predicate<S> = Box<dyn Fn(&View<'_, S>) -> bool>;

/// A named property.
pub(crate) struct Property<S> {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) holds: Predicate<S>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Always,
    Eventually(Duration),
    Sometimes,
}

impl<S> Property<S> {
    pub(crate) fn new(name: &str, kind: Kind, holds: impl Fn(&View<'_, S>) -> bool + 'static) -> Self {
        Self { name: name.into(), kind, holds: Box::new(holds) }
    }
}

/// How the properties of a run have fared.
pub(crate) struct Fared {
    /// When each held for the first time, and behind how many entries; of `always`, when it did not.
    first: Vec<Option<(Instant, usize)>>,
    /// When faults had stopped and inputs had ended.
    calm_since: Option<Instant>,
}

impl Fared {
    pub(crate) fn new(count: usize) -> Self {
        Self { first: vec![None; count], calm_since: None }
    }

    /// Looks at all of them at one moment.
    pub(crate) fn look<S>(&mut self, properties: &[Property<S>], view: &View<'_, S>, is_calm: bool) {
        if is_calm {
            self.calm_since.get_or_insert(view.now);
        }
        for (first, property) in self.first.iter_mut().zip(properties) {
            let counts = is_calm || !matches!(property.kind, Kind::Eventually(_));
            if counts && first.is_none() && (property.holds)(view) != (property.kind == Kind::Always) {
                *first = Some((view.now, entries_said(view.transcript)));
            }
        }
    }

    /// The first that does not hold, in words.
    pub(crate) fn broken<S>(&self, properties: &[Property<S>]) -> Option<String> {
        self.first.iter().zip(properties).find_map(|(first, property)| self.fault(*first, property))
    }

    /// The entry behind which the first `always` that is broken does not hold.
    pub(crate) fn entry<S>(&self, properties: &[Property<S>]) -> Option<usize> {
        let (first, property) =
            self.first.iter().zip(properties).find(|(first, it)| self.fault(**first, it).is_some())?;
        let (_, entries) = (*first).filter(|_| property.kind == Kind::Always)?;
        entries.checked_sub(1)
    }

    fn fault<S>(&self, first: Option<(Instant, usize)>, property: &Property<S>) -> Option<String> {
        let name = &property.name;
        match (property.kind, first) {
            (Kind::Always, Some((at, _))) => Some(format!("always {name}: does not hold at {at}.")),
            (Kind::Eventually(within), first) => {
                let late =
                    first.is_none_or(|(at, _)| self.calm_since.is_some_and(|calm| at > calm.after(within)));
                late.then(|| {
                    format!("eventually {name}: not within {within:?} after faults stop and inputs end.")
                })
            }
            _ => None,
        }
    }

    /// Which were seen.
    pub(crate) fn seen(&self) -> impl Iterator<Item = bool> + '_ {
        self.first.iter().map(Option::is_some)
    }
}

/// How many entries there are, but for measurements at the end: nobody has said or done those.
fn entries_said(transcript: &Transcript) -> usize {
    let entries = transcript.entries();
    let last = entries.iter().rposition(|entry| !entry.what.is_measurement());
    last.map_or(0, |last| last + 1)
}

impl<S> fmt::Debug for Property<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}
