//! Bounds on what a client that serves and its server can do to each other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use bytes::Bytes;
use liminal_proto::wire::{Body, RecordNumbers, flag};
use liminal_proto::{
    CloseReason, CommandError, Config, Connection, Event, Expects, Limits, Message, MessageId, Metadata,
    Outcome, ReasonCode, RecordNumber, Side, StreamId, Violation,
};

use support::serving::*;
use support::*;

/// P-7.51
#[test]
fn a_client_is_invited_to_no_more_than_its_offers_take_together() {
    let mut client = serving_client(1, Config::default());
    client.serve(START, Some("more"), 2).unwrap();
    output(&mut client);
    let many: Vec<u8> = [2, 4, 6, 8].into_iter().flat_map(invite).collect();
    assert_eq!(feed(&mut client, START, &many).len(), 3);
    assert_eq!(output(&mut client), refusal(8, ReasonCode::LIMIT));
    let ends: [fn(&mut Connection); 4] = [
        |client| client.refuse(START, conversation(2), ReasonCode::BUSY, None).unwrap(),
        |client| client.exited(START, conversation(4), &exit(false)).unwrap(),
        |client| drop(feed(client, START, &close(6))),
        |client| client.ended(START, conversation(10)).unwrap(),
    ];
    for (stream, end) in (10..).step_by(2).zip(ends) {
        end(&mut client);
        assert_eq!(feed(&mut client, START, &invite(stream)).len(), 1, "one has made room");
        output(&mut client);
        assert_eq!(feed(&mut client, START, &invite(stream + 100)), []);
        assert_eq!(output(&mut client), refusal(stream + 100, ReasonCode::LIMIT));
    }
}

/// P-7.51, P-8.15
#[test]
fn a_client_without_an_offer_is_invited_to_nothing_and_not_for_ever() {
    let withdrawn = || {
        let mut client = serving_client(8, Config::default());
        client.withdraw(START, StreamId::new(1), false).unwrap();
        feed(&mut client, START, &frame(0, 1, Body::Withdrawn));
        output(&mut client);
        client
    };
    for mut client in [client(2), withdrawn()] {
        let streams = (2..=202).step_by(2);
        assert_eq!(
            feed(&mut client, START, &streams.clone().take(100).flat_map(invite).collect::<Vec<_>>()),
            []
        );
        let refusals: Vec<u8> =
            streams.take(100).flat_map(|stream| refusal(stream, ReasonCode::NO_PARTICIPANT)).collect();
        assert_eq!(output(&mut client), refusals);
        assert!(matches!(violation(&feed(&mut client, START, &invite(202))), Violation::Flood { .. }));
    }
}

/// P-8.15
#[test]
fn what_an_opener_brings_about_is_no_fault_of_the_server_that_passes_it_on() {
    let mut client = serving_client(1, limited(|limits| limits.name_max = 4));
    let long = |stream| frame(0, stream, Body::Invite { pid: PID, subject: "names" });
    let many: Vec<u8> = (2..=1000).step_by(2).flat_map(long).collect();
    assert_eq!(feed(&mut client, START, &many), []);
    assert_eq!(said(&mut client).len(), 500);
    for stream in (1002..=3000).step_by(2) {
        assert_eq!(feed(&mut client, START, &invite(stream)).len(), 1);
        client.refuse(START, conversation(stream.into()), ReasonCode::NOT_ALLOWED, None).unwrap();
    }
    assert_eq!(events(&mut client), []);
}

/// P-8.3
#[test]
fn limits_hold_for_invitations_on_both_sides() {
    let config = || limited(|limits| (limits.conversations_max, limits.name_max) = (2, 4));
    let open = |id: u32| open_on(id, id.into(), "s");
    let mut server = offered_server(config());
    assert_eq!(
        server.invite(START, conversation(2), PID, "names"),
        Err(CommandError::TooLarge { len: 5, limit: 4 })
    );
    server.invite(START, conversation(2), PID, "name").unwrap();
    server.invite(START, conversation(4), PID, "name").unwrap();
    let full = server.invite(START, conversation(6), PID, "name");
    assert_eq!(full, Err(CommandError::Limit { what: "open conversations", limit: 2 }));
    assert_eq!(feed(&mut server, START, &[open(3), open(5)].concat()).len(), 2, "each side has its own");
    feed(&mut server, START, &refusal(2, ReasonCode::BUSY));
    assert_eq!(server.invite(START, conversation(6), PID, "name"), Ok(()));

    let mut client = serving_client(8, config());
    assert_eq!(feed(&mut client, START, &[invite(2), invite(4), invite(6)].concat()).len(), 2);
    assert_eq!(output(&mut client), refusal(6, ReasonCode::LIMIT));
    let long = frame(0, 8, Body::Invite { pid: PID, subject: "names" });
    client.refuse(START, conversation(2), ReasonCode::BUSY, None).unwrap();
    output(&mut client);
    assert_eq!(feed(&mut client, START, &long), []);
    assert_eq!(output(&mut client), refusal(8, ReasonCode::INVALID_NAME));
    assert!(client.open(START, "s").is_ok() && client.open(START, "s").is_ok());
}

/// P-8.4
#[test]
fn requests_max_holds_on_a_client_that_serves() {
    let mut client = invited_client(limited(|limits| limits.requests_max = 1));
    let ask = |id| message_v2(flag::WANTS_REPLY, 2, id, b"");
    assert_eq!(feed(&mut client, START, &[ask(1), ask(2)].concat()).len(), 1);
    assert_eq!(output(&mut client), outcome_v2(2, 2, ReasonCode::BUSY));
    let own = client.open(START, "subject").unwrap();
    assert!(client.ask(START, own, None, Bytes::new()).is_ok(), "its own are counted apart");
}

/// P-8.5
#[test]
fn invitations_and_deliveries_wait_where_there_is_no_room() {
    let mut server = inviting_server(limited(|limits| limits.output_soft_max = 1000));
    let large = Message { payload: Bytes::from(vec![1; 2000]), ..ask(3) };
    server.deliver(START, large).unwrap();
    let full = server.deliver(START, ask(4)).unwrap_err();
    assert_eq!((full.reason, full.payload), (CommandError::Full, ask(4)));
    assert_eq!(server.invite(START, conversation(4), PID, "work"), Err(CommandError::Full));
    output(&mut server);
    assert_eq!(server.deliver(START, ask(4)), Ok(()), "nothing was used up by what was not taken");
    assert_eq!(server.invite(START, conversation(4), PID, "work"), Ok(()));
}

/// P-8.5
#[test]
fn a_client_whose_output_nobody_reads_takes_no_invitations() {
    let small = |limits: &mut Limits| {
        (limits.output_soft_max, limits.frame_payload_max) = (1000, 500);
    };
    let mut client = invited_client(limited(small));
    while client.output_len() <= 1500 {
        client.outcome(START, conversation(2), id(1), &Outcome::Deadline).unwrap();
    }
    assert_eq!(feed(&mut client, START, &invite(4)), []);
    assert!(output(&mut client).ends_with(&refusal(4, ReasonCode::BUSY)));
}

/// P-8.13
#[test]
fn answers_where_nothing_was_begun_are_control_frames_in_both_directions() {
    let (pid, record, reason_code) = (PID, RecordNumber::new(1), ReasonCode::OTHER);
    let on = |stream, body| frame(0, stream, body);
    let answers = |stream| {
        vec![
            on(stream, Body::Opened { pid: None }),
            on(stream, Body::Refused { reason_code, message: None }),
            on(
                stream,
                Body::Exited {
                    pid,
                    record,
                    cause: 0,
                    message: None,
                    unanswered: 0,
                    records: RecordNumbers::default(),
                },
            ),
            on(stream, Body::Joined { pid }),
            on(stream, Body::Failed),
            on(stream, Body::Serving),
            on(stream, Body::Withdrawn),
            outcome_v2(stream, 1, reason_code),
            reply_v2(stream, 1, false, b""),
            close(stream),
        ]
    };
    // Nothing was begun above the last stream; the other side answers nothing on its own.
    let own = |side: Side| if side == Side::Client { 3 } else { 4 };
    for side in [Side::Client, Side::Server] {
        for bytes in answers(own(side)) {
            assert!(is_bounded(side, &bytes), "{side}: {bytes:?}");
        }
        for bytes in &answers(if side == Side::Client { 4 } else { 3 })[..8] {
            assert!(is_bounded(side, bytes), "{side}: {bytes:?}");
        }
    }
    let only_clients = [open(4), on(4, Body::Withdraw), on(4, Body::Serve { capacity: 1, subject: None })];
    for bytes in only_clients {
        assert!(is_bounded(Side::Client, &bytes), "{bytes:?}");
    }
    for bytes in [invite(3), invite(4), on(2, Body::Joined { pid }), on(2, Body::Serving)] {
        assert!(is_bounded(Side::Server, &bytes), "{bytes:?}");
    }
    let late = reply_v2(2, 1, false, b"");
    assert!(!is_bounded(Side::Server, &late), "what is late is no fault");
}

/// P-8.13
#[test]
fn what_is_late_on_a_higher_stream_than_that_of_the_last_invitation_is_no_fault() {
    let mut server = offered_server(Config::default());
    for key in [8, 2] {
        server.invite(START, conversation(key), PID, "work").unwrap();
    }
    feed(&mut server, START, &refusal(8, ReasonCode::BUSY));
    assert_eq!(feed(&mut server, START, &reply_v2(8, 1, false, b"late").repeat(1000)), []);
}

/// P-8.7
#[test]
fn closes_that_a_client_does_not_read_end_its_connection() {
    let config = limited(|limits| {
        limits.frame_payload_max = 100;
        limits.output_soft_max = 1000;
        limits.output_hard_max = 2000;
    });
    let mut server = offered_server(config);
    let keys: Vec<_> = (1..=200).map(|n| conversation(2 * n)).collect();
    for &key in &keys {
        server.invite(START, key, PID, "work").unwrap();
        output(&mut server);
    }
    let closed = keys.iter().take_while(|&&key| server.close(START, key, None).is_ok()).count();
    assert_eq!(closed, 101);
    assert!(matches!(violation(&events(&mut server)), Violation::Unread { .. }));
}

/// Whether so many of these are too many.
fn is_bounded(side: Side, bytes: &[u8]) -> bool {
    let mut connection = match side {
        Side::Client => serving_client(8, Config::default()),
        Side::Server => inviting_server(Config::default()),
    };
    let told = feed(&mut connection, START, &bytes.repeat(1000));
    assert!(told.len() < 2, "{told:?}");
    matches!(told.last(), Some(Event::Closed(CloseReason::Violation(Violation::Flood { .. }))))
}

#[test]
fn a_delivery_that_fits_no_frame_is_answered_once_and_has_had_its_number() {
    let limits = Limits { frame_payload_max: 32, ..Limits::default() };
    let mut server = inviting_server(Config { limits, ..Config::default() });
    let delivery = |id, expects, len: usize| Message {
        conversation: conversation(2),
        id: MessageId::new(id),
        expects,
        timeout: None,
        redelivered: 0,
        metadata: Metadata::default(),
        payload: vec![7; len].into(),
    };
    for (id, expects) in [(3, Expects::Reply), (4, Expects::Acceptance), (5, Expects::Nothing)] {
        assert_eq!(server.deliver(START, delivery(id, expects, 25)), Ok(()));
        let again = server.deliver(START, delivery(id, expects, 1)).unwrap_err();
        assert!(matches!(again.reason, CommandError::NotAscending { .. }), "{again:?}");
        assert_eq!(server.has_events(), expects != Expects::Nothing);
        let told = events(&mut server);
        let outcome = Outcome::Refused { reason: ReasonCode::TOO_LARGE, text: None };
        let refused = Event::Outcome { conversation: conversation(2), message: MessageId::new(id), outcome };
        assert_eq!(told, [refused][..usize::from(expects != Expects::Nothing)]);
    }
    assert_eq!(output(&mut server), Vec::<u8>::new());
    assert_eq!(server.deliver(START, delivery(6, Expects::Reply, 24)), Ok(()));
}
