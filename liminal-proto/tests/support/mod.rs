//! What the tests of the connection share beside the machines of the laws: what is expected, a pair in
//! memory, and frames at random.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]

use liminal_proto::wire::Body;
use liminal_proto::{
    CloseReason, Config, Connection, ConversationId, Event, Message, Outcome, Pid, ReasonCode, StreamId,
    Violation,
};

pub(crate) use liminal_laws::frames::*;
pub(crate) use liminal_laws::sides::*;

pub(crate) mod pair;
pub(crate) mod serving;
pub(crate) mod strategy;

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

// ── what is expected ────────────────────────────────────────────────────────────────────────────────

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
