//! What is said, in a few words.

use bytes::Bytes;
use liminal_core::transcript::Entry;
use liminal_core::{Answer, Call};
use liminal_proto::{Event, Expects, Message, Outcome};

/// Longer texts are cut: reasons and names may be as long as a peer likes.
const TEXT_MAX: usize = 120;

pub(super) const CALM: &str = "faults have stopped, inputs have ended";

pub(super) fn cut(text: String) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// An entry that is drawn because it must be.
pub(super) fn whole(entry: &Entry) -> String {
    format!("{:?}", entry.what)
}

pub(super) fn event(event: &Event) -> Option<String> {
    Some(match event {
        Event::Open { conversation, subject, .. } => {
            format!("c{conversation} open {}", subject.escape_debug())
        }
        Event::Message(Message { conversation, id, expects, payload, timeout, .. }) => {
            let verb = if *expects == Expects::Reply { "ask" } else { "say" };
            let within = timeout.map_or(String::new(), |timeout| format!(" within {timeout:?}"));
            format!("c{conversation} {verb} m{id} {}{within}", quoted(payload))
        }
        Event::Close { conversation } => format!("c{conversation} close"),
        Event::Opened { conversation, .. } => format!("c{conversation} opened"),
        Event::Refused { conversation, reason, .. } => format!("c{conversation} refused: {reason}"),
        Event::Reply(reply) => {
            let kind = if reply.last { "reply" } else { "part" };
            format!("c{} {kind} to m{} {}", reply.conversation, reply.answers, quoted(&reply.payload))
        }
        Event::Outcome { conversation, message, outcome } => {
            format!("c{conversation} m{message} {}", outcome_of(outcome))
        }
        Event::Exited { conversation, exit } => {
            format!("c{conversation} p{} exited: {}", exit.pid, exit.reason)
        }
        Event::Joined { conversation, pid } => format!("c{conversation} p{pid} joined"),
        Event::Failed { conversation } => format!("c{conversation} failed"),
        Event::Ended { conversation } => format!("c{conversation} ended"),
        Event::Closed(reason) => format!("connection: {reason}"),
        Event::Connected { version } => format!("connected, {}.{}", version.major, version.minor),
        _ => return None,
    })
}

pub(super) fn outcome_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted { .. } => "accepted".into(),
        Outcome::Refused { reason, .. } => format!("refused: {reason}"),
        Outcome::Exited => "ended: its participant has exited".into(),
        Outcome::Deadline => "ended: deadline".into(),
        _ => "ended: unknown".into(),
    }
}

pub(super) fn call(call: &Call) -> String {
    match call {
        Call::Join { subject } => format!("join {}", subject.escape_debug()),
        Call::Message { record, payload, expects_reply, redelivered, .. } => {
            let mark = if *expects_reply { "?" } else { "" };
            let again = if *redelivered > 0 { ", again" } else { "" };
            format!("r{record} {}{mark}{again}", quoted(payload))
        }
        Call::Wake { .. } => "wake".into(),
        Call::Leave { why } => format!("leave: {why:?}"),
        other => format!("{other:?}"),
    }
}

pub(super) fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Part(content) => format!("part {}", quoted(&content.payload)),
        Answer::Reply(content) => format!("reply {}", quoted(&content.payload)),
        other => format!("{other:?}"),
    }
}

/// The beginning of a payload.
fn quoted(payload: &Bytes) -> String {
    let text = String::from_utf8_lossy(payload);
    let text = text.trim_start();
    if text.chars().count() > 24 {
        return format!("{:?}… ({} bytes)", text.chars().take(20).collect::<String>(), payload.len());
    }
    format!("{text:?}")
}
