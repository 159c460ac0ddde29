//! The layouts of all known frame types, as data.

/// Hands the layout of every known frame type to the macro `$then`.
///
/// Each line names the fields of one type in wire order (PROTOCOL.md §4 and §5), each with its
/// encoding (PROTOCOL.md §2). An encoding is the name of a method of [`Reader`] and of one of
/// [`Writer`], so both directions follow from the same line:
///
/// * `bytes` and `payload` are the same on the wire; a writer may leave a `payload` at the end of a
///   frame to its caller. `rest` is a payload without a length: it ends where the frame ends.
/// * `key`, `answers`, `timeout`, `redelivered` and `metadata` are there exactly when their flag is set.
///
/// [`Reader`]: super::reader::Reader
/// [`Writer`]: super::writer::Writer
macro_rules! with_layouts {
    ($then:ident) => { $then! {
        Connect { min_version: version, max_version: version, auth_token: bytes }
        ConnectAck { selected_version: version, capabilities: u32 }
        ConnectError { reason_code: reason, message: opt_str }
        Disconnect {}
        Subscribe { channel: str, accepted_schemas: schema_ids, max_in_flight: nonzero_u32 }
        SubscribeAck { subscription_id: u64, selected_schema: schema_id }
        SubscribeError { reason_code: reason, message: opt_str }
        Unsubscribe { subscription_id: u64 }
        Publish { channel: str, envelope: envelope, idempotency_key: key }
        PublishAck { message_id: u64 }
        PublishError { reason_code: reason, message: opt_str }
        ConversationOpen { conversation_id: conversation_id, subject: str }
        ConversationMessage { conversation_id: conversation_id, envelope: envelope }
        ConversationClose { conversation_id: conversation_id, reason_code: opt_reason, message: opt_str }
        ConversationError { conversation_id: conversation_id, reason_code: reason, message: opt_str }
        Accept { referenced_message_id: str }
        Defer { referenced_message_id: str, reason: opt_str }
        Reject { referenced_message_id: str, reason: opt_str }
        Ping {}
        Pong {}
        Push { correlation_id: u64, payload: payload }
        PushReply { correlation_id: u64, payload: payload }
        WorkerRegister { namespaces: texts, task_queue: str, node: opt_str, activity_types: texts, identity: str }
        WorkerRegisterAck { verdict: verdict }
        Deliver { delivery_seq: u64, envelope: envelope }
        Opened { pid: opt_pid }
        Refused { reason_code: reason, message: opt_str }
        Message { message_id: message_id, answers: answers, timeout_ms: timeout, redelivered: redelivered, metadata: metadata, payload: rest }
        Exited { pid: pid, record: record, cause: u16, message: opt_str, unanswered: u32, records: records }
        Outcome { message_id: message_id, reason_code: reason, record: opt_record, message: opt_str }
        Joined { pid: pid }
        Failed {}
        Serve { capacity: nonzero_u32, subject: opt_str }
        Serving {}
        Withdraw {}
        Withdrawn {}
        Invite { pid: pid, subject: str }
        Open { on_exit: on_exit, total_ms: opt_u32, idle_ms: opt_u32, subject: str }
        Windows { payload_max: nonzero_u32, conversation: nonzero_u32, connection: nonzero_u32 }
        Monitor { pid: pid }
        Watch { subject: opt_str }
        Monitoring {}
        Unmonitor {}
        Unmonitored {}
        Record { log: log, record: record, what: u8, of: u64, cause: u16, timeout_ms: opt_u32, subject: opt_str, message: opt_str, metadata: metadata, payload: rest }
        Gap { log: log, from: record, to: record, why: u16, subject: opt_str }
        Credit { bytes: u32 }
        ConnectionCredit { messages: u32, replies: u32 }
    } };
}

pub(super) use with_layouts;
