//! What the tests of the connection share: raw frames, one side by itself, and a pair in memory.

#![allow(dead_code, reason = "each test file uses its own part")]

use core::time::Duration;

use bytes::{Bytes, BytesMut};
use liminal_proto::wire::{Body, CausalContext, Dialect, Envelope, Frame, FrameBuf, SchemaId, Version};
use liminal_proto::wire::{decode_shared, encode, flag};
use liminal_proto::{
    CloseReason, Config, Connection, ConversationId, Event, Expects, Instant, Message, MessageId, Next,
    Outcome, Pid, ReasonCode, Reply, StreamId, Violation, Wants,
};

pub(crate) mod pair;
pub(crate) mod strategy;

pub(crate) const START: Instant = Instant::ORIGIN;

pub(crate) fn millis(millis: u64) -> Instant {
    START.after(Duration::from_millis(millis))
}

pub(crate) fn seconds(seconds: u64) -> Instant {
    START.after(Duration::from_secs(seconds))
}

pub(crate) fn conversation(id: u64) -> ConversationId {
    ConversationId::new(id)
}

pub(crate) fn id(id: u64) -> MessageId {
    MessageId::new(id)
}

// ── frames ──────────────────────────────────────────────────────────────────────────────────────────

/// The bytes of one frame, with every type of 2.0 known.
pub(crate) fn frame(flags: u8, stream: u32, body: Body<&str, Bytes>) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(Dialect::V2, &Frame { flags, stream: StreamId::new(stream), body }, &mut out).unwrap();
    out.to_vec()
}

/// A header and a payload that need not belong together.
pub(crate) fn raw(type_id: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![type_id, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(payload);
    out
}

pub(crate) fn connect(min: (u16, u16), max: (u16, u16), token: &[u8]) -> Vec<u8> {
    let version = |(major, minor)| Version { major, minor };
    let auth_token = Bytes::copy_from_slice(token);
    frame(0, 0, Body::Connect { min_version: version(min), max_version: version(max), auth_token })
}

pub(crate) fn connect_ack(major: u16) -> Vec<u8> {
    frame(0, 0, Body::ConnectAck { selected_version: Version { major, minor: 0 }, capabilities: 0 })
}

pub(crate) fn ping() -> Vec<u8> {
    frame(0, 0, Body::Ping)
}

pub(crate) fn disconnect() -> Vec<u8> {
    frame(0, 0, Body::Disconnect)
}

pub(crate) fn open_on(stream: u32, id: u64, subject: &str) -> Vec<u8> {
    frame(0, stream, Body::ConversationOpen { conversation_id: conversation(id), subject })
}

pub(crate) fn open(id: u32) -> Vec<u8> {
    open_on(id, u64::from(id), "subject")
}

pub(crate) fn close(id: u32) -> Vec<u8> {
    let conversation_id = conversation(u64::from(id));
    frame(0, id, Body::ConversationClose { conversation_id, reason_code: None, message: None })
}

pub(crate) fn envelope(payload: &[u8]) -> Envelope<&'static str, Bytes> {
    let causal_context = CausalContext { parent_id: None, vector_clock_entry: None };
    Envelope { schema_id: SchemaId::default(), causal_context, payload: Bytes::copy_from_slice(payload) }
}

/// A message of 1.0; with `flag::REPLY` a request, or the reply to one.
pub(crate) fn message_v1(flags: u8, stream: u32, id: u64, payload: &[u8]) -> Vec<u8> {
    let conversation_id = conversation(id);
    frame(flags, stream, Body::ConversationMessage { conversation_id, envelope: envelope(payload) })
}

pub(crate) fn error_v1(stream: u32, id: u64, reason_code: ReasonCode) -> Vec<u8> {
    frame(
        0,
        stream,
        Body::ConversationError { conversation_id: conversation(id), reason_code, message: None },
    )
}

/// A message of 2.0 from a client.
pub(crate) fn message_v2(flags: u8, stream: u32, message: u64, payload: &[u8]) -> Vec<u8> {
    let timeout_ms = (flags & flag::TIMEOUT != 0).then_some(1000);
    let payload = Bytes::copy_from_slice(payload);
    frame(flags, stream, Body::Message { message_id: id(message), answers: None, timeout_ms, payload })
}

/// A reply of 2.0 from a server.
pub(crate) fn reply_v2(stream: u32, answers: u64, more: bool, payload: &[u8]) -> Vec<u8> {
    let flags = flag::ANSWERS | if more { flag::MORE } else { 0 };
    let payload = Bytes::copy_from_slice(payload);
    let answers = Some(id(answers));
    frame(flags, stream, Body::Message { message_id: id(9), answers, timeout_ms: None, payload })
}

pub(crate) fn outcome_v2(stream: u32, message: u64, reason_code: ReasonCode) -> Vec<u8> {
    frame(0, stream, Body::Outcome { message_id: id(message), reason_code, record: None, message: None })
}

/// What stands in `bytes`, which must be whole frames.
pub(crate) fn frames(dialect: Dialect, bytes: &[u8]) -> Vec<FrameBuf> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (frame, used) = decode_shared(dialect, u32::MAX, &rest).unwrap();
        frames.push(frame);
        let _ = rest.split_to(used);
    }
    frames
}

// ── one side by itself ──────────────────────────────────────────────────────────────────────────────

/// Polls until there is nothing more to tell.
pub(crate) fn drain(connection: &mut Connection) -> (Vec<Event>, Wants) {
    let mut events = Vec::new();
    loop {
        match connection.poll() {
            Next::Event(event) => events.push(event),
            Next::Wait(wants) => return (events, wants),
        }
    }
}

pub(crate) fn events(connection: &mut Connection) -> Vec<Event> {
    drain(connection).0
}

pub(crate) fn wants(connection: &mut Connection) -> Wants {
    let (events, wants) = drain(connection);
    assert_eq!(events, []);
    wants
}

/// Hands in all of `bytes`, polling whenever the connection takes no more of them.
pub(crate) fn feed(connection: &mut Connection, now: Instant, mut bytes: &[u8]) -> Vec<Event> {
    let mut seen = Vec::new();
    loop {
        let taken = connection.receive(now, bytes);
        bytes = &bytes[taken..];
        let (events, wants) = drain(connection);
        seen.extend(events);
        if bytes.is_empty() {
            return seen;
        }
        assert!(wants.read || taken > 0, "the connection is paused with {} bytes to go", bytes.len());
    }
}

/// Takes out all there is to write.
pub(crate) fn output(connection: &mut Connection) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let bytes = connection.take_write(usize::MAX);
        if bytes.is_empty() {
            return out;
        }
        connection.wrote(bytes.len());
        out.extend_from_slice(&bytes);
    }
}

/// The frames that are to be written, taken out.
pub(crate) fn written(connection: &mut Connection) -> Vec<FrameBuf> {
    frames(Dialect::V2, &output(connection))
}

/// The bodies of the frames that are to be written, taken out.
pub(crate) fn said(connection: &mut Connection) -> Vec<Body<String, Bytes>> {
    written(connection).into_iter().map(|frame| frame.body).collect()
}

pub(crate) fn server_of(version: u16, config: Config) -> Connection {
    let mut server = Connection::server(START, config);
    let events = feed(&mut server, START, &connect((version, 0), (version, 0), b""));
    assert!(matches!(events[..], [Event::Connected { .. }]), "{events:?}");
    assert_eq!(output(&mut server), connect_ack(version));
    server
}

pub(crate) fn client_of(version: u16, config: Config) -> Connection {
    let mut client = Connection::client(START, config);
    output(&mut client);
    let events = feed(&mut client, START, &connect_ack(version));
    assert!(matches!(events[..], [Event::Connected { .. }]), "{events:?}");
    client
}

pub(crate) fn server(version: u16) -> Connection {
    server_of(version, Config::default())
}

pub(crate) fn client(version: u16) -> Connection {
    client_of(version, Config::default())
}

/// A server with one conversation open, id and stream 1.
pub(crate) fn server_with_conversation(version: u16, config: Config) -> Connection {
    let mut server = server_of(version, config);
    feed(&mut server, START, &open(1));
    server.opened(START, conversation(1), Some(Pid::new(1))).unwrap();
    output(&mut server);
    server
}

/// A client with one conversation open and all of it written.
pub(crate) fn client_with_conversation(version: u16, config: Config) -> (Connection, ConversationId) {
    let mut client = client_of(version, config);
    let id = client.open(START, "subject").unwrap();
    output(&mut client);
    if version == 2 {
        let stream = u32::try_from(id.get()).unwrap();
        feed(&mut client, START, &frame(0, stream, Body::Opened { pid: Some(Pid::new(1)) }));
    }
    (client, id)
}

pub(crate) fn limited(set: impl FnOnce(&mut liminal_proto::Limits)) -> Config {
    let mut config = Config::default();
    set(&mut config.limits);
    config
}

// ── what is expected ────────────────────────────────────────────────────────────────────────────────

pub(crate) fn reply(conversation: ConversationId, answers: MessageId, payload: &[u8]) -> Reply {
    Reply { conversation, answers, record: None, last: true, payload: Bytes::copy_from_slice(payload) }
}

pub(crate) fn refused(reason: ReasonCode) -> Outcome {
    Outcome::Refused { reason, text: None }
}

pub(crate) fn message_of(event: &Event) -> &Message {
    match event {
        Event::Message(message) => message,
        other => panic!("not a message: {other:?}"),
    }
}

/// The violation that ended the connection, which must be the last event.
pub(crate) fn violation(events: &[Event]) -> &Violation {
    match events.last() {
        Some(Event::Closed(CloseReason::Violation(violation))) => violation,
        other => panic!("not closed by a violation: {other:?}"),
    }
}

/// Asserts that the last frame written is the `ConnectError` with this code, and returns its text.
pub(crate) fn assert_connect_error(connection: &mut Connection, code: ReasonCode) -> String {
    match written(connection).pop().map(|frame| (frame.stream, frame.body)) {
        Some((StreamId::CONTROL, Body::ConnectError { reason_code, message })) => {
            assert_eq!(reason_code, code, "{message:?}");
            message.unwrap_or_default()
        }
        other => panic!("no ConnectError: {other:?}"),
    }
}

/// The simplest embedder of a server: opens everything, echoes every request, closes at once.
pub(crate) fn serve(server: &mut Connection, now: Instant, event: &Event) {
    match event {
        Event::Open { conversation, .. } => server.opened(now, *conversation, Some(Pid::new(7))).unwrap(),
        Event::Message(message) => answer(server, now, message),
        Event::Close { conversation } => server.ended(now, *conversation).unwrap(),
        _ => {}
    }
}

fn answer(server: &mut Connection, now: Instant, message: &Message) {
    match message.expects {
        Expects::Nothing => {}
        Expects::Acceptance => {
            let accepted = Outcome::Accepted { record: None };
            let _ = server.outcome(now, message.conversation, message.id, &accepted);
        }
        Expects::Reply => {
            let _ = server.reply(now, reply(message.conversation, message.id, &message.payload));
        }
    }
}
