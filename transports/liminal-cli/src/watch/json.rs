//! A record as an object.

use liminal_core::Watched;
use liminal_proto::{Content, Gap, LogRecord, Logged, Outcome, RecordNumber};
use serde_json::{Map, Value, json};

use crate::frame_json::{hex, metadata_json};

/// What was told. Keys that do not apply are absent.
pub(super) fn of(watched: &Watched, unanswered: &[RecordNumber]) -> Value {
    let (log, record, subject) = match watched {
        Watched::Record(record) => (record.log, record.number, &record.subject),
        Watched::Gap(gap) => (gap.log, gap.from, &gap.subject),
    };
    let mut object = Map::new();
    object.insert("log".into(), log.get().into());
    object.insert("record".into(), record.get().into());
    let (what, fields) = match watched {
        Watched::Record(record) => fields(record, unanswered),
        Watched::Gap(Gap { to, why, .. }) => ("gap", json!({ "to": to.get(), "why": why.to_string() })),
    };
    object.insert("what".into(), what.into());
    if let Some(subject) = subject {
        object.insert("subject".into(), subject.as_str().into());
    }
    if let Value::Object(fields) = fields {
        object.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    if let Watched::Record(record) = watched
        && let Some(Content { payload, metadata }) = record.what.content()
    {
        object.insert("payload_hex".into(), hex::encode(payload).into());
        if !metadata.is_empty() {
            object.insert("metadata".into(), metadata_json(metadata));
        }
    }
    object.into()
}

fn fields(record: &LogRecord, unanswered: &[RecordNumber]) -> (&'static str, Value) {
    match &record.what {
        Logged::Joined { pid } => ("joined", json!({ "pid": pid.get() })),
        Logged::Message { id, .. } => ("message", json!({ "message_id": id.get() })),
        Logged::Request { id, timeout, .. } => {
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            ("request", json!({ "message_id": id.get(), "timeout_ms": timeout_ms }))
        }
        Logged::Reply { request, last, .. } => ("reply", json!({ "request": request.get(), "last": last })),
        Logged::RequestEnded { request, how } => {
            let (how, reason_code, message) = outcome(how);
            let fields = json!({
                "request": request.get(), "how": how, "reason_code": reason_code, "message": message,
            });
            ("request_ended", fields)
        }
        Logged::JoinRefused { pid, text } => ("join_refused", json!({ "pid": pid.get(), "message": text })),
        Logged::Left { pid, cancelled } => ("left", json!({ "pid": pid.get(), "cancelled": cancelled })),
        Logged::Exited { pid, reason, goes_on } => {
            let unanswered: Vec<u64> = unanswered.iter().map(|request| request.get()).collect();
            let fields = json!({
                "pid": pid.get(), "reason": reason.to_string(), "goes_on": goes_on, "unanswered": unanswered,
            });
            ("exited", fields)
        }
        Logged::Failed => ("failed", Value::Null),
        what => ("unknown", json!({ "message": format!("{what:?}") })),
    }
}

/// In a word, and what a refusal says.
fn outcome(how: &Outcome) -> (&'static str, Option<u16>, Option<&str>) {
    match how {
        Outcome::Refused { reason, text } => ("refused", Some(reason.get()), text.as_deref()),
        Outcome::Exited => ("exited", None, None),
        Outcome::Deadline => ("deadline", None, None),
        _ => ("unknown", None, None),
    }
}
