//! What those are told who watch or monitor conversations of others.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::{Content, Exit, ExitReason, LogId, MessageId, Outcome, Pid, RecordNumber};

/// What happens in the life of a conversation that is monitored, in the order of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The participant has exited.
    Exited(Exit),
    /// Another participant has taken the place of one that exited.
    Joined {
        /// Who.
        pid: Pid,
    },
    /// Nobody has taken the place of the participant that exited, and nobody will.
    Failed,
    /// The conversation is over, and so is the monitor: this is the last.
    Ended {
        /// Whether its opener is gone or did not want it any more; else it was closed.
        cancelled: bool,
    },
}

/// A record of the log of a conversation, as a watch is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Of which conversation.
    pub log: LogId,
    /// Its place in the log: 1, 2, 3, …
    pub number: RecordNumber,
    /// What the conversation was opened on. It stands with the first record, and in a [`Gap`] from the first.
    pub subject: Option<String>,
    /// What happened.
    pub what: Logged,
}

/// What a record says (`PROTOCOL.md` §7).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Logged {
    /// A participant joined.
    Joined {
        /// Who.
        pid: Pid,
    },
    /// The opener said something.
    Message {
        /// Its id in its conversation.
        id: MessageId,
        /// What it said.
        content: Content,
    },
    /// The opener asked something.
    Request {
        /// Its id in its conversation.
        id: MessageId,
        /// How long an answer is of use.
        timeout: Duration,
        /// What it asked.
        content: Content,
    },
    /// The participant answered a request, or a part of it.
    Reply {
        /// Which request: the number of its record.
        request: RecordNumber,
        /// Whether this ends the request.
        last: bool,
        /// What it answered.
        content: Content,
    },
    /// A request ended without a reply. An exit after which the conversation does not go on ends all that are open,
    /// and so do `Failed` and a leave that was cancelled: those have no record each.
    RequestEnded {
        /// Which request: the number of its record.
        request: RecordNumber,
        /// How.
        how: Outcome,
    },
    /// A participant would not join.
    JoinRefused {
        /// Who.
        pid: Pid,
        /// Why, for people.
        text: Option<String>,
    },
    /// The participant left: the conversation was closed.
    Left {
        /// Who.
        pid: Pid,
        /// Whether the opener was gone, or did not want the conversation any more.
        cancelled: bool,
    },
    /// The participant exited.
    Exited {
        /// Who.
        pid: Pid,
        /// Why.
        reason: ExitReason,
        /// Whether another is to take its place.
        goes_on: bool,
    },
    /// Nobody was found to take the place of the participant that exited.
    Failed,
    /// Something that this version does not know.
    Other {
        /// Its number.
        what: u8,
    },
}

/// Payloads show their length, never their bytes.
impl fmt::Debug for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { pid } => write!(f, "Joined({pid})"),
            Self::Message { id, content } => write!(f, "Message({id}, {} bytes)", content.payload.len()),
            Self::Request { id, timeout, content } => {
                write!(f, "Request({id}, within {timeout:?}, {} bytes)", content.payload.len())
            }
            Self::Reply { request, last, content } => {
                let part = if *last { "" } else { ", a part" };
                write!(f, "Reply(to record {request}{part}, {} bytes)", content.payload.len())
            }
            Self::RequestEnded { request, how } => write!(f, "RequestEnded(record {request}, {how:?})"),
            Self::JoinRefused { pid, text } => write!(f, "JoinRefused({pid}, {text:?})"),
            Self::Left { pid, cancelled } => {
                write!(f, "Left({pid}{})", if *cancelled { ", cancelled" } else { "" })
            }
            Self::Exited { pid, reason, goes_on } => {
                write!(f, "Exited({pid}, {reason}{})", if *goes_on { ", goes on" } else { "" })
            }
            Self::Failed => f.write_str("Failed"),
            Self::Other { what } => write!(f, "Other({what})"),
        }
    }
}

impl Logged {
    /// What was said, where something was.
    #[must_use]
    pub const fn content(&self) -> Option<&Content> {
        match self {
            Self::Message { content, .. } | Self::Request { content, .. } | Self::Reply { content, .. } => {
                Some(content)
            }
            Self::Joined { .. }
            | Self::RequestEnded { .. }
            | Self::JoinRefused { .. }
            | Self::Left { .. }
            | Self::Exited { .. }
            | Self::Failed
            | Self::Other { .. } => None,
        }
    }
}

/// Records that a watch is not told, in the place where they would stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Of which conversation.
    pub log: LogId,
    /// The first that is missing.
    pub from: RecordNumber,
    /// The last one.
    pub to: RecordNumber,
    /// What the conversation was opened on, where the first record is among them.
    pub subject: Option<String>,
    /// Why.
    pub why: GapReason,
}

/// Why a watch is not told records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The conversation was open already when the watch began.
    Before,
    /// The watcher did not keep up.
    TooSlow,
    /// A record was longer than a frame may be.
    TooLarge,
    /// A reason that this version does not know.
    Other(u16),
}

impl GapReason {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Before => 0,
            Self::TooSlow => 1,
            Self::TooLarge => 2,
            Self::Other(code) => code,
        }
    }

    /// The reason with this number.
    pub(crate) const fn of_code(code: u16) -> Self {
        match code {
            0 => Self::Before,
            1 => Self::TooSlow,
            2 => Self::TooLarge,
            code => Self::Other(code),
        }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before => f.write_str("before the watch began"),
            Self::TooSlow => f.write_str("the watcher did not keep up"),
            Self::TooLarge => f.write_str("too long for a frame"),
            Self::Other(code) => write!(f, "reason {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_record_shows_the_length_of_what_was_said_and_never_a_byte_of_it() {
        let (id, pid, request) = (MessageId::new(1), Pid::new(7), RecordNumber::new(2));
        let content = Content::from("secret");
        let timeout = Duration::from_secs(5);
        let exited = |goes_on| Logged::Exited { pid, reason: ExitReason::Normal, goes_on };
        let cases = [
            (Logged::Joined { pid }, "Joined(7)"),
            (Logged::Message { id, content: content.clone() }, "Message(1, 6 bytes)"),
            (Logged::Request { id, timeout, content: content.clone() }, "Request(1, within 5s, 6 bytes)"),
            (Logged::Reply { request, last: true, content: content.clone() }, "Reply(to record 2, 6 bytes)"),
            (Logged::Reply { request, last: false, content }, "Reply(to record 2, a part, 6 bytes)"),
            (Logged::RequestEnded { request, how: Outcome::Deadline }, "RequestEnded(record 2, Deadline)"),
            (Logged::JoinRefused { pid, text: None }, "JoinRefused(7, None)"),
            (Logged::Left { pid, cancelled: false }, "Left(7)"),
            (Logged::Left { pid, cancelled: true }, "Left(7, cancelled)"),
            (exited(false), "Exited(7, ended normally)"),
            (exited(true), "Exited(7, ended normally, goes on)"),
            (Logged::Failed, "Failed"),
            (Logged::Other { what: 99 }, "Other(99)"),
        ];
        for (what, shown) in cases {
            let says = shown.contains("bytes");
            assert_eq!((format!("{what:?}"), what.content().is_some()), (shown.to_string(), says));
        }
    }

    #[test]
    fn a_reason_of_a_gap_is_read_back_from_its_number() {
        let words =
            ["before the watch began", "the watcher did not keep up", "too long for a frame", "reason 3"];
        for (code, words) in (0..).zip(words) {
            let reason = GapReason::of_code(code);
            assert_eq!((reason.code(), reason.to_string()), (code, words.to_string()));
        }
    }
}
