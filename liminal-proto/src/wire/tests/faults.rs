//! Bytes that are refused: each with the first fault in the order of PROTOCOL.md §3.

use alloc::vec::Vec;

use super::super::{DecodeError, Dialect, ErrorKind, Fault, FrameType, HEADER_LEN, decode, flag};
use crate::StreamId;

const LIMIT: u32 = 1 << 20;

fn bytes(frame_type: FrameType, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    [&[frame_type.id(), flags, 0, 0, 0, stream, 0, 0, 0, len], payload].concat()
}

/// An envelope in its bytes field: the causal context, then the payload of the frame's choice.
fn envelope(context: &[u8], rest: &[u8]) -> Vec<u8> {
    let context_len = u32::try_from(context.len()).unwrap().to_be_bytes();
    let inner = [&[0xAA; 32][..], &context_len, context, rest].concat();
    [&u32::try_from(inner.len()).unwrap().to_be_bytes()[..], &inner].concat()
}

struct Case {
    frame_type: FrameType,
    flags: u8,
    stream: u8,
    payload: Vec<u8>,
    /// Counted from the payload's first byte.
    offset: usize,
    field: &'static str,
    fault: Fault,
}

fn case(frame_type: FrameType, payload: &[u8], (offset, field, fault): (usize, &'static str, Fault)) -> Case {
    Case { frame_type, flags: 0, stream: 1, payload: payload.to_vec(), offset, field, fault }
}

fn on_control(case: Case) -> Case {
    Case { stream: 0, ..case }
}

fn flagged(flags: u8, case: Case) -> Case {
    Case { flags, ..case }
}

/// P-2.6: a message with such metadata.
fn about(metadata: &[u8], fault: (usize, &'static str, Fault)) -> Case {
    flagged(flag::METADATA, case(FrameType::Message, &[&[0; 8], metadata].concat(), fault))
}

fn cases() -> Vec<Case> {
    use Fault::{CountTooLarge, HeaderName, PastEnd, Tag, Trailing, Utf8, Zero};
    let message = |rest: &[u8]| [&[0; 8], rest].concat();
    let id = [0; 8];
    alloc::vec![
        case(FrameType::PublishAck, &[0; 7], (0, "message_id", PastEnd)),
        case(FrameType::PublishAck, &[0; 9], (8, "PublishAck", Trailing)),
        case(FrameType::Accept, &[0, 0, 0, 3, b'a', b'b'], (4, "referenced_message_id", PastEnd)),
        case(FrameType::Accept, &[0xFF; 4], (4, "referenced_message_id", PastEnd)),
        case(FrameType::Accept, &[0, 0, 0, 3, b'a', 0xFF, b'b'], (5, "referenced_message_id", Utf8)),
        case(FrameType::PublishError, &[0, 1, 2], (2, "message", Tag(2))),
        case(FrameType::PublishError, &[0, 1], (2, "message", PastEnd)),
        case(FrameType::ConversationClose, &message(&[9]), (8, "reason_code", Tag(9))),
        case(FrameType::Subscribe, &[0; 12], (8, "max_in_flight", Zero)),
        case(
            FrameType::Subscribe,
            &[&[0, 0, 0, 0, 0, 0, 0, 2][..], &[0; 63]].concat(),
            (8, "accepted_schemas", CountTooLarge)
        ),
        case(
            FrameType::Subscribe,
            &[0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
            (8, "accepted_schemas", CountTooLarge)
        ),
        on_control(case(
            FrameType::WorkerRegister,
            &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0],
            (4, "namespaces", CountTooLarge)
        )),
        on_control(case(FrameType::WorkerRegister, &[0, 0, 0, 1, 0, 0, 0, 1, 0xC0], (8, "namespaces", Utf8))),
        on_control(case(FrameType::WorkerRegisterAck, &[2], (0, "verdict", Tag(2)))),
        on_control(case(FrameType::WorkerRegisterAck, &[1], (1, "reason", PastEnd))),
        on_control(case(FrameType::Ping, &[0], (0, "Ping", Trailing))),
        case(FrameType::Deliver, &message(&[0, 0, 0, 1, 0]), (12, "schema_id", PastEnd)),
        case(FrameType::Deliver, &message(&envelope(&[0, 0, 0], &[0; 4])), (50, "causal_context", Trailing)),
        case(FrameType::Deliver, &message(&envelope(&[0], &[0; 5])), (49, "vector_clock_entry", PastEnd)),
        case(FrameType::Deliver, &message(&envelope(&[0, 0], &[0, 0, 0, 9])), (54, "payload", PastEnd)),
        case(FrameType::Deliver, &message(&envelope(&[0, 0], &[0; 5])), (54, "envelope", Trailing)),
        flagged(
            flag::KEY,
            case(
                FrameType::Publish,
                &[&[0; 4][..], &envelope(&[0, 0], &[0; 4])].concat(),
                (50, "idempotency_key", PastEnd)
            )
        ),
        case(
            FrameType::Publish,
            &[&[0; 4][..], &envelope(&[0, 0], &[0; 4]), &[0; 4]].concat(),
            (50, "Publish", Trailing)
        ),
        flagged(flag::ANSWERS, case(FrameType::Message, &message(&[0; 7]), (8, "answers", PastEnd))),
        flagged(flag::TIMEOUT, case(FrameType::Message, &message(&[0; 3]), (8, "timeout_ms", PastEnd))),
        about(&[0, 0, 0, 4, 0, 0, 0], (12, "metadata", PastEnd)),
        about(&[0, 0, 0, 1, 2], (12, "schema_id", Tag(2))),
        about(&[0, 0, 0, 2, 1, 7], (13, "schema_id", PastEnd)),
        about(&[0, 0, 0, 1, 0], (13, "parent_id", PastEnd)),
        about(&[0, 0, 0, 2, 0, 0], (14, "vector_clock_entry", PastEnd)),
        about(&[0, 0, 0, 4, 0, 0, 0, 1], (15, "header name", PastEnd)),
        about(&[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, b'A'], (15, "header name", HeaderName)),
        about(&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0], (15, "header name", HeaderName)),
        about(&[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, b'a'], (20, "header value", PastEnd)),
        about(&[0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 0, 1, 0xFF], (24, "header value", Utf8)),
        case(FrameType::Message, &id[..7], (0, "message_id", PastEnd)),
        case(FrameType::Opened, &[1], (1, "pid", PastEnd)),
        case(FrameType::Outcome, &message(&[0, 0, 0, 0, 0]), (12, "Outcome", Trailing)),
    ]
}

#[test]
fn faults_are_found_where_they_are() {
    for case in cases() {
        let bytes = bytes(case.frame_type, case.flags, case.stream, &case.payload);
        let error = decode(Dialect::V2, LIMIT, &bytes).unwrap_err();
        let offset = HEADER_LEN + case.offset;
        let expected = DecodeError::Codec { offset, field: case.field, fault: case.fault };
        assert_eq!(error, expected, "{}", case.frame_type.name());
    }
}

#[test]
fn types_are_held_to_their_streams() {
    for &frame_type in FrameType::ALL {
        let control =
            frame_type.id() <= 0x04 || matches!(frame_type.id(), 0x13 | 0x14 | 0x17 | 0x18 | 0x8D | 0x96);
        for stream in [0, 1, 2] {
            let result = decode(Dialect::V2, LIMIT, &bytes(frame_type, 0, stream, &[])).map(drop);
            let stream = StreamId::new(u32::from(stream));
            let refused = result == Err(DecodeError::InvalidStream { frame_type, stream });
            assert_eq!(refused, control != (stream == StreamId::CONTROL), "{frame_type:?} on {stream}");
        }
    }
}

/// Each input has all the faults of those after it.
#[test]
fn faults_are_judged_in_order() {
    let wrong = bytes(FrameType::PublishAck, 0, 0, &[0; 9]);
    let kind =
        |limit, bytes: &[u8]| decode(Dialect::V1, limit, bytes).map_err(|error| error.kind()).map(drop);
    assert_eq!(kind(8, &wrong[..9]), Err(ErrorKind::IncompleteHeader));
    assert_eq!(kind(8, &wrong[..10]), Err(ErrorKind::TooLarge));
    assert_eq!(kind(9, &wrong[..18]), Err(ErrorKind::TruncatedPayload));
    assert_eq!(kind(9, &wrong), Err(ErrorKind::InvalidStream));
    let on_its_stream = bytes(FrameType::PublishAck, 0, 1, &[0; 9]);
    assert_eq!(kind(9, &on_its_stream), Err(ErrorKind::Codec));
}

#[test]
fn the_longest_length_there_is_only_waits() {
    let header = [FrameType::Push.id(), 0, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF];
    let need = HEADER_LEN.saturating_add(usize::try_from(u32::MAX).unwrap());
    let expected = DecodeError::TruncatedPayload { have: 10, need };
    assert_eq!(decode(Dialect::V1, u32::MAX, &header), Err(expected));
}
