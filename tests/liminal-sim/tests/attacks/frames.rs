//! Frames, in bytes.

use bytes::{Bytes, BytesMut};
use liminal_proto::wire::{
    Body, CausalContext, Dialect, Envelope, Frame, FrameBuf, FrameRef, SchemaId, decode_shared, encode,
};
use liminal_proto::{ConversationId, Limits, MessageId, StreamId};

pub(crate) const DIALECTS: [Dialect; 2] = [Dialect::V1, Dialect::V2];

pub(crate) const CONNECT: u8 = 0x01;
pub(crate) const OPEN: u8 = 0x0C;
pub(crate) const MESSAGE: u8 = 0x0D;
pub(crate) const PING: u8 = 0x13;
pub(crate) const UNKNOWN: u8 = 0xEE;

/// A frame that announces `len` bytes, and what of them is there.
pub(crate) fn begun(type_id: u8, stream: u32, len: u32, there: &[u8]) -> Vec<u8> {
    [&[type_id, 0][..], &stream.to_be_bytes(), &len.to_be_bytes(), there].concat()
}

/// A frame of which nothing is missing.
pub(crate) fn whole(type_id: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    begun(type_id, stream, u32::try_from(payload.len()).unwrap(), payload)
}

pub(crate) fn frame(dialect: Dialect, flags: u8, stream: u32, body: Body<&str, &[u8]>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let frame: FrameRef<'_> = Frame { flags, stream: StreamId::new(stream), body };
    encode(dialect, &frame, &mut bytes).unwrap();
    bytes.to_vec()
}

pub(crate) fn connect(dialect: Dialect) -> Vec<u8> {
    connect_with(dialect, b"")
}

pub(crate) fn connect_with(dialect: Dialect, auth_token: &[u8]) -> Vec<u8> {
    let version = dialect.version();
    let connect =
        frame(Dialect::V1, 0, 0, Body::Connect { min_version: version, max_version: version, auth_token });
    let greeting = if dialect == Dialect::V2 { windows(Limits::CREDIT_MAX) } else { Vec::new() };
    [connect, greeting].concat()
}

/// How much its sender takes, in each conversation and in all of them, in frames of any length.
pub(crate) fn windows(bytes: u32) -> Vec<u8> {
    let payload_max = Limits::CREDIT_MAX;
    let body = Body::Windows { payload_max, conversation: bytes, connection: bytes };
    frame(Dialect::V2, 0, 0, body)
}

/// Connects, and takes no more than this.
pub(crate) fn connect_narrow(bytes: u32) -> Vec<u8> {
    let whole = connect(Dialect::V2);
    let greeting = windows(bytes);
    [&whole[..whole.len() - greeting.len()], &greeting].concat()
}

pub(crate) fn ping() -> Vec<u8> {
    whole(PING, 0, &[])
}

/// Opens the conversation that has the number of its stream.
pub(crate) fn open(stream: u32, subject: &str) -> Vec<u8> {
    let conversation_id = ConversationId::new(stream.into());
    frame(Dialect::V1, 0, stream, Body::ConversationOpen { conversation_id, subject })
}

pub(crate) fn close(stream: u32) -> Vec<u8> {
    let (conversation_id, reason_code, message) = (ConversationId::new(stream.into()), None, None);
    frame(Dialect::V1, 0, stream, Body::ConversationClose { conversation_id, reason_code, message })
}

/// Asks in the conversation that has the number of its stream. In 1.0 a message has no number.
pub(crate) fn ask(dialect: Dialect, stream: u32, number: u64, payload: &[u8]) -> Vec<u8> {
    message(dialect, 1, stream, number, payload)
}

/// The same for what wants no reply.
pub(crate) fn say(dialect: Dialect, stream: u32, number: u64, payload: &[u8]) -> Vec<u8> {
    message(dialect, 0, stream, number, payload)
}

fn message(dialect: Dialect, flags: u8, stream: u32, number: u64, payload: &[u8]) -> Vec<u8> {
    let causal_context = CausalContext { parent_id: None, vector_clock_entry: None };
    let envelope = Envelope { schema_id: SchemaId([0; 32]), causal_context, payload };
    let conversation_id = ConversationId::new(stream.into());
    let body = match dialect {
        Dialect::V1 => Body::ConversationMessage { conversation_id, envelope },
        Dialect::V2 => {
            let (message_id, answers, timeout_ms) = (MessageId::new(number), None, None);
            Body::Message { message_id, answers, timeout_ms, redelivered: None, metadata: None, payload }
        }
    };
    frame(dialect, flags, stream, body)
}

/// All that was heard: whole frames, and nothing else.
pub(crate) fn heard(dialect: Dialect, bytes: &[u8]) -> Vec<FrameBuf> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (frame, used) = decode_shared(dialect, u32::MAX, &rest).expect("whole frames alone are sent");
        frames.push(frame);
        rest = rest.slice(used..);
    }
    frames
}
