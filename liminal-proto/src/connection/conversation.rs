//! The life of one conversation as one side of its connection sees it, as a table.

/// Where a conversation is in its life.
///
#[doc = include_str!("conversation.md")]
///
/// An exit while the conversation is closing is told and changes nothing: the end comes anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConversationPhase {
    /// Open was asked and not yet answered. Messages may follow already.
    Opening,
    /// Open.
    Open,
    /// Close was asked: no new messages, outstanding requests run to their end.
    Closing,
    /// The participant has exited; only closing is left.
    Failed,
    /// Over; the connection forgets it.
    Closed,
}

/// What moves a conversation from one phase to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Trigger {
    /// The server opened it.
    Opened,
    /// The server refused to.
    Refused,
    /// The client wants to close it.
    Close,
    /// Its participant has exited.
    Exited,
    /// The server is done with it.
    Ended,
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
        (P::Closing, T::Opened | T::Exited) => Some(P::Closing),
        (P::Opening | P::Open | P::Closing | P::Failed, T::Ended) => Some(P::Closed),
        (P::Open, T::Opened | T::Refused)
        | (P::Closing, T::Close)
        | (P::Failed, T::Opened | T::Refused | T::Exited)
        | (P::Closed, T::Opened | T::Refused | T::Close | T::Exited | T::Ended) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{ConversationPhase as Phase, Trigger, next};
    use crate::table;

    const PHASES: [Phase; 5] = [Phase::Opening, Phase::Open, Phase::Closing, Phase::Failed, Phase::Closed];
    const TRIGGERS: [Trigger; 5] =
        [Trigger::Opened, Trigger::Refused, Trigger::Close, Trigger::Exited, Trigger::Ended];

    #[test]
    fn the_diagram_in_the_docs_is_drawn_from_the_table() {
        let drawn = include_str!("conversation.md");
        table::assert_drawn("src/connection/conversation.md", drawn, &PHASES, &TRIGGERS, next);
    }

    #[test]
    fn an_exit_is_accepted_at_most_once_and_never_after_the_end() {
        assert_eq!(next(Phase::Failed, Trigger::Exited), None);
        for trigger in TRIGGERS {
            assert_eq!(next(Phase::Closed, trigger), None);
        }
    }
}
