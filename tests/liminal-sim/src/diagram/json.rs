//! A run as JSON lines: see [`Format::JsonLines`](super::Format::JsonLines).

use std::time::Duration;

use bytes::Bytes;
use liminal_core::transcript::{Credited, Entry, Holder, Noted, Transcript};
use liminal_core::{Answer, Call, Invocation, Load, Record, Recorded};
use liminal_proto::{CreditLeft, Event, Exit, Expects, Message, Metadata, Outcome, Reply, Terms};
use serde_json::{Map, Value, json};

use super::words;

pub(super) fn lines(transcript: &Transcript, broken_at: Option<usize>) -> String {
    let entries = transcript.entries().iter().enumerate();
    entries.map(|(at, entry)| format!("{}\n", object(entry, Some(at) == broken_at))).collect()
}

fn object(entry: &Entry, broken: bool) -> Value {
    let mut object = Map::new();
    object.insert("at_ns".into(), entry.at.as_nanos().into());
    object.insert("bus".into(), entry.bus.get().into());
    add(&mut object, noted(&entry.what));
    if broken {
        object.insert("here_it_shows".into(), true.into());
    }
    Value::Object(object)
}

/// Adds what another object has.
fn add(object: &mut Map<String, Value>, other: Value) {
    if let Value::Object(other) = other {
        object.extend(other);
    }
}

fn with(first: Value, rest: Value) -> Value {
    let mut object = Map::new();
    add(&mut object, first);
    add(&mut object, rest);
    Value::Object(object)
}

fn noted(what: &Noted) -> Value {
    match what {
        Noted::Dialled { opener, link } => {
            json!({ "what": "dialled", "opener": opener.get(), "link": link.get() })
        }
        Noted::Serves { opener, link } => {
            json!({ "what": "serves", "opener": opener.get(), "link": link.get() })
        }
        Noted::Said { opener, event: it } => {
            with(json!({ "what": "said", "opener": opener.get() }), event(it))
        }
        Noted::Told { opener, event: it } => {
            with(json!({ "what": "told", "opener": opener.get() }), event(it))
        }
        Noted::Gone { opener } => json!({ "what": "gone", "opener": opener.get() }),
        Noted::LinkClosed { link } => json!({ "what": "link_closed", "link": link.get() }),
        Noted::Owned { conversation, link, id } => {
            json!({ "what": "owned", "conversation": conversation.get(), "link": link.get(), "id": id.get() })
        }
        Noted::Recorded { conversation, record } => {
            with(json!({ "what": "recorded", "conversation": conversation.get() }), recorded(record))
        }
        Noted::Called { ticket, invocation } => {
            with(json!({ "what": "called", "ticket": ticket.get() }), called(invocation))
        }
        Noted::CalledOn { link, id, offer, message, invocation } => with(
            json!({
                "what": "called_on", "link": link.get(), "id": id.get(), "stream": offer.get(),
                "delivered_as": Some(message.get()).filter(|it| *it > 0),
            }),
            called(invocation),
        ),
        Noted::LetGo { link, id, cancel } => {
            json!({ "what": "let_go", "link": link.get(), "id": id.get(), "cancel": cancel })
        }
        Noted::Heard { link, event: it } => with(json!({ "what": "heard", "link": link.get() }), event(it)),
        Noted::Cancelled { ticket } => json!({ "what": "cancelled", "ticket": ticket.get() }),
        Noted::Answered { ticket, answer: it } => {
            with(json!({ "what": "answered", "ticket": ticket.get() }), answer(it))
        }
        Noted::Died { conversation, pid, reason } => json!({
            "what": "died", "conversation": conversation.get(), "pid": pid.get(), "reason": reason.to_string(),
        }),
        Noted::Uncompensated(it) => json!({
            "what": "uncompensated", "conversation": it.conversation.get(), "subject": it.subject,
            "why": words::outcome_of(&it.why),
        }),
        Noted::Paused { opener, until } => json!({
            "what": "paused", "opener": opener.map(|it| it.get()), "until_ns": until.as_nanos(),
        }),
        Noted::Unread { opener, until } => {
            json!({ "what": "unread", "opener": opener.get(), "until_ns": until.as_nanos() })
        }
        Noted::BusLost => json!({ "what": "bus_lost" }),
        Noted::BusStarted { after } => json!({ "what": "bus_started", "after": after.get() }),
        Noted::Measured { load: it, recount } => {
            json!({ "what": "measured", "load": load(*it), "recount": load(*recount) })
        }
        Noted::Held { link, by, bytes, recount, bytes_max } => json!({
            "what": "held", "link": link.get(), "by": holder(*by), "bytes": bytes, "recount": recount,
            "bytes_max": bytes_max,
        }),
        Noted::Waited { link, turns, turns_max } => {
            json!({ "what": "waited", "link": link.get(), "turns": turns, "turns_max": turns_max })
        }
        Noted::Credit { link, of, here, there } => json!({
            "what": "credit", "link": link.get(), "of": credited(*of), "here": credit(*here),
            "there": credit(*there),
        }),
        Noted::Calm => json!({ "what": "calm" }),
        Noted::Over => json!({ "what": "over" }),
        Noted::Broken { text } => json!({ "what": "broken", "text": text }),
        other => json!({ "what": "other", "text": format!("{other:?}") }),
    }
}

fn credited(of: Credited) -> Value {
    match of {
        Credited::Conversation(id) => id.get().into(),
        Credited::Messages => "messages".into(),
        Credited::Replies => "replies".into(),
    }
}

fn credit(CreditLeft { to_say, to_hear, open, owed }: CreditLeft) -> Value {
    json!({ "to_say": to_say, "to_hear": to_hear, "open": open, "owed": owed })
}

const fn holder(by: Holder) -> &'static str {
    match by {
        Holder::Bus => "bus",
        Holder::Connection => "connection",
        Holder::Outbox => "outbox",
    }
}

fn event(event: &Event) -> Value {
    match event {
        Event::Connected { version } => {
            json!({ "event": "connected", "version": format!("{}.{}", version.major, version.minor) })
        }
        Event::Open { conversation, subject, terms: Terms { on_exit, total, idle } } => json!({
            "event": "open", "conversation": conversation.get(), "subject": subject,
            "on_exit": format!("{on_exit:?}"), "total_ns": total.map(nanos), "idle_ns": idle.map(nanos),
        }),
        Event::Message(it) => message(it),
        Event::Close { conversation } => json!({ "event": "close", "conversation": conversation.get() }),
        Event::Opened { conversation, pid } => {
            json!({ "event": "opened", "conversation": conversation.get(), "pid": pid.map(|it| it.get()) })
        }
        Event::Refused { conversation, reason, text } => json!({
            "event": "refused", "conversation": conversation.get(), "reason": reason.to_string(), "text": text,
        }),
        Event::Reply(it) => reply(it),
        Event::Outcome { conversation, message, outcome } => json!({
            "event": "outcome", "conversation": conversation.get(), "message": message.get(),
            "outcome": words::outcome_of(outcome), "record": record_of(outcome),
        }),
        Event::Exited { conversation, exit: it } => {
            with(json!({ "event": "exited", "conversation": conversation.get() }), exit(it))
        }
        Event::Joined { conversation, pid } => {
            json!({ "event": "joined", "conversation": conversation.get(), "pid": pid.get() })
        }
        Event::Failed { conversation } => json!({ "event": "failed", "conversation": conversation.get() }),
        Event::Ended { conversation } => json!({ "event": "ended", "conversation": conversation.get() }),
        Event::Serve { offer, subject, capacity } => {
            json!({ "event": "serve", "stream": offer.get(), "subject": subject, "capacity": capacity })
        }
        Event::Withdraw { offer, drain } => {
            json!({ "event": "withdraw", "stream": offer.get(), "drain": drain })
        }
        Event::Serving { offer } => json!({ "event": "serving", "stream": offer.get() }),
        Event::NotServing { offer, reason, text } => json!({
            "event": "not_serving", "stream": offer.get(), "reason": reason.to_string(), "text": text,
        }),
        Event::Withdrawn { offer } => json!({ "event": "withdrawn", "stream": offer.get() }),
        Event::Room { conversation } => {
            json!({ "event": "room", "conversation": conversation.map(|it| it.get()) })
        }
        Event::Pong => json!({ "event": "pong" }),
        Event::Closed(reason) => json!({ "event": "closed", "reason": reason.to_string() }),
        other => json!({ "event": "other", "text": format!("{other:?}") }),
    }
}

fn exit(Exit { pid, record, reason, goes_on, unanswered }: &Exit) -> Value {
    let records: Vec<u64> = unanswered.records().iter().map(|it| it.get()).collect();
    json!({
        "pid": pid.get(), "record": record.get(), "reason": reason.to_string(), "goes_on": goes_on,
        "unanswered": unanswered.count(), "unanswered_records": records,
    })
}

fn message(
    Message { conversation, id, expects, timeout, redelivered: _, payload: it, metadata }: &Message,
) -> Value {
    let expects = match expects {
        Expects::Nothing => "nothing",
        Expects::Acceptance => "acceptance",
        Expects::Reply => "reply",
    };
    let head = json!({
        "event": "message", "conversation": conversation.get(), "message": id.get(), "expects": expects,
        "timeout_ns": timeout.map(nanos),
    });
    with(head, said(it, metadata))
}

fn reply(Reply { conversation, answers, record, last, payload: it, metadata }: &Reply) -> Value {
    let head = json!({
        "event": "reply", "conversation": conversation.get(), "answers": answers.get(),
        "record": record.map(|it| it.get()), "last": last,
    });
    with(head, said(it, metadata))
}

fn record_of(outcome: &Outcome) -> Option<u64> {
    if let Outcome::Accepted { record } = outcome { record.map(|it| it.get()) } else { None }
}

fn recorded(Record { number, what, .. }: &Record) -> Value {
    let rest = match what {
        Recorded::Joined { pid } => json!({ "kind": "joined", "pid": pid.get() }),
        Recorded::Message { id, payload: it, metadata } => {
            with(json!({ "kind": "message", "message": id.get() }), said(it, metadata))
        }
        Recorded::Request { id, deadline, payload: it, metadata } => with(
            json!({ "kind": "request", "message": id.get(), "deadline_ns": deadline.as_nanos() }),
            said(it, metadata),
        ),
        Recorded::Reply { request, last, payload: it, metadata } => {
            with(json!({ "kind": "reply", "request": request.get(), "last": last }), said(it, metadata))
        }
        Recorded::RequestEnded { request, how } => json!({
            "kind": "request_ended", "request": request.get(), "outcome": words::outcome_of(how),
        }),
        Recorded::JoinRefused { pid, text } => {
            json!({ "kind": "join_refused", "pid": pid.get(), "text": text })
        }
        Recorded::Left { pid, why } => {
            json!({ "kind": "left", "pid": pid.get(), "why": format!("{why:?}") })
        }
        Recorded::Exited { pid, reason, goes_on } => json!({
            "kind": "exited", "pid": pid.get(), "reason": reason.to_string(), "goes_on": goes_on,
        }),
        Recorded::Failed => json!({ "kind": "failed" }),
        other => json!({ "kind": "other", "text": format!("{other:?}") }),
    };
    with(json!({ "record": number.get() }), rest)
}

fn called(Invocation { pid, offer, conversation, what }: &Invocation) -> Value {
    let head = json!({ "conversation": conversation.get(), "pid": pid.get(), "offer": offer.get() });
    let call = match what {
        Call::Join { subject } => json!({ "call": "join", "subject": subject }),
        Call::Message { id, record, expects_reply, redelivered, deadline, payload: it, metadata } => with(
            json!({
                "call": "message", "message": id.get(), "record": record.get(),
                "expects_reply": expects_reply, "redelivered": redelivered,
                "deadline_ns": deadline.map(|it| it.as_nanos()),
            }),
            said(it, metadata),
        ),
        Call::Wake { deadline } => {
            json!({ "call": "wake", "deadline_ns": deadline.map(|it| it.as_nanos()) })
        }
        Call::Leave { why } => json!({ "call": "leave", "why": format!("{why:?}") }),
        other => json!({ "call": "other", "text": format!("{other:?}") }),
    };
    with(head, call)
}

fn answer(answer: &Answer) -> Value {
    match answer {
        Answer::Part(it) => with(json!({ "answer": "part" }), said(&it.payload, &it.metadata)),
        Answer::Reply(it) => with(json!({ "answer": "reply" }), said(&it.payload, &it.metadata)),
        Answer::Joined => json!({ "answer": "joined" }),
        Answer::Done => json!({ "answer": "done" }),
        Answer::WakeAfter(time) => {
            json!({ "answer": "wake_after", "time_ns": nanos(*time) })
        }
        Answer::Exited(reason) => json!({ "answer": "exited", "reason": reason.to_string() }),
        Answer::Refused { reason, text } => {
            json!({ "answer": "refused", "reason": reason.to_string(), "text": text })
        }
        Answer::Busy => json!({ "answer": "busy" }),
        other => json!({ "answer": "other", "text": format!("{other:?}") }),
    }
}

fn load(load: Load) -> Value {
    json!({
        "links": load.links, "conversations": load.conversations, "participants": load.participants,
        "requests": load.requests, "running": load.running, "held_bytes": load.held_bytes, "timers": load.timers,
        "monitors": load.monitors, "waiting_bytes": load.waiting_bytes,
        "guests": load.guests,
    })
}

/// A payload, and what is said about it, where there is something.
fn said(it: &Bytes, metadata: &Metadata) -> Value {
    if metadata.is_empty() {
        return payload(it);
    }
    let headers: Vec<_> = metadata.headers().map(|(name, value)| json!([name, value])).collect();
    let cause = metadata.causal_context();
    let about = json!({
        "headers": headers, "schema_id": metadata.schema_id().map(|id| id.to_string()),
        "parent_id": cause.parent_id, "vector_clock_entry": cause.vector_clock_entry,
    });
    with(payload(it), json!({ "metadata": about }))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn payload(payload: &Bytes) -> Value {
    match std::str::from_utf8(payload) {
        Ok(text) => json!({ "payload": text }),
        Err(_) => {
            let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "payload_hex": hex })
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use liminal_core::transcript::{BusId, OpenerId};
    use liminal_proto::{ConversationId, Instant, MessageId};

    use super::*;
    use crate::{Network, Tape, worlds};

    fn said(payload: &'static [u8]) -> String {
        let mut transcript = Transcript::new();
        let event = Event::Message(Message {
            conversation: ConversationId::new(3),
            id: MessageId::new(1),
            expects: Expects::Reply,
            timeout: Some(Duration::from_millis(2)),
            redelivered: 0,
            metadata: Metadata::default(),
            payload: Bytes::from_static(payload),
        });
        transcript.note(
            Instant::from_nanos(5),
            BusId::new(1),
            Noted::Said { opener: OpenerId::new(2), event },
        );
        lines(&transcript, Some(0))
    }

    #[test]
    fn an_entry_is_an_object_on_a_line_with_these_keys() {
        assert_eq!(
            said(b"a\n\"b\""),
            "{\"at_ns\":5,\"bus\":1,\"what\":\"said\",\"opener\":2,\"event\":\"message\",\"conversation\":3,\
             \"message\":1,\"expects\":\"reply\",\"timeout_ns\":2000000,\"payload\":\"a\\n\\\"b\\\"\",\
             \"here_it_shows\":true}\n"
        );
        assert!(said(b"\xff\x00").contains("\"payload_hex\":\"ff00\""));
    }

    #[test]
    fn nothing_is_left_out_and_everything_has_a_name() {
        let sim = worlds::everything(Network::Faithful);
        for seed in 0..60 {
            let ran = sim.run(&Tape::from_seed(seed));
            let text = lines(&ran.transcript, None);
            assert_eq!(text.lines().count(), ran.transcript.entries().len());
            for line in text.lines() {
                let object: Map<String, Value> = serde_json::from_str(line).expect("an object");
                assert!(object.contains_key("at_ns") && object.contains_key("bus"), "{line}");
                for key in ["what", "event", "kind", "call", "answer"] {
                    assert_ne!(object.get(key), Some(&"other".into()), "{line}");
                }
            }
        }
    }
}
