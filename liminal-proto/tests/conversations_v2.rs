//! Conversations on a 2.0 link.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use core::time::Duration;

use bytes::Bytes;
use liminal_proto::wire::{Body, RecordNumbers, flag};
use liminal_proto::{
    CloseReason, CommandError, Config, ConversationPhase, Event, Exit, ExitReason, Expects, LinkError,
    OnExit, Outcome, Pid, ReasonCode, RecordNumber, Reply, Side, Terms, Unanswered, Violation,
};

use support::*;

fn opened(stream: u32) -> Vec<u8> {
    frame(0, stream, Body::Opened { pid: Some(Pid::new(5)) })
}

fn exited(stream: u32, cause: u16, message: Option<&str>) -> Vec<u8> {
    frame(
        0,
        stream,
        Body::Exited {
            pid: Pid::new(5),
            record: RecordNumber::new(4),
            cause,
            message,
            unanswered: 0,
            records: RecordNumbers::default(),
        },
    )
}

/// The participant has exited, and another is to take its place.
fn rerouted(stream: u32) -> Vec<u8> {
    let body = Body::Exited {
        pid: Pid::new(5),
        record: RecordNumber::new(4),
        cause: 0,
        message: None,
        unanswered: 0,
        records: RecordNumbers::default(),
    };
    frame(flag::GOES_ON, stream, body)
}

fn joined(stream: u32, pid: u64) -> Vec<u8> {
    frame(0, stream, Body::Joined { pid: Pid::new(pid) })
}

fn failed(stream: u32) -> Vec<u8> {
    frame(0, stream, Body::Failed)
}

fn exit(reason: ExitReason) -> Exit {
    Exit {
        pid: Pid::new(5),
        record: RecordNumber::new(4),
        reason,
        goes_on: false,
        unanswered: Unanswered::default(),
    }
}

fn stream_of(key: liminal_proto::ConversationId) -> u32 {
    u32::try_from(key.get()).unwrap()
}

// ── server ──────────────────────────────────────────────────────────────────────────────────────────

/// P-7.30
#[test]
fn an_open_is_answered_with_opened_on_its_stream() {
    let mut server = server(2);
    feed(&mut server, START, &open(3));
    server.opened(START, conversation(3), Some(Pid::new(5))).unwrap();
    assert_eq!(output(&mut server), opened(3));
    let again = server.opened(START, conversation(3), None);
    assert_eq!(again, Err(CommandError::NotOpen(conversation(3))));
}

/// P-7.31
#[test]
fn a_conversation_has_the_number_of_its_stream_and_streams_ascend() {
    let foreign = |events: &[Event]| matches!(violation(events), Violation::ForeignId { .. });
    let backwards = |events: &[Event]| matches!(violation(events), Violation::NotAscending { .. });
    let mut server_1 = server(2);
    assert!(foreign(&feed(&mut server_1, START, &open_on(3, 5, "s"))));
    assert_connect_error(&mut server_1, ReasonCode::INVALID_STREAM);
    for second in [3, 1] {
        let mut server = server(2);
        assert!(backwards(&feed(&mut server, START, &[open(3), open(second)].concat())));
        assert_connect_error(&mut server, ReasonCode::INVALID_STREAM);
    }
    let mut server_2 = server(2);
    assert_eq!(feed(&mut server_2, START, &[open(3), open(5), open(u32::MAX)].concat()).len(), 3);
}

/// P-7.32
#[test]
fn message_ids_ascend_in_each_conversation() {
    for ids in [[0, 1], [4, 4], [4, 3]] {
        let mut server = server_with_conversation(2, Config::default());
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| message_v2(0, 1, id, b"")).collect();
        let events = feed(&mut server, START, &bytes);
        assert!(matches!(violation(&events), Violation::NotAscending { .. }), "{ids:?}");
        assert_connect_error(&mut server, ReasonCode::INVALID_STREAM);
    }
    let mut server = server(2);
    let bytes =
        [open(1), open(3), message_v2(0, 1, 7, b""), message_v2(0, 3, 7, b""), message_v2(0, 1, 9, b"")];
    assert_eq!(feed(&mut server, START, &bytes.concat()).len(), 5);
}

/// P-7.33
#[test]
fn what_a_message_expects_stands_in_its_flags() {
    let cases = [
        (0, Expects::Nothing),
        (flag::CONFIRM, Expects::Acceptance),
        (flag::WANTS_REPLY, Expects::Reply),
        (flag::WANTS_REPLY | flag::CONFIRM, Expects::Reply),
        (0xE0, Expects::Nothing),
    ];
    for (flags, expects) in cases {
        let mut server = server_with_conversation(2, Config::default());
        let events = feed(&mut server, START, &message_v2(flags, 1, 1, b"payload"));
        let message = message_of(&events[0]);
        assert_eq!((message.expects, message.timeout), (expects, None));
        assert_eq!((message.id, &message.payload[..]), (id(1), &b"payload"[..]));
    }
}

/// P-7.34
#[test]
fn messages_may_come_before_the_open_is_answered() {
    let mut server = server(2);
    let events = feed(&mut server, START, &[open(1), message_v2(flag::WANTS_REPLY, 1, 1, b"?")].concat());
    assert_eq!(events.len(), 2);
    server.opened(START, conversation(1), None).unwrap();
    server.reply(START, reply(conversation(1), id(1), b"!")).unwrap();
    let said = said(&mut server);
    assert!(matches!(said[..], [Body::Opened { pid: None }, Body::Message { .. }]), "{said:?}");
}

/// P-7.35
#[test]
fn messages_behind_a_refused_open_are_dropped_and_cost_the_client_nothing() {
    let mut server = server(2);
    feed(&mut server, START, &[open(1), message_v2(flag::WANTS_REPLY, 1, 1, b"?")].concat());
    server.refuse(START, conversation(1), ReasonCode::NO_PARTICIPANT, Some("nobody")).unwrap();
    let message = Some("nobody");
    assert_eq!(
        output(&mut server),
        frame(0, 1, Body::Refused { reason_code: ReasonCode::NO_PARTICIPANT, message })
    );
    let pipelined: Vec<u8> = (2..1000).flat_map(|id| message_v2(flag::WANTS_REPLY, 1, id, b"?")).collect();
    assert_eq!(feed(&mut server, START, &pipelined), []);
    assert_eq!(server.strays(), 998);
    assert_eq!(output(&mut server), b"", "Refused has ended them all");
}

/// P-7.36
#[test]
fn a_message_to_a_conversation_that_never_was_is_refused() {
    let mut server = server(2);
    assert_eq!(feed(&mut server, START, &message_v2(0, 9, 1, b"")), []);
    assert_eq!(output(&mut server), outcome_v2(9, 1, ReasonCode::NOT_OPEN));
}

/// P-7.37
#[test]
fn replies_name_their_request_and_their_record_and_may_come_in_parts_and_any_order() {
    let mut server = server_with_conversation(2, Config::default());
    let asks = [message_v2(flag::WANTS_REPLY, 1, 1, b"a"), message_v2(flag::WANTS_REPLY, 1, 2, b"b")];
    feed(&mut server, START, &asks.concat());
    let part = |answers, last| Reply {
        record: Some(RecordNumber::new(9)),
        last,
        ..reply(conversation(1), id(answers), b"part")
    };
    for reply in [part(2, false), part(1, true), part(2, true)] {
        server.reply(START, reply).unwrap();
    }
    let expected =
        [reply_v2(1, 2, true, b"part"), reply_v2(1, 1, false, b"part"), reply_v2(1, 2, false, b"part")];
    assert_eq!(output(&mut server), expected.concat());
    let late = server.reply(START, part(2, true)).unwrap_err();
    assert_eq!(late.reason, CommandError::NotOutstanding);
}

/// P-7.20, P-7.38
#[test]
fn an_exit_is_told_once_and_refuses_what_comes_later() {
    let mut server = server_with_conversation(2, Config::default());
    feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, 1, b""));
    let crashed = exit(ExitReason::Crashed { text: "boom".to_owned() });
    server.exited(START, conversation(1), &crashed).unwrap();
    assert_eq!(output(&mut server), exited(1, 1, Some("boom")), "which ends the request too");
    assert_eq!(server.exited(START, conversation(1), &crashed), Err(CommandError::Exited(conversation(1))));
    let late = server.reply(START, reply(conversation(1), id(1), b"")).unwrap_err();
    assert_eq!(late.reason, CommandError::NotOutstanding);
    feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, 2, b""));
    assert_eq!(output(&mut server), outcome_v2(1, 2, ReasonCode::EXITED));
}

/// P-7.21, P-7.22, P-7.38, P-7.45
#[test]
fn a_conversation_that_goes_on_keeps_its_requests_until_the_last_participant_has_exited() {
    let mut server = server_with_conversation(2, Config::default());
    let asks = [message_v2(flag::WANTS_REPLY, 1, 1, b"a"), message_v2(flag::WANTS_REPLY, 1, 2, b"b")];
    feed(&mut server, START, &asks.concat());
    let goes_on = Exit { goes_on: true, ..exit(ExitReason::Normal) };
    for pid in [6, 7] {
        server.exited(START, conversation(1), &goes_on).unwrap();
        server.joined(START, conversation(1), Pid::new(pid)).unwrap();
        assert_eq!(output(&mut server), [rerouted(1), joined(1, pid)].concat());
    }
    server.outcome(START, conversation(1), id(1), &Outcome::Exited).unwrap();
    let last = Reply { record: Some(RecordNumber::new(9)), ..reply(conversation(1), id(2), b"by the last") };
    server.reply(START, last).unwrap();
    let told = [outcome_v2(1, 1, ReasonCode::REPLACED), reply_v2(1, 2, false, b"by the last")].concat();
    assert_eq!(output(&mut server), told);
    server.failed(START, conversation(1)).unwrap();
    assert_eq!(output(&mut server), failed(1));
    let over = Err(CommandError::Exited(conversation(1)));
    assert_eq!(server.failed(START, conversation(1)), over);
    assert_eq!(server.joined(START, conversation(1), Pid::new(8)), over);
    assert_eq!(server.exited(START, conversation(1), &goes_on), over);
    feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, 3, b""));
    assert_eq!(output(&mut server), outcome_v2(1, 3, ReasonCode::EXITED));
}

/// P-7.21
#[test]
fn a_conversation_cannot_go_on_before_it_is_open() {
    let mut server = server(2);
    feed(&mut server, START, &open(1));
    let goes_on = Exit { goes_on: true, ..exit(ExitReason::Normal) };
    assert_eq!(server.exited(START, conversation(1), &goes_on), Err(CommandError::Exited(conversation(1))));
    assert_eq!(output(&mut server), b"");
}

/// P-7.39
#[test]
fn exit_causes_are_on_the_wire_as_assigned() {
    let cases = [
        (ExitReason::Normal, 0, None),
        (ExitReason::Crashed { text: "boom".to_owned() }, 1, Some("boom")),
        (ExitReason::Violated { text: "babbled".to_owned() }, 2, Some("babbled")),
        (ExitReason::Status { status: 3 }, 0x0103, None),
        (ExitReason::Status { status: 255 }, 0x01FF, None),
        (ExitReason::Signal { signal: 9 }, 0x0209, None),
        (ExitReason::Other { cause: 0x0300, text: "odd".to_owned() }, 0x0300, Some("odd")),
        (ExitReason::Other { cause: 77, text: "odd".to_owned() }, 77, Some("odd")),
    ];
    for (reason, cause, text) in cases {
        let mut server = server_with_conversation(2, Config::default());
        server.exited(START, conversation(1), &exit(reason.clone())).unwrap();
        assert_eq!(output(&mut server), exited(1, cause, text));
        let (mut client, key) = client_with_conversation(2, Config::default());
        let expected = Event::Exited { conversation: key, exit: exit(reason) };
        assert_eq!(feed(&mut client, START, &exited(stream_of(key), cause, text)), [expected]);
    }
}

/// P-7.38
#[test]
fn an_exit_while_closing_is_told_once_too() {
    let crashed = exit(ExitReason::Normal);
    let mut server = server_with_conversation(2, Config::default());
    feed(&mut server, START, &close(1));
    server.exited(START, conversation(1), &crashed).unwrap();
    assert_eq!(server.exited(START, conversation(1), &crashed), Err(CommandError::Exited(conversation(1))));

    let (mut client, key) = client_with_conversation(2, Config::default());
    client.close(START, key, None).unwrap();
    let exits = [exited(stream_of(key), 0, None), exited(stream_of(key), 0, None)].concat();
    let expected = Event::Exited { conversation: key, exit: crashed };
    assert_eq!(feed(&mut client, START, &exits), [expected]);
    assert_eq!(client.strays(), 1);
}

/// P-7.40
#[test]
fn a_close_is_answered_with_a_close_on_the_same_stream() {
    let mut server = server_with_conversation(2, Config::default());
    assert_eq!(feed(&mut server, START, &close(1)), [Event::Close { conversation: conversation(1) }]);
    feed(&mut server, START, &message_v2(0, 1, 1, b""));
    assert_eq!(output(&mut server), outcome_v2(1, 1, ReasonCode::CLOSING));
    server.ended(START, conversation(1)).unwrap();
    assert_eq!(output(&mut server), close(1));
    let again = server.ended(START, conversation(1));
    assert_eq!(again, Err(CommandError::NotOpen(conversation(1))));
}

/// P-7.31
#[test]
fn a_close_that_names_another_conversation_than_its_stream_is_ignored() {
    let mut server = server(2);
    feed(&mut server, START, &[open(1), open(3)].concat());
    let conversation_id = conversation(1);
    let crossed = frame(0, 3, Body::ConversationClose { conversation_id, reason_code: None, message: None });
    assert_eq!(feed(&mut server, START, &crossed), []);
    assert_eq!(server.strays(), 1);
    let (mut client, key) = client_with_conversation(2, Config::default());
    let crossed =
        frame(0, 99, Body::ConversationClose { conversation_id: key, reason_code: None, message: None });
    assert_eq!(feed(&mut client, START, &crossed), []);
    assert_eq!(client.strays(), 1);
}

#[test]
fn closing_a_failed_conversation_releases_it() {
    let mut server = server_with_conversation(2, Config::default());
    server.exited(START, conversation(1), &exit(ExitReason::Normal)).unwrap();
    assert_eq!(feed(&mut server, START, &close(1)), [Event::Close { conversation: conversation(1) }]);
    server.ended(START, conversation(1)).unwrap();

    let (mut client, key) = client_with_conversation(2, Config::default());
    feed(&mut client, START, &exited(stream_of(key), 0, None));
    assert_eq!(client.conversation_phase(key), Some(ConversationPhase::Failed));
    client.close(START, key, None).unwrap();
    let ended = Event::Ended { conversation: key };
    assert_eq!(feed(&mut client, START, &close(stream_of(key))), [ended]);
    assert_eq!(client.conversation_phase(key), None);
}

/// P-7.41
#[test]
fn timeouts_are_clamped_to_what_the_server_allows() {
    let cases = [
        (0, Duration::from_millis(1)),
        (1500, Duration::from_millis(1500)),
        (u32::MAX, Duration::from_secs(24 * 60 * 60)),
    ];
    for (millis, expected) in cases {
        let mut server = server_with_conversation(2, Config::default());
        let flags = flag::WANTS_REPLY | flag::TIMEOUT;
        let body = Body::Message {
            message_id: id(1),
            answers: None,
            timeout_ms: Some(millis),
            redelivered: None,
            metadata: None,
            payload: Bytes::new(),
        };
        let events = feed(&mut server, START, &frame(flags, 1, body));
        assert_eq!(message_of(&events[0]).timeout, Some(expected));
    }
}

#[test]
fn a_contradiction_in_the_bounds_of_timeouts_is_no_panic() {
    let config = limited(|limits| limits.timeout_max = Duration::ZERO);
    let mut server = server_with_conversation(2, config);
    let events = feed(&mut server, START, &message_v2(flag::WANTS_REPLY | flag::TIMEOUT, 1, 1, b""));
    assert!(message_of(&events[0]).timeout.is_some());
}

#[test]
fn a_refusal_with_code_zero_is_not_an_acceptance() {
    let mut server = server_with_conversation(2, Config::default());
    feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, 1, b""));
    server.outcome(START, conversation(1), id(1), &refused(ReasonCode::new(0))).unwrap();
    assert_eq!(output(&mut server), outcome_v2(1, 1, ReasonCode::OTHER));
}

// ── client ──────────────────────────────────────────────────────────────────────────────────────────

/// P-7.30
#[test]
fn a_client_learns_the_pid_of_the_participant() {
    let mut client = client(2);
    let key = client.open(START, "subject").unwrap();
    assert_eq!(output(&mut client), open_on(stream_of(key), key.get(), "subject"));
    assert_eq!(client.conversation_phase(key), Some(ConversationPhase::Opening));
    let told = Event::Opened { conversation: key, pid: Some(Pid::new(5)) };
    assert_eq!(feed(&mut client, START, &[opened(stream_of(key)), opened(stream_of(key))].concat()), [told]);
    assert_eq!(client.strays(), 1);
}

#[test]
fn an_open_that_is_answered_while_the_client_is_closing_is_told_once() {
    let mut client = client(2);
    let key = client.open(START, "subject").unwrap();
    client.close(START, key, None).unwrap();
    let told = Event::Opened { conversation: key, pid: Some(Pid::new(5)) };
    assert_eq!(feed(&mut client, START, &[opened(stream_of(key)), opened(stream_of(key))].concat()), [told]);
}

#[test]
fn a_refused_open_ends_what_was_sent_behind_it() {
    let mut client = client(2);
    let key = client.open(START, "subject").unwrap();
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    let confirmed = client.message(START, key, Expects::Acceptance, Bytes::new()).unwrap();
    client.message(START, key, Expects::Nothing, Bytes::new()).unwrap();
    let reason = ReasonCode::NO_PARTICIPANT;
    let refusal = frame(0, stream_of(key), Body::Refused { reason_code: reason, message: Some("nobody") });
    let outcome = |message| Event::Outcome { conversation: key, message, outcome: refused(reason) };
    let expected = [
        Event::Refused { conversation: key, reason, text: Some("nobody".to_owned()) },
        outcome(asked),
        outcome(confirmed),
    ];
    assert_eq!(feed(&mut client, START, &refusal), expected);
    assert_eq!(client.conversation_phase(key), None);
    assert_eq!(feed(&mut client, START, &refusal), []);
    assert_eq!(client.strays(), 1);
}

/// P-7.20
#[test]
fn an_exit_ends_every_unanswered_request_of_its_conversation_alone() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let other = client.open(START, "other").unwrap();
    let elsewhere = client.ask(START, other, None, Bytes::new()).unwrap();
    let asked = [(); 3].map(|()| client.ask(START, key, None, Bytes::new()).unwrap());
    feed(&mut client, START, &reply_v2(stream_of(key), asked[1].get(), false, b""));
    let outcome = |message| Event::Outcome { conversation: key, message, outcome: Outcome::Exited };
    let events = feed(&mut client, START, &exited(stream_of(key), 1, None));
    assert!(matches!(events[0], Event::Exited { .. }));
    assert_eq!(events[1..], [outcome(asked[0]), outcome(asked[2])]);
    let reply = reply_v2(stream_of(other), elsewhere.get(), false, b"");
    assert_eq!(feed(&mut client, START, &reply).len(), 1);
    let rejected = client.message(START, key, Expects::Nothing, Bytes::new()).unwrap_err();
    assert_eq!(rejected.reason, CommandError::Exited(key));
}

/// P-7.21, P-7.22, P-7.35
#[test]
fn an_exit_after_which_the_conversation_goes_on_ends_no_request_by_itself() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let stream = stream_of(key);
    let [begun, asked, later] = [(); 3].map(|()| client.ask(START, key, None, Bytes::new()).unwrap());
    let told = [rerouted(stream), outcome_v2(stream, begun.get(), ReasonCode::REPLACED), joined(stream, 6)];
    let exit = Exit { goes_on: true, ..exit(ExitReason::Normal) };
    let expected = [
        Event::Exited { conversation: key, exit },
        Event::Outcome { conversation: key, message: begun, outcome: Outcome::Exited },
        Event::Joined { conversation: key, pid: Pid::new(6) },
    ];
    assert_eq!(feed(&mut client, START, &told.concat()), expected);
    assert_eq!(client.conversation_phase(key), Some(ConversationPhase::Open));
    let reply = reply_v2(stream, asked.get(), false, b"by the next");
    assert!(matches!(feed(&mut client, START, &reply)[..], [Event::Reply(_)]));
    let expected = [
        Event::Failed { conversation: key },
        Event::Outcome { conversation: key, message: later, outcome: Outcome::Exited },
    ];
    assert_eq!(feed(&mut client, START, &[rerouted(stream), failed(stream)].concat())[1..], expected);
    let rejected = client.ask(START, key, None, Bytes::new()).unwrap_err();
    assert_eq!(rejected.reason, CommandError::Exited(key));
    let late = [joined(stream, 7), rerouted(stream), failed(stream)].concat();
    assert_eq!(feed(&mut client, START, &late), []);
    assert_eq!(client.strays(), 3);
}

/// P-7.45
#[test]
fn a_participant_that_joins_while_the_conversation_closes_is_told() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let stream = stream_of(key);
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    client.close(START, key, None).unwrap();
    let told = [rerouted(stream), joined(stream, 6), failed(stream), failed(stream)].concat();
    let events = feed(&mut client, START, &told);
    let outcome = Event::Outcome { conversation: key, message: asked, outcome: Outcome::Exited };
    assert!(matches!(events[..3], [Event::Exited { .. }, Event::Joined { .. }, Event::Failed { .. }]));
    assert_eq!(events[3..], [outcome]);
    assert_eq!(client.strays(), 1);
}

#[test]
fn requests_that_ended_with_their_conversation_make_room_for_others() {
    let ends: [fn(u32) -> Vec<u8>; 4] = [
        |stream| exited(stream, 0, None),
        failed,
        close,
        |stream| frame(0, stream, Body::Refused { reason_code: ReasonCode::BUSY, message: None }),
    ];
    for end in ends {
        let (mut client, key) = client_with_conversation(2, limited(|limits| limits.requests_max = 1));
        client.ask(START, key, Some(Duration::from_secs(1)), Bytes::new()).unwrap();
        let other = client.open(START, "subject").unwrap();
        assert!(client.ask(START, other, None, Bytes::new()).is_err());
        feed(&mut client, START, &end(stream_of(key)));
        client.ask(START, other, None, Bytes::new()).unwrap();
        client.tick(seconds(2));
        assert_eq!(events(&mut client), [], "nor does it end again at its deadline");
    }
}

/// P-7.33, P-7.42
#[test]
fn an_acceptance_is_confirmed_with_its_record_and_does_not_end_a_request() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let confirmed = client.message(START, key, Expects::Acceptance, Bytes::new()).unwrap();
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    let accepted = |message_id| {
        let record = Some(RecordNumber::new(8));
        frame(
            0,
            stream_of(key),
            Body::Outcome { message_id, reason_code: ReasonCode::new(0), record, message: None },
        )
    };
    let outcome = Outcome::Accepted { record: Some(RecordNumber::new(8)) };
    let told = Event::Outcome { conversation: key, message: confirmed, outcome };
    assert_eq!(feed(&mut client, START, &[accepted(confirmed), accepted(asked)].concat()), [told]);
    assert_eq!(feed(&mut client, START, &reply_v2(stream_of(key), asked.get(), false, b"")).len(), 1);
}

/// P-7.17
#[test]
fn an_end_after_the_end_is_counted_and_never_surfaces() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    let noted = client.message(START, key, Expects::Nothing, Bytes::new()).unwrap();
    let stream = stream_of(key);
    let reply = reply_v2(stream, asked.get(), false, b"");
    assert_eq!(feed(&mut client, START, &reply).len(), 1);
    let strays = [
        reply.clone(),
        reply_v2(stream, noted.get(), false, b"to a note"),
        reply_v2(stream, 999, false, b"to nothing"),
        reply_v2(77, asked.get(), false, b"of another conversation"),
        outcome_v2(stream, asked.get(), ReasonCode::BUSY),
        outcome_v2(stream, asked.get(), ReasonCode::new(0)),
        outcome_v2(stream, 999, ReasonCode::BUSY),
        outcome_v2(stream, noted.get(), ReasonCode::new(0)),
    ];
    assert_eq!(feed(&mut client, START, &strays.concat()), []);
    assert_eq!(client.strays(), strays.len() as u64);
    let told = Event::Outcome { conversation: key, message: noted, outcome: refused(ReasonCode::BUSY) };
    assert_eq!(feed(&mut client, START, &outcome_v2(stream, noted.get(), ReasonCode::BUSY)), [told]);
}

#[test]
fn every_note_may_fail_however_many_there_were() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let say = |_| client.message(START, key, Expects::Nothing, Bytes::new()).unwrap();
    let notes: Vec<_> = (0..5).map(say).collect();
    for message in notes {
        let told = Event::Outcome { conversation: key, message, outcome: refused(ReasonCode::BUSY) };
        assert_eq!(
            feed(&mut client, START, &outcome_v2(stream_of(key), message.get(), ReasonCode::BUSY)),
            [told]
        );
    }
    assert_eq!(feed(&mut client, START, &outcome_v2(stream_of(key), 12, ReasonCode::BUSY)), []);
    assert_eq!(client.strays(), 1, "the next one was not said yet");
}

#[test]
fn what_concerns_no_conversation_or_speaks_another_version_is_counted_and_never_surfaces() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    let stream = stream_of(key);
    let strays = [
        opened(77),
        exited(77, 0, None),
        rerouted(77),
        joined(77, 5),
        failed(77),
        close(77),
        message_v1(flag::REPLY, stream, key.get(), b"of 1.0"),
        error_v1(stream, key.get(), ReasonCode::BUSY),
    ];
    for (n, stray) in (1..).zip(&strays) {
        assert_eq!(feed(&mut client, START, stray), []);
        assert_eq!(client.strays(), n);
    }
    assert_eq!(feed(&mut client, START, &reply_v2(stream, asked.get(), false, b"")).len(), 1);

    let mut server = server_with_conversation(2, Config::default());
    let word = frame(0, 1, Body::Accept { referenced_message_id: "m" });
    for (n, stray) in (1..).zip([message_v1(0, 1, 1, b"of 1.0"), reply_v2(1, 1, false, b"a reply"), word]) {
        assert_eq!(feed(&mut server, START, &stray), []);
        assert_eq!(server.strays(), n);
    }
    assert_eq!(output(&mut server), b"");
}

#[test]
fn an_open_is_answered_once_also_while_the_conversation_is_closing() {
    let mut server = server(2);
    assert_eq!(feed(&mut server, START, &[open(1), close(1)].concat()).len(), 2);
    server.opened(START, conversation(1), None).unwrap();
    let not_open = Err(CommandError::NotOpen(conversation(1)));
    assert_eq!(server.opened(START, conversation(1), None), not_open);
    assert_eq!(server.refuse(START, conversation(1), ReasonCode::BUSY, None), not_open);
    assert_eq!(said(&mut server), [Body::Opened { pid: None }]);
}

#[test]
fn parts_come_as_they_are_and_the_last_one_ends_the_request() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    let parts = [true, true, false, true].map(|more| reply_v2(stream_of(key), asked.get(), more, b"part"));
    let last: Vec<bool> = feed(&mut client, START, &parts.concat())
        .into_iter()
        .map(|event| matches!(event, Event::Reply(Reply { last: true, .. })))
        .collect();
    assert_eq!(last, [false, false, true]);
    assert_eq!(client.strays(), 1);
}

#[test]
fn a_reply_has_the_record_that_it_says_and_zero_says_none() {
    for record in [0, 1, 8] {
        let (mut client, key) = client_with_conversation(2, Config::default());
        let asked = client.ask(START, key, None, Bytes::new()).unwrap();
        let message_id = id(record);
        let body = Body::Message {
            message_id,
            answers: Some(asked),
            timeout_ms: None,
            redelivered: None,
            metadata: None,
            payload: Bytes::new(),
        };
        let events = feed(&mut client, START, &frame(flag::ANSWERS, stream_of(key), body));
        let record = (record > 0).then(|| RecordNumber::new(record));
        assert_eq!(events, [Event::Reply(Reply { record, ..reply(key, asked, b"") })]);
    }
}

/// P-7.43
#[test]
fn a_deadline_of_the_asker_ends_the_request_and_what_comes_later_is_a_stray() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let late = client.ask(START, key, Some(Duration::from_micros(1500)), Bytes::new()).unwrap();
    let later = client.ask(START, key, Some(Duration::from_millis(3)), Bytes::new()).unwrap();
    let timeouts: Vec<_> = said(&mut client)
        .into_iter()
        .map(|body| match body {
            Body::Message { timeout_ms, .. } => timeout_ms,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(timeouts, [Some(2), Some(3)], "rounded up: never shorter than was said");
    let due = START.after(Duration::from_micros(1500));
    assert_eq!(wants(&mut client).wake.at(), Some(due));
    client.tick(START.after(Duration::from_micros(1499)));
    assert_eq!(events(&mut client), []);
    client.tick(due);
    let ended = |message| Event::Outcome { conversation: key, message, outcome: Outcome::Deadline };
    assert_eq!(events(&mut client), [ended(late)]);
    assert_eq!(wants(&mut client).wake.at(), Some(millis(3)));
    assert_eq!(feed(&mut client, due, &reply_v2(stream_of(key), late.get(), false, b"")), []);
    assert_eq!(client.strays(), 1);
    client.tick(millis(3));
    assert_eq!(events(&mut client), [ended(later)]);
}

/// P-7.44
#[test]
fn what_is_outstanding_when_the_link_is_lost_has_an_unknown_end() {
    for version in [1, 2] {
        let (mut client, key) = client_with_conversation(version, Config::default());
        let asked = [(); 2].map(|()| client.ask(START, key, None, Bytes::new()).unwrap());
        client.link_lost(START, LinkError::Reset);
        let unknown = |message| Event::Outcome { conversation: key, message, outcome: Outcome::Unknown };
        let closed = Event::Closed(CloseReason::Link(LinkError::Reset));
        assert_eq!(events(&mut client), [unknown(asked[0]), unknown(asked[1]), closed]);
    }
}

#[test]
fn what_was_received_before_the_link_was_lost_is_told_first() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    let bytes = reply_v2(stream_of(key), asked.get(), false, b"in time");
    assert_eq!(client.receive(START, &bytes), bytes.len());
    client.link_lost(START, LinkError::Reset);
    let events = events(&mut client);
    assert!(matches!(events[..], [Event::Reply(_), Event::Closed(CloseReason::Link(LinkError::Reset))]));
}

#[test]
fn a_server_that_ends_a_conversation_cancels_its_requests() {
    let (mut client, key) = client_with_conversation(2, Config::default());
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    let outcome = refused(ReasonCode::CANCELLED);
    let expected =
        [Event::Outcome { conversation: key, message: asked, outcome }, Event::Ended { conversation: key }];
    assert_eq!(feed(&mut client, START, &close(stream_of(key))), expected);
}

#[test]
fn an_abandoned_request_makes_room_and_its_reply_is_a_stray() {
    let (mut client, key) = client_with_conversation(2, limited(|limits| limits.requests_max = 1));
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    assert!(client.ask(START, key, None, Bytes::new()).is_err());
    client.abandon(key, asked).unwrap();
    assert!(client.ask(START, key, None, Bytes::new()).is_ok());
    assert_eq!(feed(&mut client, START, &reply_v2(stream_of(key), asked.get(), false, b"")), []);
}

/// P-7.46
#[test]
fn a_client_opens_on_terms_of_its_own_and_times_are_never_shorter_on_the_wire() {
    let time = |nanos| Some(Duration::from_nanos(nanos));
    let cases = [
        (Terms::default(), Terms::default()),
        (
            Terms { on_exit: OnExit::Fail, total: time(0), idle: time(1) },
            Terms { on_exit: OnExit::Fail, total: time(1_000_000), idle: time(1_000_000) },
        ),
        (
            Terms { on_exit: OnExit::Next, total: time(1_000_001), idle: Some(Duration::MAX) },
            Terms {
                on_exit: OnExit::Next,
                total: time(2_000_000),
                idle: Some(Duration::from_millis(u32::MAX.into())),
            },
        ),
    ];
    for (said, told) in cases {
        let (mut client, mut server) = (client(2), server(2));
        let key = client.open_on(START, "s", said).unwrap();
        let bytes = output(&mut client);
        let opened = Event::Open { conversation: key, subject: "s".to_owned(), terms: told };
        assert_eq!(feed(&mut server, START, &bytes), [opened]);
    }
    assert_eq!(client(1).open_on(START, "s", Terms::default()), Err(CommandError::NeedsVersion2));
    assert_eq!(server(2).open_on(START, "s", Terms::default()), Err(CommandError::WrongSide(Side::Client)));
}

/// P-7.46
#[test]
fn an_open_on_terms_is_held_to_the_rules_of_any_other() {
    let open = |stream, subject| {
        let terms = Body::Open { on_exit: OnExit::Fail, total_ms: None, idle_ms: None, subject };
        frame(0, stream, terms)
    };
    let mut backwards = server(2);
    let told = feed(&mut backwards, START, &[open(3, "s"), open(1, "s")].concat());
    assert!(matches!(violation(&told), Violation::NotAscending { .. }), "{told:?}");
    let mut foreign = server(2);
    let told = feed(&mut foreign, START, &open(2, "s"));
    assert!(matches!(violation(&told), Violation::ForeignStream { frame: "Open", .. }), "{told:?}");
    let long = "s".repeat(257);
    let mut server_1 = server(2);
    assert_eq!(feed(&mut server_1, START, &open(1, &long)), []);
    let refused = Body::Refused { reason_code: ReasonCode::INVALID_NAME, message: None };
    assert_eq!(output(&mut server_1), frame(0, 1, refused));
    let mut garbled = server(2);
    let told = feed(&mut garbled, START, &raw(0x8C, 0, 1, b"\x03\0\0\0\0\0\x01s"));
    assert!(matches!(violation(&told), Violation::Undecodable { .. }), "{told:?}");
    assert_connect_error(&mut garbled, ReasonCode::CODEC);
}

/// P-7.47
#[test]
fn a_conversation_that_the_server_ends_unasked_is_over() {
    let mut client = client(2);
    let key = client
        .open_on(START, "s", Terms { total: Some(Duration::from_secs(1)), ..Terms::default() })
        .unwrap();
    let message = client.ask(START, key, None, Bytes::new()).unwrap();
    feed(&mut client, START, &[opened(1), outcome_v2(1, message.get(), ReasonCode::DEADLINE)].concat());
    let ended = feed(&mut client, START, &close(1));
    assert_eq!(ended, [Event::Ended { conversation: key }]);
    assert_eq!(client.ask(START, key, None, Bytes::new()).unwrap_err().reason, CommandError::NotOpen(key));
}
