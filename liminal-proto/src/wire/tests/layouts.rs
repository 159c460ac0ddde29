//! The layouts of 2.0 (PROTOCOL.md §5), byte by byte. Those of 1.0 are held against recorded bytes.

use bytes::BytesMut;

use super::super::{Body, Dialect, Frame, FrameRef, RecordNumbers, decode, encode, flag};
use crate::{LogId, MessageId, OnExit, Pid, ReasonCode, RecordNumber, StreamId};

fn on_stream_9(flags: u8, body: Body<&'static str, &'static [u8]>) -> FrameRef<'static> {
    Frame { flags, stream: StreamId::new(9), body }
}

fn message(flags: u8, answers: Option<u64>, timeout_ms: Option<u32>) -> FrameRef<'static> {
    let message_id = MessageId::new(3);
    let answers = answers.map(MessageId::new);
    on_stream_9(
        flags,
        Body::Message { message_id, answers, timeout_ms, redelivered: None, metadata: None, payload: b"hi" },
    )
}

fn redelivered(flags: u8, timeout_ms: Option<u32>) -> FrameRef<'static> {
    let (message_id, redelivered) = (MessageId::new(3), Some(2));
    on_stream_9(
        flags,
        Body::Message { message_id, answers: None, timeout_ms, redelivered, metadata: None, payload: b"hi" },
    )
}

/// With nothing that was unanswered.
fn exited(
    pid: Pid,
    record: RecordNumber,
    cause: u16,
    message: Option<&'static str>,
) -> Body<&'static str, &'static [u8]> {
    Body::Exited { pid, record, cause, message, unanswered: 0, records: RecordNumbers::default() }
}

/// A reply that was recorded.
fn record(flags: u8, subject: Option<&'static str>) -> FrameRef<'static> {
    let (log, record) = (LogId::new(6), RecordNumber::new(5));
    let (cause, timeout_ms, message) = (0x0103, Some(258), Some("y"));
    on_stream_9(
        flags,
        Body::Record {
            log,
            record,
            what: 4,
            of: 3,
            cause,
            timeout_ms,
            subject,
            message,
            metadata: None,
            payload: b"hi",
        },
    )
}

/// Each frame with its bytes from the payload length on.
fn version_2() -> [(FrameRef<'static>, u8, &'static [u8]); 23] {
    let pid = Pid::new(7);
    let numbered = RecordNumber::new(5);
    let message_id = MessageId::new(3);
    let reason_code = ReasonCode::EXITED;
    [
        (on_stream_9(0, Body::Opened { pid: None }), 0x80, b"\0\0\0\x01\0"),
        (on_stream_9(0, Body::Opened { pid: Some(pid) }), 0x80, b"\0\0\0\x09\x01\0\0\0\0\0\0\0\x07"),
        (on_stream_9(0, Body::Refused { reason_code, message: None }), 0x81, b"\0\0\0\x03\x01\x01\0"),
        (message(0, None, None), 0x82, b"\0\0\0\x0A\0\0\0\0\0\0\0\x03hi"),
        (message(flag::ANSWERS, Some(2), None), 0x82, b"\0\0\0\x12\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02hi"),
        (message(flag::TIMEOUT, None, Some(256)), 0x82, b"\0\0\0\x0E\0\0\0\0\0\0\0\x03\0\0\x01\0hi"),
        (
            message(flag::ANSWERS | flag::TIMEOUT, Some(2), Some(256)),
            0x82,
            b"\0\0\0\x16\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\x01\0hi",
        ),
        (
            on_stream_9(0, exited(pid, numbered, 2, Some("x"))),
            0x83,
            b"\0\0\0\x20\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x05\0\x02\x01\0\0\0\x01x\0\0\0\0\0\0\0\0",
        ),
        (
            on_stream_9(flag::GOES_ON, exited(pid, numbered, 0, None)),
            0x83,
            b"\0\0\0\x1B\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0",
        ),
        (on_stream_9(0, Body::Joined { pid }), 0x85, b"\0\0\0\x08\0\0\0\0\0\0\0\x07"),
        (on_stream_9(0, Body::Failed), 0x86, b"\0\0\0\0"),
        (
            on_stream_9(0, Body::Outcome { message_id, reason_code, record: None, message: None }),
            0x84,
            b"\0\0\0\x0C\0\0\0\0\0\0\0\x03\x01\x01\0\0",
        ),
        (
            on_stream_9(0, Body::Outcome { message_id, reason_code, record: Some(numbered), message: None }),
            0x84,
            b"\0\0\0\x14\0\0\0\0\0\0\0\x03\x01\x01\x01\0\0\0\0\0\0\0\x05\0",
        ),
        (redelivered(flag::REDELIVERED, None), 0x82, b"\0\0\0\x0B\0\0\0\0\0\0\0\x03\x02hi"),
        (
            redelivered(flag::REDELIVERED | flag::TIMEOUT, Some(256)),
            0x82,
            b"\0\0\0\x0F\0\0\0\0\0\0\0\x03\0\0\x01\0\x02hi",
        ),
        (
            on_stream_9(0, Body::Serve { capacity: 258, subject: Some("x") }),
            0x87,
            b"\0\0\0\x0A\0\0\x01\x02\x01\0\0\0\x01x",
        ),
        (on_stream_9(0, Body::Serve { capacity: 1, subject: None }), 0x87, b"\0\0\0\x05\0\0\0\x01\0"),
        (on_stream_9(0, Body::Serving), 0x88, b"\0\0\0\0"),
        (on_stream_9(0, Body::Withdraw), 0x89, b"\0\0\0\0"),
        (on_stream_9(flag::DRAIN, Body::Withdraw), 0x89, b"\0\0\0\0"),
        (on_stream_9(0, Body::Withdrawn), 0x8A, b"\0\0\0\0"),
        (
            on_stream_9(
                0,
                Body::Open { on_exit: OnExit::Next, total_ms: Some(258), idle_ms: None, subject: "x" },
            ),
            0x8C,
            b"\0\0\0\x0C\x02\x01\0\0\x01\x02\0\0\0\0\x01x",
        ),
        (
            on_stream_9(0, Body::Invite { pid, subject: "x" }),
            0x8B,
            b"\0\0\0\x0D\0\0\0\0\0\0\0\x07\0\0\0\x01x",
        ),
    ]
}

/// The same of what is told to those who look on.
fn of_monitors() -> [(FrameRef<'static>, u8, &'static [u8]); 10] {
    let (pid, numbered, log) = (Pid::new(7), RecordNumber::new(5), LogId::new(6));
    [
        (
            on_stream_9(
                0,
                Body::Exited {
                    pid,
                    record: numbered,
                    cause: 1,
                    message: None,
                    unanswered: 258,
                    records: RecordNumbers::from_checked(b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04"),
                },
            ),
            0x83,
            b"\0\0\0\x2B\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x05\0\x01\0\0\0\x01\x02\0\0\0\x02\
              \0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04",
        ),
        (on_stream_9(0, Body::Monitor { pid }), 0x8E, b"\0\0\0\x08\0\0\0\0\0\0\0\x07"),
        (on_stream_9(0, Body::Watch { subject: Some("x") }), 0x8F, b"\0\0\0\x06\x01\0\0\0\x01x"),
        (on_stream_9(0, Body::Watch { subject: None }), 0x8F, b"\0\0\0\x01\0"),
        (on_stream_9(0, Body::Monitoring), 0x90, b"\0\0\0\0"),
        (on_stream_9(0, Body::Unmonitor), 0x91, b"\0\0\0\0"),
        (on_stream_9(0, Body::Unmonitored), 0x92, b"\0\0\0\0"),
        (
            record(flag::MORE, Some("x")),
            0x93,
            b"\0\0\0\x2E\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x05\x04\0\0\0\0\0\0\0\x03\x01\x03\
              \x01\0\0\x01\x02\x01\0\0\0\x01x\x01\0\0\0\x01yhi",
        ),
        (
            on_stream_9(0, Body::Gap { log, from: numbered, to: numbered, why: 258, subject: Some("x") }),
            0x94,
            b"\0\0\0\x20\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x05\x01\x02\x01\0\0\0\x01x",
        ),
        (
            on_stream_9(0, Body::Gap { log, from: numbered, to: numbered, why: 0, subject: None }),
            0x94,
            b"\0\0\0\x1B\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x05\0\0\0",
        ),
    ]
}

#[test]
fn frames_of_version_2_have_their_bytes() {
    for (frame, type_id, rest) in version_2().into_iter().chain(of_monitors()) {
        let bytes = [&[type_id, frame.flags, 0, 0, 0, 9], rest].concat();
        let mut out = BytesMut::new();
        encode(Dialect::V2, &frame, &mut out).unwrap();
        assert_eq!(out, bytes, "{frame:?}");
        assert_eq!(decode(Dialect::V2, 100, &bytes), Ok((frame, bytes.len())));
    }
}

#[test]
fn types_of_version_2_are_opaque_to_version_1() {
    for (frame, type_id, rest) in version_2().into_iter().chain(of_monitors()) {
        let bytes = [&[type_id, frame.flags, 0, 0, 0, 0], rest].concat();
        let (decoded, _) = decode(Dialect::V1, 100, &bytes).unwrap();
        assert_eq!(decoded.body, Body::Unknown { type_id, payload: &rest[4..] });
    }
}
