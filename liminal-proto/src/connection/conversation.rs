//! The life of one conversation as one side of its connection sees it, as a table.

/// Where a conversation is in its life.
///
#[doc = include_str!("conversation.md")]
///
/// An exit while the conversation is closing is told and changes nothing: the end comes anyway. An exit
/// after which the conversation goes on with another participant changes nothing either, and may come
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConversationPhase {
    /// Open was asked and not yet answered. Messages may follow already.
    Opening,
    /// Open.
    Open,
    /// Close was asked: no new messages, outstanding requests run to their end.
    Closing,
    /// The participant has exited, and none takes its place; only closing is left.
    Failed,
    /// Over; the connection forgets it.
    Closed,
}

impl ConversationPhase {
    /// Every phase.
    pub const ALL: [Self; 5] = [Self::Opening, Self::Open, Self::Closing, Self::Failed, Self::Closed];

    /// The phase after `trigger`; `None` where it is not allowed.
    #[must_use]
    pub const fn next(self, trigger: Trigger) -> Option<Self> {
        next(self, trigger)
    }
}

/// What moves a conversation from one [phase](ConversationPhase) to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// The server opened it.
    Opened,
    /// The server refused to.
    Refused,
    /// The client wants to close it.
    Close,
    /// Its participant has exited, and none takes its place.
    Exited,
    /// Its participant has exited, and another is to take its place.
    Rerouted,
    /// Another participant has taken that place.
    Joined,
    /// The server is done with it.
    Ended,
}

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 7] =
        [Self::Opened, Self::Refused, Self::Close, Self::Exited, Self::Rerouted, Self::Joined, Self::Ended];
}

/// The table: the phase that `trigger` leads to, or `None` where it is not allowed.
pub(crate) const fn next(phase: ConversationPhase, trigger: Trigger) -> Option<ConversationPhase> {
    use ConversationPhase as P;
    use Trigger as T;
    match (phase, trigger) {
        (P::Opening, T::Opened) => Some(P::Open),
        (P::Opening | P::Closing, T::Refused) => Some(P::Closed),
        (P::Opening | P::Open | P::Failed, T::Close) => Some(P::Closing),
        (P::Opening | P::Open, T::Exited) => Some(P::Failed),
        (P::Open, T::Rerouted | T::Joined) => Some(P::Open),
        (P::Closing, T::Opened | T::Exited | T::Rerouted | T::Joined) => Some(P::Closing),
        (P::Opening | P::Open | P::Closing | P::Failed, T::Ended) => Some(P::Closed),
        (P::Opening, T::Rerouted | T::Joined)
        | (P::Open, T::Opened | T::Refused)
        | (P::Closing, T::Close)
        | (P::Failed, T::Opened | T::Refused | T::Exited | T::Rerouted | T::Joined)
        | (P::Closed, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{ConversationPhase as Phase, Trigger, next};
    use crate::table;

    #[test]
    fn the_diagram_in_the_docs_is_drawn_from_the_table() {
        let drawn = include_str!("conversation.md");
        table::assert_drawn("src/connection/conversation.md", drawn, &Phase::ALL, &Trigger::ALL, next);
    }

    #[test]
    fn an_exit_for_good_is_accepted_at_most_once_and_nothing_after_the_end() {
        for trigger in [Trigger::Exited, Trigger::Rerouted, Trigger::Joined] {
            assert_eq!(next(Phase::Failed, trigger), None);
        }
        for trigger in Trigger::ALL {
            assert_eq!(next(Phase::Closed, trigger), None);
        }
    }
}
