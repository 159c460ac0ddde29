//! Every limit: at it all is well, one above it something is said.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use core::time::Duration;

use bytes::Bytes;
use liminal_proto::wire::{Body, Dialect, flag};
use liminal_proto::{
    CloseReason, CommandError, Config, Connection, Event, Expects, Limits, MessageId, Outcome, Phase,
    ReasonCode, Reply, TimerReason, Violation, Wake,
};

use support::*;

fn assert_too_slow(connection: &mut Connection, what: TimerReason) {
    let events = events(connection);
    assert!(matches!(violation(&events), Violation::TooSlow { what: it, .. } if *it == what), "{events:?}");
}

fn is_flood(events: &[Event]) -> bool {
    matches!(violation(events), Violation::Flood { .. })
}

// ── sizes ───────────────────────────────────────────────────────────────────────────────────────────

/// P-8.1
#[test]
fn frame_payload_max() {
    for version in [1, 2] {
        let overhead = if version == 1 { 54 } else { 8 };
        let config = limited(|limits| limits.frame_payload_max = 1000);
        let (mut client, key) = client_with_conversation(version, config.clone());
        let fits = Bytes::from(vec![1; 1000 - overhead]);
        client.message(START, key, Expects::Nothing, fits).unwrap();
        let bytes = output(&mut client);
        let mut server = server_with_conversation(version, config);
        assert_eq!(feed(&mut server, START, &bytes).len(), 1);
        let above = Bytes::from(vec![1; 1001 - overhead]);
        let rejected = client.message(START, key, Expects::Nothing, above.clone()).unwrap_err();
        assert!(matches!(rejected.reason, CommandError::TooLarge { .. }), "{:?}", rejected.reason);
        assert_eq!(rejected.payload, above.into());
    }
}

/// P-8.1
#[test]
fn frame_payload_max_of_replies() {
    for (version, overhead) in [(1, 54), (2, 16)] {
        let mut server = server_with_conversation(version, limited(|limits| limits.frame_payload_max = 1000));
        let ask = if version == 1 {
            message_v1(flag::REPLY, 1, 1, b"")
        } else {
            message_v2(flag::WANTS_REPLY, 1, 1, b"")
        };
        let asked = message_of(&feed(&mut server, START, &ask)[0]).id;
        let sized = |len| Reply { payload: Bytes::from(vec![1; len]), ..reply(conversation(1), asked, b"") };
        let above = server.reply(START, sized(1001 - overhead)).unwrap_err();
        assert!(matches!(above.reason, CommandError::TooLarge { .. }), "{:?}", above.reason);
        server.reply(START, sized(1000 - overhead)).unwrap();
        let frame = output(&mut server);
        assert_eq!(frame.len(), 10 + 1000);
    }
}

/// P-8.1
#[test]
fn frame_hard_max() {
    let config = limited(|limits| limits.frame_payload_max = u32::MAX);
    let mut server = server_of(1, config);
    let mut header = raw(0x0D, 0, 1, b"");
    header[6..].copy_from_slice(&Limits::FRAME_HARD_MAX.to_be_bytes());
    assert_eq!(feed(&mut server, START, &header), []);
    let mut server = server_of(1, limited(|limits| limits.frame_payload_max = u32::MAX));
    header[6..].copy_from_slice(&(Limits::FRAME_HARD_MAX + 1).to_be_bytes());
    feed(&mut server, START, &header);
    assert_connect_error(&mut server, ReasonCode::TOO_LARGE);
}

#[test]
fn a_payload_that_can_never_go_is_too_large_even_when_the_queue_is_full() {
    let config = limited(|limits| limits.output_soft_max = 1000);
    let (mut client, key) = client_with_conversation(2, config);
    client.message(START, key, Expects::Nothing, Bytes::from(vec![1; 990])).unwrap();
    let rejected = client.message(START, key, Expects::Nothing, Bytes::from(vec![1; 2 << 20])).unwrap_err();
    assert!(matches!(rejected.reason, CommandError::TooLarge { .. }));
}

/// P-8.2
#[test]
fn handshake_frame_payload_max() {
    let config = || limited(|limits| limits.handshake_frame_payload_max = 100);
    for (len, fits) in [(100 - 12, true), (101 - 12, false)] {
        let mut server = Connection::server(START, config());
        feed(&mut server, START, &connect((1, 0), (1, 0), &vec![1; len]));
        assert_eq!(server.phase() == Phase::Active, fits);
    }
    for (len, fits) in [(100, true), (101, false)] {
        let mut client = Connection::client(START, config());
        let events = feed(&mut client, START, &raw(0x1A, 0, 0, &vec![1; len]));
        assert_eq!(events.is_empty(), fits);
    }
}

/// P-8.3
#[test]
fn conversations_max() {
    let config = || limited(|limits| limits.conversations_max = 2);
    for version in [1, 2] {
        let mut server = server_of(version, config());
        assert_eq!(feed(&mut server, START, &[open(1), open(3)].concat()).len(), 2);
        assert_eq!(feed(&mut server, START, &open(5)), []);
        let said = said(&mut server);
        let refused = match said[..] {
            [Body::ConversationError { reason_code, .. } | Body::Refused { reason_code, .. }] => reason_code,
            _ => panic!("{said:?}"),
        };
        assert_eq!(refused, ReasonCode::LIMIT);
        server.refuse(START, conversation(1), ReasonCode::NO_PARTICIPANT, None).unwrap();
        assert_eq!(feed(&mut server, START, &open(7)).len(), 1);

        let mut client = client_of(version, config());
        assert!(client.open(START, "s").is_ok() && client.open(START, "s").is_ok());
        assert!(matches!(client.open(START, "s"), Err(CommandError::Limit { limit: 2, .. })));
    }
}

/// P-8.4
#[test]
fn requests_max() {
    let config = || limited(|limits| limits.requests_max = 2);
    let mut server = server_with_conversation(2, config());
    let ask = |id| message_v2(flag::WANTS_REPLY, 1, id, b"");
    assert_eq!(feed(&mut server, START, &[ask(1), ask(2)].concat()).len(), 2);
    assert_eq!(feed(&mut server, START, &ask(3)), []);
    assert_eq!(output(&mut server), outcome_v2(1, 3, ReasonCode::BUSY));
    assert_eq!(feed(&mut server, START, &message_v2(0, 1, 4, b"a note")).len(), 1);
    server.outcome(START, conversation(1), id(1), &Outcome::Deadline).unwrap();
    assert_eq!(feed(&mut server, START, &ask(5)).len(), 1);

    let (mut client, key) = client_with_conversation(2, config());
    client.ask(START, key, None, Bytes::new()).unwrap();
    client.message(START, key, Expects::Acceptance, Bytes::new()).unwrap();
    let rejected = client.ask(START, key, None, Bytes::from_static(b"x")).unwrap_err();
    assert!(matches!(rejected.reason, CommandError::Limit { limit: 2, .. }));
    assert_eq!(rejected.payload.payload, b"x"[..]);
    client.message(START, key, Expects::Nothing, Bytes::new()).unwrap();
}

/// P-8.5
#[test]
fn output_soft_max_for_replies_and_messages() {
    let config = || limited(|limits| limits.output_soft_max = 10_000);
    let mut server = server_with_conversation(2, config());
    let asks: Vec<u8> = (1..=4).flat_map(|id| message_v2(flag::WANTS_REPLY, 1, id, b"")).collect();
    feed(&mut server, START, &asks);
    let sized = |answers, len| Reply {
        payload: Bytes::from(vec![1; len]),
        ..reply(conversation(1), id(answers), b"")
    };
    server.reply(START, sized(1, 5000)).unwrap();
    let queued = server.output_len() + reply_v2(1, 1, false, b"").len();
    let rejected = server.reply(START, sized(2, 10_001 - queued)).unwrap_err();
    assert_eq!(rejected.reason, CommandError::Full);
    server.reply(START, sized(2, 10_000 - queued)).unwrap();
    output(&mut server);
    server.reply(START, sized(3, 50_000)).unwrap();
    assert_eq!(server.reply(START, sized(4, 0)).unwrap_err().reason, CommandError::Full);
    output(&mut server);
    let all_but = reply_v2(1, 1, false, b"").len();
    feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, 5, b""));
    server.reply(START, Reply { last: false, ..sized(4, 2501 - all_but) }).unwrap();
    assert_eq!(server.reply(START, sized(4, 50_000)).unwrap_err().reason, CommandError::Full);
    output(&mut server);
    server.reply(START, Reply { last: false, ..sized(4, 2500 - all_but) }).unwrap();
    server.reply(START, sized(4, 50_000)).unwrap();
}

#[test]
fn while_a_1_0_client_is_not_read_the_time_of_its_unfinished_frame_stands_still() {
    let mut server = server_with_conversation(1, limited(|limits| limits.output_soft_max = 1000));
    let ask = message_v1(flag::REPLY, 1, 1, b"");
    let asked = feed(&mut server, START, &ask);
    feed(&mut server, START, &ask[..20]);
    assert!(matches!(wants(&mut server).wake, Wake::At(_, TimerReason::UnfinishedFrame)));
    let large = Reply {
        payload: Bytes::from(vec![1; 2000]),
        ..reply(conversation(1), message_of(&asked[0]).id, b"")
    };
    server.reply(START, large).unwrap();
    assert_eq!(wants(&mut server).wake, Wake::At(seconds(10), TimerReason::WriteStall));
    server.tick(seconds(9));
    assert_eq!(events(&mut server), []);
    output(&mut server);
    assert!(
        matches!(wants(&mut server).wake, Wake::At(at, TimerReason::UnfinishedFrame) if at >= seconds(10))
    );
}

/// A 2.0 server with a conversation, whose output stands just above the bound at which opens are refused.
fn overfull_server() -> Connection {
    let small = |limits: &mut Limits| (limits.output_soft_max, limits.frame_payload_max) = (1000, 500);
    let mut server = server_with_conversation(2, limited(small));
    while server.output_len() <= 1500 {
        server.outcome(START, conversation(1), id(1), &Outcome::Accepted { record: None }).unwrap();
    }
    server
}

/// P-8.5
#[test]
fn above_output_soft_max_and_a_frame_a_2_0_server_refuses_opens_as_busy_and_reads_on() {
    let mut server = overfull_server();
    assert!(wants(&mut server).read);
    let bytes = [message_v2(flag::WANTS_REPLY, 1, 2, b""), open(5), close(1)];
    let events = feed(&mut server, START, &bytes.concat());
    assert!(matches!(events[..], [Event::Message(_), Event::Close { .. }]), "{events:?}");
    let said = said(&mut server);
    assert!(matches!(said[..], [.., Body::Refused { reason_code: ReasonCode::BUSY, .. }]), "{said:?}");
}

/// P-8.5
#[test]
fn at_output_soft_max_and_a_frame_a_2_0_server_still_takes_opens() {
    for (above, taken) in [(0, 1), (1, 0)] {
        let small = |limits: &mut Limits| (limits.output_soft_max, limits.frame_payload_max) = (1000, 500);
        let mut server = server_with_conversation(2, limited(small));
        let mut says = |text: &str| {
            let outcome = Outcome::Refused { reason: ReasonCode::OTHER, text: Some(text.to_owned()) };
            server.outcome(START, conversation(1), id(1), &outcome).unwrap();
            server.output_len()
        };
        let least = says("");
        let mut queued = least;
        while queued + 2 * least <= 1500 {
            queued = says("");
        }
        assert_eq!(says(&"x".repeat(1500 + above - queued - least)), 1500 + above);
        assert_eq!(feed(&mut server, START, &open(3)).len(), taken, "{above} above it");
    }
}

#[test]
fn one_reply_of_the_largest_size_is_no_reason_to_refuse_others() {
    let mut server = server_with_conversation(2, limited(|limits| limits.output_soft_max = 1 << 20));
    feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, 1, b""));
    let largest = (1 << 20) - (reply_v2(1, 1, true, b"").len() - 10);
    let large = Reply { payload: Bytes::from(vec![1; largest]), ..reply(conversation(1), id(1), b"") };
    server.reply(START, large).unwrap();
    assert!(server.output_len() > 1 << 20);
    let bytes = [message_v2(flag::WANTS_REPLY, 1, 2, b""), open(5)];
    assert_eq!(feed(&mut server, START, &bytes.concat()).len(), 2);
}

/// P-8.6
#[test]
fn while_a_reply_finds_no_room_a_1_0_client_is_not_read_although_the_queue_is_below_its_bound() {
    let mut server = server_with_conversation(1, limited(|limits| limits.output_soft_max = 1000));
    let ask = message_v1(flag::REPLY, 1, 1, b"");
    let asked = feed(&mut server, START, &[&ask[..], &ask].concat());
    let [first, second] = &asked[..] else { panic!("{asked:?}") };
    let sized = |event| Reply {
        payload: Bytes::from(vec![1; 600]),
        ..reply(conversation(1), message_of(event).id, b"")
    };
    server.reply(START, sized(first)).unwrap();
    assert_eq!(server.reply(START, sized(second)).unwrap_err().reason, CommandError::Full);
    assert!(server.output_len() < 1000);
    assert!(!wants(&mut server).read);
    assert_eq!(feed(&mut server, START, &ask), []);
    output(&mut server);
    assert_eq!(events(&mut server).len(), 1);
    server.reply(START, sized(second)).unwrap();
    assert!(wants(&mut server).read);
}

/// P-8.5
#[test]
fn a_client_that_reads_slowly_is_refused_as_busy_and_not_as_a_flood() {
    let mut server = overfull_server();
    let opens: Vec<u8> = (3..500).step_by(2).flat_map(open).collect();
    assert_eq!(feed(&mut server, START, &opens), []);
    assert_eq!(server.phase(), Phase::Active);
}

/// P-8.6
#[test]
fn above_output_soft_max_a_1_0_server_pauses_reading_and_its_input_stays_bounded() {
    let mut server = server_with_conversation(1, limited(|limits| limits.output_soft_max = 1000));
    let events = feed(&mut server, START, &message_v1(flag::REPLY, 1, 1, b""));
    let large = Reply {
        payload: Bytes::from(vec![1; 2000]),
        ..reply(conversation(1), message_of(&events[0]).id, b"")
    };
    server.reply(START, large).unwrap();
    let (events, paused) = drain(&mut server);
    assert_eq!(events, []);
    assert!(!paused.read && paused.write);
    assert!(server.read_space().is_none());
    let request = message_v1(0, 1, 1, b"waits");
    let many: Vec<u8> = request.iter().copied().cycle().take(request.len() * 10_000).collect();
    assert_eq!(server.receive(START, &many), 64 << 10);
    assert_eq!(server.receive(START, &many), 0);
    assert_eq!(support::events(&mut server), []);
    output(&mut server);
    let (delivered, wants) = drain(&mut server);
    assert_eq!(delivered.len(), (64 << 10) / request.len());
    assert!(wants.read);
}

#[test]
fn a_1_0_client_with_unwritten_output_reads_on_so_that_two_peers_never_wait_for_each_other() {
    let (mut client, key) = client_with_conversation(1, limited(|limits| limits.output_soft_max = 1000));
    let asked = client.ask(START, key, None, Bytes::from(vec![1; 5000])).unwrap();
    assert!(wants(&mut client).read);
    let reply = message_v1(flag::REPLY, u32::try_from(asked.get()).unwrap(), key.get(), b"early");
    assert_eq!(feed(&mut client, START, &reply).len(), 1);
}

/// P-8.7
#[test]
fn output_hard_max() {
    let outcome_len = outcome_v2(1, 1, ReasonCode::EXITED).len();
    let config = limited(|limits| {
        limits.frame_payload_max = 100;
        limits.output_soft_max = 1000;
        limits.output_hard_max = 90 * outcome_len;
        limits.refusals.burst = 10_000;
    });
    let mut server = server_with_conversation(2, config);
    let accepted = Outcome::Exited;
    for _ in 0..90 {
        server.outcome(START, conversation(1), id(1), &accepted).unwrap();
    }
    assert_eq!(events(&mut server), []);
    server.outcome(START, conversation(1), id(1), &accepted).unwrap();
    assert!(matches!(violation(&events(&mut server)), Violation::Unread { .. }));
    assert_eq!(server.output_len(), 0, "a peer that does not read cannot be told");
}

/// P-8.8
#[test]
fn input_max() {
    let mut server = server_with_conversation(2, limited(|limits| limits.input_max = 100));
    assert_eq!((server.input_room(), server.input_len()), (100, 0));
    assert_eq!(server.receive(START, &[0x7F; 101]), 100);
    assert_eq!((server.input_room(), server.input_len()), (0, 100));
    let mut large = server_with_conversation(2, limited(|limits| limits.input_max = 100));
    let bytes = message_v2(0, 1, 1, &[7; 5000]);
    assert_eq!(large.receive(START, &bytes), 100);
    assert_eq!(events(&mut large), []);
    assert_eq!(large.receive(START, &bytes[100..]), bytes.len() - 100, "one large frame comes on top");
    assert_eq!(events(&mut large).len(), 1);
}

#[test]
fn name_max() {
    for version in [1, 2] {
        let config = || limited(|limits| limits.name_max = 4);
        let mut server = server_of(version, config());
        assert_eq!(feed(&mut server, START, &open_on(1, 1, "name")).len(), 1);
        assert_eq!(feed(&mut server, START, &open_on(3, 3, "names")), []);
        let mut client = client_of(version, config());
        assert!(client.open(START, "name").is_ok());
        assert_eq!(client.open(START, "names"), Err(CommandError::TooLarge { len: 5, limit: 4 }));
    }
}

#[test]
fn text_max() {
    for (text, sent) in [("four", "four"), ("fives", "five")] {
        let mut server = server_of(2, limited(|limits| limits.text_max = 4));
        feed(&mut server, START, &open(1));
        server.refuse(START, conversation(1), ReasonCode::OTHER, Some(text)).unwrap();
        let refusal = Body::Refused { reason_code: ReasonCode::OTHER, message: Some(sent) };
        assert_eq!(output(&mut server), frame(0, 1, refusal));
    }
}

#[test]
fn token_max() {
    for (len, fits) in [(10, true), (11, false)] {
        let mut server = Connection::server(START, limited(|limits| limits.token_max = 10));
        feed(&mut server, START, &connect((1, 0), (1, 0), &vec![1; len]));
        assert_eq!(server.phase() == Phase::Active, fits);
    }
}

// ── times ───────────────────────────────────────────────────────────────────────────────────────────

/// P-8.9
#[test]
fn handshake_time() {
    let sides = [Connection::server, Connection::client];
    for side in sides {
        let mut connection = side(seconds(100), Config::default());
        output(&mut connection);
        let due = seconds(105);
        assert_eq!(wants(&mut connection).wake, Wake::At(due, TimerReason::Handshake));
        connection.tick(START.after(Duration::from_nanos(due.as_nanos() - 1)));
        assert_eq!(events(&mut connection), []);
        connection.tick(due);
        assert_too_slow(&mut connection, TimerReason::Handshake);
    }
}

/// P-8.9
#[test]
fn a_server_says_why_it_gives_up_on_a_handshake() {
    let mut server = Connection::server(START, Config::default());
    server.tick(seconds(5));
    assert_too_slow(&mut server, TimerReason::Handshake);
    assert_connect_error(&mut server, ReasonCode::TOO_SLOW);
}

/// P-8.11
#[test]
fn unfinished_frame_time() {
    let config = || limited(|limits| limits.unfinished_frame_rate_min = 1);
    let bytes = message_v1(0, 1, 1, &[1; 1000]);
    let mut server = server_with_conversation(1, config());
    feed(&mut server, seconds(1), &bytes[..500]);
    assert_eq!(wants(&mut server).wake, Wake::At(seconds(11), TimerReason::UnfinishedFrame));
    feed(&mut server, seconds(5), &bytes[500..1000]);
    assert_eq!(wants(&mut server).wake.at(), Some(seconds(11)), "in all, however it grows");
    server.tick(millis(10_999));
    assert_eq!(events(&mut server), []);
    server.tick(seconds(11));
    assert_too_slow(&mut server, TimerReason::UnfinishedFrame);
}

/// P-8.11
#[test]
fn handshake_unfinished_frame_time() {
    let config = limited(|limits| limits.unfinished_frame_rate_min = 1);
    let mut server = Connection::server(START, config);
    feed(&mut server, START, &connect((1, 0), (1, 0), b"0123456789")[..20]);
    assert_eq!(wants(&mut server).wake, Wake::At(seconds(2), TimerReason::UnfinishedFrame));
}

/// P-8.11
#[test]
fn unfinished_frame_rate_min() {
    let bytes = message_v1(0, 1, 1, &vec![1; 100_000]);
    let mut server = server_with_conversation(1, Config::default());
    feed(&mut server, START, &bytes[..2048]);
    assert_eq!(wants(&mut server).wake, Wake::At(seconds(3), TimerReason::UnfinishedFrame));
    feed(&mut server, seconds(2), &bytes[2048..5120]);
    assert_eq!(wants(&mut server).wake.at(), Some(seconds(6)));
    server.tick(seconds(6));
    assert_too_slow(&mut server, TimerReason::UnfinishedFrame);
}

/// P-8.11
#[test]
fn one_byte_per_interval_is_not_enough() {
    let mut server = server(1);
    let bytes = message_v1(0, 1, 1, &[1; 1000]);
    let lasted = (0..100).take_while(|&i| {
        feed(&mut server, millis(i * 100), &bytes[usize::try_from(i).unwrap()..][..1]);
        server.phase() != Phase::Closed
    });
    assert_eq!(lasted.count(), 11);
}

#[test]
fn the_time_of_a_frame_starts_over_with_the_next_one() {
    let mut server = server_with_conversation(1, Config::default());
    let bytes = message_v1(0, 1, 1, b"payload");
    feed(&mut server, START, &bytes[..5]);
    assert_eq!(feed(&mut server, millis(900), &[&bytes[5..], &bytes[..5]].concat()).len(), 1);
    server.tick(millis(1890));
    assert_eq!(events(&mut server), []);
}

/// P-8.10
#[test]
fn write_stall_time() {
    let mut server = server_with_conversation(1, Config::default());
    feed(&mut server, seconds(1), &ping());
    assert_eq!(wants(&mut server).wake, Wake::At(seconds(11), TimerReason::WriteStall));
    server.wrote(1);
    server.tick(seconds(9));
    assert_eq!(wants(&mut server).wake.at(), Some(seconds(19)), "one byte is progress");
    server.wrote(0);
    server.tick(seconds(12));
    assert_eq!(wants(&mut server).wake.at(), Some(seconds(19)), "and none is none");
    server.tick(millis(18_999));
    assert_eq!(events(&mut server), []);
    server.tick(seconds(19));
    assert_too_slow(&mut server, TimerReason::WriteStall);
    assert_eq!(server.output_len(), 0, "a peer that does not read cannot be told");
}

/// P-8.10
#[test]
fn handshake_write_stall_time() {
    let mut client = Connection::client(START, Config::default());
    assert_eq!(wants(&mut client).wake, Wake::At(seconds(2), TimerReason::WriteStall));
}

/// P-8.10
#[test]
fn a_paused_1_0_link_is_found_dead_by_its_write_stall() {
    let mut server = server_with_conversation(1, limited(|limits| limits.output_soft_max = 5));
    server.receive(START, &[ping(), ping()].concat());
    server.eof(START);
    assert_eq!(wants(&mut server).wake, Wake::At(seconds(10), TimerReason::WriteStall));
    server.tick(seconds(10));
    assert_too_slow(&mut server, TimerReason::WriteStall);
}

// ── rates ───────────────────────────────────────────────────────────────────────────────────────────

/// P-8.13
#[test]
fn control_frames() {
    let kinds: [fn() -> Vec<u8>; 6] = [
        ping,
        || frame(0, 0, Body::Pong),
        || raw(0x7F, 0, 0, b""),
        || frame(0, 3, Body::PublishAck { message_id: 1 }),
        || frame(0, 3, Body::Accept { referenced_message_id: "m" }),
        || frame(0, 3, Body::PushReply { correlation_id: 1, payload: Bytes::new() }),
    ];
    for version in [1, 2] {
        for kind in kinds {
            let mut server = server(version);
            let burst: Vec<u8> = (0..200).flat_map(|_| kind()).collect();
            assert_eq!(feed(&mut server, START, &burst), []);
            let second: Vec<u8> = (0..100).flat_map(|_| kind()).collect();
            assert_eq!(feed(&mut server, seconds(1), &second), []);
            assert!(is_flood(&feed(&mut server, seconds(1), &kind())));
            assert_connect_error(&mut server, ReasonCode::LIMIT);
        }
    }
}

/// P-8.13
#[test]
fn pongs_that_were_asked_for_are_never_counted() {
    for mut connection in [server(2), client(2)] {
        (0..300).for_each(|_| connection.ping(START).unwrap());
        let pongs: Vec<u8> = (0..300).flat_map(|_| frame(0, 0, Body::Pong)).collect();
        assert_eq!(feed(&mut connection, START, &pongs), vec![Event::Pong; 300]);
    }
}

#[test]
fn frames_that_only_a_client_sends_are_control_frames_to_a_client() {
    let mut client = client(2);
    let many: Vec<u8> = (1..=200).flat_map(open).collect();
    assert_eq!(feed(&mut client, START, &many), []);
    assert!(is_flood(&feed(&mut client, START, &open(201))));
}

#[test]
fn registrations_of_workers_are_control_frames() {
    let none: [&str; 0] = [];
    let texts = || liminal_proto::wire::Texts::new(none).unwrap();
    let body = || Body::WorkerRegister {
        namespaces: texts(),
        task_queue: "q",
        node: None,
        activity_types: texts(),
        identity: "i",
    };
    let mut server = server(2);
    let many: Vec<u8> = (0..200).flat_map(|_| frame(0, 0, body())).collect();
    assert_eq!(feed(&mut server, START, &many), []);
    assert!(is_flood(&feed(&mut server, START, &frame(0, 0, body()))));
}

/// P-8.14
#[test]
fn handshake_control_frames_max() {
    let mut server = Connection::server(START, Config::default());
    let four = [ping(), raw(0x7F, 0, 0, b""), connect_ack(1), ping()].concat();
    assert_eq!(feed(&mut server, START, &four), []);
    assert!(is_flood(&feed(&mut server, START, &ping())));
    assert_connect_error(&mut server, ReasonCode::LIMIT);
}

/// P-8.15
#[test]
fn refusals() {
    for bad in [message_v1(0, 1, 8, b""), open_on(1, 1, &"x".repeat(257))] {
        let mut server = server(1);
        assert_eq!(feed(&mut server, START, &bad.repeat(100)), []);
        assert_eq!(feed(&mut server, seconds(1), &bad.repeat(10)), []);
        assert!(is_flood(&feed(&mut server, seconds(1), &bad)));
        let code = assert_connect_error_after_others(&mut server);
        assert_eq!(code, ReasonCode::LIMIT);
    }
}

fn assert_connect_error_after_others(server: &mut Connection) -> ReasonCode {
    match frames(Dialect::V1, &output(server)).pop().map(|frame| frame.body) {
        Some(Body::ConnectError { reason_code, .. }) => reason_code,
        other => panic!("{other:?}"),
    }
}

/// P-8.15
#[test]
fn refusals_of_the_embedder_count_unless_they_are_its_own_affair() {
    let cases =
        [(ReasonCode::NO_PARTICIPANT, true), (ReasonCode::BUSY, false), (ReasonCode::STOPPING, false)];
    for (reason, counts) in cases {
        let mut server = server(2);
        for id in (1..=201).step_by(2) {
            assert_eq!(feed(&mut server, START, &open(id)).len(), 1);
            server.refuse(START, conversation(id.into()), reason, None).unwrap();
        }
        assert_eq!(server.phase() == Phase::Closed, counts);
        let told = events(&mut server);
        assert_eq!(
            matches!(told[..], [Event::Closed(CloseReason::Violation(Violation::Flood { .. }))]),
            counts
        );
    }
}

/// P-8.15
#[test]
fn refusals_after_an_exit_or_a_close_do_not_count() {
    let mut server = server_with_conversation(2, Config::default());
    feed(&mut server, START, &close(1));
    let late: Vec<u8> = (1..500).flat_map(|id| message_v2(0, 1, id, b"")).collect();
    assert_eq!(feed(&mut server, START, &late), []);
    let refused = said(&mut server).into_iter().filter(|body| matches!(body, Body::Outcome { .. }));
    assert_eq!(refused.count(), 499);
}

#[test]
fn ids_of_1_0_messages_are_told_apart_by_more_than_their_stream() {
    let mut server = server_with_conversation(1, Config::default());
    let bytes: Vec<u8> = (0..3).flat_map(|_| message_v1(flag::REPLY, 1, 1, b"")).collect();
    let mut ids: Vec<MessageId> =
        feed(&mut server, START, &bytes).iter().map(|it| message_of(it).id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}
