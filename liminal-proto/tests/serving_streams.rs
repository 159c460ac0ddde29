//! Where invited conversations and what is said in them have their numbers, and whose commands they are.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use bytes::Bytes;
use liminal_proto::wire::{Body, flag};
use liminal_proto::{
    CommandError, Config, Connection, Event, Expects, Message, Outcome, ReasonCode, Side, Violation,
};

use support::serving::*;
use support::*;

/// P-1.5
#[test]
fn whoever_begins_on_a_stream_of_the_other_side_breaks_the_connection() {
    let serve = frame(0, 2, Body::Serve { capacity: 1, subject: None });
    for bytes in [open(2), serve] {
        let mut server = server(2);
        let told = feed(&mut server, START, &bytes);
        assert!(matches!(violation(&told), Violation::ForeignStream { .. }), "{told:?}");
        assert_connect_error(&mut server, ReasonCode::INVALID_STREAM);
    }
    let mut client = serving_client(1, Config::default());
    let told = feed(&mut client, START, &invite(3));
    assert!(matches!(violation(&told), Violation::ForeignStream { frame: "Invite", .. }), "{told:?}");
    assert_eq!(client.output_len(), 0, "a client has no word for it");
}

#[test]
fn parity_does_not_matter_in_1_0() {
    assert_eq!(feed(&mut server(1), START, &[open(2), open(3)].concat()).len(), 2);
}

#[test]
fn what_the_other_side_would_never_begin_is_ignored_on_any_stream() {
    for stream in [2, 3] {
        let mut client = serving_client(1, Config::default());
        let serve = frame(0, stream, Body::Serve { capacity: 1, subject: None });
        assert_eq!(feed(&mut client, START, &[open(stream), serve].concat()), []);
        let mut server = server(2);
        assert_eq!(feed(&mut server, START, &invite(stream)), []);
        assert_eq!((client.strays(), server.strays()), (2, 1));
        assert_eq!((output(&mut client), output(&mut server)), (vec![], vec![]));
    }
}

/// P-7.52
#[test]
fn a_server_chooses_even_ids_that_need_not_ascend() {
    let mut server = offered_server(Config::default());
    let mut invites = |key| server.invite(START, conversation(key), PID, "work");
    for key in [8, 2, u64::from(u32::MAX) - 1, 4] {
        assert_eq!(invites(key), Ok(()));
    }
    assert_eq!(invites(4), Err(CommandError::AlreadyOpen(conversation(4))));
    assert_eq!(invites(3), Err(CommandError::WrongSide(Side::Client)));
    for key in [0, 1 << 32, u64::MAX - 1] {
        assert_eq!(invites(key), Err(CommandError::NotOpen(conversation(key))));
    }
    assert_eq!(output(&mut server), [8, 2, u32::MAX - 1, 4].map(invite).concat());
    let mut client = serving_client(8, Config::default());
    assert_eq!(feed(&mut client, START, &[8, 2, u32::MAX - 1, 4].map(invite).concat()).len(), 4);
    client.ended(START, conversation(8)).unwrap();
    output(&mut client);
    assert_eq!(feed(&mut client, START, &message_v2(0, 8, 1, b"late")), []);
    assert_eq!((client.output_len(), client.strays()), (0, 1), "8 was reached, although 4 came after it");
    let told = feed(&mut client, START, &invite(4));
    assert!(matches!(violation(&told), Violation::NotAscending { got: 4, .. }), "{told:?}");
}

/// P-7.32, P-7.54
#[test]
fn what_is_delivered_keeps_its_number_which_must_ascend() {
    let mut server = inviting_server(Config::default());
    let not_ascending = |message, last| CommandError::NotAscending { message: id(message), last: id(last) };
    assert_eq!(server.deliver(START, ask(0)).unwrap_err().reason, not_ascending(0, 0));
    for record in [3, 4, 100] {
        server.deliver(START, ask(record)).unwrap();
    }
    for record in [100, 99] {
        let rejected = server.deliver(START, ask(record)).unwrap_err();
        assert_eq!((rejected.reason, rejected.payload), (not_ascending(record, 100), ask(record)));
    }
    server.deliver(START, ask(u64::MAX)).unwrap();
    let own = server.message(START, conversation(2), Expects::Nothing, Bytes::new()).unwrap_err();
    assert_eq!(own.reason, not_ascending(u64::MAX, u64::MAX));
    assert_eq!(said(&mut server).len(), 4);

    let mut client = invited_client(Config::default());
    let backwards = [message_v2(0, 2, 4, b""), message_v2(0, 2, 4, b"")].concat();
    assert!(matches!(violation(&feed(&mut client, START, &backwards)), Violation::NotAscending { .. }));
}

/// P-7.54
#[test]
fn how_often_a_message_was_given_before_stands_in_it_where_it_was() {
    for (redelivered, flags, field) in [(0, 0, None), (1, flag::REDELIVERED, Some(1)), (255, 0x20, Some(255))]
    {
        let mut server = inviting_server(Config::default());
        let told = Message { redelivered, ..message(2, 3, Expects::Nothing) };
        server.deliver(START, told.clone()).unwrap();
        let bytes = output(&mut server);
        let [written] = &frames(liminal_proto::wire::Dialect::V2, &bytes)[..] else { panic!() };
        assert!(matches!(written.body, Body::Message { redelivered, .. } if redelivered == field));
        assert_eq!(written.flags, flags);
        assert_eq!(feed(&mut invited_client(Config::default()), START, &bytes), [Event::Message(told)]);
    }
}

#[test]
fn commands_belong_to_the_side_that_opened_the_conversation_or_to_the_other() {
    let wrong = |it: Result<(), CommandError>, side| assert_eq!(it, Err(CommandError::WrongSide(side)));
    let (own, theirs) = (conversation(1), conversation(2));
    let mut client = invited_client(Config::default());
    wrong(client.invite(START, theirs, PID, "work"), Side::Server);
    wrong(client.deliver(START, ask(3)).map_err(|it| it.reason), Side::Server);
    wrong(client.deliver(START, message(1, 3, Expects::Reply)).map_err(|it| it.reason), Side::Server);
    wrong(client.close(START, theirs, None), Side::Server);
    wrong(client.abandon(theirs, id(1)), Side::Server);
    let said = client.message(START, theirs, Expects::Nothing, Bytes::new());
    wrong(said.map(|_| ()).map_err(|it| it.reason), Side::Server);
    wrong(client.opened(START, own, None), Side::Server);
    wrong(client.ended(START, own), Side::Server);
    wrong(client.joined(START, theirs, PID), Side::Server);
    wrong(client.failed(START, theirs), Side::Server);
    wrong(client.exited(START, theirs, &exit(true)), Side::Server);
    assert_eq!(client.output_len(), 0);

    let mut server = inviting_server(Config::default());
    wrong(server.open(START, "work").map(|_| ()), Side::Client);
    wrong(server.opened(START, theirs, None), Side::Client);
    wrong(server.refuse(START, theirs, ReasonCode::BUSY, None), Side::Client);
    wrong(server.reply(START, reply(theirs, id(1), b"")).map_err(|it| it.reason), Side::Client);
    wrong(server.outcome(START, theirs, id(1), &Outcome::Exited), Side::Client);
    wrong(server.exited(START, theirs, &exit(false)), Side::Client);
    wrong(server.ended(START, theirs), Side::Client);
    wrong(server.close(START, own, None), Side::Client);
    assert_eq!(server.output_len(), 0);

    let mut old = support::server(1);
    assert_eq!(old.invite(START, theirs, PID, "work"), Err(CommandError::NeedsVersion2));
    let rejected = old.deliver(START, ask(3)).unwrap_err();
    assert_eq!((rejected.reason, rejected.payload), (CommandError::NeedsVersion2, ask(3)));
    let mut early = Connection::server(START, Config::default());
    assert_eq!(early.invite(START, theirs, PID, "work"), Err(CommandError::NotConnected));
    assert_eq!(early.deliver(START, ask(3)).unwrap_err().reason, CommandError::NotConnected);
}
