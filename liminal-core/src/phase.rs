//! The phases of a conversation, as a table.

/// Where a conversation stands.
///
#[doc = include_str!("phase.md")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Opened; its participant has not joined yet. Messages are accepted and wait.
    Created,
    /// Its participant has joined, or another is to take its place. One that only records is active at once.
    Active,
    /// Close was called: no new messages; what was accepted runs to its answer or deadline.
    Completing,
    /// Over.
    Closed,
    /// Its participant exited and none takes its place, or none would join.
    Failed,
}

/// What moves a conversation on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// Its participant joined.
    Joined,
    /// Its participant would not join, and no other either.
    JoinRefused,
    /// Its owner closes it.
    Close,
    /// All that it had accepted has ended, or the time for that.
    Drained,
    /// Its participant exited, and none takes its place.
    Exited,
    /// Its owner is gone.
    OwnerLost,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 5] = [Self::Created, Self::Active, Self::Completing, Self::Closed, Self::Failed];

    /// The phase after `trigger`; `None` when it does nothing here.
    #[must_use]
    pub const fn next(self, trigger: Trigger) -> Option<Self> {
        use Trigger as T;
        match (self, trigger) {
            (Self::Created, T::Joined) => Some(Self::Active),
            (Self::Created, T::JoinRefused | T::Exited) => Some(Self::Failed),
            (Self::Created, T::Close) => Some(Self::Completing),
            (Self::Created, T::OwnerLost) => Some(Self::Closed),
            (Self::Created, T::Drained) => None,

            (Self::Active, T::Close) => Some(Self::Completing),
            (Self::Active, T::Exited) => Some(Self::Failed),
            (Self::Active, T::OwnerLost) => Some(Self::Closed),
            (Self::Active, T::Joined | T::JoinRefused | T::Drained) => None,

            (Self::Completing, T::Joined) => Some(Self::Completing),
            (Self::Completing, T::JoinRefused | T::Exited) => Some(Self::Failed),
            (Self::Completing, T::Drained | T::OwnerLost) => Some(Self::Closed),
            (Self::Completing, T::Close) => None,

            (Self::Failed, T::Close) => Some(Self::Failed),
            (Self::Failed, T::Joined | T::JoinRefused | T::Drained | T::Exited | T::OwnerLost) => None,

            (Self::Closed, _) => None,
        }
    }
}

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 6] =
        [Self::Joined, Self::JoinRefused, Self::Close, Self::Drained, Self::Exited, Self::OwnerLost];
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::{Phase, Trigger};

    fn pairs() -> impl Iterator<Item = (Phase, Trigger)> {
        Phase::ALL.into_iter().flat_map(|phase| Trigger::ALL.into_iter().map(move |t| (phase, t)))
    }

    fn draw() -> String {
        let mut text = String::from("```text\n");
        for from in Phase::ALL {
            for to in Phase::ALL {
                let between = between(from, to);
                if !between.is_empty() {
                    let from = format!("{from:?}");
                    text += &format!("{from:10} ──{}──▶ {to:?}\n", between.join(", "));
                }
            }
        }
        text + "```\n"
    }

    fn between(from: Phase, to: Phase) -> Vec<String> {
        let leads = |trigger: &Trigger| from.next(*trigger) == Some(to);
        Trigger::ALL.into_iter().filter(leads).map(|trigger| format!("{trigger:?}")).collect()
    }

    fn snapshot() -> String {
        let cell = |(phase, trigger): (Phase, Trigger)| {
            let next = phase.next(trigger).map_or(String::from("-"), |next| format!("{next:?}"));
            format!("{:10} {:11} {next}\n", format!("{phase:?}"), format!("{trigger:?}"))
        };
        pairs().map(cell).collect()
    }

    fn assert_drawn(file: &str, committed: &str, drawn: &str) {
        if std::env::var_os("UPDATE_DIAGRAMS").is_some() {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
            std::fs::write(path, drawn).unwrap();
        } else {
            assert_eq!(drawn, committed, "the table has changed: run the tests with UPDATE_DIAGRAMS=1");
        }
    }

    #[test]
    fn the_diagram_in_the_docs_is_what_the_table_draws() {
        assert_drawn("phase.md", include_str!("phase.md"), &draw());
    }

    #[test]
    fn every_pair_of_phase_and_trigger() {
        assert_drawn("phase.snapshot", include_str!("phase.snapshot"), &snapshot());
    }

    #[test]
    fn failed_is_reached_from_the_first_three_alone_and_nothing_leaves_it() {
        for (phase, trigger) in pairs() {
            if let Some(next) = phase.next(trigger) {
                assert!(phase != Phase::Closed, "{phase:?} {trigger:?}");
                assert!(phase != Phase::Failed || next == Phase::Failed, "{phase:?} {trigger:?}");
            }
        }
    }
}
