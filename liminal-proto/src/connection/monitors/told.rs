//! What monitors are told, as frames and as values.

use core::time::Duration;

use bytes::Bytes;

use super::super::opener::{of_stream, outcome_of, said_about, whole_millis};
use super::super::sender::Sender;
use crate::wire::{Body, RecordNumbers, flag};
use crate::{
    Content, Exit, ExitReason, Gap, GapReason, LogRecord, Logged, MessageId, Notice, Outcome, Pid,
    ReasonCode, RecordNumber, StreamId, Unanswered,
};

// What a record says: `PROTOCOL.md` §7 has the table.
const JOINED: u8 = 1;
const MESSAGE: u8 = 2;
const REQUEST: u8 = 3;
const REPLY: u8 = 4;
const REQUEST_ENDED: u8 = 5;
const JOIN_REFUSED: u8 = 6;
const LEFT: u8 = 7;
const EXITED: u8 = 8;
const FAILED: u8 = 9;

// ── to a client ─────────────────────────────────────────────────────────────────────────────────────

pub(super) fn notice<'a>(
    sender: &Sender,
    monitor: StreamId,
    notice: &'a Notice,
) -> (u8, Body<&'a str, Bytes>) {
    match notice {
        Notice::Exited(exit) => exited(sender, exit),
        Notice::Joined { pid } => (0, Body::Joined { pid: *pid }),
        Notice::Failed => (0, Body::Failed),
        Notice::Ended { cancelled } => {
            let reason_code = cancelled.then_some(ReasonCode::CANCELLED);
            let conversation_id = of_stream(monitor);
            (0, Body::ConversationClose { conversation_id, reason_code, message: None })
        }
    }
}

/// The frame of an exit, for whoever opened the conversation and for who monitors it.
pub(in crate::connection) fn exited<'a>(sender: &Sender, exit: &'a Exit) -> (u8, Body<&'a str, Bytes>) {
    let records = exit.unanswered.records().iter().copied();
    let body = Body::Exited {
        pid: exit.pid,
        record: exit.record,
        cause: exit.reason.cause(),
        message: sender.text(exit.reason.text()),
        unanswered: exit.unanswered.count(),
        // So few that the wire can count them.
        records: RecordNumbers::new(records).unwrap_or_default(),
    };
    (if exit.goes_on { flag::GOES_ON } else { 0 }, body)
}

pub(super) fn record<'a>(sender: &Sender, record: &'a LogRecord) -> (u8, Body<&'a str, &'a Bytes>) {
    static NO_PAYLOAD: Bytes = Bytes::new();
    let Said { flags, what, of, cause, timeout_ms, message } = Said::of(&record.what);
    let content = record.what.content();
    let (metadata_flag, metadata) = content.map_or((0, None), |content| said_about(&content.metadata));
    let payload = content.map_or(&NO_PAYLOAD, |content| &content.payload);
    let body = Body::Record {
        log: record.log,
        record: record.number,
        what,
        of,
        cause,
        timeout_ms,
        subject: record.subject.as_deref(),
        message: sender.text(message),
        metadata,
        payload,
    };
    (flags | metadata_flag, body)
}

pub(super) fn gap(gap: &Gap) -> Body<&str, Bytes> {
    let Gap { log, from, to, subject, why } = gap;
    Body::Gap { log: *log, from: *from, to: *to, why: why.code(), subject: subject.as_deref() }
}

/// The fields of a record that say what happened, but for its content.
#[derive(Default)]
struct Said<'a> {
    flags: u8,
    what: u8,
    of: u64,
    cause: u16,
    timeout_ms: Option<u32>,
    message: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn of(what: &'a Logged) -> Self {
        match what {
            Logged::Joined { pid } => Self { what: JOINED, of: pid.get(), ..Self::default() },
            Logged::Message { id, .. } => Self { what: MESSAGE, of: id.get(), ..Self::default() },
            Logged::Request { id, timeout, .. } => {
                let timeout_ms = Some(whole_millis(*timeout));
                Self { what: REQUEST, of: id.get(), timeout_ms, ..Self::default() }
            }
            Logged::Reply { request, last, .. } => {
                let flags = if *last { 0 } else { flag::MORE };
                Self { flags, what: REPLY, of: request.get(), ..Self::default() }
            }
            Logged::RequestEnded { request, how } => {
                let (reason, message) = reason_of(how);
                Self {
                    what: REQUEST_ENDED,
                    of: request.get(),
                    cause: reason.get(),
                    message,
                    ..Self::default()
                }
            }
            Logged::JoinRefused { pid, text } => {
                Self { what: JOIN_REFUSED, of: pid.get(), message: text.as_deref(), ..Self::default() }
            }
            Logged::Left { pid, cancelled } => {
                let cause = if *cancelled { ReasonCode::CANCELLED.get() } else { 0 };
                Self { what: LEFT, of: pid.get(), cause, ..Self::default() }
            }
            Logged::Exited { pid, reason, goes_on } => {
                let flags = if *goes_on { flag::GOES_ON } else { 0 };
                let (cause, message) = (reason.cause(), reason.text());
                Self { flags, what: EXITED, of: pid.get(), cause, message, ..Self::default() }
            }
            Logged::Failed => Self { what: FAILED, ..Self::default() },
            Logged::Other { what } => Self { what: *what, ..Self::default() },
        }
    }
}

fn reason_of(how: &Outcome) -> (ReasonCode, Option<&str>) {
    match how {
        Outcome::Refused { reason, text } => (*reason, text.as_deref()),
        Outcome::Exited => (ReasonCode::REPLACED, None),
        Outcome::Deadline => (ReasonCode::DEADLINE, None),
        Outcome::Accepted { .. } | Outcome::Unknown => (ReasonCode::OTHER, None),
    }
}

// ── from a server ───────────────────────────────────────────────────────────────────────────────────

/// The exit that a frame tells of; `None`: it is another frame.
pub(in crate::connection) fn exit_of(
    sender: &Sender,
    body: &Body<&str, &[u8]>,
    goes_on: bool,
) -> Option<Exit> {
    let Body::Exited { pid, record, cause, message, unanswered, records } = body else { return None };
    let reason = ExitReason::from_wire(*cause, sender.kept_text(*message));
    let unanswered = Unanswered::new(*unanswered, records.iter());
    Some(Exit { pid: *pid, record: *record, reason, goes_on, unanswered })
}

/// The record of a frame, with this content; `None`: it is another frame, or no record has that number.
pub(in crate::connection) fn record_of(
    sender: &Sender,
    flags: u8,
    body: &Body<&str, &[u8]>,
    content: Content,
) -> Option<LogRecord> {
    let Body::Record { log, record, what, of, cause, timeout_ms, subject, message, .. } = body else {
        return None;
    };
    let text = sender.kept_text(*message);
    let (pid, id, request) = (Pid::new(*of), MessageId::new(*of), RecordNumber::new(*of));
    let what = match *what {
        JOINED => Logged::Joined { pid },
        MESSAGE => Logged::Message { id, content },
        REQUEST => {
            let timeout = Duration::from_millis(u64::from(timeout_ms.unwrap_or(0)));
            Logged::Request { id, timeout, content }
        }
        REPLY => Logged::Reply { request, last: flags & flag::MORE == 0, content },
        REQUEST_ENDED => Logged::RequestEnded { request, how: outcome_of(ReasonCode::new(*cause), text) },
        JOIN_REFUSED => Logged::JoinRefused { pid, text },
        LEFT => Logged::Left { pid, cancelled: *cause == ReasonCode::CANCELLED.get() },
        EXITED => {
            let reason = ExitReason::from_wire(*cause, text);
            Logged::Exited { pid, reason, goes_on: flags & flag::GOES_ON != 0 }
        }
        FAILED => Logged::Failed,
        what => Logged::Other { what },
    };
    let subject = sender.kept_name(*subject);
    (record.get() > 0).then_some(LogRecord { log: *log, number: *record, subject, what })
}

/// The gap of a frame; `None`: it is another frame, or there are no such records.
pub(in crate::connection) fn gap_of(sender: &Sender, body: &Body<&str, &[u8]>) -> Option<Gap> {
    let Body::Gap { log, from, to, why, subject } = body else { return None };
    let (subject, why) = (sender.kept_name(*subject), GapReason::of_code(*why));
    (from.get() > 0 && from <= to).then_some(Gap { log: *log, from: *from, to: *to, subject, why })
}
