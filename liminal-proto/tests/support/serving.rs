//! A client that serves, and a server that invites its participants: each by itself, in conversation 2, and the
//! frames between them.

use bytes::Bytes;
use liminal_proto::wire::{Body, RecordNumbers, flag};
use liminal_proto::{
    Config, Connection, ConversationId, Event, Exit, ExitReason, Expects, Message, Metadata, Outcome, Pid,
    ReasonCode, RecordNumber, StreamId, Unanswered,
};

use super::*;

pub(crate) const PID: Pid = Pid::new(7);

/// A client whose offer for so many conversations stands.
pub(crate) fn serving_client(capacity: u32, config: Config) -> Connection {
    let mut client = client_of(2, config);
    let offer = client.serve(START, Some("work"), capacity).unwrap();
    output(&mut client);
    assert_eq!(feed(&mut client, START, &frame(0, 1, Body::Serving)), [Event::Serving { offer }]);
    client
}

/// The server's side of the same.
pub(crate) fn offered_server(config: Config) -> Connection {
    let mut server = server_of(2, config);
    feed(&mut server, START, &frame(0, 1, Body::Serve { capacity: 100, subject: Some("work") }));
    server.serving(START, StreamId::new(1)).unwrap();
    output(&mut server);
    server
}

/// A server that has invited to conversation 2, in which the participant is.
pub(crate) fn inviting_server(config: Config) -> Connection {
    let mut server = offered_server(config);
    server.invite(START, conversation(2), PID, "work").unwrap();
    output(&mut server);
    feed(&mut server, START, &opened(2));
    server
}

/// A client whose participant is in conversation 2.
pub(crate) fn invited_client(config: Config) -> Connection {
    let mut client = serving_client(100, config);
    feed(&mut client, START, &invite(2));
    client.opened(START, conversation(2), Some(PID)).unwrap();
    output(&mut client);
    client
}

pub(crate) fn invite(stream: u32) -> Vec<u8> {
    frame(0, stream, Body::Invite { pid: PID, subject: "work" })
}

pub(crate) fn opened(stream: u32) -> Vec<u8> {
    frame(0, stream, Body::Opened { pid: Some(PID) })
}

pub(crate) fn refusal(stream: u32, reason_code: ReasonCode) -> Vec<u8> {
    frame(0, stream, Body::Refused { reason_code, message: None })
}

pub(crate) fn exited(flags: u8, stream: u32) -> Vec<u8> {
    let (pid, record) = (PID, RecordNumber::new(0));
    frame(
        flags,
        stream,
        Body::Exited {
            pid,
            record,
            cause: 1,
            message: Some("boom"),
            unanswered: 0,
            records: RecordNumbers::default(),
        },
    )
}

pub(crate) fn exit(goes_on: bool) -> Exit {
    let reason = ExitReason::Crashed { text: "boom".to_owned() };
    Exit { pid: PID, record: RecordNumber::new(0), reason, goes_on, unanswered: Unanswered::default() }
}

pub(crate) fn message(key: u64, record: u64, expects: Expects) -> Message {
    let (conversation, id, payload) = (conversation(key), id(record), Bytes::from_static(b"hello"));
    Message {
        conversation,
        id,
        expects,
        timeout: None,
        redelivered: 0,
        metadata: Metadata::default(),
        payload,
    }
}

pub(crate) fn ask(record: u64) -> Message {
    message(2, record, Expects::Reply)
}

pub(crate) fn answer(key: ConversationId, answers: u64) -> Vec<u8> {
    let (answers, message_id, payload) = (Some(id(answers)), id(0), Bytes::from_static(b"hi"));
    let stream = u32::try_from(key.get()).unwrap();
    let body =
        Body::Message { message_id, answers, timeout_ms: None, redelivered: None, metadata: None, payload };
    frame(flag::ANSWERS, stream, body)
}

pub(crate) fn ended(key: ConversationId, message: u64, outcome: Outcome) -> Event {
    Event::Outcome { conversation: key, message: id(message), outcome }
}
