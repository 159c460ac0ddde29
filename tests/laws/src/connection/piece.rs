//! What a peer sends: mostly frames that concern each other, and anything at all.

use bytes::Bytes;
use liminal_proto::wire::{Body, RecordNumbers, Version, flag};
use liminal_proto::{ConversationId, LogId, MessageId, Metadata, Pid, ReasonCode, RecordNumber};

use crate::Tape;
use crate::frames::{conversation, disconnect, envelope, frame, ping, raw};

/// The bytes of one frame, as a tape decides; now and then of one that is none.
pub(super) fn piece(tape: &mut Tape<'_>) -> Vec<u8> {
    let mut bytes = match tape.byte() {
        240.. => of_serving(tape),
        228..=239 => of_monitors(tape),
        other => match other % 24 {
            0..=5 => from_client(tape),
            6..=14 => from_server(tape),
            15..=17 => control(tape),
            18..=20 => arbitrary_frame(tape),
            21 => noise(tape),
            _ => message_of_either(tape),
        },
    };
    if tape.one_in(32) {
        let (at, byte) = (tape.byte(), tape.byte());
        let at = usize::from(at) % bytes.len().max(1);
        bytes.iter_mut().skip(at).take(1).for_each(|it| *it = byte);
    }
    bytes
}

fn from_client(tape: &mut Tape<'_>) -> Vec<u8> {
    let stream = stream(tape);
    let conversation_id = id_beside(tape, stream);
    match tape.below(4) {
        0 | 1 => frame(0, stream, Body::ConversationOpen { conversation_id, subject: "subject" }),
        2 => frame(0, stream, Body::ConversationClose { conversation_id, reason_code: None, message: None }),
        _ => {
            let (flags, payload) = (tape.byte(), payload(tape));
            frame(flags, stream, Body::ConversationMessage { conversation_id, envelope: envelope(&payload) })
        }
    }
}

fn from_server(tape: &mut Tape<'_>) -> Vec<u8> {
    let stream = stream(tape);
    let conversation_id = id_beside(tape, stream);
    let body = match tape.below(9) {
        0 => Body::Opened { pid: tape.one_in(2).then(|| Pid::new(tape.number())) },
        1 => Body::Refused { reason_code: reason(tape), message: text(tape) },
        2 => {
            let (pid, record, cause) = (Pid::new(1), RecordNumber::new(tape.number()), tape.below(4).into());
            let (flags, message) = (tape.below(4), text(tape));
            let (unanswered, records) = (0, RecordNumbers::default());
            return frame(flags, stream, Body::Exited { pid, record, cause, message, unanswered, records });
        }
        3 => Body::Joined { pid: Pid::new(tape.number()) },
        4 => Body::Failed,
        5 | 6 => {
            let (message_id, reason_code) = (MessageId::new(tape.number()), reason(tape));
            Body::Outcome { message_id, reason_code, record: None, message: text(tape) }
        }
        7 => Body::ConversationClose { conversation_id, reason_code: None, message: None },
        _ => Body::ConversationError { conversation_id, reason_code: reason(tape), message: text(tape) },
    };
    frame(0, stream, body)
}

/// What concerns offers, invitations and credit.
fn of_serving(tape: &mut Tape<'_>) -> Vec<u8> {
    let stream = stream(tape);
    let body = match tape.below(8) {
        0 | 1 => Body::Invite { pid: Pid::new(tape.number()), subject: "subject" },
        2 => Body::Serve { capacity: 1 + u32::from(tape.below(4)), subject: text(tape) },
        3 => Body::Serving,
        4 => return frame(tape.below(2), stream, Body::Withdraw),
        5 => Body::Withdrawn,
        6 => Body::Credit { bytes: amount(tape) },
        _ => return frame(0, 0, Body::ConnectionCredit { messages: amount(tape), replies: amount(tape) }),
    };
    frame(0, stream, body)
}

/// What is said about a payload, or nothing.
fn metadata(tape: &mut Tape<'_>) -> Metadata {
    let mut builder = Metadata::builder();
    for _ in 0..tape.below(3) {
        builder = builder.header("traceparent", &"x".repeat(usize::from(tape.byte()))).unwrap_or_default();
    }
    builder.build()
}

/// What concerns monitors and watches.
fn of_monitors(tape: &mut Tape<'_>) -> Vec<u8> {
    let stream = stream(tape);
    let body = match tape.below(10) {
        0 => Body::Monitor { pid: Pid::new(tape.number()) },
        1 => Body::Watch { subject: text(tape) },
        2 | 3 => Body::Monitoring,
        4 => Body::Unmonitor,
        5 => Body::Unmonitored,
        6..=8 => {
            let (log, record) = (LogId::new(tape.below(3).into()), RecordNumber::new(tape.number()));
            let (flags, what, of, cause) = (tape.byte(), tape.below(12), tape.number(), reason(tape).get());
            let timeout_ms = tape.one_in(2).then(|| tape.short().into());
            let (subject, message, payload) = (text(tape), text(tape), payload(tape));
            let metadata = (flags & flag::METADATA != 0).then(|| metadata(tape));
            let body = Body::Record {
                log,
                record,
                what,
                of,
                cause,
                timeout_ms,
                subject,
                message,
                metadata,
                payload,
            };
            return frame(flags, stream, body);
        }
        _ => {
            let log = LogId::new(tape.below(3).into());
            let (from, to) = (RecordNumber::new(tape.number()), RecordNumber::new(tape.number()));
            Body::Gap { log, from, to, why: tape.below(4).into(), subject: text(tape) }
        }
    };
    frame(0, stream, body)
}

/// A message of 2.0, or a reply.
fn message_of_either(tape: &mut Tape<'_>) -> Vec<u8> {
    let (flags, stream) = (tape.byte(), stream(tape));
    let message_id = MessageId::new(tape.number());
    let answers = (flags & flag::ANSWERS != 0).then(|| MessageId::new(tape.number()));
    let timeout_ms = (flags & flag::TIMEOUT != 0).then(|| tape.short().into());
    let redelivered = (flags & flag::REDELIVERED != 0).then(|| tape.byte());
    let metadata = (flags & flag::METADATA != 0).then(|| metadata(tape));
    frame(
        flags,
        stream,
        Body::Message { message_id, answers, timeout_ms, redelivered, metadata, payload: payload(tape) },
    )
}

fn control(tape: &mut Tape<'_>) -> Vec<u8> {
    let body = match tape.below(7) {
        0 => return ping(),
        1 => Body::Pong,
        2 => {
            let (min_version, max_version) = (version(tape), version(tape));
            Body::Connect { min_version, max_version, auth_token: payload(tape) }
        }
        3 => Body::ConnectAck { selected_version: version(tape), capabilities: 0 },
        4 => Body::ConnectError { reason_code: reason(tape), message: text(tape) },
        5 => {
            let [payload_max, conversation, connection] = [(); 3].map(|()| amount(tape).max(1));
            Body::Windows { payload_max, conversation, connection }
        }
        _ => return disconnect(),
    };
    frame(0, 0, body)
}

/// A header with any payload.
fn arbitrary_frame(tape: &mut Tape<'_>) -> Vec<u8> {
    let (type_id, flags, stream) = (tape.byte(), tape.byte(), tape.below(4));
    raw(type_id, flags, stream.into(), short_bytes(tape))
}

fn noise(tape: &mut Tape<'_>) -> Vec<u8> {
    short_bytes(tape).to_vec()
}

/// How much credit: little, some, or more than anybody may have.
fn amount(tape: &mut Tape<'_>) -> u32 {
    match tape.byte() {
        255 => u32::MAX,
        some => u32::from(some).pow(2),
    }
}

fn stream(tape: &mut Tape<'_>) -> u32 {
    match tape.byte() {
        255 => u32::MAX,
        small => u32::from(small % 12) + 1,
    }
}

/// The id of a conversation: mostly that of its stream.
fn id_beside(tape: &mut Tape<'_>, stream: u32) -> ConversationId {
    conversation(if tape.one_in(8) { tape.number() } else { stream.into() })
}

fn version(tape: &mut Tape<'_>) -> Version {
    [Version::V2_0, Version::V1_0, Version { major: 1, minor: 3 }][usize::from(tape.below(3))]
}

fn reason(tape: &mut Tape<'_>) -> ReasonCode {
    match tape.below(7) {
        0 => ReasonCode::new(0),
        1 => ReasonCode::EXITED,
        2 => ReasonCode::DEADLINE,
        3 => ReasonCode::BUSY,
        4 => ReasonCode::NOT_OPEN,
        5 => ReasonCode::OTHER,
        _ => ReasonCode::new(tape.short()),
    }
}

fn text(tape: &mut Tape<'_>) -> Option<&'static str> {
    [None, Some(""), Some("because")][usize::from(tape.below(3))]
}

/// Mostly short, now and then one that is worth sharing or too large.
fn payload(tape: &mut Tape<'_>) -> Bytes {
    match tape.byte() {
        short @ 0..=199 => Bytes::from(vec![7; usize::from(short % 40)]),
        large => Bytes::from(vec![7; usize::from(large - 199) * 90]),
    }
}

fn short_bytes<'a>(tape: &mut Tape<'a>) -> &'a [u8] {
    let len = tape.below(64);
    tape.bytes(len.into())
}
