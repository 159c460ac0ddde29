//! Signs of life.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use core::time::Duration;

use bytes::Bytes;
use liminal_proto::wire::{Body, flag};
use liminal_proto::{
    CloseReason, Config, Connection, ConversationId, Event, Expects, Keepalive, Outcome, ReasonCode,
    TimerReason, Violation, Wake,
};

use support::*;

/// P-6.20
#[test]
fn a_silent_peer_is_pinged_and_counts_as_dead_after_three_unanswered_pings() {
    for mut connection in [server(2), client(2)] {
        for ping in 1..=3 {
            let due = seconds(15 * ping);
            assert_eq!(wants(&mut connection).wake, Wake::At(due, TimerReason::Keepalive));
            connection.tick(due);
            assert_eq!(events(&mut connection), []);
            assert_eq!(said(&mut connection), [Body::Ping]);
        }
        connection.tick(seconds(60));
        let what = TimerReason::Keepalive;
        let dead = Violation::TooSlow { what, limit: Duration::from_secs(60) };
        assert_eq!(events(&mut connection), [Event::Closed(CloseReason::Violation(dead))]);
    }
}

/// P-6.20
#[test]
fn any_input_is_a_sign_of_life_even_a_part_of_a_frame() {
    let mut server = server(2);
    for due in [15, 30] {
        server.tick(seconds(due));
        assert_eq!(events(&mut server), []);
        assert_eq!(said(&mut server), [Body::Ping]);
    }
    server.receive(seconds(31), &ping()[..1]);
    server.receive(seconds(32), &ping()[1..]);
    assert_eq!(events(&mut server), []);
    assert_eq!(said(&mut server), [Body::Pong]);
    assert_eq!(wants(&mut server).wake.at(), Some(seconds(47)));
    for due in [47, 62, 77] {
        output(&mut server);
        server.tick(seconds(due));
        assert_eq!(events(&mut server), [], "counted from the sign of life");
    }
}

#[test]
fn bytes_that_are_read_into_the_space_are_a_sign_of_life_and_a_read_of_nothing_is_none() {
    let ping = ping();
    for (n, due) in [(ping.len(), 25), (0, 15)] {
        let mut server = server(2);
        server.read_space().unwrap()[..ping.len()].copy_from_slice(&ping);
        server.read_done(seconds(10), n);
        events(&mut server);
        output(&mut server);
        assert_eq!(wants(&mut server).wake, Wake::At(seconds(due), TimerReason::Keepalive), "{n} bytes");
    }
    let mut server = server(2);
    server.receive(seconds(10), b"");
    assert_eq!(wants(&mut server).wake.at(), Some(seconds(15)));
}

#[test]
fn time_passes_with_whatever_call_tells_of_it() {
    let due = seconds(15);
    type Tell = fn(&mut Connection, ConversationId);
    let of_client: [Tell; 5] = [
        |client, _| _ = client.receive(seconds(15), b""),
        |client, _| _ = client.open(seconds(15), "subject").unwrap(),
        |client, key| client.close(seconds(15), key, None).unwrap(),
        |client, key| _ = client.message(seconds(15), key, Expects::Nothing, Bytes::new()).unwrap(),
        |client, _| client.read_done(seconds(15), 0),
    ];
    for tell in of_client {
        let (mut client, key) = client_with_conversation(2, Config::default());
        tell(&mut client, key);
        events(&mut client);
        assert!(said(&mut client).contains(&Body::Ping));
    }
    let of_server: [Tell; 3] = [
        |server, _| server.eof(seconds(15)),
        |server, key| server.outcome(seconds(15), key, id(1), &Outcome::Accepted { record: None }).unwrap(),
        |server, _| server.tick(seconds(15)),
    ];
    for tell in of_server {
        let mut server = server_with_conversation(2, Config::default());
        feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, 1, b""));
        tell(&mut server, conversation(1));
        events(&mut server);
        assert!(said(&mut server).contains(&Body::Ping), "an answer is owed, so it is not over");
    }
    let mut client = client(2);
    client.ping(due).unwrap();
    events(&mut client);
    assert_eq!(said(&mut client), [Body::Ping, Body::Ping], "its own and that which was due");
}

#[test]
fn a_long_sleep_is_not_taken_for_the_death_of_the_peer() {
    let mut server = server(2);
    server.tick(seconds(3600));
    assert_eq!(events(&mut server), []);
    output(&mut server);
    assert_eq!(wants(&mut server).wake.at(), Some(seconds(3615)));
}

/// P-6.21
#[test]
fn a_1_0_peer_is_never_pinged() {
    for mut connection in [server(1), client(1)] {
        assert_eq!(wants(&mut connection).wake, Wake::Never);
        connection.tick(seconds(1 << 20));
        assert_eq!(events(&mut connection), []);
        assert_eq!(output(&mut connection), b"");
    }
}

#[test]
fn without_keepalive_nothing_wakes_an_idle_connection() {
    let config = Config { keepalive: None, ..Config::default() };
    assert_eq!(wants(&mut server_of(2, config)).wake, Wake::Never);
}

#[test]
fn a_keepalive_without_patience_neither_spins_nor_panics() {
    for unanswered_max in [0, 1, u32::MAX] {
        let keepalive = Some(Keepalive { silence: Duration::ZERO, unanswered_max });
        let mut server = server_of(2, Config { keepalive, ..Config::default() });
        server.tick(seconds(1));
        let (events, wants) = drain(&mut server);
        if unanswered_max == 0 {
            assert!(matches!(violation(&events), Violation::TooSlow { .. }));
        } else {
            assert!(wants.wake.at() > Some(seconds(1)), "{wants:?}");
        }
    }
}

#[test]
fn a_connection_that_is_closing_pings_no_more() {
    let mut server = server(2);
    server.tick(seconds(14));
    server.disconnect(seconds(14));
    assert_eq!(said(&mut server), [Body::Disconnect]);
    server.tick(seconds(16));
    assert_eq!(events(&mut server), []);
    assert_eq!(output(&mut server), b"");
}

/// P-6.22
#[test]
fn a_ping_of_the_embedder_is_told_when_it_is_answered() {
    for version in [1, 2] {
        let mut client = client(version);
        client.ping(START).unwrap();
        assert_eq!(said(&mut client), [Body::Ping]);
        let pong = frame(0, 0, Body::Pong);
        assert_eq!(feed(&mut client, START, &[pong.clone(), pong].concat()), [Event::Pong]);
    }
}

#[test]
fn a_full_queue_takes_no_ping() {
    let mut client = client_of(2, limited(|limits| limits.output_soft_max = 100));
    let pings = (0..1000).take_while(|_| client.ping(START).is_ok()).count();
    assert_eq!(pings, 11);
    assert_eq!(client.ping(START), Err(liminal_proto::CommandError::Full));
}

/// P-6.17
#[test]
fn pongs_owed_are_a_number_and_never_follow_a_farewell() {
    let config = limited(|limits| limits.output_soft_max = 10);
    let mut server = server_of(2, config);
    let pings: Vec<u8> = (0..50).flat_map(|_| ping()).collect();
    assert_eq!(feed(&mut server, START, &pings), []);
    assert_eq!(server.output_len(), 20, "one above the soft bound, the others are owed");
    let events = feed(&mut server, START, &connect((1, 0), (1, 0), b""));
    assert!(matches!(violation(&events), Violation::WrongState { .. }));
    assert_connect_error(&mut server, ReasonCode::INVALID_STATE);
    assert_eq!(support::events(&mut server), []);
    assert_eq!(server.output_len(), 0);
}

/// P-6.22
#[test]
fn every_ping_gets_its_pong_however_full_the_queue_was() {
    let mut server = server_of(2, limited(|limits| limits.output_soft_max = 10));
    let pings: Vec<u8> = (0..50).flat_map(|_| ping()).collect();
    feed(&mut server, START, &pings);
    let mut pongs = 0;
    while server.output_len() > 0 {
        pongs += said(&mut server).len();
        assert_eq!(events(&mut server), []);
    }
    assert_eq!(pongs, 50);
}

#[test]
fn ten_thousand_ticks_without_traffic_wake_nobody_and_say_nothing() {
    for version in [1, 2] {
        let config = || Config { keepalive: None, ..Config::default() };
        let (client, _) = client_with_conversation(version, config());
        for mut connection in [client, server_with_conversation(version, config())] {
            output(&mut connection);
            let idle = wants(&mut connection);
            assert_eq!((idle.wake, idle.write, idle.finished), (Wake::Never, false, false));
            for minute in 1..=10_000 {
                connection.tick(seconds(60 * minute));
                assert_eq!(drain(&mut connection), (vec![], idle));
            }
        }
    }
}
