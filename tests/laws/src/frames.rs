//! The bytes of frames, and ids and payloads that stand in them.

use bytes::{Bytes, BytesMut};
use liminal_proto::wire::{Body, CausalContext, Dialect, Envelope, Frame, FrameBuf, SchemaId, Version};
use liminal_proto::wire::{decode_shared, encode, flag};
use liminal_proto::{ConversationId, Limits, MessageId, Metadata, ReasonCode, StreamId};

/// The id of a conversation.
pub fn conversation(id: u64) -> ConversationId {
    ConversationId::new(id)
}

/// The id of a message.
pub fn id(id: u64) -> MessageId {
    MessageId::new(id)
}

/// The bytes of one frame, with every type of 2.0 known.
pub fn frame(flags: u8, stream: u32, body: Body<&str, Bytes>) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(Dialect::V2, &Frame { flags, stream: StreamId::new(stream), body }, &mut out).unwrap();
    out.to_vec()
}

/// A header and a payload that need not belong together.
pub fn raw(type_id: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![type_id, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Connect, with the range of versions that it offers.
pub fn connect(min: (u16, u16), max: (u16, u16), token: &[u8]) -> Vec<u8> {
    let version = |(major, minor)| Version { major, minor };
    let auth_token = Bytes::copy_from_slice(token);
    frame(0, 0, Body::Connect { min_version: version(min), max_version: version(max), auth_token })
}

/// The answer of a server that has chosen this version.
pub fn connect_ack(major: u16) -> Vec<u8> {
    frame(0, 0, Body::ConnectAck { selected_version: Version { major, minor: 0 }, capabilities: 0 })
}

/// What a side says that it takes (2.0).
pub fn windows(limits: &Limits) -> Vec<u8> {
    let payload_max = limits.frame_payload_max.min(Limits::FRAME_HARD_MAX);
    let (conversation, connection) = (limits.conversation_window, limits.connection_window);
    frame(0, 0, Body::Windows { payload_max, conversation, connection })
}

/// All that the other side must have heard before it hears of anything else, from a client after this version was
/// chosen, with the default limits.
pub fn greeting(major: u16) -> Vec<u8> {
    if major == 2 { windows(&Limits::default()) } else { Vec::new() }
}

/// A ping.
pub fn ping() -> Vec<u8> {
    frame(0, 0, Body::Ping)
}

/// The sender is done.
pub fn disconnect() -> Vec<u8> {
    frame(0, 0, Body::Disconnect)
}

/// Opens a conversation.
pub fn open_on(stream: u32, id: u64, subject: &str) -> Vec<u8> {
    frame(0, stream, Body::ConversationOpen { conversation_id: conversation(id), subject })
}

/// Opens a conversation whose id is its stream.
pub fn open(id: u32) -> Vec<u8> {
    open_on(id, u64::from(id), "subject")
}

/// Closes a conversation whose id is its stream.
pub fn close(id: u32) -> Vec<u8> {
    let conversation_id = conversation(u64::from(id));
    frame(0, id, Body::ConversationClose { conversation_id, reason_code: None, message: None })
}

/// An envelope of 1.0 around a payload.
pub fn envelope(payload: &[u8]) -> Envelope<&'static str, Bytes> {
    let causal_context = CausalContext { parent_id: None, vector_clock_entry: None };
    Envelope { schema_id: SchemaId::default(), causal_context, payload: Bytes::copy_from_slice(payload) }
}

/// A message of 1.0; with `flag::REPLY` a request, or the reply to one.
pub fn message_v1(flags: u8, stream: u32, id: u64, payload: &[u8]) -> Vec<u8> {
    let conversation_id = conversation(id);
    frame(flags, stream, Body::ConversationMessage { conversation_id, envelope: envelope(payload) })
}

/// How a request or a conversation of 1.0 failed.
pub fn error_v1(stream: u32, id: u64, reason_code: ReasonCode) -> Vec<u8> {
    frame(
        0,
        stream,
        Body::ConversationError { conversation_id: conversation(id), reason_code, message: None },
    )
}

/// What is said about a payload: 32 bytes.
pub fn traced() -> Metadata {
    Metadata::builder().header("traceparent", "00-1-2-01").unwrap().build()
}

/// A message of 2.0 from a client.
pub fn message_v2(flags: u8, stream: u32, message: u64, payload: &[u8]) -> Vec<u8> {
    let timeout_ms = (flags & flag::TIMEOUT != 0).then_some(1000);
    let redelivered = (flags & flag::REDELIVERED != 0).then_some(1);
    let metadata = (flags & flag::METADATA != 0).then(traced);
    let payload = Bytes::copy_from_slice(payload);
    let message_id = id(message);
    frame(
        flags,
        stream,
        Body::Message { message_id, answers: None, timeout_ms, redelivered, metadata, payload },
    )
}

/// A reply of 2.0 from a server.
pub fn reply_v2(stream: u32, answers: u64, more: bool, payload: &[u8]) -> Vec<u8> {
    let flags = flag::ANSWERS | if more { flag::MORE } else { 0 };
    let payload = Bytes::copy_from_slice(payload);
    let answers = Some(id(answers));
    frame(
        flags,
        stream,
        Body::Message {
            message_id: id(9),
            answers,
            timeout_ms: None,
            redelivered: None,
            metadata: None,
            payload,
        },
    )
}

/// How a message of 2.0 ended.
pub fn outcome_v2(stream: u32, message: u64, reason_code: ReasonCode) -> Vec<u8> {
    frame(0, stream, Body::Outcome { message_id: id(message), reason_code, record: None, message: None })
}

/// What stands in `bytes`, which must be whole frames.
pub fn frames(dialect: Dialect, bytes: &[u8]) -> Vec<FrameBuf> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (frame, used) = decode_shared(dialect, u32::MAX, &rest).unwrap();
        frames.push(frame);
        let _ = rest.split_to(used);
    }
    frames
}
