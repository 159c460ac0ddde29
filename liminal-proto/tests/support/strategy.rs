//! Frames that a peer may send, from well-meaning to hostile: few ids, so that they meet.

use bytes::Bytes;
use liminal_proto::wire::{Body, RecordNumbers, Version, WorkerVerdict, flag};
use liminal_proto::{LogId, MessageId, Pid, ReasonCode, RecordNumber};
use liminal_sim::strategy::any_frame;
use proptest::prelude::*;

use super::{conversation, envelope, frame, raw, traced};

fn reason() -> impl Strategy<Value = ReasonCode> {
    prop::sample::select(vec![
        ReasonCode::new(0),
        ReasonCode::EXITED,
        ReasonCode::DEADLINE,
        ReasonCode::BUSY,
        ReasonCode::NOT_OPEN,
        ReasonCode::OTHER,
    ])
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        1 => (900_usize..5000).prop_map(|len| Bytes::from(vec![7; len])),
    ]
}

const TEXTS: [Option<&str>; 3] = [None, Some(""), Some("because")];

fn text() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(TEXTS.to_vec())
}

fn stream() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 1_u32..12, 1 => Just(u32::MAX)]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0_u64..12, 1 => Just(u64::MAX)]
}

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0), 4 => Just(1), 1 => any::<u8>()]
}

/// What concerns conversations, from a client.
pub(crate) fn client_frame() -> BoxedStrategy<Vec<u8>> {
    let open = (stream(), number(), any::<bool>()).prop_map(|(stream, id, same)| {
        let id = if same { u64::from(stream) } else { id };
        let conversation_id = conversation(id);
        frame(0, stream, Body::ConversationOpen { conversation_id, subject: "subject" })
    });
    let close = (stream(), number(), any::<bool>()).prop_map(|(stream, id, same)| {
        let conversation_id = conversation(if same { u64::from(stream) } else { id });
        frame(0, stream, Body::ConversationClose { conversation_id, reason_code: None, message: None })
    });
    prop_oneof![4 => open, 6 => message_v1(), 6 => message_v2(), 2 => close, 1 => any_control()].boxed()
}

fn message_v1() -> BoxedStrategy<Vec<u8>> {
    (flags(), stream(), number(), payload())
        .prop_map(|(flags, stream, id, payload)| {
            let conversation_id = conversation(id);
            frame(flags, stream, Body::ConversationMessage { conversation_id, envelope: envelope(&payload) })
        })
        .boxed()
}

fn message_v2() -> BoxedStrategy<Vec<u8>> {
    (any::<u8>(), stream(), number(), number(), payload())
        .prop_map(|(flags, stream, id, answers, payload)| {
            let answers = (flags & flag::ANSWERS != 0).then_some(MessageId::new(answers));
            let timeout_ms = (flags & flag::TIMEOUT != 0).then_some(50);
            let redelivered = (flags & flag::REDELIVERED != 0).then_some(1);
            let metadata = (flags & flag::METADATA != 0).then(traced);
            let message_id = MessageId::new(id);
            frame(
                flags,
                stream,
                Body::Message { message_id, answers, timeout_ms, redelivered, metadata, payload },
            )
        })
        .boxed()
}

fn reply_v2() -> BoxedStrategy<Vec<u8>> {
    (stream(), number(), number(), any::<bool>(), payload())
        .prop_map(|(stream, id, answers, more, payload)| {
            let flags = flag::ANSWERS | if more { flag::MORE } else { 0 };
            let (message_id, answers) = (MessageId::new(id), Some(MessageId::new(answers)));
            frame(
                flags,
                stream,
                Body::Message {
                    message_id,
                    answers,
                    timeout_ms: None,
                    redelivered: None,
                    metadata: None,
                    payload,
                },
            )
        })
        .boxed()
}

/// What concerns conversations, from a server.
pub(crate) fn server_frame() -> BoxedStrategy<Vec<u8>> {
    let opened = (stream(), prop::option::of(number()))
        .prop_map(|(stream, pid)| frame(0, stream, Body::Opened { pid: pid.map(Pid::new) }));
    let refused = (stream(), reason(), text())
        .prop_map(|(stream, reason_code, message)| frame(0, stream, Body::Refused { reason_code, message }));
    let exited = (0_u8..4, stream(), number(), 0_u16..4, text()).prop_map(
        |(flags, stream, record, cause, message)| {
            let (pid, record) = (Pid::new(1), RecordNumber::new(record));
            frame(
                flags,
                stream,
                Body::Exited {
                    pid,
                    record,
                    cause,
                    message,
                    unanswered: 0,
                    records: RecordNumbers::default(),
                },
            )
        },
    );
    let joined =
        (stream(), number()).prop_map(|(stream, pid)| frame(0, stream, Body::Joined { pid: Pid::new(pid) }));
    let failed = stream().prop_map(|stream| frame(0, stream, Body::Failed));
    let outcome = (stream(), number(), reason(), text()).prop_map(|(stream, id, reason_code, message)| {
        let message_id = MessageId::new(id);
        frame(0, stream, Body::Outcome { message_id, reason_code, record: None, message })
    });
    let closed = (stream(), number(), any::<bool>()).prop_map(|(stream, id, same)| {
        let conversation_id = conversation(if same { u64::from(stream) } else { id });
        frame(0, stream, Body::ConversationClose { conversation_id, reason_code: None, message: None })
    });
    let error = (stream(), number(), reason(), text()).prop_map(|(stream, id, reason_code, message)| {
        let conversation_id = conversation(id);
        frame(0, stream, Body::ConversationError { conversation_id, reason_code, message })
    });
    prop_oneof![
        2 => opened, 1 => refused, 2 => exited, 1 => joined, 1 => failed, 4 => outcome, 6 => reply_v2(), 1 => message_v2(),
        1 => closed, 4 => error, 6 => message_v1(),
    ]
    .boxed()
}

/// What concerns offers and invitations, from either side.
pub(crate) fn serving_frame() -> BoxedStrategy<Vec<u8>> {
    let serve = (stream(), 1_u32..4, text())
        .prop_map(|(stream, capacity, subject)| frame(0, stream, Body::Serve { capacity, subject }));
    let withdraw = (stream(), 0_u8..2).prop_map(|(stream, flags)| frame(flags, stream, Body::Withdraw));
    let invite = (stream(), number())
        .prop_map(|(stream, pid)| frame(0, stream, Body::Invite { pid: Pid::new(pid), subject: "subject" }));
    let serving = stream().prop_map(|stream| frame(0, stream, Body::Serving));
    let withdrawn = stream().prop_map(|stream| frame(0, stream, Body::Withdrawn));
    prop_oneof![3 => serve, 2 => withdraw, 4 => invite, 2 => serving, 1 => withdrawn].boxed()
}

/// What concerns monitors and watches, from either side.
pub(crate) fn monitor_frame() -> BoxedStrategy<Vec<u8>> {
    let monitor =
        (stream(), number()).prop_map(|(stream, pid)| frame(0, stream, Body::Monitor { pid: Pid::new(pid) }));
    let watch = (stream(), text()).prop_map(|(stream, subject)| frame(0, stream, Body::Watch { subject }));
    let bare = (stream(), 0_usize..3).prop_map(|(stream, which)| {
        let body = [Body::Monitoring, Body::Unmonitor, Body::Unmonitored];
        frame(0, stream, body[which].clone())
    });
    let record = (any::<u8>(), stream(), number(), 0_u8..12, text(), payload()).prop_map(
        |(flags, stream, number, what, text, payload)| {
            let (log, record, of, timeout_ms) = (LogId::new(1), RecordNumber::new(number), number, None);
            let (cause, subject, message) = (0, text, text);
            let metadata = (flags & flag::METADATA != 0).then(traced);
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
            frame(flags, stream, body)
        },
    );
    let gap = (stream(), number(), number(), text()).prop_map(|(stream, from, to, subject)| {
        let (log, from, to) = (LogId::new(1), RecordNumber::new(from), RecordNumber::new(to));
        frame(0, stream, Body::Gap { log, from, to, why: 1, subject })
    });
    prop_oneof![3 => monitor, 2 => watch, 6 => bare, 4 => record, 2 => gap].boxed()
}

fn any_control() -> BoxedStrategy<Vec<u8>> {
    let version = prop::sample::select(vec![Version::V1_0, Version::V2_0, Version { major: 1, minor: 3 }]);
    let connect = (version.clone(), version.clone()).prop_map(|(min_version, max_version)| {
        frame(0, 0, Body::Connect { min_version, max_version, auth_token: Bytes::new() })
    });
    let ack = version
        .prop_map(|selected_version| frame(0, 0, Body::ConnectAck { selected_version, capabilities: 0 }));
    let error = (reason(), text())
        .prop_map(|(reason_code, message)| frame(0, 0, Body::ConnectError { reason_code, message }));
    prop_oneof![
        connect,
        ack,
        error,
        Just(frame(0, 0, Body::Disconnect)),
        Just(frame(0, 0, Body::Ping)),
        Just(frame(0, 0, Body::Pong)),
        Just(frame(0, 0, Body::WorkerRegisterAck { verdict: WorkerVerdict::Accepted })),
    ]
    .boxed()
}

/// Anything: valid frames of both sides and of every type, frames of no known type, frames with a changed byte, noise.
pub(crate) fn anything() -> BoxedStrategy<Vec<u8>> {
    let of_any_type = || any_frame().prop_map(|it| it.encoded().to_vec());
    let valid = || prop_oneof![4 => client_frame(), 4 => server_frame(), 3 => serving_frame(), 3 => monitor_frame(), 2 => any_control(), 2 => of_any_type()];
    let unknown = (0x1A_u8..0x80, any::<u8>(), stream(), prop::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(type_id, flags, stream, payload)| raw(type_id, flags, stream, &payload));
    let mutated = (valid(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![12 => valid(), 1 => unknown, 1 => mutated, 1 => noise].boxed()
}

/// What a well-behaved client says after its handshake: ids ascend, messages follow their open.
pub(crate) fn well_behaved(version: u16) -> BoxedStrategy<Vec<u8>> {
    let step = (0_u8..10, 0_usize..4, any::<u8>(), payload());
    prop::collection::vec(step, 0..40).prop_map(move |steps| well_behaved_script(version, steps)).boxed()
}

fn well_behaved_script(version: u16, steps: Vec<(u8, usize, u8, Bytes)>) -> Vec<u8> {
    let mut out = super::open(1);
    let (mut streams, mut message) = (vec![1_u32], 0);
    for (kind, nth, flags, payload) in steps {
        let stream = streams[streams.len().saturating_sub(1 + nth)];
        message += 1;
        out.extend(match kind {
            0 | 1 => {
                streams.push(streams.len() as u32 * 2 + 1);
                super::open(streams.len() as u32 * 2 - 1)
            }
            2 => super::close(stream),
            3 => super::ping(),
            _ if version == 1 => super::message_v1(flags & flag::REPLY, stream, stream.into(), &payload),
            _ => super::message_v2(flags & !flag::ANSWERS, stream, message, &payload),
        });
    }
    out
}
