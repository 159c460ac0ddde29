//! What was wrong with what a caller wanted of its conversation.

use liminal_proto::{CloseReason, CommandError, ConversationId, LinkError, Phase, ReasonCode};

use super::Client;
use super::mailbox::{Ended, Mailbox, Opening};
use crate::error::{AskError, Exited, MessageError, Refusal};

/// What can be wrong with a message or a request; each operation says of it what applies.
#[derive(Debug)]
pub(super) enum Failed {
    Exited(Exited),
    Timeout,
    Refused(Refusal),
    Closed,
    Rejected(CommandError),
    Lost(CloseReason),
}

impl Failed {
    pub(super) fn of_message(self) -> MessageError {
        match self {
            Self::Exited(exit) => MessageError::Exited(exit),
            Self::Refused(refusal) => MessageError::Refused(refusal),
            Self::Closed => MessageError::Closed,
            Self::Rejected(error) => MessageError::Rejected(error),
            Self::Lost(end) => MessageError::Lost(end),
            Self::Timeout => MessageError::Refused(Refusal { reason: ReasonCode::DEADLINE, text: None }),
        }
    }

    pub(super) fn of_ask(self) -> AskError {
        match self {
            Self::Exited(exit) => AskError::Exited(exit),
            Self::Timeout => AskError::Timeout,
            Self::Refused(refusal) => AskError::Refused(refusal),
            Self::Closed => AskError::Closed,
            Self::Rejected(error) => AskError::Rejected(error),
            Self::Lost(end) => AskError::Lost(end),
        }
    }
}

impl Client {
    /// Whether the conversation can still be spoken in, and whether nothing has failed that nobody was told.
    pub(super) fn check(&mut self, conversation: ConversationId) -> Result<(), Failed> {
        self.standing(conversation)?;
        let mailbox = self.mailboxes.get_mut(&conversation);
        match mailbox.and_then(Mailbox::take_unreported) {
            Some(ended) => Err(self.failed(conversation, ended)),
            None => Ok(()),
        }
    }

    /// Whether the conversation can still be spoken in.
    pub(super) fn standing(&self, conversation: ConversationId) -> Result<(), Failed> {
        let Some(mailbox) = self.mailboxes.get(&conversation) else { return Err(Failed::Closed) };
        if mailbox.exited {
            return Err(Failed::Exited(mailbox.exit()));
        }
        if let Opening::Refused(refusal) = &mailbox.opening {
            return Err(Failed::Refused(refusal.clone()));
        }
        if mailbox.ended {
            return Err(Failed::Closed);
        }
        self.lost().map_or(Ok(()), |end| Err(Failed::Lost(end)))
    }

    /// Why the connection is over, also before the event that tells it.
    pub(super) fn lost(&self) -> Option<CloseReason> {
        self.end.clone().or_else(|| self.connection.close_reason().cloned())
    }

    /// The same for a command that was or was not taken: once one side has said Disconnect, none is taken that begins
    /// something, though the connection is there until what is outstanding has ended.
    pub(super) fn lost_by<T>(&self, taken: &Result<T, CommandError>) -> Option<CloseReason> {
        self.lost().or_else(|| self.closes_by(taken.as_ref().err()?))
    }

    fn closes_by(&self, reason: &CommandError) -> Option<CloseReason> {
        match (reason, self.connection.phase()) {
            (CommandError::ConnectionClosed, Phase::ClosingPeer) => Some(CloseReason::Peer),
            (CommandError::ConnectionClosed, Phase::ClosingLocal) => Some(CloseReason::Local),
            _ => None,
        }
    }

    pub(super) fn failed(&self, conversation: ConversationId, ended: Ended) -> Failed {
        match ended {
            Ended::Exited => Failed::Exited(self.exit(conversation)),
            Ended::Deadline => Failed::Timeout,
            Ended::Refused(refusal) => Failed::Refused(refusal),
            Ended::Unknown => Failed::Lost(self.lost().unwrap_or(CloseReason::Link(LinkError::Dropped))),
        }
    }

    pub(super) fn failure(&self, conversation: ConversationId, error: CommandError) -> Failed {
        match (self.lost().or_else(|| self.closes_by(&error)), error) {
            (Some(end), _) => Failed::Lost(end),
            (None, CommandError::Exited(_)) => Failed::Exited(self.exit(conversation)),
            (None, CommandError::NotOpen(_) | CommandError::Closing(_)) => Failed::Closed,
            (None, error) => Failed::Rejected(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test says so")]
mod tests {
    use liminal_core::Subject;
    use liminal_proto::{Content, ConversationId, Event, Instant, Pid};

    use crate::client::pair::Pair;
    use crate::error::{AskError, MessageError, MonitorError, OpenError, ServeError};

    use super::*;

    /// A client in a conversation, with a request that is not answered.
    fn asked() -> (Pair, ConversationId) {
        let mut pair = Pair::new();
        let id = pair.client.open("work").unwrap().unwrap();
        for event in pair.exchange() {
            if let Event::Open { conversation, .. } = event {
                pair.server.opened(Instant::ORIGIN, conversation, Some(Pid::new(1))).unwrap();
            }
        }
        pair.exchange();
        pair.ask(id).unwrap();
        pair.exchange();
        (pair, id)
    }

    impl Pair {
        fn ask(&mut self, id: ConversationId) -> Result<(), AskError> {
            let now = std::time::Instant::now();
            self.client.ask(now, id, &Content::from("hello"), None, true).map(drop)
        }
    }

    #[test]
    fn what_begins_while_the_connection_closes_is_lost_to_whoever_closes_it() {
        for why in [CloseReason::Peer, CloseReason::Local] {
            let (mut pair, id) = asked();
            match why {
                CloseReason::Peer => pair.server.disconnect(Instant::ORIGIN),
                _ => pair.client.disconnect(),
            }
            if why == CloseReason::Peer {
                pair.exchange();
            }
            // What is outstanding may be answered still.
            assert_eq!((pair.client.ended(), pair.client.receive_reply(id)), (None, None));
            let client = &mut pair.client;
            assert_eq!(client.open("work"), Err(OpenError::Lost(why.clone())));
            assert_eq!(client.serve(&Subject::Any, 1), Err(ServeError::Lost(why.clone())));
            assert_eq!(client.monitor(Pid::new(1)), Err(MonitorError::Lost(why.clone())));
            assert_eq!(client.watch(&Subject::Any), Err(MonitorError::Lost(why.clone())));
            let said = client.message(id, &Content::from("hello"));
            assert_eq!(said, Err(MessageError::Lost(why.clone())));
            assert_eq!(pair.ask(id), Err(AskError::Lost(why.clone())));
        }
    }
}
