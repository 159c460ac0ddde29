//! Frames at random.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;

use super::super::{
    Body, CausalContext, Dialect, Envelope, Frame, FrameBuf, FrameType, SchemaId, SchemaIds, StreamRule,
    Texts, Version, WorkerVerdict, flag,
};
use crate::{ConversationId, MessageId, Pid, ReasonCode, RecordNumber, StreamId};

type BodyBuf = Body<String, Bytes>;

pub(super) fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::V1), Just(Dialect::V2)]
}

/// A frame of the dialect that the encoder takes.
pub(super) fn frame(dialect: Dialect) -> impl Strategy<Value = FrameBuf> {
    body(dialect).prop_flat_map(|body| {
        let stream = match body.frame_type().map(FrameType::stream_rule) {
            Some(StreamRule::Control) => Just(0).boxed(),
            Some(StreamRule::Application) => (1..=u32::MAX).boxed(),
            None => any::<u32>().boxed(),
        };
        (any::<u8>(), stream, Just(body)).prop_map(|(flags, stream, body)| Frame {
            flags: agreeing(flags, &body),
            stream: StreamId::new(stream),
            body,
        })
    })
}

/// A frame of any type with any flags, on any stream: the encoder may refuse it.
pub(super) fn careless_frame() -> impl Strategy<Value = FrameBuf> {
    let stream = prop_oneof![Just(0), any::<u32>()].prop_map(StreamId::new);
    let body = prop_oneof![body(Dialect::V2), unknown(0..=u8::MAX).boxed(), subscribe(0..2)];
    (any::<u8>(), stream, body).prop_map(|(flags, stream, body)| Frame { flags, stream, body })
}

/// A frame of any dialect that its dialect knows, and the dialect.
pub(super) fn any_frame() -> impl Strategy<Value = (Dialect, FrameBuf)> {
    dialect().prop_flat_map(|dialect| (Just(dialect), frame(dialect)))
}

/// The flags, with the bits that announce fields set as the body has those fields.
fn agreeing(flags: u8, body: &BodyBuf) -> u8 {
    let with = |flags: u8, flag: u8, set: bool| if set { flags | flag } else { flags & !flag };
    if let Body::Publish { idempotency_key, .. } = body {
        return with(flags, flag::KEY, idempotency_key.is_some());
    }
    if let Body::Message { answers, timeout_ms, .. } = body {
        let flags = with(flags, flag::ANSWERS, answers.is_some());
        return with(flags, flag::TIMEOUT, timeout_ms.is_some());
    }
    flags
}

fn body(dialect: Dialect) -> BoxedStrategy<BodyBuf> {
    let mut all = control();
    all.extend(channels());
    all.extend(conversations());
    all.extend(others());
    all.push(unknown(0x1A..=0x7F));
    match dialect {
        Dialect::V1 => all.push(unknown(0x80..=u8::MAX)),
        Dialect::V2 => {
            all.extend(version_2());
            all.push(unknown(0x87..=u8::MAX));
        }
    }
    Union::new(all).boxed()
}

fn text() -> impl Strategy<Value = String> {
    "(?s).{0,8}"
}

fn message() -> impl Strategy<Value = Option<String>> {
    option::of(text())
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn texts() -> impl Strategy<Value = Texts<Bytes>> {
    vec(text(), 0..4).prop_map(|texts| Texts::new(texts).unwrap())
}

fn schema_id() -> impl Strategy<Value = SchemaId> {
    any::<[u8; 32]>().prop_map(SchemaId)
}

fn version() -> impl Strategy<Value = Version> {
    any::<(u16, u16)>().prop_map(|(major, minor)| Version { major, minor })
}

fn reason() -> impl Strategy<Value = ReasonCode> {
    any::<u16>().prop_map(ReasonCode::new)
}

fn conversation_id() -> impl Strategy<Value = ConversationId> {
    any::<u64>().prop_map(ConversationId::new)
}

fn envelope() -> impl Strategy<Value = Envelope<String, Bytes>> {
    (schema_id(), message(), any::<Option<u64>>(), bytes()).prop_map(
        |(schema_id, parent_id, vector_clock_entry, payload)| Envelope {
            schema_id,
            causal_context: CausalContext { parent_id, vector_clock_entry },
            payload,
        },
    )
}

fn control() -> Vec<BoxedStrategy<BodyBuf>> {
    vec![
        (version(), version(), bytes())
            .prop_map(|(min_version, max_version, auth_token)| Body::Connect {
                min_version,
                max_version,
                auth_token,
            })
            .boxed(),
        (version(), any::<u32>())
            .prop_map(|(selected_version, capabilities)| Body::ConnectAck { selected_version, capabilities })
            .boxed(),
        (reason(), message())
            .prop_map(|(reason_code, message)| Body::ConnectError { reason_code, message })
            .boxed(),
        Just(Body::Disconnect).boxed(),
        Just(Body::Ping).boxed(),
        Just(Body::Pong).boxed(),
    ]
}

fn subscribe(max_in_flight: core::ops::Range<u32>) -> BoxedStrategy<BodyBuf> {
    (text(), vec(schema_id(), 0..4), max_in_flight)
        .prop_map(|(channel, ids, max_in_flight)| Body::Subscribe {
            channel,
            accepted_schemas: SchemaIds::new(ids).unwrap(),
            max_in_flight,
        })
        .boxed()
}

fn channels() -> Vec<BoxedStrategy<BodyBuf>> {
    vec![
        subscribe(1..u32::MAX),
        (any::<u64>(), schema_id())
            .prop_map(|(subscription_id, selected_schema)| Body::SubscribeAck {
                subscription_id,
                selected_schema,
            })
            .boxed(),
        (reason(), message())
            .prop_map(|(reason_code, message)| Body::SubscribeError { reason_code, message })
            .boxed(),
        any::<u64>().prop_map(|subscription_id| Body::Unsubscribe { subscription_id }).boxed(),
        (text(), envelope(), message())
            .prop_map(|(channel, envelope, idempotency_key)| Body::Publish {
                channel,
                envelope,
                idempotency_key,
            })
            .boxed(),
        any::<u64>().prop_map(|message_id| Body::PublishAck { message_id }).boxed(),
        (reason(), message())
            .prop_map(|(reason_code, message)| Body::PublishError { reason_code, message })
            .boxed(),
        (any::<u64>(), envelope())
            .prop_map(|(delivery_seq, envelope)| Body::Deliver { delivery_seq, envelope })
            .boxed(),
    ]
}

fn conversations() -> Vec<BoxedStrategy<BodyBuf>> {
    vec![
        (conversation_id(), text())
            .prop_map(|(conversation_id, subject)| Body::ConversationOpen { conversation_id, subject })
            .boxed(),
        (conversation_id(), envelope())
            .prop_map(|(conversation_id, envelope)| Body::ConversationMessage { conversation_id, envelope })
            .boxed(),
        (conversation_id(), option::of(reason()), message())
            .prop_map(|(conversation_id, reason_code, message)| Body::ConversationClose {
                conversation_id,
                reason_code,
                message,
            })
            .boxed(),
        (conversation_id(), reason(), message())
            .prop_map(|(conversation_id, reason_code, message)| Body::ConversationError {
                conversation_id,
                reason_code,
                message,
            })
            .boxed(),
    ]
}

fn others() -> Vec<BoxedStrategy<BodyBuf>> {
    vec![
        text().prop_map(|referenced_message_id| Body::Accept { referenced_message_id }).boxed(),
        (text(), message())
            .prop_map(|(referenced_message_id, reason)| Body::Defer { referenced_message_id, reason })
            .boxed(),
        (text(), message())
            .prop_map(|(referenced_message_id, reason)| Body::Reject { referenced_message_id, reason })
            .boxed(),
        (any::<u64>(), bytes())
            .prop_map(|(correlation_id, payload)| Body::Push { correlation_id, payload })
            .boxed(),
        (any::<u64>(), bytes())
            .prop_map(|(correlation_id, payload)| Body::PushReply { correlation_id, payload })
            .boxed(),
        (texts(), text(), message(), texts(), text())
            .prop_map(|(namespaces, task_queue, node, activity_types, identity)| Body::WorkerRegister {
                namespaces,
                task_queue,
                node,
                activity_types,
                identity,
            })
            .boxed(),
        Just(Body::WorkerRegisterAck { verdict: WorkerVerdict::Accepted }).boxed(),
        text()
            .prop_map(|reason| Body::WorkerRegisterAck { verdict: WorkerVerdict::Rejected { reason } })
            .boxed(),
    ]
}

fn version_2() -> Vec<BoxedStrategy<BodyBuf>> {
    vec![
        any::<Option<u64>>().prop_map(|pid| Body::Opened { pid: pid.map(Pid::new) }).boxed(),
        (reason(), message())
            .prop_map(|(reason_code, message)| Body::Refused { reason_code, message })
            .boxed(),
        (any::<u64>(), any::<Option<u64>>(), any::<Option<u32>>(), bytes())
            .prop_map(|(message_id, answers, timeout_ms, payload)| Body::Message {
                message_id: MessageId::new(message_id),
                answers: answers.map(MessageId::new),
                timeout_ms,
                payload,
            })
            .boxed(),
        (any::<u64>(), any::<u64>(), any::<u16>(), message())
            .prop_map(|(pid, record, cause, message)| Body::Exited {
                pid: Pid::new(pid),
                record: RecordNumber::new(record),
                cause,
                message,
            })
            .boxed(),
        (any::<u64>(), reason(), any::<Option<u64>>(), message())
            .prop_map(|(message_id, reason_code, record, message)| Body::Outcome {
                message_id: MessageId::new(message_id),
                reason_code,
                record: record.map(RecordNumber::new),
                message,
            })
            .boxed(),
        any::<u64>().prop_map(|pid| Body::Joined { pid: Pid::new(pid) }).boxed(),
        Just(Body::Failed).boxed(),
    ]
}

fn unknown(type_ids: core::ops::RangeInclusive<u8>) -> BoxedStrategy<BodyBuf> {
    (type_ids, bytes()).prop_map(|(type_id, payload)| Body::Unknown { type_id, payload }).boxed()
}

/// Bytes that get past the header: a type id, flags, a stream, and some payload of the right length.
pub(super) fn plausible_bytes() -> impl Strategy<Value = Vec<u8>> {
    let type_id = prop_oneof![0x00_u8..0x1C, 0x7E_u8..0x89, any::<u8>()];
    // Small numbers make lengths, counts and tags that fit.
    let payload = vec(prop_oneof![3 => Just(0_u8), 3 => 0_u8..8, 1 => any::<u8>()], 0..80);
    (type_id, any::<u8>(), prop_oneof![Just(0_u32), 0_u32..3], payload).prop_map(
        |(type_id, flags, stream, payload)| {
            let len = u32::try_from(payload.len()).unwrap();
            let mut bytes = vec![type_id, flags];
            bytes.extend(stream.to_be_bytes());
            bytes.extend(len.to_be_bytes());
            bytes.extend(payload);
            bytes
        },
    )
}
