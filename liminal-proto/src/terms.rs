//! What whoever opens a conversation wants of it.

use core::time::Duration;

/// What whoever opens a conversation wants of it. The default leaves everything to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Terms {
    /// What becomes of it when its participant exits.
    pub on_exit: OnExit,
    /// How long it may last, at least 1 ms and less than 50 days.
    pub total: Option<Duration>,
    /// How long nothing may be said in it while no request is outstanding, within the same bounds.
    pub idle: Option<Duration>,
}

/// What becomes of a conversation whose participant exits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OnExit {
    /// What the server has set for the subject; it fails where nothing is set.
    #[default]
    AsServed,
    /// It fails.
    Fail,
    /// It goes on with the next participant of its subject.
    Next,
}

impl OnExit {
    /// The number on the wire.
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::AsServed => 0,
            Self::Fail => 1,
            Self::Next => 2,
        }
    }

    pub(crate) const TAG_MAX: u8 = 2;

    /// The meaning of a number up to [`TAG_MAX`](Self::TAG_MAX).
    pub(crate) const fn of_tag(tag: u8) -> Self {
        match tag {
            0 => Self::AsServed,
            1 => Self::Fail,
            _ => Self::Next,
        }
    }
}
