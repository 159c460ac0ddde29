//! What can go wrong, by whose fault it is.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use thiserror::Error;

use crate::wire::{DecodeError, Dialect, EncodeError};
use crate::{ConversationId, Limits, MessageId, ReasonCode, StreamId, TimerReason, Version};

/// Our own caller used the connection wrongly. The connection stays sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misuse {
    /// More bytes reported as read than there was space for.
    #[error("read_done({reported}) reports more than the {space} bytes that read_space gave")]
    ReadTooMuch {
        /// What was reported.
        reported: usize,
        /// What was possible.
        space: usize,
    },
    /// More bytes reported as written than there were.
    #[error("wrote({reported}) reports more than the {queued} bytes that were queued")]
    WroteTooMuch {
        /// What was reported.
        reported: usize,
        /// What was possible.
        queued: usize,
    },
}

/// Why a command was not taken. Commands that carry a payload give it back: see [`Rejected`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The handshake is not through yet.
    #[error("the connection is not established yet")]
    NotConnected,
    /// The connection is closing or closed.
    #[error("the connection is closed")]
    ConnectionClosed,
    /// This side of a connection has no such command.
    #[error("only the {0} has this command")]
    WrongSide(Side),
    /// No such conversation.
    #[error("conversation {0} is not open")]
    NotOpen(ConversationId),
    /// There is a conversation with this id already.
    #[error("conversation {0} is open already")]
    AlreadyOpen(ConversationId),
    /// No such offer, or none that this can be done to any more.
    #[error("the offer on stream {0} is not standing")]
    NotServing(StreamId),
    /// No such monitor or watch, or none that this can be done to any more.
    #[error("the monitor on stream {0} is not standing")]
    NotMonitoring(StreamId),
    /// The participant of the conversation has exited.
    #[error("the participant of conversation {0} has exited")]
    Exited(ConversationId),
    /// The conversation is closing.
    #[error("conversation {0} is closing")]
    Closing(ConversationId),
    /// The output queue is full. Try again when some of it was written.
    #[error("the output queue is full")]
    Full,
    /// The peer has given no credit for that much more, in this conversation, or on the whole connection. Try again
    /// after [`Event::Room`](crate::Event::Room).
    #[error("the peer has given no credit for that{}: say it again when it has", Where(.0))]
    NoCredit(Option<ConversationId>),
    /// A limit of this side is reached.
    #[error("the limit of {limit} {what} is reached")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// The payload or name is above its limit.
    #[error("{len} bytes are above the limit of {limit}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The number of a message is not above those before it in its conversation.
    #[error("message {message} does not come after {last}")]
    NotAscending {
        /// The number.
        message: MessageId,
        /// The last one.
        last: MessageId,
    },
    /// No request with this id is outstanding.
    #[error("the message asked for no reply, or has ended")]
    NotOutstanding,
    /// It cannot be expressed as a frame.
    #[error("{0}")]
    Unencodable(EncodeError),
    /// The peer speaks 1.0, which cannot say this.
    #[error("this needs protocol version 2.0, and the peer speaks 1.0")]
    NeedsVersion2,
}

struct Where<'a>(&'a Option<ConversationId>);

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(conversation) => write!(f, " in conversation {conversation}"),
            None => Ok(()),
        }
    }
}

/// A command that was not taken, with what it carried.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Rejected<T> {
    /// What the command carried: nothing is swallowed.
    pub payload: T,
    /// Why it was not taken.
    pub reason: CommandError,
}

/// One of the two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one that connects.
    Client,
    /// The one that is connected to.
    Server,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// The peer broke a rule of the protocol. Ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// Bytes that are no frame, or a frame above its limit.
    #[error("{error}{}", Looks(.resembles))]
    Undecodable {
        /// What is wrong, and where.
        error: DecodeError,
        /// What the first bytes of the connection look like, if like something known.
        resembles: Option<Resemblance>,
    },
    /// A frame that the state of the connection does not allow.
    #[error("{frame} is not allowed {state}")]
    WrongState {
        /// The name of the frame type.
        frame: &'static str,
        /// When it came, such as "before Connect".
        state: &'static str,
    },
    /// The stream or the message id is not above the one before it (2.0).
    #[error("{what} {got} does not come after {last}")]
    NotAscending {
        /// Which number.
        what: &'static str,
        /// What it was.
        got: u64,
        /// The last one.
        last: u64,
    },
    /// A conversation was opened under another id than the stream it stands on (2.0).
    #[error("conversation {conversation} was opened on stream {stream}: in 2.0 the two are equal")]
    ForeignId {
        /// The id.
        conversation: ConversationId,
        /// The stream.
        stream: StreamId,
    },
    /// Something was begun on a stream of the other side (2.0): a client's are odd and a server's even.
    #[error("{frame} on stream {stream}: in 2.0 a client begins on odd streams and a server on even ones")]
    ForeignStream {
        /// The frame.
        frame: &'static str,
        /// The stream.
        stream: StreamId,
    },
    /// The token is wrong.
    #[error("the token is wrong")]
    BadToken,
    /// No version in common.
    #[error("no protocol version in common: the peer offers {min} to {max}")]
    NoCommonVersion {
        /// The lowest that it offers.
        min: Version,
        /// The highest that it offers.
        max: Version,
    },
    /// More control frames, refusals or resets than the limit allows.
    #[error("too many {what}")]
    Flood {
        /// Of what.
        what: &'static str,
    },
    /// It said more than it had credit for (2.0).
    #[error("{bytes} bytes were said with a credit of {left}")]
    BeyondCredit {
        /// What it said, as it is charged.
        bytes: u32,
        /// What it might have said.
        left: u32,
    },
    /// It gave more credit than anybody may have (2.0).
    #[error("a credit of {bytes} bytes more than {left} is above the limit of {}", Limits::CREDIT_MAX)]
    TooMuchCredit {
        /// What it gave.
        bytes: u32,
        /// What was left.
        left: u32,
    },
    /// Too slow: nothing moved for as long as the limit allows.
    #[error("{} within {limit:?}", Slow(.what))]
    TooSlow {
        /// What was waited for.
        what: TimerReason,
        /// How long.
        limit: Duration,
    },
    /// It does not read what it is sent.
    #[error("the peer does not read: {queued} bytes of output are queued")]
    Unread {
        /// How many bytes.
        queued: usize,
    },
    /// It closed its half inside a frame.
    #[error("the stream ended inside a frame, after {have} bytes of it")]
    EndInsideFrame {
        /// How much of the frame had come.
        have: usize,
    },
}

impl Violation {
    /// The code that the peer is told.
    #[must_use]
    pub const fn code(&self) -> ReasonCode {
        match self {
            Self::Undecodable { error, .. } => error.reason_code(),
            Self::WrongState { .. } => ReasonCode::INVALID_STATE,
            Self::NotAscending { .. } | Self::ForeignId { .. } | Self::ForeignStream { .. } => {
                ReasonCode::INVALID_STREAM
            }
            Self::BadToken => ReasonCode::AUTHENTICATION,
            Self::NoCommonVersion { .. } => ReasonCode::VERSION_MISMATCH,
            Self::Flood { .. } => ReasonCode::LIMIT,
            Self::BeyondCredit { .. } | Self::TooMuchCredit { .. } => ReasonCode::CREDIT,
            Self::TooSlow { .. } | Self::Unread { .. } => ReasonCode::TOO_SLOW,
            Self::EndInsideFrame { .. } => ReasonCode::TRUNCATED_PAYLOAD,
        }
    }
}

/// What a peer that does not speak this protocol seems to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Resemblance {
    /// An HTTP request.
    Http,
    /// The hello of a TLS client.
    Tls,
    /// The banner of an SSH client.
    Ssh,
}

impl fmt::Display for Resemblance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "an HTTP request",
            Self::Tls => "a TLS hello",
            Self::Ssh => "an SSH banner",
        })
    }
}

struct Looks<'a>(&'a Option<Resemblance>);

impl fmt::Display for Looks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |it| write!(f, " (this looks like {it})"))
    }
}

struct Slow<'a>(&'a TimerReason);

impl fmt::Display for Slow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            TimerReason::Handshake => "the handshake was not through",
            TimerReason::UnfinishedFrame => "a frame that had begun was not complete",
            TimerReason::WriteStall => "the peer read none of the output",
            TimerReason::Keepalive => "no ping was answered",
            TimerReason::Deadline => "a request was not answered",
            TimerReason::Close => "the close was not answered",
        })
    }
}

/// What the transport says went wrong under the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The peer reset the connection.
    #[error("the peer reset the connection")]
    Reset,
    /// The transport timed out.
    #[error("the transport timed out")]
    TimedOut,
    /// The embedder took the transport away.
    #[error("the transport was dropped")]
    Dropped,
    /// Anything else.
    #[error("the transport failed")]
    Failed,
}

/// Why a connection is over, and who ended it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side asked for a graceful close, and it is through.
    #[error("closed by this side")]
    Local,
    /// The peer asked for a graceful close.
    #[error("closed by the peer")]
    Peer,
    /// The peer closed its half without a word.
    #[error("the peer ended the stream")]
    PeerEof,
    /// The peer broke a rule.
    #[error("protocol violation: {0}")]
    Violation(Violation),
    /// The server refused the connection.
    #[error("the server refused the connection: {reason}{}", Text(.text))]
    Refused {
        /// Its code.
        reason: ReasonCode,
        /// Its words.
        text: Option<String>,
    },
    /// The server selected a version that this side does not speak.
    #[error("the server selected version {selected}, which this side does not speak")]
    UnspokenVersion {
        /// What it selected.
        selected: Version,
    },
    /// The transport failed.
    #[error("{0}")]
    Link(LinkError),
}

struct Text<'a>(&'a Option<String>);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |text| write!(f, ": {}", text.escape_debug()))
    }
}

impl CloseReason {
    /// Whether dialling again while offering 1.0 alone may succeed.
    #[must_use]
    pub fn suggests_redial(&self, offered: Dialect) -> bool {
        offered > Dialect::V1
            && match self {
                Self::UnspokenVersion { selected } => selected.major == 1,
                Self::Refused { reason, .. } => *reason == ReasonCode::VERSION_MISMATCH,
                Self::Local | Self::Peer | Self::PeerEof | Self::Violation(_) | Self::Link(_) => false,
            }
    }
}
