//! How connections end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use bytes::Bytes;
use liminal_proto::wire::{Body, flag};
use liminal_proto::{
    CloseReason, CommandError, Config, Connection, Event, Expects, LinkError, Next, Outcome, Phase,
    ReasonCode, TimerReason, Violation, Wake,
};

use support::pair::Pair;
use support::*;

/// Nothing more happens, and the transport may be closed.
fn assert_finished(connection: &mut Connection) {
    let wants = wants(connection);
    assert_eq!((wants.read, wants.write, wants.wake, wants.finished), (false, false, Wake::Never, true));
    assert_eq!(connection.output_len(), 0);
}

/// P-6.30
#[test]
fn a_disconnect_is_echoed_and_then_the_connection_is_over_on_both_sides() {
    for version in [1, 2] {
        let mut pair = Pair::smooth(Config::default(), Config::default());
        pair.run(|_, _| {}, |_, _| {});
        for by_client in [true, false] {
            let (mut near, mut far) = if by_client {
                (client(version), server(version))
            } else {
                (server(version), client(version))
            };
            near.disconnect(START);
            assert_eq!(near.phase(), Phase::ClosingLocal);
            let bytes = output(&mut near);
            assert_eq!(bytes, disconnect());
            assert_eq!(feed(&mut far, START, &bytes), [Event::Closed(CloseReason::Peer)]);
            assert!(!wants(&mut far).finished, "the echo is to be written");
            let echo = output(&mut far);
            assert_eq!(echo, disconnect());
            assert_eq!(feed(&mut near, START, &echo), [Event::Closed(CloseReason::Local)]);
            assert_finished(&mut near);
            assert_finished(&mut far);
        }
    }
}

#[test]
fn crossing_disconnects_end_both_sides() {
    let (mut client, mut server) = (client(2), server(2));
    client.disconnect(START);
    server.disconnect(START);
    let (from_client, from_server) = (output(&mut client), output(&mut server));
    assert_eq!(feed(&mut client, START, &from_server), [Event::Closed(CloseReason::Local)]);
    assert_eq!(feed(&mut server, START, &from_client), [Event::Closed(CloseReason::Local)]);
    assert_finished(&mut client);
    assert_finished(&mut server);
}

/// P-6.31
#[test]
fn a_client_gets_its_answers_before_it_echoes() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let stream = u32::try_from(key.get()).unwrap();
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    let confirmed = client.message(START, key, Expects::Acceptance, Bytes::new()).unwrap();
    output(&mut client);
    assert_eq!(feed(&mut client, START, &disconnect()), []);
    assert_eq!(client.phase(), Phase::ClosingPeer);
    assert_eq!(client.open(START, "late"), Err(CommandError::ConnectionClosed));
    let rejected = client.ask(START, key, None, Bytes::from_static(b"late")).unwrap_err();
    assert_eq!(
        (rejected.reason, &rejected.payload.payload[..]),
        (CommandError::ConnectionClosed, &b"late"[..])
    );
    assert_eq!(feed(&mut client, START, &reply_v2(stream, asked.get(), false, b"")).len(), 1);
    assert_eq!(output(&mut client), b"");
    let accepted = outcome_v2(stream, confirmed.get(), ReasonCode::new(0));
    let events = feed(&mut client, START, &accepted);
    assert!(matches!(events[..], [Event::Outcome { .. }, Event::Closed(CloseReason::Peer)]), "{events:?}");
    assert_eq!(output(&mut client), disconnect());
    assert_finished(&mut client);
}

#[test]
fn why_it_is_over_is_known_from_the_end_until_it_is_told() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    client.ask(START, key, None, "?").unwrap();
    assert_eq!(client.close_reason(), None);
    client.link_lost(START, LinkError::Reset);
    assert!(matches!(client.poll(), Next::Event(Event::Outcome { outcome: Outcome::Unknown, .. })));
    assert_eq!(client.close_reason(), Some(&CloseReason::Link(LinkError::Reset)));
    assert!(matches!(client.poll(), Next::Event(Event::Closed(_))));
    assert_eq!(client.close_reason(), None);
}

#[test]
fn a_client_that_abandons_its_last_request_echoes() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    output(&mut client);
    assert_eq!(feed(&mut client, START, &disconnect()), []);
    client.abandon(key, asked).unwrap();
    assert_eq!(events(&mut client), [Event::Closed(CloseReason::Peer)]);
    assert_eq!(output(&mut client), disconnect());
}

#[test]
fn a_stopping_server_still_answers() {
    let mut server = server_with_conversation(2, Config::default());
    server.disconnect(START);
    assert_eq!(output(&mut server), disconnect());
    let events = feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, 1, b"in flight"));
    assert_eq!(events.len(), 1);
    server.reply(START, reply(conversation(1), id(1), b"answered")).unwrap();
    assert_eq!(said(&mut server).len(), 1);
    assert_eq!(feed(&mut server, START, &disconnect()), [Event::Closed(CloseReason::Local)]);
}

/// P-8.12
#[test]
fn a_close_that_is_not_answered_is_over_after_its_time() {
    let mut server = server(1);
    server.disconnect(seconds(2));
    output(&mut server);
    assert_eq!(wants(&mut server).wake, Wake::At(seconds(7), TimerReason::Close));
    server.tick(seconds(7));
    assert_eq!(events(&mut server), [Event::Closed(CloseReason::Local)]);
    assert_finished(&mut server);

    let (mut client, key) = client_with_conversation(1, Config::default());
    let message = client.ask(START, key, None, Bytes::new()).unwrap();
    output(&mut client);
    feed(&mut client, seconds(2), &disconnect());
    client.tick(seconds(7));
    let unknown = Event::Outcome { conversation: key, message, outcome: Outcome::Unknown };
    assert_eq!(events(&mut client), [unknown, Event::Closed(CloseReason::Peer)]);
    assert_finished(&mut client);
}

#[test]
fn a_close_that_is_not_even_read_drops_what_was_to_be_written_after_its_time() {
    let mut server = server(1);
    server.disconnect(START);
    server.tick(seconds(5));
    assert_eq!(events(&mut server), [Event::Closed(CloseReason::Local)]);
    assert_finished(&mut server);
}

#[test]
fn a_second_disconnect_changes_nothing() {
    let mut server = server(1);
    for _ in 0..2 {
        server.disconnect(START);
        assert_eq!(server.phase(), Phase::ClosingLocal);
    }
    assert_eq!(output(&mut server), disconnect());
    server.link_lost(START, LinkError::Reset);
    assert_eq!(events(&mut server), [Event::Closed(CloseReason::Link(LinkError::Reset))]);
    server.disconnect(START);
    assert_eq!(events(&mut server), []);
}

#[test]
fn nothing_is_held_after_the_end() {
    let mut server = server(2);
    server.receive(START, &[&ping()[..], &disconnect(), &open(1)].concat());
    server.link_lost(START, LinkError::Reset);
    assert!(server.held_bytes() > 0);
    assert_eq!(events(&mut server).len(), 1);
    assert_eq!((server.input_len(), server.held_bytes()), (0, server.output_len()));
}

#[test]
fn a_half_closed_1_0_client_that_has_closed_is_owed_nothing_when_its_open_was_answered() {
    for answered in [true, false] {
        let mut server = server(1);
        feed(&mut server, START, &open(1));
        if answered {
            server.opened(START, conversation(1), None).unwrap();
        }
        server.receive(START, &close(1));
        server.eof(START);
        let over = events(&mut server).contains(&Event::Closed(CloseReason::PeerEof));
        assert_eq!(over, answered);
    }
}

#[test]
fn a_disconnect_before_the_handshake_is_through_ends_at_once() {
    let mut server = Connection::server(START, Config::default());
    server.disconnect(START);
    assert_eq!(events(&mut server), [Event::Closed(CloseReason::Local)]);
    assert_finished(&mut server);
    let mut client = Connection::client(START, Config::default());
    client.disconnect(START);
    assert_eq!(events(&mut client), [Event::Closed(CloseReason::Local)]);
    client.link_lost(START, LinkError::Dropped);
    assert_finished(&mut client);
}

/// P-6.32
#[test]
fn a_half_closed_client_gets_the_answers_it_asked_for_and_then_the_close() {
    for version in [1, 2] {
        let mut server = server_with_conversation(version, Config::default());
        let ask = if version == 1 {
            [message_v1(flag::REPLY, 1, 1, b"a"), message_v1(flag::REPLY, 1, 1, b"b")]
        } else {
            [message_v2(flag::WANTS_REPLY, 1, 1, b"a"), message_v2(flag::WANTS_REPLY, 1, 2, b"b")]
        };
        server.receive(START, &ask.concat());
        server.eof(START);
        let asked = events(&mut server);
        assert_eq!(asked.len(), 2);
        assert!(!wants(&mut server).read);
        for event in &asked {
            assert_eq!(events(&mut server), []);
            serve(&mut server, START, event);
        }
        assert_eq!(events(&mut server), [Event::Closed(CloseReason::PeerEof)]);
        assert!(!wants(&mut server).finished);
        assert_eq!(written(&mut server).len(), 2);
        assert_finished(&mut server);
    }
}

/// P-6.32
#[test]
fn a_half_closed_client_learns_that_its_open_was_refused_or_its_close_is_through() {
    for version in [1, 2] {
        let mut server = server_of(version, Config::default());
        server.receive(START, &open(1));
        server.eof(START);
        assert_eq!(events(&mut server).len(), 1);
        assert_eq!(events(&mut server), []);
        server.refuse(START, conversation(1), ReasonCode::NO_PARTICIPANT, None).unwrap();
        assert_eq!(events(&mut server), [Event::Closed(CloseReason::PeerEof)]);
        assert_eq!(written(&mut server).len(), 1);
    }
    let mut server = server_with_conversation(2, Config::default());
    server.receive(START, &close(1));
    server.eof(START);
    assert_eq!(events(&mut server), [Event::Close { conversation: conversation(1) }]);
    assert_eq!(events(&mut server), []);
    server.ended(START, conversation(1)).unwrap();
    assert_eq!(events(&mut server), [Event::Closed(CloseReason::PeerEof)]);
    assert_eq!(output(&mut server), close(1));
}

#[test]
fn a_half_closed_connection_with_nothing_owed_is_over() {
    for mut connection in [
        Connection::server(START, Config::default()),
        server(1),
        server_with_conversation(2, Config::default()),
        client(1),
        client_with_conversation(2, Config::default()).0,
    ] {
        connection.eof(START);
        assert_eq!(events(&mut connection), [Event::Closed(CloseReason::PeerEof)]);
        assert_finished(&mut connection);
    }
}

/// P-1.4: the echo is owed from then on, so nothing that is still in the input changes the end.
#[test]
fn what_comes_behind_the_last_answer_after_a_disconnect_is_not_heard_however_it_arrives() {
    for size in [1, 7, usize::MAX] {
        let (mut client, key) = client_with_conversation(2, Config::default());
        let message = client.ask(START, key, None, Bytes::new()).unwrap();
        output(&mut client);
        let stream = u32::try_from(key.get()).unwrap();
        let last = outcome_v2(stream, message.get(), ReasonCode::DEADLINE);
        let error = frame(0, 0, Body::ConnectError { reason_code: ReasonCode::OTHER, message: None });
        let mut told = Vec::new();
        for piece in [disconnect(), last, error].concat().chunks(size) {
            told.extend(feed(&mut client, START, piece));
        }
        let deadline = Event::Outcome { conversation: key, message, outcome: Outcome::Deadline };
        assert_eq!(told, [deadline, Event::Closed(CloseReason::Peer)], "in pieces of {size}");
        assert_eq!(output(&mut client), disconnect());
    }
}

#[test]
fn the_end_of_the_stream_after_a_disconnect_counts_as_its_answer() {
    let mut near = server(1);
    near.disconnect(START);
    output(&mut near);
    near.eof(START);
    assert_eq!(events(&mut near), [Event::Closed(CloseReason::Local)]);

    let (mut client, key) = client_with_conversation(1, Config::default());
    let message = client.ask(START, key, None, Bytes::new()).unwrap();
    client.receive(START, &disconnect());
    client.eof(START);
    let unknown = Event::Outcome { conversation: key, message, outcome: Outcome::Unknown };
    assert_eq!(events(&mut client), [unknown, Event::Closed(CloseReason::Peer)]);
}

/// P-6.33
#[test]
fn the_end_of_the_stream_inside_a_frame_is_a_violation_and_delivers_nothing() {
    for cut in [1, 9, 10, 30] {
        let mut server = server_with_conversation(1, Config::default());
        server.receive(START, &message_v1(0, 1, 1, b"payload")[..cut]);
        server.eof(START);
        assert_eq!(violation(&events(&mut server)), &Violation::EndInsideFrame { have: cut });
        assert_connect_error(&mut server, ReasonCode::TRUNCATED_PAYLOAD);
    }
}

#[test]
fn what_arrived_before_the_link_was_lost_is_delivered_and_nothing_is_written_after() {
    let mut server = server_with_conversation(1, Config::default());
    server.receive(START, &[message_v1(0, 1, 1, b"last words"), ping()].concat());
    server.link_lost(START, LinkError::Reset);
    let events = events(&mut server);
    let reset = CloseReason::Link(LinkError::Reset);
    assert!(matches!(&events[..], [Event::Message(_), Event::Closed(reason)] if *reason == reset));
    assert_finished(&mut server);
}

#[test]
fn output_that_was_on_its_way_when_the_link_was_lost_may_be_reported_late() {
    let (mut client, key) = client_with_conversation(1, Config::default());
    client.message(START, key, Expects::Nothing, Bytes::from_static(b"on its way")).unwrap();
    let taken = client.take_write(10);
    client.link_lost(START, LinkError::Reset);
    assert_eq!(events(&mut client).len(), 1);
    assert_finished(&mut client);
    client.wrote(taken.len());
    assert_eq!(client.misuse(), None);
}

#[test]
fn a_lost_link_wins_over_the_end_of_the_stream() {
    let mut server = server(1);
    server.eof(START);
    server.link_lost(START, LinkError::TimedOut);
    server.eof(START);
    assert_eq!(events(&mut server), [Event::Closed(CloseReason::Link(LinkError::TimedOut))]);
}

#[test]
fn after_the_end_commands_are_errors_and_give_back_what_they_carried() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    client.eof(START);
    let closed = CommandError::ConnectionClosed;
    assert_eq!(events(&mut client).len(), 1);
    assert_eq!(client.open(START, "s"), Err(closed.clone()));
    assert_eq!(client.ping(START), Err(closed.clone()));
    assert_eq!(client.close(START, key, None), Err(closed.clone()));
    let rejected = client.message(START, key, Expects::Nothing, Bytes::from_static(b"x")).unwrap_err();
    assert_eq!((rejected.reason, &rejected.payload.payload[..]), (closed.clone(), &b"x"[..]));
    client.disconnect(START);
    assert_finished(&mut client);

    let mut server = server_with_conversation(2, Config::default());
    server.eof(START);
    assert_eq!(events(&mut server).len(), 1);
    let key = conversation(1);
    assert_eq!(server.opened(START, key, None), Err(closed.clone()));
    assert_eq!(server.refuse(START, key, ReasonCode::BUSY, None), Err(closed.clone()));
    assert_eq!(server.outcome(START, key, id(1), &Outcome::Exited), Err(closed.clone()));
    assert_eq!(server.ended(START, key), Err(closed.clone()));
    assert_eq!(server.reply(START, reply(key, id(1), b"x")).unwrap_err().reason, closed);
    assert_finished(&mut server);
}

#[test]
fn commands_of_the_other_side_are_errors() {
    let (mut client, mut server) = (client(2), server(2));
    let side = |result: Result<(), CommandError>| matches!(result, Err(CommandError::WrongSide(_)));
    assert!(side(client.opened(START, conversation(1), None)));
    assert!(side(client.refuse(START, conversation(1), ReasonCode::BUSY, None)));
    assert!(side(server.open(START, "s").map(drop)));
    let told = [server.open(START, "s").map(drop), client.ended(START, conversation(1))];
    let told = told.map(|result| result.unwrap_err().to_string());
    assert!(told[0].contains("client") && told[1].contains("server"), "{told:?}");
    assert!(side(server.close(START, conversation(1), None)));
    assert!(side(server.abandon(conversation(1), id(1))));
    let rejected = server.message(START, conversation(1), Expects::Nothing, Bytes::new()).unwrap_err();
    assert!(matches!(rejected.reason, CommandError::WrongSide(_)));
}

/// P-8.10
#[test]
fn a_farewell_that_nobody_reads_is_dropped_after_the_time_of_a_write_stall() {
    let cases = [(server(1), 10), (Connection::server(START, Config::default()), 2)];
    for (mut server, limit) in cases {
        let broken = raw(0x04, 0, 1, b"");
        assert!(matches!(feed(&mut server, START, &broken)[..], [Event::Closed(_)]));
        let waiting = wants(&mut server);
        assert!(waiting.write && !waiting.finished);
        assert_eq!(waiting.wake, Wake::At(seconds(limit), TimerReason::WriteStall));
        server.tick(seconds(limit));
        assert_finished(&mut server);
    }
}

#[test]
fn a_farewell_that_is_read_slowly_is_not_dropped() {
    let mut server = server(1);
    feed(&mut server, START, &raw(0x04, 0, 1, b""));
    let mut now = 0;
    while server.output_len() > 0 {
        now += 9;
        server.tick(seconds(now));
        assert_eq!(events(&mut server), []);
        server.wrote(1);
    }
    assert!(now > 100);
    assert_finished(&mut server);
}
