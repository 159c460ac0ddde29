//! The frames, in one definition for both forms: borrowed from the input, and owned.

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use super::layout::with_layouts;
use super::{FrameType, Metadata, RecordNumbers, SchemaIds, Texts};
use crate::{ConversationId, LogId, MessageId, OnExit, Pid, ReasonCode, RecordNumber, StreamId};

/// A protocol version, as Connect and `ConnectAck` carry it. Ordered by major, then minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// A new major version may change the meaning of frames.
    pub major: u16,
    /// A new minor version only adds.
    pub minor: u16,
}

impl Version {
    /// The version that existing peers speak.
    pub const V1_0: Self = Self { major: 1, minor: 0 };
    /// This project's own: pids, record numbers, exits as events.
    pub const V2_0: Self = Self { major: 2, minor: 0 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Which set of frame types is known. A type that a dialect does not know decodes as
/// [`Body::Unknown`]. Until the handshake is through, both sides speak [`Dialect::V1`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// Version 1.0: the types 0x01 to 0x19.
    V1,
    /// Version 2.0: those and the types from 0x80 on.
    V2,
}

impl Dialect {
    /// The version that a handshake selects for this dialect.
    #[must_use]
    pub const fn version(self) -> Version {
        match self {
            Self::V1 => Version::V1_0,
            Self::V2 => Version::V2_0,
        }
    }
}

/// The flag bits that mean something. Every other bit is accepted and ignored.
pub mod flag {
    /// `ConversationMessage` from the client: a reply is requested; from the server: this is the reply.
    pub const REPLY: u8 = 0x01;
    /// Publish: the idempotency key follows.
    pub const KEY: u8 = 0x02;
    /// `PublishAck`: at least one live subscriber took the message.
    pub const DELIVERED: u8 = 0x01;
    /// Message (2.0) from the client: a reply is requested.
    pub const WANTS_REPLY: u8 = 0x01;
    /// Message (2.0): the id of the message that this one answers follows.
    pub const ANSWERS: u8 = 0x02;
    /// Message (2.0) from the client: its acceptance is to be confirmed with an Outcome.
    pub const CONFIRM: u8 = 0x04;
    /// Message (2.0) from the server, and the Record of a reply: further parts of the reply follow.
    pub const MORE: u8 = 0x08;
    /// Message (2.0) from the client: the sender's own timeout follows.
    pub const TIMEOUT: u8 = 0x10;
    /// Message (2.0) from the server: how often it was given to another participant before follows.
    pub const REDELIVERED: u8 = 0x20;
    /// Message (2.0), and the Record of one: what is said about its payload follows.
    pub const METADATA: u8 = 0x40;
    /// Exited (2.0), and the Record of an exit: the conversation goes on with another participant.
    pub const GOES_ON: u8 = 0x01;
    /// Withdraw (2.0): conversations that go on are to come to their end first.
    pub const DRAIN: u8 = 0x01;
}

/// A schema, named by 32 bytes. All zero means that none is stated.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(pub [u8; 32]);

impl SchemaId {
    /// The length on the wire.
    pub const LEN: usize = 32;
}

impl fmt::Debug for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SchemaId(")?;
        fmt::Display::fmt(self, f)?;
        f.write_str(")")
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What caused a message, in the sender's words. The bus carries it and never interprets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CausalContext<S> {
    /// The message that this one follows from.
    pub parent_id: Option<S>,
    /// The sender's entry of a vector clock.
    pub vector_clock_entry: Option<u64>,
}

/// A payload with its schema and its cause, as 1.0 messages carry it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Envelope<S, B> {
    /// The schema of the payload.
    pub schema_id: SchemaId,
    /// What caused the message.
    pub causal_context: CausalContext<S>,
    /// The message itself.
    pub payload: B,
}

/// A server's answer to `WorkerRegister`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerVerdict<S> {
    /// The worker is registered.
    Accepted,
    /// It is not.
    Rejected {
        /// Why, for people.
        reason: S,
    },
}

/// One frame. `S` holds text and `B` holds bytes: see [`FrameRef`] and [`FrameBuf`].
#[derive(Clone, PartialEq, Eq)]
pub struct Frame<S, B> {
    /// All eight bits as they stand on the wire; only those in [`flag`] mean something.
    pub flags: u8,
    /// The stream: 0 for control frames, 1 and up for all others.
    pub stream: StreamId,
    /// The type and its fields.
    pub body: Body<S, B>,
}

/// A frame that borrows from the bytes it was decoded from: for routing and for speed.
pub type FrameRef<'a> = Frame<&'a str, &'a [u8]>;

/// A frame that owns what it holds. Payloads are [`Bytes`], so a clone shares them.
pub type FrameBuf = Frame<String, Bytes>;

/// The fields of each frame type, in wire order, which is the order of their declaration here.
///
/// The types up to `Deliver` are those of 1.0 (`PROTOCOL.md` §4); `Opened` and those after it are new
/// in 2.0 (`PROTOCOL.md` §5).
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields carry the names that the specification describes")]
pub enum Body<S, B> {
    /// 0x01, client to server: opens the connection.
    Connect { min_version: Version, max_version: Version, auth_token: B },
    /// 0x02, server to client: the connection is open.
    ConnectAck { selected_version: Version, capabilities: u32 },
    /// 0x03, server to client: the connection is refused or has failed.
    ConnectError { reason_code: ReasonCode, message: Option<S> },
    /// 0x04: the sender is done with the connection.
    Disconnect,
    /// 0x05, client to server.
    Subscribe { channel: S, accepted_schemas: SchemaIds<B>, max_in_flight: u32 },
    /// 0x06, server to client.
    SubscribeAck { subscription_id: u64, selected_schema: SchemaId },
    /// 0x07, server to client.
    SubscribeError { reason_code: ReasonCode, message: Option<S> },
    /// 0x08, client to server.
    Unsubscribe { subscription_id: u64 },
    /// 0x09, client to server. The key is there exactly when [`flag::KEY`] is set.
    Publish { channel: S, envelope: Envelope<S, B>, idempotency_key: Option<S> },
    /// 0x0A, server to client.
    PublishAck { message_id: u64 },
    /// 0x0B, server to client.
    PublishError { reason_code: ReasonCode, message: Option<S> },
    /// 0x0C, client to server: opens a conversation with whoever serves the subject.
    ConversationOpen { conversation_id: ConversationId, subject: S },
    /// 0x0D: a message of a conversation, or the reply to one.
    ConversationMessage { conversation_id: ConversationId, envelope: Envelope<S, B> },
    /// 0x0E, client to server; in 2.0 also back, once the conversation is closed.
    ConversationClose { conversation_id: ConversationId, reason_code: Option<ReasonCode>, message: Option<S> },
    /// 0x0F, server to client.
    ConversationError { conversation_id: ConversationId, reason_code: ReasonCode, message: Option<S> },
    /// 0x10: a consumer took a delivered message.
    Accept { referenced_message_id: S },
    /// 0x11: a consumer wants a delivered message later.
    Defer { referenced_message_id: S, reason: Option<S> },
    /// 0x12: a consumer does not take a delivered message.
    Reject { referenced_message_id: S, reason: Option<S> },
    /// 0x13: asks for a Pong.
    Ping,
    /// 0x14: answers a Ping.
    Pong,
    /// 0x15, server to client.
    Push { correlation_id: u64, payload: B },
    /// 0x16, client to server.
    PushReply { correlation_id: u64, payload: B },
    /// 0x17, client to server.
    WorkerRegister {
        namespaces: Texts<B>,
        task_queue: S,
        node: Option<S>,
        activity_types: Texts<B>,
        identity: S,
    },
    /// 0x18, server to client.
    WorkerRegisterAck { verdict: WorkerVerdict<S> },
    /// 0x19, server to client: a published message for a subscription.
    Deliver { delivery_seq: u64, envelope: Envelope<S, B> },
    /// 0x80, of whom a conversation was asked: the conversation of this stream is open. No pid: trace only.
    Opened { pid: Option<Pid> },
    /// 0x81, of whom a conversation was asked: that of this stream was not opened; or the offer of this stream
    /// was not taken; or its monitor was not, or is no more.
    Refused { reason_code: ReasonCode, message: Option<S> },
    /// 0x82: a message of the conversation of this stream. From the server the id is the number of
    /// the record. `answers` is there exactly when [`flag::ANSWERS`] is set, `timeout_ms` (the
    /// sender's own timeout, in milliseconds) exactly when [`flag::TIMEOUT`] is, `redelivered` (how many
    /// participants it was moved on from) exactly when [`flag::REDELIVERED`] is, and `metadata` exactly when
    /// [`flag::METADATA`] is. The payload is the rest of the frame, without a length of its own.
    Message {
        message_id: MessageId,
        answers: Option<MessageId>,
        timeout_ms: Option<u32>,
        redelivered: Option<u8>,
        metadata: Option<Metadata<B>>,
        payload: B,
    },
    /// 0x83, server to client: the participant has exited. Its unanswered requests end with it, unless
    /// [`flag::GOES_ON`] is set: how many there are, and the records of those that are named.
    Exited {
        pid: Pid,
        record: RecordNumber,
        cause: u16,
        message: Option<S>,
        unanswered: u32,
        records: RecordNumbers<B>,
    },
    /// 0x84, server to client: how a message ended that no reply will end. Reason code 0: accepted.
    Outcome {
        message_id: MessageId,
        reason_code: ReasonCode,
        record: Option<RecordNumber>,
        message: Option<S>,
    },
    /// 0x85, server to client: another participant has taken the place of one that exited.
    Joined { pid: Pid },
    /// 0x86, server to client: nobody takes the place of the participant that exited; what was
    /// unanswered ends with it.
    Failed,
    /// 0x87, client to server: the client offers participants for a subject, or for every one that nobody
    /// serves by name, and for so many conversations at a time. The offer has the stream to itself.
    Serve { capacity: u32, subject: Option<S> },
    /// 0x88, server to client: the offer of this stream stands.
    Serving,
    /// 0x89, client to server: the offer of this stream is taken back, at once, or with [`flag::DRAIN`] when
    /// its conversations have come to their end.
    Withdraw,
    /// 0x8A, server to client: the offer of this stream is no more, and neither are its conversations.
    Withdrawn,
    /// 0x8B, server to client: a participant of the client is to join the conversation of this stream.
    Invite { pid: Pid, subject: S },
    /// 0x8C, client to server: opens the conversation of this stream with whoever serves the subject, on the
    /// terms of the client: what becomes of it when its participant exits, how long it may last, and how long
    /// nothing may be said in it, in milliseconds.
    Open { on_exit: OnExit, total_ms: Option<u32>, idle_ms: Option<u32>, subject: S },
    /// 0x8D, once from each side, before anything else: the longest payload of a frame that it takes, and how
    /// many bytes of messages may be on their way to it, of each conversation and of all of them.
    Windows { payload_max: u32, conversation: u32, connection: u32 },
    /// 0x8E, client to server: the client wants to be told of the life of the conversation that this
    /// participant takes part in. The monitor has the stream to itself.
    Monitor { pid: Pid },
    /// 0x8F, client to server: the client wants to be told every record of the conversations on a subject, or
    /// of all. The watch has the stream to itself.
    Watch { subject: Option<S> },
    /// 0x90, server to client: the monitor or watch of this stream stands.
    Monitoring,
    /// 0x91, client to server: the monitor or watch of this stream is taken back.
    Unmonitor,
    /// 0x92, server to client: the monitor or watch of this stream is no more, and nothing follows on it.
    Unmonitored,
    /// 0x93, server to client: a record, for the watch of this stream. `what` says which of the others mean
    /// something: `PROTOCOL.md` §7 has the table. The subject stands with the first record of a log.
    Record {
        log: LogId,
        record: RecordNumber,
        what: u8,
        of: u64,
        cause: u16,
        timeout_ms: Option<u32>,
        subject: Option<S>,
        message: Option<S>,
        metadata: Option<Metadata<B>>,
        payload: B,
    },
    /// 0x94, server to client: the watch of this stream is not told these records, and why.
    Gap { log: LogId, from: RecordNumber, to: RecordNumber, why: u16, subject: Option<S> },
    /// 0x95: in the conversation of this stream the other side may say so many bytes more.
    Credit { bytes: u32 },
    /// 0x96: in all conversations together the other side may say so many bytes more of messages, and so many
    /// more of replies.
    ConnectionCredit { messages: u32, replies: u32 },
    /// Any type that the dialect does not know. It decodes on any stream and is ignored.
    Unknown { type_id: u8, payload: B },
}

macro_rules! types {
    ($($name:ident $fields:tt)*) => {
        impl<S, B> Body<S, B> {
            /// The type of the frame; `None` for an unknown one.
            #[inline]
            #[must_use]
            pub const fn frame_type(&self) -> Option<FrameType> {
                match self {
                    $(Self::$name { .. } => Some(FrameType::$name),)*
                    Self::Unknown { .. } => None,
                }
            }

            /// The first byte of the frame.
            #[inline]
            #[must_use]
            pub const fn type_id(&self) -> u8 {
                match self {
                    $(Self::$name { .. } => FrameType::$name.id(),)*
                    Self::Unknown { type_id, .. } => *type_id,
                }
            }
        }
    };
}

with_layouts!(types);
