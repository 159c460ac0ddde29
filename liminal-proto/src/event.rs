//! What a connection tells its embedder.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use crate::{
    CloseReason, ConversationId, Gap, Instant, LogRecord, MessageId, Metadata, Notice, Pid, ReasonCode,
    RecordNumber, StreamId, Terms, Version,
};

/// What [`Connection::poll`](crate::Connection::poll) found.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Something happened. Poll again afterwards.
    Event(Event),
    /// Nothing until the world moves: this is what the connection waits for.
    Wait(Wants),
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Input is welcome. False while the connection is paused, and after its end.
    pub read: bool,
    /// There is output to write.
    pub write: bool,
    /// When [`Connection::tick`](crate::Connection::tick) is due.
    pub wake: Wake,
    /// Everything is over, the farewell included: close the transport.
    pub finished: bool,
}

/// When a tick is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Not at all: only input, output or a command can change anything.
    Never,
    /// At this moment, for this reason. Later is safe and loses nothing.
    At(Instant, TimerReason),
}

impl Wake {
    /// The earlier of the two.
    #[must_use]
    pub fn or_earlier(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, wake) | (wake, Self::Never) => wake,
            (Self::At(a, _), Self::At(b, _)) => {
                if b < a {
                    other
                } else {
                    self
                }
            }
        }
    }

    /// How long it is until then, from `now` on.
    #[must_use]
    pub fn time_from(self, now: Instant) -> Option<Duration> {
        self.at().map(|at| at.since(now))
    }

    /// The moment, if there is one.
    #[must_use]
    pub const fn at(self) -> Option<Instant> {
        match self {
            Self::Never => None,
            Self::At(at, _) => Some(at),
        }
    }
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TimerReason {
    /// The handshake must be through.
    Handshake,
    /// A frame that has begun must be complete, or must have grown.
    UnfinishedFrame,
    /// The peer must have read some of the output.
    WriteStall,
    /// A keepalive ping is due, or its answer.
    Keepalive,
    /// A request must be answered.
    Deadline,
    /// A graceful close must be through.
    Close,
}

/// What a message asks of its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expects {
    /// Nothing; only a refusal is told.
    Nothing,
    /// To be told that it was accepted. (On a 1.0 link there is no such word: like `Nothing`.)
    Acceptance,
    /// A reply.
    Reply,
}

/// One thing that happened, in the order in which it happened.
///
/// Of a conversation, whoever opened it sees `Opened`, `Refused`, `Reply`, `Outcome`, `Exited`, `Joined`,
/// `Failed` and `Ended`; the other side sees `Open` (a client: `Invite`), `Message` and `Close`. Of an offer,
/// a server sees `Serve` and `Withdraw`, a client `Serving`, `NotServing` and `Withdrawn`. Of a monitor, a server
/// sees `Monitor` (or `Watch`) and `Unmonitor`, a client `Monitoring`, `NotMonitoring`, `Notice` (or `Record` and
/// `Gap`) and `Unmonitored`. Both see `Connected`, `Pong` and `Closed`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is through.
    Connected {
        /// The version that both speak from now on.
        version: Version,
    },
    /// A [`ping`](crate::Connection::ping) was answered.
    Pong,
    /// The client opens a conversation. Answer with
    /// [`opened`](crate::Connection::opened) or [`refuse`](crate::Connection::refuse).
    Open {
        /// The id it gave it.
        conversation: ConversationId,
        /// Which participant it wants.
        subject: String,
        /// What else it wants of it.
        terms: Terms,
    },
    /// A participant of this client is to join a conversation. Answer with
    /// [`opened`](crate::Connection::opened) or [`refuse`](crate::Connection::refuse).
    Invite {
        /// The id that the conversation has on this connection.
        conversation: ConversationId,
        /// Who the participant is.
        pid: Pid,
        /// What the conversation was opened on.
        subject: String,
    },
    /// Whoever opened a conversation says something in it.
    Message(Message),
    /// Whoever opened a conversation wants to close it. Answer with
    /// [`ended`](crate::Connection::ended) when its outstanding requests have ended.
    Close {
        /// Which.
        conversation: ConversationId,
    },
    /// Nobody wants a conversation any more that a participant of this client was invited to: it is over for whoever
    /// opened it, who may be gone. Answer with [`ended`](crate::Connection::ended), and let no request of it go on.
    Cancel {
        /// Which.
        conversation: ConversationId,
    },
    /// The conversation is open. (2.0; on a 1.0 link success is silent.)
    Opened {
        /// Which.
        conversation: ConversationId,
        /// Its participant; `None` when it has none and only records.
        pid: Option<Pid>,
    },
    /// The conversation was not opened, or is not open any more.
    Refused {
        /// Which.
        conversation: ConversationId,
        /// Why.
        reason: ReasonCode,
        /// Why, for people.
        text: Option<String>,
    },
    /// A reply, or a part of one.
    Reply(Reply),
    /// A message that no reply will end has ended, or was accepted.
    Outcome {
        /// In which conversation.
        conversation: ConversationId,
        /// Which message.
        message: MessageId,
        /// How.
        outcome: Outcome,
    },
    /// The participant has exited. Unless the conversation [goes on](Exit::goes_on), an
    /// [`Outcome::Exited`] follows for every unanswered request.
    Exited {
        /// Whose participant.
        conversation: ConversationId,
        /// Who, why, and where in the log.
        exit: Exit,
    },
    /// Another participant has taken the place of one that exited.
    Joined {
        /// In which conversation.
        conversation: ConversationId,
        /// Who.
        pid: Pid,
    },
    /// Nobody has taken the place of the participant that exited, and nobody will. An
    /// [`Outcome::Exited`] follows for every unanswered request.
    Failed {
        /// Which.
        conversation: ConversationId,
    },
    /// The conversation is closed; its id is free.
    Ended {
        /// Which.
        conversation: ConversationId,
    },
    /// The client offers participants. Answer with [`serving`](crate::Connection::serving) or
    /// [`refuse_offer`](crate::Connection::refuse_offer).
    Serve {
        /// The offer, by the stream that it has to itself.
        offer: StreamId,
        /// For which subject; `None` for every one that nobody serves by name.
        subject: Option<String>,
        /// How many conversations it takes at a time, at least 1.
        capacity: u32,
    },
    /// The client takes an offer back. Answer with [`withdrawn`](crate::Connection::withdrawn) when none of its
    /// conversations is left.
    Withdraw {
        /// Which.
        offer: StreamId,
        /// Whether its conversations are to come to their end first.
        drain: bool,
    },
    /// The offer stands: invitations may come.
    Serving {
        /// Which.
        offer: StreamId,
    },
    /// The offer was not taken.
    NotServing {
        /// Which.
        offer: StreamId,
        /// Why.
        reason: ReasonCode,
        /// Why, for people.
        text: Option<String>,
    },
    /// The offer is no more, and neither are its conversations.
    Withdrawn {
        /// Which.
        offer: StreamId,
    },
    /// The peer has given credit where some was wanting: what was rejected with
    /// [`CommandError::NoCredit`](crate::CommandError::NoCredit) may be tried again.
    Room {
        /// In this conversation; `None`: in every conversation that has credit of its own.
        conversation: Option<ConversationId>,
    },
    /// The client wants to be told of the life of the conversation that a participant takes part in. Answer with
    /// [`monitoring`](crate::Connection::monitoring) or [`refuse_monitor`](crate::Connection::refuse_monitor).
    Monitor {
        /// The monitor, by the stream that it has to itself.
        monitor: StreamId,
        /// Which participant.
        pid: Pid,
    },
    /// The client wants to be told every record of conversations. A watch is a monitor, too: answer it as one.
    Watch {
        /// The monitor, by the stream that it has to itself.
        monitor: StreamId,
        /// Of those on this subject; `None`: of all.
        subject: Option<String>,
    },
    /// The client takes a monitor back. Answer with [`unmonitored`](crate::Connection::unmonitored).
    Unmonitor {
        /// Which.
        monitor: StreamId,
    },
    /// The monitor stands: what it is for is told from now on.
    Monitoring {
        /// Which.
        monitor: StreamId,
    },
    /// The monitor was not taken, or stands no more.
    NotMonitoring {
        /// Which.
        monitor: StreamId,
        /// Why.
        reason: ReasonCode,
        /// Why, for people.
        text: Option<String>,
    },
    /// Something has happened in the life of a conversation that is monitored.
    Notice {
        /// The monitor.
        monitor: StreamId,
        /// What.
        notice: Notice,
    },
    /// A record of a conversation that is watched.
    Record {
        /// The watch.
        monitor: StreamId,
        /// The record.
        record: Box<LogRecord>,
    },
    /// Records that a watch is not told.
    Gap {
        /// The watch.
        monitor: StreamId,
        /// Which records.
        gap: Gap,
    },
    /// The monitor is no more, because the client has taken it back or the server ends it.
    Unmonitored {
        /// Which.
        monitor: StreamId,
    },
    /// The connection is over. Comes exactly once, and nothing after it.
    Closed(CloseReason),
}

/// A message to a participant.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Its id. On a 1.0 link, which has none, the connection makes one up.
    pub id: MessageId,
    /// What the sender wants to hear of it.
    pub expects: Expects,
    /// How long the sender waits, where it says so.
    pub timeout: Option<Duration>,
    /// How many participants have exited while it waited for them or was in their hands.
    pub redelivered: u8,
    /// What it says.
    pub payload: Bytes,
    /// What is said about the payload. (Of headers a 1.0 link knows nothing.)
    pub metadata: Metadata,
}

impl Message {
    /// How many bytes the payload and the metadata are: what it is [charged](crate::Limits::charge) for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len().saturating_add(self.metadata.len())
    }

    /// Whether there are neither.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("conversation", &self.conversation)
            .field("id", &self.id)
            .field("expects", &self.expects)
            .field("timeout", &self.timeout)
            .field("redelivered", &self.redelivered)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("metadata", &self.metadata)
            .finish()
    }
}

/// A reply, or a part of one.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Which request it answers.
    pub answers: MessageId,
    /// Its place in the log; `None` on a 1.0 link.
    pub record: Option<RecordNumber>,
    /// Whether this ends the request; false: further parts follow.
    pub last: bool,
    /// What it says.
    pub payload: Bytes,
    /// What is said about the payload. (Of headers a 1.0 link knows nothing.)
    pub metadata: Metadata,
}

impl Reply {
    /// How many bytes the payload and the metadata are: what it is [charged](crate::Limits::charge) for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len().saturating_add(self.metadata.len())
    }

    /// Whether there are neither.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("conversation", &self.conversation)
            .field("answers", &self.answers)
            .field("record", &self.record)
            .field("last", &self.last)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("metadata", &self.metadata)
            .finish()
    }
}

/// How a message ended, or that it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It stands in the log of the conversation.
    Accepted {
        /// Where.
        record: Option<RecordNumber>,
    },
    /// It was refused, or no reply was given.
    Refused {
        /// Why.
        reason: ReasonCode,
        /// Why, for people.
        text: Option<String>,
    },
    /// The participant exited before it replied.
    Exited,
    /// No reply before its deadline.
    Deadline,
    /// The connection was lost first: whether it was received is not known.
    Unknown,
}

/// That a participant has exited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Who.
    pub pid: Pid,
    /// The place of the exit in the log of the conversation.
    pub record: RecordNumber,
    /// Why.
    pub reason: ExitReason,
    /// Whether another participant is to take its place. Requests that it had not begun to answer go on
    /// then; each of the others ends by an [`Outcome::Exited`] of its own.
    pub goes_on: bool,
    /// The requests of the conversation that had no reply at that moment, or no complete one.
    pub unanswered: Unanswered,
}

/// Requests that had no complete reply when a participant exited: how many, and which of them were first.
///
/// Mostly there is none, and then it takes no memory but its place.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Unanswered(Option<Box<Requests>>);

#[derive(Clone, PartialEq, Eq)]
struct Requests {
    count: u32,
    records: Vec<RecordNumber>,
}

impl Unanswered {
    /// So many are named; the count tells of the others: 64, half a KiB, so that an exit stays a short frame
    /// however much was asked.
    pub const RECORDS_MAX: usize = 64;

    /// So many, of which these records were the first. What is beyond [`RECORDS_MAX`](Self::RECORDS_MAX) is not
    /// kept.
    pub fn new(count: u32, records: impl IntoIterator<Item = RecordNumber>) -> Self {
        let of = |records: Vec<_>| Self(Some(Box::new(Requests { count, records })));
        if count == 0 { Self(None) } else { of(records.into_iter().take(Self::RECORDS_MAX).collect()) }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.as_ref().map_or(0, |requests| requests.count)
    }

    /// Which: the numbers of their records, ascending, as far as they are named.
    #[must_use]
    pub fn records(&self) -> &[RecordNumber] {
        self.0.as_ref().map_or(&[], |requests| &requests.records)
    }
}

impl fmt::Debug for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unanswered").field("count", &self.count()).field("records", &self.records()).finish()
    }
}

impl Exit {
    /// Who exited and why, for a frame of 1.0. What the participant said stands there as it is, as in the
    /// frames of 2.0: whoever shows it escapes it.
    pub(crate) fn words(&self) -> String {
        let mut words = format!("participant {} ", self.pid);
        // A string takes what is written to it.
        let _ = self.reason.write(&mut words, self.reason.text().unwrap_or_default());
        words
    }
}

/// Why a participant exited. `PROTOCOL.md` §7 assigns the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// It ended of its own will.
    Normal,
    /// It panicked or failed.
    Crashed {
        /// What it said, cut to the limit of reason texts.
        text: String,
    },
    /// It broke a rule of its host or of the protocol, and was ended for that.
    Violated {
        /// What it did.
        text: String,
    },
    /// Its connection was lost.
    ConnectionLost,
    /// Its connection was given up, because it read or wrote too slowly.
    TooSlow,
    /// It did not answer long after it was due to.
    Hung,
    /// Whoever offered it has taken the offer back.
    Withdrawn,
    /// The server stops.
    Stopping,
    /// It was a process, and ended with this status; of 0 it is said that it ended
    /// [normally](Self::Normal).
    Status {
        /// As the process gave it.
        status: u8,
    },
    /// It was a process, and was killed by a signal.
    Signal {
        /// The number of the signal on the machine of the process.
        signal: u8,
    },
    /// A cause that this version does not know.
    Other {
        /// Its number.
        cause: u16,
        /// What it said.
        text: String,
    },
}

impl ExitReason {
    /// The number of the cause (`PROTOCOL.md` §7).
    #[must_use]
    pub const fn cause(&self) -> u16 {
        match self {
            Self::Normal => 0,
            Self::Crashed { .. } => 1,
            Self::Violated { .. } => 2,
            Self::ConnectionLost => 3,
            Self::TooSlow => 4,
            Self::Hung => 5,
            Self::Withdrawn => 6,
            Self::Stopping => 7,
            Self::Status { status } => u16::from_be_bytes([1, *status]),
            Self::Signal { signal } => u16::from_be_bytes([2, *signal]),
            Self::Other { cause, .. } => *cause,
        }
    }

    /// What it said, where it could say something.
    #[must_use]
    pub const fn text(&self) -> Option<&str> {
        match self {
            Self::Normal
            | Self::ConnectionLost
            | Self::TooSlow
            | Self::Hung
            | Self::Withdrawn
            | Self::Stopping
            | Self::Status { .. }
            | Self::Signal { .. } => None,
            Self::Crashed { text } | Self::Violated { text } | Self::Other { text, .. } => {
                Some(text.as_str())
            }
        }
    }

    /// Writes the reason, with what it said as it is shown by `said`.
    fn write(&self, f: &mut impl fmt::Write, said: impl fmt::Display) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("ended normally"),
            Self::Crashed { text } if text.is_empty() => f.write_str("crashed"),
            Self::Crashed { .. } => write!(f, "crashed: {said}"),
            Self::Violated { .. } => write!(f, "broke the rules: {said}"),
            Self::ConnectionLost => f.write_str("lost its connection"),
            Self::TooSlow => f.write_str("was too slow"),
            Self::Hung => f.write_str("hung"),
            Self::Withdrawn => f.write_str("was withdrawn"),
            Self::Stopping => f.write_str("ended with its server"),
            Self::Status { status } => write!(f, "exited with status {status}"),
            Self::Signal { signal } => write!(f, "killed by signal {signal}"),
            Self::Other { cause, .. } => write!(f, "exited (cause {cause}): {said}"),
        }
    }

    /// The reason with this cause and text.
    pub(crate) fn from_wire(cause: u16, text: Option<String>) -> Self {
        let [_, number] = cause.to_be_bytes();
        match cause {
            0 => Self::Normal,
            1 => Self::Crashed { text: text.unwrap_or_default() },
            2 => Self::Violated { text: text.unwrap_or_default() },
            3 => Self::ConnectionLost,
            4 => Self::TooSlow,
            5 => Self::Hung,
            6 => Self::Withdrawn,
            7 => Self::Stopping,
            0x0100..=0x01FF => Self::Status { status: number },
            0x0200..=0x02FF => Self::Signal { signal: number },
            cause => Self::Other { cause, text: text.unwrap_or_default() },
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, self.text().unwrap_or_default().escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_wake_is_so_far_from_now_and_the_earlier_one_wins() {
        let at = |seconds| Instant::ORIGIN.after(Duration::from_secs(seconds));
        let (soon, late) = (Wake::At(at(2), TimerReason::Close), Wake::At(at(3), TimerReason::Deadline));
        assert_eq!((soon.or_earlier(late), late.or_earlier(soon)), (soon, soon));
        let too = Wake::At(at(2), TimerReason::Deadline);
        assert_eq!((soon.or_earlier(too), too.or_earlier(soon)), (soon, too), "of two at a time, the first");
        assert_eq!((soon.or_earlier(Wake::Never), Wake::Never.or_earlier(soon)), (soon, soon));
        assert_eq!(late.time_from(at(1)), Some(Duration::from_secs(2)));
        assert_eq!((late.time_from(at(9)), Wake::Never.time_from(at(1))), (Some(Duration::ZERO), None));
    }

    #[test]
    fn a_reason_of_an_exit_is_said_in_words_and_read_back_from_its_number() {
        let text = || "a\nb".to_string();
        let cases = [
            (ExitReason::Normal, "ended normally"),
            (ExitReason::Crashed { text: String::new() }, "crashed"),
            (ExitReason::Crashed { text: text() }, "crashed: a\\nb"),
            (ExitReason::Violated { text: text() }, "broke the rules: a\\nb"),
            (ExitReason::ConnectionLost, "lost its connection"),
            (ExitReason::TooSlow, "was too slow"),
            (ExitReason::Hung, "hung"),
            (ExitReason::Withdrawn, "was withdrawn"),
            (ExitReason::Stopping, "ended with its server"),
            (ExitReason::Status { status: 255 }, "exited with status 255"),
            (ExitReason::Signal { signal: 9 }, "killed by signal 9"),
            (ExitReason::Other { cause: 0x0300, text: text() }, "exited (cause 768): a\\nb"),
        ];
        for (reason, words) in cases {
            assert_eq!(reason.to_string(), words);
            assert_eq!(ExitReason::from_wire(reason.cause(), reason.text().map(String::from)), reason);
        }
    }
}
