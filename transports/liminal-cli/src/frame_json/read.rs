//! JSON → frame.

use bytes::Bytes;
use liminal_proto::wire::{Body, FrameBuf, FrameType};
use liminal_proto::{LogId, MessageId, Pid, ReasonCode, RecordNumber, StreamId};
use serde_json::Value;

use super::JsonError;
use super::object::Object;

/// The frame that a JSON object describes. Keys that mean nothing are ignored.
///
/// `frame_type` and `stream_id` must be there, for an unknown frame `type_id` too; `flags` is 0 and
/// `fields` is empty when absent. Whether the frame can be encoded is for the encoder to judge.
///
/// # Errors
///
/// [`JsonError`] names the key and what should stand there.
pub fn read(frame: &Value) -> Result<FrameBuf, JsonError> {
    let object = Object::of(frame).ok_or(JsonError::NotAnObject)?;
    let fields = object.opt("fields", Object::object)?.unwrap_or_default();
    let body = match object.text("frame_type")?.as_str() {
        "Unknown" => Body::Unknown { type_id: object.u8("type_id")?, payload: fields.hex("payload_hex")? },
        name => known(frame_type(&object, name)?, &fields)?,
    };
    Ok(FrameBuf {
        flags: object.opt("flags", Object::u8)?.unwrap_or(0),
        stream: StreamId::new(object.u32("stream_id")?),
        body,
    })
}

fn frame_type(object: &Object<'_>, name: &str) -> Result<FrameType, JsonError> {
    let frame_type = FrameType::named(name).ok_or_else(|| JsonError::NoSuchType { name: name.to_owned() })?;
    match object.opt("type_id", Object::u8)? {
        Some(type_id) if type_id != frame_type.id() => Err(JsonError::TypeMismatch { frame_type, type_id }),
        _ => Ok(frame_type),
    }
}

#[expect(clippy::too_many_lines, reason = "a table: one arm for each frame type")]
fn known(frame_type: FrameType, fields: &Object<'_>) -> Result<Body<String, Bytes>, JsonError> {
    Ok(match frame_type {
        FrameType::Connect => Body::Connect {
            min_version: fields.version("min_version")?,
            max_version: fields.version("max_version")?,
            auth_token: fields.hex("auth_token_hex")?,
        },
        FrameType::ConnectAck => Body::ConnectAck {
            selected_version: fields.version("selected_version")?,
            capabilities: fields.u32("capabilities")?,
        },
        FrameType::ConnectError => {
            Body::ConnectError { reason_code: fields.reason()?, message: fields.message()? }
        }
        FrameType::Disconnect => Body::Disconnect,
        FrameType::Subscribe => Body::Subscribe {
            channel: fields.text("channel")?,
            accepted_schemas: fields.schema_ids("accepted_schemas_hex")?,
            max_in_flight: fields.u32("max_in_flight")?,
        },
        FrameType::SubscribeAck => Body::SubscribeAck {
            subscription_id: fields.u64("subscription_id")?,
            selected_schema: fields.schema_id("selected_schema_hex")?,
        },
        FrameType::SubscribeError => {
            Body::SubscribeError { reason_code: fields.reason()?, message: fields.message()? }
        }
        FrameType::Unsubscribe => Body::Unsubscribe { subscription_id: fields.u64("subscription_id")? },
        FrameType::Publish => Body::Publish {
            channel: fields.text("channel")?,
            envelope: fields.envelope()?,
            idempotency_key: fields.opt("idempotency_key", Object::text)?,
        },
        FrameType::PublishAck => Body::PublishAck { message_id: fields.u64("message_id")? },
        FrameType::PublishError => {
            Body::PublishError { reason_code: fields.reason()?, message: fields.message()? }
        }
        FrameType::ConversationOpen => Body::ConversationOpen {
            conversation_id: fields.conversation_id()?,
            subject: fields.text("subject")?,
        },
        FrameType::ConversationMessage => Body::ConversationMessage {
            conversation_id: fields.conversation_id()?,
            envelope: fields.envelope()?,
        },
        FrameType::ConversationClose => Body::ConversationClose {
            conversation_id: fields.conversation_id()?,
            reason_code: fields.opt("reason_code", Object::u16)?.map(ReasonCode::new),
            message: fields.message()?,
        },
        FrameType::ConversationError => Body::ConversationError {
            conversation_id: fields.conversation_id()?,
            reason_code: fields.reason()?,
            message: fields.message()?,
        },
        FrameType::Accept => Body::Accept { referenced_message_id: fields.text("referenced_message_id")? },
        FrameType::Defer => Body::Defer {
            referenced_message_id: fields.text("referenced_message_id")?,
            reason: fields.opt("reason", Object::text)?,
        },
        FrameType::Reject => Body::Reject {
            referenced_message_id: fields.text("referenced_message_id")?,
            reason: fields.opt("reason", Object::text)?,
        },
        FrameType::Windows => Body::Windows {
            payload_max: fields.u32("payload_max")?,
            conversation: fields.u32("conversation")?,
            connection: fields.u32("connection")?,
        },
        FrameType::Credit => Body::Credit { bytes: fields.u32("bytes")? },
        FrameType::ConnectionCredit => {
            Body::ConnectionCredit { messages: fields.u32("messages")?, replies: fields.u32("replies")? }
        }
        FrameType::Ping => Body::Ping,
        FrameType::Pong => Body::Pong,
        FrameType::Push => {
            Body::Push { correlation_id: fields.u64("correlation_id")?, payload: fields.hex("payload_hex")? }
        }
        FrameType::PushReply => Body::PushReply {
            correlation_id: fields.u64("correlation_id")?,
            payload: fields.hex("payload_hex")?,
        },
        FrameType::WorkerRegister => Body::WorkerRegister {
            namespaces: fields.texts("namespaces")?,
            task_queue: fields.text("task_queue")?,
            node: fields.opt("node", Object::text)?,
            activity_types: fields.texts("activity_types")?,
            identity: fields.text("identity")?,
        },
        FrameType::WorkerRegisterAck => Body::WorkerRegisterAck { verdict: fields.verdict()? },
        FrameType::Deliver => {
            Body::Deliver { delivery_seq: fields.u64("delivery_seq")?, envelope: fields.envelope()? }
        }
        FrameType::Opened => Body::Opened { pid: fields.opt("pid", Object::u64)?.map(Pid::new) },
        FrameType::Refused => Body::Refused { reason_code: fields.reason()?, message: fields.message()? },
        FrameType::Message => Body::Message {
            message_id: MessageId::new(fields.u64("message_id")?),
            answers: fields.opt("answers", Object::u64)?.map(MessageId::new),
            timeout_ms: fields.opt("timeout_ms", Object::u32)?,
            redelivered: fields.opt("redelivered", Object::u8)?,
            metadata: fields.metadata()?,
            payload: fields.hex("payload_hex")?,
        },
        FrameType::Exited => Body::Exited {
            pid: Pid::new(fields.u64("pid")?),
            record: RecordNumber::new(fields.u64("record")?),
            cause: fields.u16("cause")?,
            message: fields.message()?,
            unanswered: fields.u32("unanswered")?,
            records: fields.records("records")?,
        },
        FrameType::Outcome => Body::Outcome {
            message_id: MessageId::new(fields.u64("message_id")?),
            reason_code: fields.reason()?,
            record: fields.opt("record", Object::u64)?.map(RecordNumber::new),
            message: fields.message()?,
        },
        FrameType::Joined => Body::Joined { pid: Pid::new(fields.u64("pid")?) },
        FrameType::Failed => Body::Failed,
        FrameType::Serve => {
            Body::Serve { capacity: fields.u32("capacity")?, subject: fields.opt("subject", Object::text)? }
        }
        FrameType::Serving => Body::Serving,
        FrameType::Withdraw => Body::Withdraw,
        FrameType::Withdrawn => Body::Withdrawn,
        FrameType::Open => Body::Open {
            on_exit: fields.on_exit("on_exit")?,
            total_ms: fields.opt("total_ms", Object::u32)?,
            idle_ms: fields.opt("idle_ms", Object::u32)?,
            subject: fields.text("subject")?,
        },
        FrameType::Invite => {
            Body::Invite { pid: Pid::new(fields.u64("pid")?), subject: fields.text("subject")? }
        }
        FrameType::Monitor => Body::Monitor { pid: Pid::new(fields.u64("pid")?) },
        FrameType::Watch => Body::Watch { subject: fields.opt("subject", Object::text)? },
        FrameType::Monitoring => Body::Monitoring,
        FrameType::Unmonitor => Body::Unmonitor,
        FrameType::Unmonitored => Body::Unmonitored,
        FrameType::Record => Body::Record {
            log: LogId::new(fields.u64("log")?),
            record: RecordNumber::new(fields.u64("record")?),
            what: fields.u8("what")?,
            of: fields.u64("of")?,
            cause: fields.u16("cause")?,
            timeout_ms: fields.opt("timeout_ms", Object::u32)?,
            subject: fields.opt("subject", Object::text)?,
            message: fields.message()?,
            metadata: fields.metadata()?,
            payload: fields.hex("payload_hex")?,
        },
        FrameType::Gap => Body::Gap {
            log: LogId::new(fields.u64("log")?),
            from: RecordNumber::new(fields.u64("from")?),
            to: RecordNumber::new(fields.u64("to")?),
            why: fields.u16("why")?,
            subject: fields.opt("subject", Object::text)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_name_the_key_and_what_should_stand_there() {
        let cases = [
            (json!([]), "a frame must be a JSON object"),
            (json!({}), "frame_type: missing, expected a string"),
            (json!({"frame_type": "Pinf"}), "frame_type: there is no type \"Pinf\""),
            (json!({"frame_type": "Ping", "type_id": 20}), "type_id: Ping has 0x13, not 0x14"),
            (json!({"frame_type": "Ping"}), "stream_id: missing, expected an integer from 0 to 2^32 - 1"),
            (
                json!({"frame_type": "Ping", "stream_id": 0, "flags": 256}),
                "flags: expected an integer from 0 to 255",
            ),
            (
                json!({"frame_type": "PublishAck", "stream_id": 1, "fields": {"message_id": 1.5}}),
                "message_id: expected an integer from 0 to 2^64 - 1",
            ),
            (
                json!({"frame_type": "Unknown", "stream_id": 1, "fields": {"payload_hex": ""}}),
                "type_id: missing, expected an integer from 0 to 255",
            ),
            (
                json!({"frame_type": "Message", "stream_id": 1, "fields": {"message_id": 1, "metadata": {"headers": [["A", ""]]}}}),
                "headers: expected an array of pairs of strings, [name, value], with names of a to z, 0 to 9, '-', '_' and '.'",
            ),
            (
                json!({"frame_type": "Push", "stream_id": 1, "fields": {"correlation_id": 1, "payload_hex": "abc"}}),
                "payload_hex: expected a string of pairs of hexadecimal digits",
            ),
            (
                json!({"frame_type": "WorkerRegisterAck", "stream_id": 0, "fields": {"outcome": "rejected"}}),
                "reason: missing, expected a string: why it is rejected",
            ),
        ];
        for (value, message) in cases {
            assert_eq!(read(&value).unwrap_err().to_string(), message, "{value}");
        }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let frame = read(&json!({"frame_type": "Ping", "stream_id": 0, "name": "ignored"})).unwrap();
        assert_eq!((frame.flags, frame.body), (0, Body::Ping));
    }

    #[test]
    fn frames_of_version_2_are_written_as_they_are_read() {
        let message = |metadata: Value| {
            json!({
                "message_id": 3, "answers": 2, "timeout_ms": null, "redelivered": 1, "metadata": metadata,
                "payload_hex": "00ff",
            })
        };
        let metadata = json!({
            "schema_id_hex": "07".repeat(32),
            "causal_context": {"parent_id": "order-7", "vector_clock_entry": 9},
            "headers": [["traceparent", "00-ab"], ["traceparent", ""]],
        });
        let exited = json!({
            "pid": 1, "record": 2, "cause": 3, "message": null, "unanswered": 2, "records": [1, u64::MAX],
        });
        let record = |metadata: Value| {
            json!({
                "log": 9, "record": 3, "what": 3, "of": 2, "cause": 0, "timeout_ms": 5000, "subject": null,
                "message": "why", "metadata": metadata, "payload_hex": "00ff",
            })
        };
        let cases = [
            ("Opened", 0x80, json!({"pid": null})),
            ("Opened", 0x80, json!({"pid": u64::MAX})),
            ("Refused", 0x81, json!({"reason_code": 256, "message": "no"})),
            ("Message", 0x82, message(Value::Null)),
            ("Message", 0x82, message(metadata.clone())),
            ("Exited", 0x83, exited),
            ("Outcome", 0x84, json!({"message_id": 1, "reason_code": 0, "record": 9, "message": null})),
            ("Joined", 0x85, json!({"pid": 7})),
            ("Failed", 0x86, json!({})),
            ("Serve", 0x87, json!({"capacity": 8, "subject": null})),
            ("Serve", 0x87, json!({"capacity": 8, "subject": "echo"})),
            ("Serving", 0x88, json!({})),
            ("Withdraw", 0x89, json!({})),
            ("Withdrawn", 0x8A, json!({})),
            ("Invite", 0x8B, json!({"pid": 7, "subject": "echo"})),
            ("Open", 0x8C, json!({"on_exit": "next", "total_ms": 9, "idle_ms": null, "subject": "echo"})),
            ("Monitor", 0x8E, json!({"pid": 7})),
            ("Watch", 0x8F, json!({"subject": null})),
            ("Watch", 0x8F, json!({"subject": "echo"})),
            ("Monitoring", 0x90, json!({})),
            ("Unmonitor", 0x91, json!({})),
            ("Unmonitored", 0x92, json!({})),
            ("Record", 0x93, record(Value::Null)),
            ("Record", 0x93, record(metadata.clone())),
            ("Gap", 0x94, json!({"log": 9, "from": 1, "to": 4, "why": 0, "subject": "echo"})),
            ("Unknown", 0x9F, json!({"payload_hex": "abcd"})),
        ];
        for (frame_type, type_id, fields) in cases {
            let value = json!({
                "frame_type": frame_type, "type_id": type_id, "flags": 2, "stream_id": 9, "fields": fields,
            });
            let frame = read(&value).unwrap();
            assert_eq!(super::super::write(&frame), value);
        }
    }
}
