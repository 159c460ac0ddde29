//! What can go wrong with a handle, one small enum for each operation.

use std::fmt;
use std::io;
use std::time;

use liminal_proto::{CloseReason, CommandError, Exit, ExitReason, Pid, ReasonCode, RecordNumber, Unanswered};
use thiserror::Error;

use crate::Address;

/// That the participant of a conversation has exited: one event, kept, so that asking again or late
/// gives the same answer. Where a conversation goes on with another participant, the last exit is kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("participant {pid} {reason}")]
pub struct Crash {
    /// Who.
    pub pid: Pid,
    /// Why.
    pub reason: ExitReason,
    /// Its place in the log of the conversation.
    pub record: RecordNumber,
    /// When this side learnt of it.
    pub observed: time::Instant,
    /// Whether the conversation was to go on with another participant.
    pub goes_on: bool,
    /// The requests of the conversation that had no complete reply at that moment, whoever had asked them.
    pub unanswered: Unanswered,
}

impl Crash {
    /// An exit that this side learnt of at that moment.
    pub(crate) fn of(exit: Exit, observed: time::Instant) -> Self {
        let Exit { pid, record, reason, goes_on, unanswered } = exit;
        Self { pid, reason, record, observed, goes_on, unanswered }
    }
}

/// What is known of the exit that ended something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exited {
    /// Who, why, when.
    Crash(Crash),
    /// A server that speaks 1.0 said no more than these words, or none: they are for people, and as it sent
    /// them. (Shown, they are escaped.)
    Words(Option<String>),
}

impl Exited {
    /// Who, why, when; `None` where a server that speaks 1.0 did not say it.
    #[must_use]
    pub const fn crash(&self) -> Option<&Crash> {
        match self {
            Self::Crash(crash) => Some(crash),
            Self::Words(_) => None,
        }
    }
}

impl fmt::Display for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(crash) => crash.fmt(f),
            Self::Words(Some(words)) => write!(f, "the participant has exited: {}", words.escape_debug()),
            Self::Words(None) => f.write_str("the participant has exited"),
        }
    }
}

/// Words of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}{}", .text.as_ref().map(|text| format!(": {}", text.escape_debug())).unwrap_or_default())]
pub struct Refusal {
    /// The code.
    pub reason: ReasonCode,
    /// What else there was to say.
    pub text: Option<String>,
}

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody could be reached there.
    #[error("cannot connect to {address}: {source}")]
    Unreachable {
        /// Where.
        address: Address,
        /// What the operating system said.
        source: io::Error,
    },
    /// Somebody was reached, and the handshake failed.
    #[error("cannot connect to {address}: {reason}")]
    Handshake {
        /// Where.
        address: Address,
        /// How it ended.
        reason: CloseReason,
    },
}

/// Why a server cannot listen.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}{}", advice(.source))]
pub struct BindError {
    /// Where.
    pub address: Address,
    /// What the operating system said.
    pub source: io::Error,
}

/// What to do about an error of the operating system. One that was found before asking it says it all.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if error.get_ref().is_some() => "",
        io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another address",
        io::ErrorKind::PermissionDenied => "; choose a port from 1024 on or a path that you may write to",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        io::ErrorKind::NotFound => "; the directory does not exist",
        _ => "",
    }
}

/// Why a conversation was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer speaks 1.0, in which conversations are opened on the terms of the server.
    #[error("this needs protocol version 2.0, and the server speaks 1.0")]
    NeedsVersion2,
    /// The server refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The connection does not take the command.
    #[error("{0}")]
    Rejected(CommandError),
    /// The connection ended first.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
}

/// Why a subject is not served.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The peer speaks 1.0, in which only the server serves.
    #[error("this needs protocol version 2.0, and the server speaks 1.0")]
    NeedsVersion2,
    /// The kind has no participants, and only a server can have a subject recorded without.
    #[error("a client serves with participants: only a server can have a subject that nobody serves")]
    TraceOnly,
    /// The server refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The connection does not take the command.
    #[error("{0}")]
    Rejected(CommandError),
    /// The connection ended first.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
}

/// Why a subject is served no more. Its conversations have ended as well.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ServiceEnd {
    /// This side has withdrawn it.
    #[error("withdrawn")]
    Withdrawn,
    /// The server has ended it.
    #[error("ended by the server")]
    Dismissed,
    /// The connection was lost, and the server that the client came back to does not let it serve.
    #[error("not served again: {0}")]
    NotServed(ServeError),
    /// The connection has ended.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
}

/// Why conversations of others are not told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The peer speaks 1.0, which tells nobody of the conversations of others.
    #[error("this needs protocol version 2.0, and the server speaks 1.0")]
    NeedsVersion2,
    /// The server refused: this client may not, the participant takes part no more, there are too many, …
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The connection does not take the command.
    #[error("{0}")]
    Rejected(CommandError),
    /// The connection ended first.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
}

/// Why nothing more is told to a monitor or a watch. What was told before was taken then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MonitorEnd {
    /// The conversation that was monitored is over.
    #[error("the conversation is over")]
    Over,
    /// The server gives it up, for example because this client does not keep up.
    #[error("given up by the server: {0}")]
    Refused(Refusal),
    /// The server has ended it.
    #[error("ended by the server")]
    Dismissed,
    /// What was told was not taken, and too much of it waited.
    #[error("too much was told that was not taken")]
    TooSlow,
    /// The connection ended.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
}

/// Why a handle cannot be told to reconnect.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// Its connection is over a stream that it was given, or is recorded: there is nowhere to dial, or no leave to.
    #[error("this connection cannot be dialled again")]
    NoAddress,
    /// Its connection has ended already, and its driver with that.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The participant has exited.
    #[error("{0}")]
    Exited(Exited),
    /// The server refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The conversation is closed.
    #[error("the conversation is closed")]
    Closed,
    /// The connection does not take the command.
    #[error("{0}")]
    Rejected(CommandError),
    /// The connection ended first: whether the message was accepted is not known.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError {
    /// No reply in time: here, or by the clock of the server.
    #[error("no reply in time")]
    Timeout,
    /// The participant exited before it replied.
    #[error("{0}")]
    Exited(Exited),
    /// The server refused the request, or the participant gave no reply.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The conversation is closed.
    #[error("the conversation is closed")]
    Closed,
    /// The connection does not take the command.
    #[error("{0}")]
    Rejected(CommandError),
    /// The connection ended first: whether the request was served is not known.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
}

/// Why there is no further reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// None came in time.
    #[error("no reply in time")]
    Timeout,
    /// The participant has exited.
    #[error("{0}")]
    Exited(Exited),
    /// A request ended without a reply.
    #[error("request {request}: {refusal}")]
    Refused {
        /// Which.
        request: liminal_proto::MessageId,
        /// Why.
        refusal: Refusal,
    },
    /// A request ended with its participant, and the conversation goes on with another.
    #[error("request {request}: {}", unanswered(.crash))]
    Unanswered {
        /// Which.
        request: liminal_proto::MessageId,
        /// Who exited and why; on a 1.0 link it is not said.
        crash: Option<Crash>,
    },
    /// A request ran into its deadline.
    #[error("request {0}: no reply before its deadline")]
    Deadline(liminal_proto::MessageId),
    /// The conversation is closed.
    #[error("the conversation is closed")]
    Closed,
    /// The connection ended first.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
}

/// Why no crash was observed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AwaitCrashError {
    /// The participant was alive all that time.
    #[error("no crash in that time")]
    Timeout,
    /// The conversation was closed, and its participant with it: it did not crash.
    #[error("the conversation is closed")]
    Closed,
    /// The peer speaks 1.0, which tells no crash by itself.
    #[error("this needs protocol version 2.0, and the server speaks 1.0")]
    NeedsVersion2,
    /// The connection ended first.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
}

/// The peer speaks 1.0, which has no pids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this needs protocol version 2.0, and the server speaks 1.0")]
pub struct NeedsVersion2;

/// Why a conversation could not be closed in order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The connection does not take the command.
    #[error("{0}")]
    Rejected(CommandError),
    /// The connection ended first, and the conversation with it.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
}

/// The connection is over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("connection lost: {0}")]
pub struct Lost(pub CloseReason);

fn unanswered(crash: &Option<Crash>) -> String {
    match crash {
        Some(crash) => crash.to_string(),
        None => "the participant has exited".into(),
    }
}
