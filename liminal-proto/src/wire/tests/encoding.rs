//! Frames that the encoder refuses, and what it leaves to its caller.

use bytes::{Bytes, BytesMut};

use super::super::{
    Body, CausalContext, Dialect, EncodeError, Envelope, Fault, Frame, FrameBuf, FrameRef, FrameType,
    HEADER_LEN, SchemaId, SchemaIds, decode_shared, encode, encode_head, flag,
};
use crate::{MessageId, StreamId};

fn frame(flags: u8, stream: u32, body: Body<&'static str, &'static [u8]>) -> FrameRef<'static> {
    Frame { flags, stream: StreamId::new(stream), body }
}

fn publish(flags: u8, idempotency_key: Option<&'static str>) -> FrameRef<'static> {
    frame(flags, 1, Body::Publish { channel: "c", envelope: envelope(b"payload"), idempotency_key })
}

fn envelope<B>(payload: B) -> Envelope<&'static str, B> {
    Envelope { schema_id: SchemaId::default(), causal_context: CausalContext::default(), payload }
}

fn message(flags: u8, answers: Option<u64>, timeout_ms: Option<u32>) -> FrameRef<'static> {
    let (message_id, answers) = (MessageId::new(1), answers.map(MessageId::new));
    frame(
        flags,
        1,
        Body::Message { message_id, answers, timeout_ms, redelivered: None, metadata: None, payload: b"" },
    )
}

fn codec(frame_type: FrameType, field: &'static str, fault: Fault) -> EncodeError {
    EncodeError::Codec { frame_type, field, fault }
}

#[test]
fn what_would_not_decode_is_refused() {
    use FrameType::{Message, Opened, Ping, Publish, PublishAck, Subscribe};
    let invalid =
        |frame_type, stream| EncodeError::InvalidStream { frame_type, stream: StreamId::new(stream) };
    let subscribe =
        Body::Subscribe { channel: "c", accepted_schemas: SchemaIds::default(), max_in_flight: 0 };
    let cases = [
        (Dialect::V1, frame(0, 1, Body::Ping), invalid(Ping, 1)),
        (Dialect::V1, frame(0, 0, Body::PublishAck { message_id: 1 }), invalid(PublishAck, 0)),
        (Dialect::V2, frame(0, 0, Body::Opened { pid: None }), invalid(Opened, 0)),
        (
            Dialect::V1,
            frame(0, 1, Body::Opened { pid: None }),
            EncodeError::NotInDialect { frame_type: Opened, dialect: Dialect::V1 },
        ),
        (
            Dialect::V1,
            frame(0, 0, Body::Unknown { type_id: 0x13, payload: b"" }),
            EncodeError::KnownType { frame_type: Ping },
        ),
        (
            Dialect::V2,
            frame(0, 1, Body::Unknown { type_id: 0x80, payload: b"" }),
            EncodeError::KnownType { frame_type: Opened },
        ),
        (Dialect::V1, frame(0, 1, subscribe), codec(Subscribe, "max_in_flight", Fault::Zero)),
        (Dialect::V1, publish(flag::KEY, None), codec(Publish, "idempotency_key", Fault::FlagMismatch)),
        (Dialect::V1, publish(0xFD, Some("k")), codec(Publish, "idempotency_key", Fault::FlagMismatch)),
        (Dialect::V2, message(flag::ANSWERS, None, None), codec(Message, "answers", Fault::FlagMismatch)),
        (Dialect::V2, message(0, Some(1), None), codec(Message, "answers", Fault::FlagMismatch)),
        (Dialect::V2, message(flag::TIMEOUT, None, None), codec(Message, "timeout_ms", Fault::FlagMismatch)),
        (Dialect::V2, message(0, None, Some(1)), codec(Message, "timeout_ms", Fault::FlagMismatch)),
    ];
    for (dialect, frame, error) in cases {
        let mut out = BytesMut::new();
        assert_eq!(encode(dialect, &frame, &mut out), Err(error), "{frame:?}");
        assert!(out.is_empty(), "{frame:?}");
    }
}

#[test]
fn version_1_may_carry_an_unknown_frame_with_a_type_of_version_2() {
    let unknown = frame(0, 0, Body::Unknown { type_id: 0x80, payload: b"" });
    assert_eq!(encode(Dialect::V1, &unknown, &mut BytesMut::new()), Ok(()));
}

#[test]
fn only_a_payload_at_the_end_is_held_back() {
    let tail =
        |frame: FrameRef<'static>| encode_head(Dialect::V2, &frame, &mut BytesMut::new()).unwrap().copied();
    let version = Dialect::V1.version();
    let connect = Body::Connect { min_version: version, max_version: version, auth_token: &b"token"[..] };
    assert_eq!(tail(publish(0, None)), Some(&b"payload"[..]));
    assert_eq!(tail(publish(flag::KEY, Some("k"))), None);
    assert_eq!(tail(frame(0, 1, Body::Push { correlation_id: 1, payload: b"p" })), Some(&b"p"[..]));
    assert_eq!(tail(frame(0, 1, Body::Push { correlation_id: 1, payload: b"" })), Some(&b""[..]));
    assert_eq!(tail(message(0, None, None)), Some(&b""[..]));
    assert_eq!(tail(frame(0, 9, Body::Unknown { type_id: 0, payload: b"u" })), Some(&b"u"[..]));
    assert_eq!(tail(frame(0, 0, connect)), None);
    assert_eq!(tail(frame(0, 0, Body::Ping)), None);
}

#[test]
fn a_payload_held_back_is_the_one_of_the_frame() {
    let payload = Bytes::from_static(&[7; 4096]);
    let frame: Frame<&str, Bytes> = Frame {
        flags: 0,
        stream: StreamId::new(1),
        body: Body::Deliver { delivery_seq: 1, envelope: envelope(payload.clone()) },
    };
    let mut out = BytesMut::new();
    let tail = encode_head(Dialect::V1, &frame, &mut out).unwrap().unwrap();
    assert_eq!(tail.as_ptr(), payload.as_ptr());
    assert_eq!(out.len(), HEADER_LEN + 8 + 4 + 42);
}

#[test]
fn a_shared_frame_points_into_its_source() {
    let mut out = BytesMut::new();
    encode(Dialect::V1, &publish(0, None), &mut out).unwrap();
    let source = out.freeze();
    let (shared, _) = decode_shared(Dialect::V1, 1 << 10, &source).unwrap();
    assert_eq!(payload_of(&shared).as_ptr(), source[source.len() - 7..].as_ptr());
}

#[test]
fn a_frame_from_elsewhere_is_copied_when_shared() {
    let elsewhere = publish(0, None).share(&Bytes::from_static(b"other bytes"));
    assert_eq!(payload_of(&elsewhere), &b"payload"[..]);
}

fn payload_of(frame: &FrameBuf) -> &Bytes {
    let Body::Publish { envelope, .. } = &frame.body else { panic!("{frame:?}") };
    &envelope.payload
}
