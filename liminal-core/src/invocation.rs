//! What the bus asks of a host, and what the host answers.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use liminal_proto::{Content, ExitReason, Instant, MessageId, Metadata, Pid, ReasonCode, RecordNumber};

use crate::{ConversationKey, Leaving, OfferId};

/// A call of a participant. The host makes it outside the bus and answers with its ticket.
///
/// A conversation has at most one call out at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Whom. One participant in one conversation, never used again in that. Where other buses invite to
    /// conversations they say it, and of two of them, or of one that was started again, it may be the same.
    pub pid: Pid,
    /// What it was registered as.
    pub offer: OfferId,
    /// In which conversation.
    pub conversation: ConversationKey,
    /// What to call.
    pub what: Call,
}

/// What to call.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// Create the participant. Always its first call.
    Join {
        /// What the conversation was opened on.
        subject: String,
    },
    /// A message for it.
    Message {
        /// Its id.
        id: MessageId,
        /// Its place in the log.
        record: RecordNumber,
        /// Whether a reply is wanted. One to a message that wants none is dropped.
        expects_reply: bool,
        /// How often it was moved from a participant that exited to the next: see
        /// [`Received::redelivered`](crate::Received::redelivered).
        redelivered: u8,
        /// Until when a reply is of use.
        deadline: Option<Instant>,
        /// What it says.
        payload: Bytes,
        /// What is said about that.
        metadata: Metadata,
    },
    /// The time that it asked for has come, or the deadline of the request it has in hand.
    Wake {
        /// Until when a reply is of use; `None` when none is wanted any more.
        deadline: Option<Instant>,
    },
    /// The conversation is over: drop the participant. Always its last call, unless it exited.
    Leave {
        /// Why.
        why: Leaving,
    },
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join { subject } => f.debug_struct("Join").field("subject", subject).finish(),
            Self::Message { id, record, expects_reply, redelivered, deadline, payload, metadata } => f
                .debug_struct("Message")
                .field("id", id)
                .field("record", record)
                .field("expects_reply", expects_reply)
                .field("redelivered", redelivered)
                .field("deadline", deadline)
                .field("payload", &format_args!("{} bytes", payload.len()))
                .field("metadata", metadata)
                .finish(),
            Self::Wake { deadline } => f.debug_struct("Wake").field("deadline", deadline).finish(),
            Self::Leave { why } => f.debug_struct("Leave").field("why", why).finish(),
        }
    }
}

/// What a host says of a call.
///
/// Any number of [`Part`](Self::Part), at most one [`Reply`](Self::Reply), then exactly one of the
/// others, which says that the call has returned and ends its ticket.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// A part of the reply; the request goes on.
    Part(Content),
    /// The reply, or the last part of it. The call goes on.
    Reply(Content),
    /// It joined. To any other call this is [`Done`](Self::Done).
    Joined,
    /// It is through. A request without a reply ends as refused. To a join this is [`Joined`](Self::Joined).
    Done,
    /// It wants to be called again after this time, at the deadline of the request it has in hand at
    /// the latest; until then its conversation stands still. To a join: it joined, and wants that.
    WakeAfter(Duration),
    /// It ended or crashed, and is no more.
    Exited(ExitReason),
    /// It will not join, or not answer this request.
    Refused {
        /// Why.
        reason: ReasonCode,
        /// Why, for people.
        text: Option<String>,
    },
    /// The host has no seat free and called nobody. An opening or a request is refused as busy; what
    /// needs no answer is called again after [`busy_time`](crate::Settings::busy_time).
    Busy,
}

impl Answer {
    /// Whether this says that the call has returned.
    #[must_use]
    pub const fn returns(&self) -> bool {
        !matches!(self, Self::Part(_) | Self::Reply(_))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(content) => write!(f, "Part({} bytes)", content.len()),
            Self::Reply(content) => write!(f, "Reply({} bytes)", content.len()),
            Self::Joined => f.write_str("Joined"),
            Self::Done => f.write_str("Done"),
            Self::WakeAfter(time) => write!(f, "WakeAfter({time:?})"),
            Self::Exited(reason) => write!(f, "Exited({reason})"),
            Self::Refused { reason, text } => write!(f, "Refused({reason}, {text:?})"),
            Self::Busy => f.write_str("Busy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn what_is_logged_of_calls_and_answers_shows_lengths_and_never_what_was_said() {
        let payload = Bytes::from_static(b"secret");
        let (id, record) = (MessageId::new(1), RecordNumber::new(2));
        let (deadline, redelivered) = (Some(Instant::ORIGIN), 3);
        let call = Call::Message {
            id,
            record,
            expects_reply: true,
            redelivered,
            deadline,
            payload: payload.clone(),
            metadata: Metadata::default(),
        };
        let shown = "Message { id: MessageId(1), record: RecordNumber(2), expects_reply: true, redelivered: 3, \
                     deadline: Some(Instant(0)), payload: 6 bytes, metadata: 0 bytes }";
        assert_eq!(format!("{call:?}"), shown);
        assert_eq!(format!("{:?}", Call::Wake { deadline: None }), "Wake { deadline: None }");
        let answers = [
            (Answer::Part(payload.clone().into()), "Part(6 bytes)"),
            (Answer::Reply(payload.into()), "Reply(6 bytes)"),
            (Answer::Exited(ExitReason::Normal), "Exited(ended normally)"),
            (Answer::Refused { reason: ReasonCode::BUSY, text: None }, "Refused(busy (0x0103), None)"),
        ];
        for (answer, shown) in answers {
            assert_eq!(format!("{answer:?}"), shown);
        }
    }
}
