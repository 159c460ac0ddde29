//! What is said about a payload: carried with it, charged with it, and as much of it as 1.0 can say.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use bytes::Bytes;
use liminal_proto::wire::{Body, CausalContext, Envelope, SchemaId, flag};
use liminal_proto::{
    CommandError, Config, Content, CreditGiven, Event, Expects, Limits, Message, Metadata, ReasonCode, Reply,
};

use support::serving::{inviting_server, message};
use support::*;

const SCHEMA: SchemaId = SchemaId([7; 32]);

/// All that can be said.
fn everything() -> Metadata {
    let cause = Metadata::builder().schema_id(SCHEMA).vector_clock_entry(9).parent_id("order-7").unwrap();
    cause.header("traceparent", "00-1-2-01").unwrap().header("tracestate", "x=1").unwrap().build()
}

/// As much of it as 1.0 has room for.
fn cause() -> Metadata {
    Metadata::builder().schema_id(SCHEMA).vector_clock_entry(9).parent_id("order-7").unwrap().build()
}

/// P-7.48
#[test]
fn what_is_said_about_a_message_and_about_its_reply_reaches_the_other_side() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let mut server = server_with_conversation(2, Config::default());
    let asked = client.ask(START, key, None, Content::new("hello", everything())).unwrap();
    let events = feed(&mut server, START, &output(&mut client));
    assert_eq!(message_of(&events[0]).metadata, everything());
    let metadata = Metadata::builder().header("x-served-by", "me").unwrap().build();
    server.reply(START, Reply { metadata: metadata.clone(), ..reply(key, asked, b"hi") }).unwrap();
    let events = feed(&mut client, START, &output(&mut server));
    assert!(matches!(&events[..], [Event::Reply(reply)] if reply.metadata == metadata), "{events:?}");
}

/// P-7.48
#[test]
fn what_is_delivered_to_a_client_that_serves_has_it_too() {
    let mut server = inviting_server(Config::default());
    let told = Message { metadata: everything(), ..message(2, 3, Expects::Nothing) };
    server.deliver(START, told).unwrap();
    let frame = written(&mut server).pop().unwrap();
    assert_eq!(frame.flags & flag::METADATA, flag::METADATA);
    assert!(matches!(frame.body, Body::Message { metadata: Some(it), .. } if it == everything()));
}

#[test]
fn a_message_of_which_nothing_is_said_takes_no_bytes_for_that() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    client.message(START, key, Expects::Nothing, "hello").unwrap();
    let frame = written(&mut client).pop().unwrap();
    assert!(matches!(frame.body, Body::Message { metadata: None, .. }));
    assert_eq!(frame.flags & flag::METADATA, 0);
}

/// P-7.70
#[test]
fn metadata_is_charged_as_the_payload_is_on_both_sides() {
    let config = Config { credit: CreditGiven::Consumed, ..Config::default() };
    let (mut client, key) = client_with_conversation(2, config.clone());
    let mut server = server_with_conversation(2, config);
    let content = Content::new(vec![0; 500], everything());
    let charge = u32::try_from(Limits::charge(500 + everything().len())).unwrap();
    assert_eq!(content.len(), 500 + everything().len());
    client.message(START, key, Expects::Nothing, content.clone()).unwrap();
    let window = Limits::default().conversation_window;
    assert_eq!(client.credit_left(key).unwrap().to_say, window - charge);
    let events = feed(&mut server, START, &output(&mut client));
    assert_eq!((message_of(&events[0]).len(), message_of(&events[0]).is_empty()), (content.len(), false));
    assert_eq!(server.credit_left(key).unwrap().open, charge);
    server.consumed(START, key, content.len());
    let left = server.credit_left(key).unwrap();
    assert_eq!((left.open, left.owed), (0, charge));
}

/// P-2.6
#[test]
fn metadata_that_is_none_breaks_the_connection() {
    let mut server = server_with_conversation(2, Config::default());
    let payload = b"\0\0\0\0\0\0\0\x01\0\0\0\x08\0\0\0\0\0\0\x01A";
    feed(&mut server, START, &raw(0x82, flag::METADATA, 1, payload));
    assert_connect_error(&mut server, ReasonCode::CODEC);
}

/// P-7.49
#[test]
fn schema_and_cause_of_a_1_0_message_stand_in_its_envelope_both_ways() {
    let mut server = server_with_conversation(1, Config::default());
    let causal_context = CausalContext { parent_id: Some("order-7"), vector_clock_entry: Some(9) };
    let envelope = Envelope { schema_id: SCHEMA, causal_context, payload: Bytes::from_static(b"hello") };
    let body = Body::ConversationMessage { conversation_id: conversation(1), envelope };
    let events = feed(&mut server, START, &frame(flag::REPLY, 3, body));
    let asked = message_of(&events[0]);
    assert_eq!(asked.metadata, cause());
    server.reply(START, Reply { metadata: everything(), ..reply(conversation(1), asked.id, b"hi") }).unwrap();
    let Body::ConversationMessage { envelope, .. } = written(&mut server).pop().unwrap().body else {
        panic!("no reply")
    };
    assert_eq!((envelope.schema_id, &envelope.payload[..]), (SCHEMA, &b"hi"[..]));
    let cause = &envelope.causal_context;
    assert_eq!((cause.parent_id.as_deref(), cause.vector_clock_entry), (Some("order-7"), Some(9)));
}

/// P-7.49
#[test]
fn of_a_reply_in_parts_to_a_1_0_client_the_last_one_speaks_for_the_whole() {
    let mut server = server_with_conversation(1, Config::default());
    let events = feed(&mut server, START, &message_v1(flag::REPLY, 3, 1, b"?"));
    assert_eq!(message_of(&events[0]).metadata, Metadata::default(), "a schema of zeros is none");
    let whole = reply(conversation(1), message_of(&events[0]).id, b"two");
    let other = Metadata::builder().schema_id(SchemaId([1; 32])).build();
    server.reply(START, Reply { last: false, metadata: other, ..whole.clone() }).unwrap();
    server.reply(START, Reply { metadata: cause(), ..whole }).unwrap();
    let Body::ConversationMessage { envelope, .. } = written(&mut server).pop().unwrap().body else {
        panic!("no reply")
    };
    assert_eq!((envelope.schema_id, &envelope.payload[..]), (SCHEMA, &b"twotwo"[..]));
    assert_eq!(server.held_bytes(), server.recount_held());
}

/// P-7.49
#[test]
fn a_1_0_client_says_schema_and_cause_and_cannot_say_headers() {
    let (mut client, key) = client_with_conversation(1, Config::default());
    let refused = client.ask(START, key, None, Content::new("hello", everything())).unwrap_err();
    assert_eq!(refused.reason, CommandError::NeedsVersion2);
    assert_eq!(refused.payload, Content::new("hello", everything()), "nothing is swallowed");
    client.ask(START, key, None, Content::new("hello", cause())).unwrap();
    let Body::ConversationMessage { envelope, .. } = written(&mut client).pop().unwrap().body else {
        panic!("no message")
    };
    assert_eq!((envelope.schema_id, envelope.causal_context.vector_clock_entry), (SCHEMA, Some(9)));
}

/// P-8.1, P-7.49
#[test]
fn a_1_0_reply_whose_cause_does_not_fit_a_frame_is_refused_and_held_back_exactly() {
    let limits = |limits: &mut Limits| limits.frame_payload_max = 100;
    let mut server = server_with_conversation(1, limited(limits));
    let asked = [3, 5].map(|stream| message_v1(flag::REPLY, stream, 1, b"?")).concat();
    let events = feed(&mut server, START, &asked);
    let ids: Vec<_> = events.iter().map(|event| message_of(event).id).collect();
    // The fields of the frame take 54 of the 100 bytes, and the cause 4 + 7 + 8.
    let answer = |id, len| Reply { metadata: cause(), ..reply(conversation(1), id, &vec![7; len]) };
    assert!(
        matches!(server.reply(START, answer(ids[1], 28)), Err(it) if matches!(it.reason, CommandError::TooLarge { .. }))
    );
    server.reply(START, answer(ids[1], 27)).unwrap();
    assert_eq!(server.held_bytes(), server.recount_held());
    server.reply(START, answer(ids[0], 27)).unwrap();
    assert_eq!(written(&mut server).len(), 2);
    assert_eq!(server.held_bytes(), 0);
}
