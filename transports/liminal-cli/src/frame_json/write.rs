//! Frame → JSON.

use liminal_proto::wire::{
    Body, CausalContext, Envelope, Frame, FrameType, SchemaId, Version, WorkerVerdict,
};
use liminal_proto::{Metadata, OnExit, Pid, ReasonCode, RecordNumber};
use serde_json::{Value, json};

use super::hex;

/// The frame as a JSON object.
#[must_use]
pub fn write<S: AsRef<str>, B: AsRef<[u8]>>(frame: &Frame<S, B>) -> Value {
    let frame = frame.as_frame_ref();
    json!({
        "frame_type": frame.body.frame_type().map_or("Unknown", FrameType::name),
        "type_id": frame.body.type_id(),
        "flags": frame.flags,
        "stream_id": frame.stream.get(),
        "fields": fields(&frame.body),
    })
}

#[expect(clippy::too_many_lines, reason = "a table: one arm for each frame type")]
fn fields(body: &Body<&str, &[u8]>) -> Value {
    match body {
        Body::Connect { min_version, max_version, auth_token } => json!({
            "min_version": version(*min_version),
            "max_version": version(*max_version),
            "auth_token_hex": hex::encode(auth_token),
        }),
        Body::ConnectAck { selected_version, capabilities } => json!({
            "selected_version": version(*selected_version),
            "capabilities": capabilities,
        }),
        Body::ConnectError { reason_code, message }
        | Body::SubscribeError { reason_code, message }
        | Body::PublishError { reason_code, message }
        | Body::Refused { reason_code, message } => json!({
            "reason_code": reason_code.get(),
            "message": message,
        }),
        Body::Disconnect
        | Body::Ping
        | Body::Pong
        | Body::Failed
        | Body::Serving
        | Body::Withdraw
        | Body::Withdrawn
        | Body::Monitoring
        | Body::Unmonitor
        | Body::Unmonitored => json!({}),
        Body::Serve { capacity, subject } => json!({ "capacity": capacity, "subject": subject }),
        Body::Open { on_exit, total_ms, idle_ms, subject } => json!({
            "on_exit": on_exit_json(*on_exit),
            "total_ms": total_ms,
            "idle_ms": idle_ms,
            "subject": subject,
        }),
        Body::Windows { payload_max, conversation, connection } => json!({
            "payload_max": payload_max,
            "conversation": conversation,
            "connection": connection,
        }),
        Body::Credit { bytes } => json!({ "bytes": bytes }),
        Body::ConnectionCredit { messages, replies } => {
            json!({ "messages": messages, "replies": replies })
        }
        Body::Invite { pid, subject } => json!({ "pid": pid.get(), "subject": subject }),
        Body::Subscribe { channel, accepted_schemas, max_in_flight } => json!({
            "channel": channel,
            "accepted_schemas_hex": accepted_schemas.iter().map(schema_id).collect::<Vec<_>>(),
            "max_in_flight": max_in_flight,
        }),
        Body::SubscribeAck { subscription_id, selected_schema } => json!({
            "subscription_id": subscription_id,
            "selected_schema_hex": schema_id(*selected_schema),
        }),
        Body::Unsubscribe { subscription_id } => json!({ "subscription_id": subscription_id }),
        Body::Publish { channel, envelope, idempotency_key } => json!({
            "channel": channel,
            "envelope": envelope_json(envelope),
            "idempotency_key": idempotency_key,
        }),
        Body::PublishAck { message_id } => json!({ "message_id": message_id }),
        Body::ConversationOpen { conversation_id, subject } => json!({
            "conversation_id": conversation_id.get(),
            "subject": subject,
        }),
        Body::ConversationMessage { conversation_id, envelope } => json!({
            "conversation_id": conversation_id.get(),
            "envelope": envelope_json(envelope),
        }),
        Body::ConversationClose { conversation_id, reason_code, message } => json!({
            "conversation_id": conversation_id.get(),
            "reason_code": reason_code.map(ReasonCode::get),
            "message": message,
        }),
        Body::ConversationError { conversation_id, reason_code, message } => json!({
            "conversation_id": conversation_id.get(),
            "reason_code": reason_code.get(),
            "message": message,
        }),
        Body::Accept { referenced_message_id } => json!({
            "referenced_message_id": referenced_message_id,
        }),
        Body::Defer { referenced_message_id, reason } | Body::Reject { referenced_message_id, reason } => {
            json!({
                "referenced_message_id": referenced_message_id,
                "reason": reason,
            })
        }
        Body::Push { correlation_id, payload } | Body::PushReply { correlation_id, payload } => {
            json!({
                "correlation_id": correlation_id,
                "payload_hex": hex::encode(payload),
            })
        }
        Body::WorkerRegister { namespaces, task_queue, node, activity_types, identity } => json!({
            "namespaces": namespaces.iter().collect::<Vec<_>>(),
            "task_queue": task_queue,
            "node": node,
            "activity_types": activity_types.iter().collect::<Vec<_>>(),
            "identity": identity,
        }),
        Body::WorkerRegisterAck { verdict } => verdict_json(verdict),
        Body::Deliver { delivery_seq, envelope } => json!({
            "delivery_seq": delivery_seq,
            "envelope": envelope_json(envelope),
        }),
        Body::Opened { pid } => json!({ "pid": pid.map(Pid::get) }),
        Body::Joined { pid } | Body::Monitor { pid } => json!({ "pid": pid.get() }),
        Body::Watch { subject } => json!({ "subject": subject }),
        Body::Message { message_id, answers, timeout_ms, redelivered, metadata, payload } => json!({
            "message_id": message_id.get(),
            "answers": answers.map(|id| id.get()),
            "timeout_ms": timeout_ms,
            "redelivered": redelivered,
            "metadata": metadata.as_ref().map(metadata_json),
            "payload_hex": hex::encode(payload),
        }),
        Body::Exited { pid, record, cause, message, unanswered, records } => json!({
            "pid": pid.get(),
            "record": record.get(),
            "cause": cause,
            "message": message,
            "unanswered": unanswered,
            "records": records.iter().map(RecordNumber::get).collect::<Vec<_>>(),
        }),
        Body::Record { log, record, what, of, cause, timeout_ms, subject, message, metadata, payload } => {
            json!({
                "log": log.get(),
                "record": record.get(),
                "what": what,
                "of": of,
                "cause": cause,
                "timeout_ms": timeout_ms,
                "subject": subject,
                "message": message,
                "metadata": metadata.as_ref().map(metadata_json),
            "payload_hex": hex::encode(payload),
            })
        }
        Body::Gap { log, from, to, why, subject } => json!({
            "log": log.get(),
            "from": from.get(),
            "to": to.get(),
            "why": why,
            "subject": subject,
        }),
        Body::Outcome { message_id, reason_code, record, message } => json!({
            "message_id": message_id.get(),
            "reason_code": reason_code.get(),
            "record": record.map(RecordNumber::get),
            "message": message,
        }),
        Body::Unknown { type_id: _, payload } => json!({ "payload_hex": hex::encode(payload) }),
    }
}

const fn on_exit_json(on_exit: OnExit) -> Option<&'static str> {
    match on_exit {
        OnExit::Fail => Some("fail"),
        OnExit::Next => Some("next"),
        OnExit::AsServed | _ => None,
    }
}

fn version(version: Version) -> Value {
    json!({ "major": version.major, "minor": version.minor })
}

fn schema_id(id: SchemaId) -> String {
    hex::encode(&id.0)
}

fn envelope_json(envelope: &Envelope<&str, &[u8]>) -> Value {
    json!({
        "schema_id_hex": schema_id(envelope.schema_id),
        "causal_context": causal_context_json(&envelope.causal_context),
        "payload_hex": hex::encode(envelope.payload),
    })
}

fn causal_context_json(context: &CausalContext<&str>) -> Value {
    json!({ "parent_id": context.parent_id, "vector_clock_entry": context.vector_clock_entry })
}

/// Headers as pairs: they have an order, and a name may come more than once.
pub(crate) fn metadata_json<B: AsRef<[u8]>>(metadata: &Metadata<B>) -> Value {
    json!({
        "schema_id_hex": metadata.schema_id().map(schema_id),
        "causal_context": causal_context_json(&metadata.causal_context()),
        "headers": metadata.headers().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
    })
}

fn verdict_json(verdict: &WorkerVerdict<&str>) -> Value {
    match verdict {
        WorkerVerdict::Accepted => json!({ "outcome": "accepted", "reason": null }),
        WorkerVerdict::Rejected { reason } => json!({ "outcome": "rejected", "reason": reason }),
    }
}
