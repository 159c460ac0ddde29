//! How serving ends, and what comes late.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use bytes::Bytes;
use liminal_proto::wire::{Body, flag};
use liminal_proto::{
    CloseReason, Config, Connection, Event, Exit, ExitReason, Expects, LinkError, Metadata, Outcome,
    ReasonCode, RecordNumber, Reply, StreamId, Unanswered, Violation,
};

use support::serving::*;
use support::*;

type Act = fn(&mut Connection);

/// P-7.59
#[test]
fn what_comes_late_from_a_participant_that_is_gone_changes_nothing() {
    let ends: [(&str, Act); 3] = [
        ("it has exited, and the conversation was released", |server| {
            feed(server, START, &exited(0, 2));
            server.close(START, conversation(2), None).unwrap();
            feed(server, START, &close(2));
        }),
        ("it did not join", |server| drop(feed(server, START, &refusal(2, ReasonCode::BUSY)))),
        ("it has left", |server| drop(feed(server, START, &close(2)))),
    ];
    for (how, end) in ends {
        let mut server = inviting_server(Config::default());
        server.deliver(START, ask(3)).unwrap();
        end(&mut server);
        output(&mut server);
        let late = [
            opened(2),
            answer(conversation(2), 3),
            outcome_v2(2, 3, ReasonCode::NO_REPLY),
            exited(0, 2),
            close(2),
            refusal(2, ReasonCode::OTHER),
        ];
        let strays = server.strays();
        assert_eq!(feed(&mut server, START, &late.concat()), [], "{how}");
        assert_eq!(server.strays() - strays, late.len() as u64, "{how}");
        assert_eq!(server.output_len(), 0, "{how}");
        assert_eq!(server.conversation_phase(conversation(2)), None);
    }
    let mut client = invited_client(Config::default());
    client.ended(START, conversation(2)).unwrap();
    output(&mut client);
    let late = [message_v2(flag::WANTS_REPLY, 2, 9, b"?"), close(2)].concat();
    assert_eq!(feed(&mut client, START, &late), []);
    assert_eq!((client.strays(), client.output_len()), (2, 0));
}

/// P-7.44, P-7.60
#[test]
fn the_end_of_the_connection_ends_each_delivery_once_and_says_who_ended_it() {
    type Is = fn(&CloseReason) -> bool;
    let ends: [(Act, Is); 5] = [
        (
            |server| server.link_lost(START, LinkError::Reset),
            |reason| matches!(reason, CloseReason::Link(LinkError::Reset)),
        ),
        (
            |server| _ = server.receive(START, &raw(0x82, 0, 2, b"short")),
            |reason| matches!(reason, CloseReason::Violation(Violation::Undecodable { .. })),
        ),
        (
            |server| {
                server.ping(START).unwrap();
                assert_eq!(events(server), []);
                server.tick(seconds(10));
            },
            |reason| matches!(reason, CloseReason::Violation(Violation::TooSlow { .. })),
        ),
        (|server| _ = server.receive(START, &disconnect()), |reason| matches!(reason, CloseReason::Peer)),
        (
            |server| {
                server.disconnect(START);
                server.receive(START, &disconnect());
            },
            |reason| matches!(reason, CloseReason::Local),
        ),
    ];
    for (end, expected) in ends {
        let mut server = inviting_server(Config::default());
        server.deliver(START, ask(3)).unwrap();
        server.deliver(START, message(2, 4, Expects::Acceptance)).unwrap();
        output(&mut server);
        end(&mut server);
        let told = events(&mut server);
        let [first, second, Event::Closed(reason)] = &told[..] else { panic!("{told:?}") };
        let unknown = |message| ended(conversation(2), message, Outcome::Unknown);
        assert_eq!((first, second), (&unknown(3), &unknown(4)));
        assert!(expected(reason), "{reason}");
    }
}

/// P-6.30
#[test]
fn a_client_whose_participant_is_asked_answers_that_before_it_answers_a_disconnect() {
    let mut client = invited_client(Config::default());
    feed(&mut client, START, &message_v2(flag::WANTS_REPLY, 2, 3, b"?"));
    assert_eq!(feed(&mut client, START, &disconnect()), []);
    assert_eq!(client.output_len(), 0);
    let payload = Bytes::from_static(b"hi");
    client
        .reply(
            START,
            Reply {
                conversation: conversation(2),
                answers: id(3),
                record: None,
                last: true,
                metadata: Metadata::default(),
                payload,
            },
        )
        .unwrap();
    assert_eq!(events(&mut client), [Event::Closed(CloseReason::Peer)]);
    assert!(output(&mut client).ends_with(&disconnect()));
}

/// P-7.61
#[test]
fn a_client_that_serves_and_closes_its_half_is_gone() {
    type Make = fn() -> Connection;
    let offers: [(&str, Make, bool); 5] = [
        ("has an offer", || offered_server(Config::default()), true),
        ("participates", || inviting_server(Config::default()), true),
        (
            "participates, although its offer is gone",
            || {
                let mut server = inviting_server(Config::default());
                server.withdrawn(START, StreamId::new(1)).unwrap();
                server
            },
            true,
        ),
        (
            "has left",
            || {
                let mut server = inviting_server(Config::default());
                server.withdrawn(START, StreamId::new(1)).unwrap();
                feed(&mut server, START, &close(2));
                server
            },
            false,
        ),
        ("never served", || server(2), false),
    ];
    for (who, make, gone) in offers {
        let mut server = make();
        // It is owed an answer, which one that does not serve still gets.
        assert_eq!(feed(&mut server, START, &open(99)).len(), 1);
        server.eof(START);
        let told = events(&mut server);
        assert_eq!(told.last() == Some(&Event::Closed(CloseReason::PeerEof)), gone, "{who}: {told:?}");
    }
    let mut client = serving_client(8, Config::default());
    client.eof(START);
    assert_eq!(events(&mut client), [Event::Closed(CloseReason::PeerEof)]);
}

/// P-7.61
#[test]
fn what_it_said_before_it_closed_its_half_counts() {
    let mut server = inviting_server(Config::default());
    server.deliver(START, ask(3)).unwrap();
    server.receive(START, &answer(conversation(2), 3));
    server.eof(START);
    let told = events(&mut server);
    assert!(matches!(told[..], [Event::Reply(_), Event::Closed(CloseReason::PeerEof)]), "{told:?}");
}

/// What a server does with two clients of which one serves the other: an asker in conversation 1, and a
/// worker that was invited to conversation 2 and was given the request.
fn asker_and_worker() -> (Connection, Connection) {
    let mut asker = server_with_conversation(2, Config::default());
    feed(&mut asker, START, &message_v2(flag::WANTS_REPLY, 1, 1, b"?"));
    let mut worker = inviting_server(Config::default());
    worker.deliver(START, ask(3)).unwrap();
    output(&mut worker);
    (asker, worker)
}

/// Tells the asker of the exit of its participant, and says with which cause it is written.
fn cause_told(asker: &mut Connection, reason: ExitReason) -> u16 {
    let exit = Exit {
        pid: PID,
        record: RecordNumber::new(4),
        reason,
        goes_on: false,
        unanswered: Unanswered::default(),
    };
    asker.exited(START, conversation(1), &exit).unwrap();
    match said(asker)[..] {
        [Body::Exited { cause, .. }] => cause,
        ref said => panic!("{said:?}"),
    }
}

/// P-7.39, P-7.57
#[test]
fn an_offer_withdrawn_at_once_ends_its_conversations_and_is_told_as_an_exit() {
    let (mut asker, mut worker) = asker_and_worker();
    let offer = StreamId::new(1);
    let told = feed(&mut worker, START, &frame(0, 1, Body::Withdraw));
    assert_eq!(told, [Event::Withdraw { offer, drain: false }]);
    worker.close(START, conversation(2), None).unwrap();
    assert_eq!(cause_told(&mut asker, ExitReason::Withdrawn), 6);
    let cancelled = ended(conversation(2), 3, refused(ReasonCode::CANCELLED));
    let over = Event::Ended { conversation: conversation(2) };
    assert_eq!(feed(&mut worker, START, &close(2)), [cancelled, over]);
    worker.withdrawn(START, offer).unwrap();
    assert_eq!(output(&mut worker), [close(2), frame(0, 1, Body::Withdrawn)].concat());
}

/// P-7.39, P-7.62
#[test]
fn a_participant_that_never_answers_is_given_up_and_cannot_come_back() {
    let (mut asker, mut worker) = asker_and_worker();
    worker.abandon(conversation(2), id(3)).unwrap();
    worker.close(START, conversation(2), None).unwrap();
    assert_eq!(cause_told(&mut asker, ExitReason::Hung), 5);
    let late = [answer(conversation(2), 3), close(2)].concat();
    assert_eq!(feed(&mut worker, START, &late), [Event::Ended { conversation: conversation(2) }]);
}

/// P-7.39, P-7.60
#[test]
fn the_end_of_a_connection_has_its_cause_on_the_wire() {
    let causes = [
        (ExitReason::ConnectionLost, 3),
        (ExitReason::TooSlow, 4),
        (ExitReason::Violated { text: "babbled".to_owned() }, 2),
        (ExitReason::Withdrawn, 6),
        (ExitReason::Stopping, 7),
    ];
    for (reason, cause) in causes {
        let (mut asker, _) = asker_and_worker();
        assert_eq!(cause_told(&mut asker, reason), cause);
    }
}

/// P-7.63
#[test]
fn a_conversation_that_nobody_wants_any_more_is_cancelled_and_not_closed() {
    let mut server = inviting_server(Config::default());
    server.close(START, conversation(2), Some(ReasonCode::CANCELLED)).unwrap();
    let bytes = output(&mut server);
    let mut client = invited_client(Config::default());
    assert_eq!(feed(&mut client, START, &bytes), [Event::Cancel { conversation: conversation(2) }]);
    client.ended(START, conversation(2)).unwrap();
    let ended = feed(&mut server, START, &output(&mut client));
    assert_eq!(ended, [Event::Ended { conversation: conversation(2) }]);
    let closes = frame(
        0,
        1,
        Body::ConversationClose {
            conversation_id: conversation(1),
            reason_code: Some(ReasonCode::CANCELLED),
            message: None,
        },
    );
    let told = feed(&mut server_of(2, Config::default()), START, &[open(1), closes].concat());
    assert_eq!(told.last(), Some(&Event::Close { conversation: conversation(1) }), "a client only closes");
}
