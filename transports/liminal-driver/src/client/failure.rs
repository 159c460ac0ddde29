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

    pub(super) fn failed(&self, conversation: ConversationId, ended: Ended) -> Failed {
        match ended {
            Ended::Exited => Failed::Exited(self.exit(conversation)),
            Ended::Deadline => Failed::Timeout,
            Ended::Refused(refusal) => Failed::Refused(refusal),
            Ended::Unknown => Failed::Lost(self.lost().unwrap_or(CloseReason::Link(LinkError::Dropped))),
        }
    }

    pub(super) fn failure(&self, conversation: ConversationId, error: CommandError) -> Failed {
        match (self.lost(), error) {
            (Some(end), _) => Failed::Lost(end),
            (None, CommandError::ConnectionClosed) if self.connection.phase() == Phase::ClosingPeer => {
                Failed::Lost(CloseReason::Peer)
            }
            (None, CommandError::Exited(_)) => Failed::Exited(self.exit(conversation)),
            (None, CommandError::NotOpen(_) | CommandError::Closing(_)) => Failed::Closed,
            (None, error) => Failed::Rejected(error),
        }
    }
}
