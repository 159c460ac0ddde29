//! The rules of framing, fields and decoding, through the public codec.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use bytes::{Bytes, BytesMut};
use liminal_proto::wire::{
    Body, DecodeError, Dialect, EncodeError, Fault, FrameType, Header, SchemaIds, decode, encode, flag,
};
use liminal_proto::{OnExit, Pid, ReasonCode, StreamId};

use support::*;

fn fault(bytes: &[u8]) -> Fault {
    match decode(Dialect::V2, 1000, bytes) {
        Err(DecodeError::Codec { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

fn refusal(stream: u32, flags: u8, body: Body<&str, Bytes>) -> EncodeError {
    let frame = liminal_proto::wire::Frame { flags, stream: StreamId::new(stream), body };
    encode(Dialect::V2, &frame, &mut BytesMut::new()).unwrap_err()
}

/// P-1.1, P-2.1
#[test]
fn a_header_is_ten_bytes_with_the_highest_byte_first() {
    let header = Header::decode(&[0x0D, 1, 0, 0, 1, 2, 0, 0, 3, 4, 99]).unwrap();
    assert_eq!((header.type_id, header.flags), (0x0D, 1));
    assert_eq!((header.stream, header.payload_len), (StreamId::new(0x102), 0x304));
}

/// P-1.2
#[test]
fn unknown_flags_are_kept_and_ignored() {
    for bytes in [ping(), open(1), message_v1(0, 1, 1, b"x")] {
        let mut flagged = bytes.clone();
        flagged[1] = 0xE0;
        let (plain, _) = decode(Dialect::V2, 1000, &bytes).unwrap();
        let (frame, _) = decode(Dialect::V2, 1000, &flagged).unwrap();
        assert_eq!((frame.flags, frame.body), (0xE0, plain.body));
    }
}

/// P-2.2, P-2.3, P-2.4, P-2.5, P-3.5
#[test]
fn faults_in_fields_are_refused() {
    let cases: [(u8, u32, &[u8], Fault); 9] = [
        (0x0C, 1, b"\0\0\0\0\0\0\0\x01\0\0\0\x01\xFF", Fault::Utf8),
        (0x03, 0, b"\0\x01\x02", Fault::Tag(2)),
        (0x0D, 1, &[&[0; 8][..], b"\0\0\0\x2B", &[0; 35], b"\x02\0\0\0\0\0\0\0"].concat(), Fault::Trailing),
        (0x0D, 1, &[&[0; 8][..], b"\0\0\0\x29", &[0; 41]].concat(), Fault::PastEnd),
        (0x05, 1, b"\0\0\0\0\xFF\xFF\xFF\xFF\0\0\0\x01", Fault::CountTooLarge),
        (0x05, 1, b"\0\0\0\0\0\0\0\0\0\0\0\0", Fault::Zero),
        (0x13, 0, b"\0", Fault::Trailing),
        (0x87, 1, b"\0\0\0\0\0", Fault::Zero),
        (0x89, 1, b"\0", Fault::Trailing),
    ];
    for (type_id, stream, payload, expected) in cases {
        assert_eq!(fault(&raw(type_id, 0, stream, payload)), expected, "{type_id:#x}");
    }
}

/// P-3.1, P-3.2
#[test]
fn a_part_of_a_frame_is_only_incomplete_however_wrong_it_is() {
    let wrong = raw(0x13, 0, 7, b"wrong stream, trailing bytes");
    for len in 0..wrong.len() {
        assert!(decode(Dialect::V1, 1000, &wrong[..len]).unwrap_err().is_incomplete());
    }
    let error = decode(Dialect::V1, 1000, &wrong).unwrap_err();
    assert_eq!(error.reason_code(), ReasonCode::INVALID_STREAM, "P-3.4");
}

/// P-3.6
#[test]
fn a_flag_and_its_field_belong_together() {
    let key = message_v1(0, 1, 1, b"");
    let publish = frame(0, 1, Body::Publish { channel: "c", envelope: envelope(b""), idempotency_key: None });
    let mut flagged = publish.clone();
    flagged[1] = flag::KEY;
    assert_eq!(fault(&flagged), Fault::PastEnd);
    let mut unflagged = frame(
        flag::KEY,
        1,
        Body::Publish { channel: "c", envelope: envelope(b""), idempotency_key: Some("k") },
    );
    unflagged[1] = 0;
    assert_eq!(fault(&unflagged), Fault::Trailing);
    let short = raw(0x82, flag::ANSWERS, 1, &[0; 15]);
    assert_eq!(fault(&short), Fault::PastEnd);
    assert!(decode(Dialect::V2, 1000, &key).is_ok());
}

/// P-3.7
#[test]
fn what_could_not_be_decoded_is_not_encoded() {
    let subscribe =
        Body::Subscribe { channel: "c", accepted_schemas: SchemaIds::new([]).unwrap(), max_in_flight: 0 };
    let publish = || Body::Publish { channel: "c", envelope: envelope(b""), idempotency_key: None };
    let message = || Body::Message {
        message_id: id(1),
        answers: None,
        timeout_ms: None,
        redelivered: None,
        metadata: None,
        payload: Bytes::new(),
    };
    assert!(matches!(refusal(0, 0, publish()), EncodeError::InvalidStream { .. }));
    assert!(matches!(refusal(1, 0, Body::Ping), EncodeError::InvalidStream { .. }));
    assert!(matches!(refusal(1, 0, subscribe), EncodeError::Codec { fault: Fault::Zero, .. }));
    let nothing = Body::Serve { capacity: 0, subject: None };
    assert!(matches!(refusal(1, 0, nothing), EncodeError::Codec { fault: Fault::Zero, .. }));
    let flagged =
        [flag::ANSWERS, flag::TIMEOUT, flag::REDELIVERED, flag::METADATA].map(|flags| (flags, message()));
    for (flags, body) in [(flag::KEY, publish())].into_iter().chain(flagged) {
        assert!(matches!(refusal(1, flags, body), EncodeError::Codec { fault: Fault::FlagMismatch, .. }));
    }
}

/// P-5.1
#[test]
fn the_frames_of_2_0_stand_as_drawn() {
    let redelivered = message_v2(flag::REDELIVERED, 3, 9, b"again");
    let invite = Body::Invite { pid: Pid::new(7), subject: "s" };
    let open = Body::Open { on_exit: OnExit::Fail, total_ms: None, idle_ms: Some(9), subject: "s" };
    let described = message_v2(flag::METADATA, 3, 9, b"hi");
    let block = b"\0\0\0\0\0\0\0\x09\0\0\0\x1F\0\0\0\0\0\0\x0Btraceparent\0\0\0\x0900-1-2-01hi";
    let cases: [(Vec<u8>, u8, u8, &[u8]); 10] = [
        (described, 0x82, 0x40, block),
        (reply_v2(3, 1, true, b"part"), 0x82, 0x0A, b"\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x01part"),
        (outcome_v2(3, 2, ReasonCode::BUSY), 0x84, 0, b"\0\0\0\0\0\0\0\x02\x01\x03\0\0"),
        (frame(0, 3, Body::Opened { pid: None }), 0x80, 0, b"\0"),
        (redelivered, 0x82, 0x20, b"\0\0\0\0\0\0\0\x09\x01again"),
        (frame(0, 3, Body::Serve { capacity: 2, subject: None }), 0x87, 0, b"\0\0\0\x02\0"),
        (frame(flag::DRAIN, 3, Body::Withdraw), 0x89, 1, b""),
        (frame(0, 3, Body::Withdrawn), 0x8A, 0, b""),
        (frame(0, 3, open), 0x8C, 0, b"\x01\0\x01\0\0\0\x09\0\0\0\x01s"),
        (frame(0, 3, invite), 0x8B, 0, b"\0\0\0\0\0\0\0\x07\0\0\0\x01s"),
    ];
    for (bytes, type_id, flags, payload) in cases {
        assert_eq!(bytes, raw(type_id, flags, 3, payload));
    }
}

/// P-5.2
#[test]
fn a_1_0_link_never_carries_a_type_of_2_0() {
    let frame = liminal_proto::wire::Frame {
        flags: 0,
        stream: StreamId::new(1),
        body: Body::<&str, Bytes>::Opened { pid: None },
    };
    let refused = encode(Dialect::V1, &frame, &mut BytesMut::new());
    let frame_type = FrameType::Opened;
    assert_eq!(refused, Err(EncodeError::NotInDialect { frame_type, dialect: Dialect::V1 }));
}

/// P-9.1
#[test]
fn codes_that_nobody_assigned_are_accepted() {
    let body = Body::Refused { reason_code: ReasonCode::new(0x7777), message: None };
    let bytes = frame(0, 1, body);
    let (decoded, _) = decode(Dialect::V2, 1000, &bytes).unwrap();
    assert!(matches!(decoded.body, Body::Refused { reason_code, .. } if reason_code.get() == 0x7777));
}
