//! The life of a connection, as a table.

/// Where a connection is in its life (`PROTOCOL.md` §6).
///
#[doc = include_str!("phase.md")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// A server that waits for Connect.
    Connecting,
    /// Connect was sent or received, its answer was not yet.
    Authenticating,
    /// The handshake is through.
    Active,
    /// This side sent Disconnect and waits for the peer's.
    ClosingLocal,
    /// The peer sent Disconnect; ours follows when nothing is outstanding.
    ClosingPeer,
    /// Over.
    Closed,
}

/// What moves a connection from one phase to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Trigger {
    /// Connect was sent (client) or received (server).
    Connect,
    /// `ConnectAck` was sent (server) or received (client).
    ConnectAck,
    /// This side sends Disconnect of its own will.
    DisconnectSent,
    /// The peer's Disconnect came.
    DisconnectReceived,
    /// `ConnectError`, a violation, the end of the stream or of the link; or both have said Disconnect
    /// and nothing is outstanding.
    Ended,
}

/// The table: the phase that `trigger` leads to, or `None` where it is not allowed.
pub(crate) const fn next(phase: Phase, trigger: Trigger) -> Option<Phase> {
    use Phase as P;
    use Trigger as T;
    match (phase, trigger) {
        (P::Connecting, T::Connect) => Some(P::Authenticating),
        (P::Authenticating, T::ConnectAck) => Some(P::Active),
        (P::Active, T::DisconnectSent) => Some(P::ClosingLocal),
        (P::Active, T::DisconnectReceived) => Some(P::ClosingPeer),
        (P::ClosingLocal, T::DisconnectReceived) => Some(P::Closed),
        (P::Connecting | P::Authenticating | P::Active | P::ClosingLocal | P::ClosingPeer, T::Ended) => {
            Some(P::Closed)
        }
        (
            P::Connecting | P::Authenticating | P::Active | P::ClosingLocal | P::ClosingPeer | P::Closed,
            T::Connect | T::ConnectAck | T::DisconnectSent | T::DisconnectReceived | T::Ended,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, Trigger, next};
    use crate::table;

    const PHASES: [Phase; 6] = [
        Phase::Connecting,
        Phase::Authenticating,
        Phase::Active,
        Phase::ClosingLocal,
        Phase::ClosingPeer,
        Phase::Closed,
    ];
    const TRIGGERS: [Trigger; 5] = [
        Trigger::Connect,
        Trigger::ConnectAck,
        Trigger::DisconnectSent,
        Trigger::DisconnectReceived,
        Trigger::Ended,
    ];

    #[test]
    fn the_diagram_in_the_docs_is_drawn_from_the_table() {
        table::assert_drawn("src/connection/phase.md", include_str!("phase.md"), &PHASES, &TRIGGERS, next);
    }

    #[test]
    fn closed_is_final_and_reached_from_everywhere() {
        for trigger in TRIGGERS {
            assert_eq!(next(Phase::Closed, trigger), None);
        }
        for phase in PHASES.into_iter().filter(|phase| *phase != Phase::Closed) {
            assert_eq!(next(phase, Trigger::Ended), Some(Phase::Closed));
        }
    }
}
