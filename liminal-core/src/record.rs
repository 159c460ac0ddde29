//! The log of a conversation: what happened in it, in one order.

use alloc::string::String;
use core::fmt;

use crate::ConversationKey;
use bytes::Bytes;
use liminal_proto::{
    Content, ExitReason, Instant, LogId, LogRecord, Logged, MessageId, Metadata, Outcome, Pid, RecordNumber,
};

/// One record of the log of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place: 1, 2, 3, … without holes.
    pub number: RecordNumber,
    /// When the bus sequenced it.
    pub at: Instant,
    /// What happened.
    pub what: Recorded,
}

impl Record {
    /// The record as a watch is told it, in a conversation that was opened on this subject.
    #[must_use]
    pub fn shown(&self, conversation: ConversationKey, subject: &str) -> LogRecord {
        let subject = (self.number.get() == 1).then(|| subject.into());
        let (log, what) = (LogId::new(conversation.get()), self.what.logged(self.at));
        LogRecord { log, number: self.number, subject, what }
    }
}

/// What a record says.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recorded {
    /// The participant joined. Messages that were accepted before stand before it, and wait for it.
    Joined {
        /// Who.
        pid: Pid,
    },
    /// The owner said something.
    Message {
        /// Its id.
        id: MessageId,
        /// What it said.
        payload: Bytes,
        /// What was said about that.
        metadata: Metadata,
    },
    /// The owner asked something.
    Request {
        /// Its id.
        id: MessageId,
        /// Until when an answer is of use.
        deadline: Instant,
        /// What it asked.
        payload: Bytes,
        /// What was said about that.
        metadata: Metadata,
    },
    /// The participant answered a request, or a part of it.
    Reply {
        /// Which request: the number of its record.
        request: RecordNumber,
        /// Whether this ends the request.
        last: bool,
        /// What it answered.
        payload: Bytes,
        /// What was said about that.
        metadata: Metadata,
    },
    /// A request ended without a reply. (An exit after which the conversation does not go on ends all open
    /// requests, and so do `Failed` and a leave whose owner was lost; they have no record each.)
    RequestEnded {
        /// Which request: the number of its record.
        request: RecordNumber,
        /// How.
        how: Outcome,
    },
    /// The participant would not join. Unless another is found the conversation is over.
    JoinRefused {
        /// Who.
        pid: Pid,
        /// Why, for people.
        text: Option<String>,
    },
    /// The participant left. Ends its life.
    Left {
        /// Who.
        pid: Pid,
        /// Why.
        why: Leaving,
    },
    /// The participant exited. Ends its life.
    Exited {
        /// Who.
        pid: Pid,
        /// Why.
        reason: ExitReason,
        /// Whether another is to take its place.
        goes_on: bool,
    },
    /// Nobody was found to take the place of the participant that exited. The conversation is over.
    Failed,
}

impl Recorded {
    /// What it says to those who watch, who know no clock of the bus.
    fn logged(&self, at: Instant) -> Logged {
        match self {
            Self::Joined { pid } => Logged::Joined { pid: *pid },
            Self::Message { id, payload, metadata } => {
                Logged::Message { id: *id, content: Content::new(payload.clone(), metadata.clone()) }
            }
            Self::Request { id, deadline, payload, metadata } => Logged::Request {
                id: *id,
                timeout: deadline.since(at),
                content: Content::new(payload.clone(), metadata.clone()),
            },
            Self::Reply { request, last, payload, metadata } => Logged::Reply {
                request: *request,
                last: *last,
                content: Content::new(payload.clone(), metadata.clone()),
            },
            Self::RequestEnded { request, how } => {
                Logged::RequestEnded { request: *request, how: how.clone() }
            }
            Self::JoinRefused { pid, text } => Logged::JoinRefused { pid: *pid, text: text.clone() },
            Self::Left { pid, why } => Logged::Left { pid: *pid, cancelled: *why == Leaving::OwnerLost },
            Self::Exited { pid, reason, goes_on } => {
                Logged::Exited { pid: *pid, reason: reason.clone(), goes_on: *goes_on }
            }
            Self::Failed => Logged::Failed,
        }
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { pid } => write!(f, "Joined({pid})"),
            Self::Message { id, payload, .. } => write!(f, "Message({id}, {} bytes)", payload.len()),
            Self::Request { id, deadline, payload, .. } => {
                write!(f, "Request({id}, until {deadline}, {} bytes)", payload.len())
            }
            Self::Reply { request, last, payload, .. } => {
                let part = if *last { "" } else { ", a part" };
                write!(f, "Reply(to record {request}{part}, {} bytes)", payload.len())
            }
            Self::RequestEnded { request, how } => write!(f, "RequestEnded(record {request}, {how:?})"),
            Self::JoinRefused { pid, text } => write!(f, "JoinRefused({pid}, {text:?})"),
            Self::Left { pid, why } => write!(f, "Left({pid}, {why:?})"),
            Self::Exited { pid, reason, goes_on } => {
                write!(f, "Exited({pid}, {reason}{})", if *goes_on { ", goes on" } else { "" })
            }
            Self::Failed => f.write_str("Failed"),
        }
    }
}

/// Why a participant leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Leaving {
    /// The owner closed the conversation.
    Closed,
    /// The owner is gone.
    OwnerLost,
}
