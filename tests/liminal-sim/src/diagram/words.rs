//! What is said, in a few words.

use bytes::Bytes;
use liminal_core::transcript::Entry;
use liminal_core::{Answer, Call};
use liminal_proto::{Event, Expects, Message, OnExit, Outcome, Terms};

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
        Event::Open { conversation, subject, terms } => {
            format!("c{conversation} open {}{}", subject.escape_debug(), terms_of(*terms))
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
        Event::Serve { offer, subject, capacity } => {
            let subject =
                subject.as_ref().map_or_else(|| "anything".into(), |it| it.escape_debug().to_string());
            format!("s{offer} serve {subject}, {capacity} at a time")
        }
        Event::Withdraw { offer, drain } => {
            format!("s{offer} withdraw{}", if *drain { " when it is drained" } else { "" })
        }
        Event::Serving { offer } => format!("s{offer} serving"),
        Event::NotServing { offer, reason, .. } => format!("s{offer} not serving: {reason}"),
        Event::Withdrawn { offer } => format!("s{offer} withdrawn"),
        Event::Closed(reason) => format!("connection: {reason}"),
        Event::Connected { version } => format!("connected, {}.{}", version.major, version.minor),
        _ => return None,
    })
}

/// What is not left to the bus.
fn terms_of(Terms { on_exit, total, idle }: Terms) -> String {
    let on_exit = (on_exit != OnExit::AsServed).then(|| format!(", on exit {on_exit:?}").to_lowercase());
    let total = total.map(|time| format!(", for {time:?}"));
    let idle = idle.map(|time| format!(", idle for {time:?}"));
    [on_exit, total, idle].into_iter().flatten().collect()
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
