//! Conversations on a 1.0 link.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use core::time::Duration;

use bytes::Bytes;
use liminal_proto::wire::{Body, FrameBuf, flag};
use liminal_proto::{
    CommandError, Config, Connection, ConversationPhase, Event, Exit, ExitReason, Expects, Limits, MessageId,
    Outcome, Pid, ReasonCode, RecordNumber, Reply, Unanswered,
};

use support::*;

/// Streams, flags and payloads of the conversation messages that are to be written, and the codes
/// of the errors.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Reply(u32, Vec<u8>),
    Error(u32, ReasonCode),
}

fn answers(server: &mut Connection) -> Vec<Said> {
    written(server)
        .into_iter()
        .map(|frame| match frame.body {
            Body::ConversationMessage { envelope, .. } => {
                assert_eq!(frame.flags, flag::REPLY);
                Said::Reply(frame.stream.get(), envelope.payload.to_vec())
            }
            Body::ConversationError { reason_code, .. } => Said::Error(frame.stream.get(), reason_code),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn request(stream: u32, payload: &[u8]) -> Vec<u8> {
    message_v1(flag::REPLY, stream, 1, payload)
}

/// A server with conversation 1 open and one request on each of these streams.
fn asked(streams: &[u32]) -> (Connection, Vec<MessageId>) {
    let mut server = server_with_conversation(1, Config::default());
    let bytes: Vec<u8> = streams.iter().flat_map(|&stream| request(stream, b"?")).collect();
    let ids = feed(&mut server, START, &bytes).iter().map(|event| message_of(event).id).collect();
    (server, ids)
}

fn exit() -> Exit {
    let reason = ExitReason::Crashed { text: "boom".to_owned() };
    Exit {
        pid: Pid::new(1),
        record: RecordNumber::new(3),
        reason,
        goes_on: false,
        unanswered: Unanswered::default(),
    }
}

// ── server ──────────────────────────────────────────────────────────────────────────────────────────

/// P-7.1
#[test]
fn an_open_that_succeeds_is_silent() {
    let mut server = server(1);
    let opened = Event::Open {
        conversation: conversation(70),
        subject: "greeter".to_owned(),
        terms: liminal_proto::Terms::default(),
    };
    assert_eq!(feed(&mut server, START, &open_on(2, 70, "greeter")), [opened]);
    assert_eq!(server.conversation_phase(conversation(70)), Some(ConversationPhase::Opening));
    server.opened(START, conversation(70), Some(Pid::new(1))).unwrap();
    assert_eq!(server.conversation_phase(conversation(70)), Some(ConversationPhase::Open));
    assert_eq!(output(&mut server), b"");
}

/// P-7.2
#[test]
fn an_open_that_fails_is_answered_on_the_stream_of_its_request() {
    let mut server = server(1);
    feed(&mut server, START, &open_on(33, 70, "nobody"));
    server.refuse(START, conversation(70), ReasonCode::NO_PARTICIPANT, None).unwrap();
    assert_eq!(answers(&mut server), [Said::Error(33, ReasonCode::NO_PARTICIPANT)]);
    assert_eq!(server.conversation_phase(conversation(70)), None);
}

/// P-7.2
#[test]
fn an_open_of_a_live_id_is_refused_and_changes_nothing() {
    let mut server = server_with_conversation(1, Config::default());
    assert_eq!(feed(&mut server, START, &open_on(9, 1, "other")), []);
    assert_eq!(answers(&mut server), [Said::Error(9, ReasonCode::ALREADY_OPEN)]);
    assert_eq!(server.conversation_phase(conversation(1)), Some(ConversationPhase::Open));
}

/// P-7.3
#[test]
fn an_id_may_be_opened_again_after_its_conversation_failed_or_closed() {
    let mut server = server_with_conversation(1, Config::default());
    server.exited(START, conversation(1), &exit()).unwrap();
    assert_eq!(feed(&mut server, START, &open_on(5, 1, "again")).len(), 1);
    server.opened(START, conversation(1), None).unwrap();
    assert_eq!(feed(&mut server, START, &request(7, b"?")).len(), 1);
    server.ended(START, conversation(1)).unwrap();
    output(&mut server);
    assert_eq!(feed(&mut server, START, &open_on(9, 1, "again")).len(), 1);
    assert_eq!(output(&mut server), b"");
}

/// P-7.3
#[test]
fn an_id_may_be_opened_again_right_behind_its_close() {
    let mut server = server_with_conversation(1, Config::default());
    feed(&mut server, START, &request(3, b"?"));
    let again = [close(1), open_on(5, 1, "again"), request(7, b"and"), ping()].concat();
    assert_eq!(feed(&mut server, START, &again), [Event::Close { conversation: conversation(1) }]);
    assert!(!wants(&mut server).read, "what follows the open belongs to the new conversation");
    server.ended(START, conversation(1)).unwrap();
    let opened = events(&mut server);
    assert_eq!(
        opened[0],
        Event::Open {
            conversation: conversation(1),
            subject: "again".to_owned(),
            terms: liminal_proto::Terms::default()
        }
    );
    assert_eq!(message_of(&opened[1]).payload, "and");
    let bodies = said(&mut server);
    assert!(matches!(bodies[..], [Body::ConversationError { .. }, Body::Pong]), "{bodies:?}");
    assert!(wants(&mut server).read);
}

/// P-7.3
#[test]
fn an_open_that_waits_for_a_close_goes_with_its_connection() {
    let mut server = server_with_conversation(1, Config::default());
    feed(&mut server, START, &[close(1), open(1)].concat());
    server.eof(START);
    assert_eq!(events(&mut server), []);
    server.link_lost(START, liminal_proto::LinkError::Reset);
    assert!(matches!(events(&mut server)[..], [Event::Closed(_)]));
    assert!(wants(&mut server).finished);
}

/// P-7.3
#[test]
fn opening_a_failed_id_again_needs_no_room_in_the_table() {
    let mut server = server_with_conversation(1, limited(|limits| limits.conversations_max = 1));
    server.exited(START, conversation(1), &exit()).unwrap();
    assert_eq!(feed(&mut server, START, &open(1)).len(), 1);
    assert_eq!(output(&mut server), b"");
}

/// P-7.10
#[test]
fn replies_go_out_in_request_order_whatever_the_order_of_the_answers() {
    let (mut server, ids) = asked(&[1, 4, 1]);
    server.reply(START, reply(conversation(1), ids[2], b"third")).unwrap();
    server.outcome(START, conversation(1), ids[1], &refused(ReasonCode::NO_REPLY)).unwrap();
    assert_eq!(answers(&mut server), []);
    server.reply(START, reply(conversation(1), ids[0], b"first")).unwrap();
    let expected = [
        Said::Reply(1, b"first".to_vec()),
        Said::Error(4, ReasonCode::NO_REPLY),
        Said::Reply(1, b"third".to_vec()),
    ];
    assert_eq!(answers(&mut server), expected);
}

/// P-7.10
#[test]
fn an_answer_that_is_held_back_is_final() {
    let (mut server, ids) = asked(&[1, 3]);
    let held = reply(conversation(1), ids[1], b"held");
    server.reply(START, held.clone()).unwrap();
    let again = server.reply(START, Reply { payload: Bytes::from_static(b"other"), ..held.clone() });
    assert_eq!(again.unwrap_err().reason, CommandError::NotOutstanding);
    let late = server.outcome(START, conversation(1), ids[1], &Outcome::Deadline);
    assert_eq!(late, Err(CommandError::NotOutstanding));
    server.reply(START, reply(conversation(1), ids[0], b"first")).unwrap();
    let expected = [Said::Reply(1, b"first".to_vec()), Said::Reply(3, b"held".to_vec())];
    assert_eq!(answers(&mut server), expected);
}

/// P-7.11
#[test]
fn parts_are_joined_and_sent_whole() {
    let (mut server, ids) = asked(&[1, 3]);
    let part =
        |answers, last, payload: &'static [u8]| Reply { last, ..reply(conversation(1), answers, payload) };
    server.reply(START, part(ids[0], false, b"one ")).unwrap();
    server.reply(START, part(ids[1], false, b"x")).unwrap();
    server.reply(START, part(ids[0], false, b"two ")).unwrap();
    assert_eq!(answers(&mut server), []);
    server.reply(START, part(ids[0], true, b"three")).unwrap();
    server.reply(START, part(ids[1], true, b"y")).unwrap();
    let expected = [Said::Reply(1, b"one two three".to_vec()), Said::Reply(3, b"xy".to_vec())];
    assert_eq!(answers(&mut server), expected);
}

/// P-7.12
#[test]
fn a_reply_to_a_message_that_asked_for_none_is_dropped() {
    let mut server = server_with_conversation(1, Config::default());
    let events = feed(&mut server, START, &[message_v1(0, 1, 1, b"note"), request(1, b"?")].concat());
    let (note, asked) = (message_of(&events[0]).id, message_of(&events[1]).id);
    let rejected = server.reply(START, reply(conversation(1), note, b"unasked")).unwrap_err();
    assert_eq!(rejected.reason, CommandError::NotOutstanding);
    assert_eq!(rejected.payload.payload, b"unasked"[..]);
    server.reply(START, reply(conversation(1), asked, b"asked")).unwrap();
    assert_eq!(answers(&mut server), [Said::Reply(1, b"asked".to_vec())]);
}

#[test]
fn a_request_is_answered_once() {
    let (mut server, ids) = asked(&[1]);
    server.reply(START, reply(conversation(1), ids[0], b"first")).unwrap();
    let again = server.reply(START, reply(conversation(1), ids[0], b"again")).unwrap_err();
    assert_eq!(again.reason, CommandError::NotOutstanding);
}

/// P-7.13
#[test]
fn a_message_to_an_id_that_is_not_open_gets_an_error_with_and_without_the_flag() {
    let mut server = server(1);
    let bytes = [message_v1(0, 3, 8, b""), message_v1(flag::REPLY, 5, 8, b"")].concat();
    assert_eq!(feed(&mut server, START, &bytes), []);
    let expected = [Said::Error(3, ReasonCode::NOT_OPEN), Said::Error(5, ReasonCode::NOT_OPEN)];
    assert_eq!(answers(&mut server), expected);
}

/// P-7.20
#[test]
fn an_exit_ends_every_request_and_refuses_what_comes_later() {
    let (mut server, ids) = asked(&[1, 3, 5]);
    server.reply(START, reply(conversation(1), ids[1], b"said before it died")).unwrap();
    server.exited(START, conversation(1), &exit()).unwrap();
    let expected = [
        Said::Error(1, ReasonCode::EXITED),
        Said::Reply(3, b"said before it died".to_vec()),
        Said::Error(5, ReasonCode::EXITED),
    ];
    assert_eq!(answers(&mut server), expected);
    assert_eq!(feed(&mut server, START, &request(7, b"?")), []);
    assert_eq!(answers(&mut server), [Said::Error(7, ReasonCode::EXITED)]);
    assert_eq!(server.exited(START, conversation(1), &exit()), Err(CommandError::Exited(conversation(1))));
}

/// The texts of the errors that were written.
fn texts(server: &mut Connection) -> Vec<String> {
    let text = |frame: FrameBuf| match frame.body {
        Body::ConversationError { reason_code: ReasonCode::EXITED, message, .. } => message.unwrap(),
        other => panic!("{other:?}"),
    };
    written(server).into_iter().map(text).collect()
}

/// P-7.23
#[test]
fn an_exit_is_told_with_who_and_why_to_every_request_and_briefly_to_what_comes_later() {
    let long = format!("{}\u{1b}[31m", "ä".repeat(100));
    let cases = [
        (ExitReason::Signal { signal: 9 }, "participant 1 killed by signal 9".to_owned()),
        (ExitReason::Normal, "participant 1 ended normally".to_owned()),
        (ExitReason::Crashed { text: long.clone() }, format!("participant 1 crashed: {long}")),
    ];
    for (reason, words) in cases {
        for goes_on in [false, true] {
            let (mut server, _) = asked(&[1, 3]);
            server
                .exited(START, conversation(1), &Exit { reason: reason.clone(), goes_on, ..exit() })
                .unwrap();
            let brief = words.chars().scan(0, |len, c| {
                *len += c.len_utf8();
                (*len <= 128).then_some(c)
            });
            let brief: String = brief.collect();
            if goes_on {
                server.failed(START, conversation(1)).unwrap();
                assert_eq!(texts(&mut server), [brief.clone(), brief.clone()]);
            } else {
                assert_eq!(texts(&mut server), [words.clone(), words.clone()]);
            }
            feed(&mut server, START, &request(7, b"?"));
            assert_eq!(texts(&mut server), [brief]);
        }
    }
}

#[test]
fn what_is_told_of_an_exit_is_cut_to_its_limit_and_never_more_than_there_is_room_for() {
    let streams: Vec<u32> = (0..4000).map(|n| 3 + 2 * n).collect();
    let (mut server, _) = asked(&streams);
    let reason = ExitReason::Crashed { text: "long ".repeat(1000) };
    server.exited(START, conversation(1), &Exit { reason, ..exit() }).unwrap();
    assert!(server.output_len() <= Limits::default().output_hard_max);
    let texts = texts(&mut server);
    assert_eq!((texts.len(), texts[0].len()), (4000, 1024));
    assert!(texts[0].starts_with("participant 1 crashed: long long"));
    assert_eq!(texts[3999], ReasonCode::EXITED.meaning().unwrap());
}

/// P-7.23
#[test]
fn a_client_keeps_what_it_was_told_of_an_exit() {
    for (told, kept) in [
        (Some("participant 7 killed by signal 9"), Some("participant 7 killed by signal 9")),
        (ReasonCode::EXITED.meaning(), None),
        (None, None),
    ] {
        let (mut client, key) = client_with_conversation(1, Config::default());
        for _ in 0..2 {
            client.ask(START, key, None, Bytes::new()).unwrap();
        }
        assert_eq!(client.exit_words(key), None);
        let streams: Vec<_> = written(&mut client).iter().map(|frame| frame.stream.get()).collect();
        for (stream, message) in [(streams[0], told), (streams[1], Some("something else"))] {
            let (conversation_id, reason_code) = (key, ReasonCode::EXITED);
            let error = Body::ConversationError { conversation_id, reason_code, message };
            feed(&mut client, START, &frame(0, stream, error));
        }
        assert_eq!(client.exit_words(key), kept);
    }
}

/// P-7.21, P-7.22
#[test]
fn a_conversation_that_goes_on_does_so_in_silence() {
    let (mut server, ids) = asked(&[1, 3]);
    server.exited(START, conversation(1), &Exit { goes_on: true, ..exit() }).unwrap();
    server.joined(START, conversation(1), Pid::new(6)).unwrap();
    assert_eq!(answers(&mut server), []);
    server.outcome(START, conversation(1), ids[0], &Outcome::Exited).unwrap();
    server.reply(START, reply(conversation(1), ids[1], b"by the next")).unwrap();
    let expected = [Said::Error(1, ReasonCode::REPLACED), Said::Reply(3, b"by the next".to_vec())];
    assert_eq!(answers(&mut server), expected);
    assert_eq!(feed(&mut server, START, &request(5, b"?")).len(), 1);
    server.failed(START, conversation(1)).unwrap();
    assert_eq!(answers(&mut server), [Said::Error(5, ReasonCode::EXITED)]);
    feed(&mut server, START, &request(7, b"?"));
    assert_eq!(answers(&mut server), [Said::Error(7, ReasonCode::EXITED)]);
}

/// P-7.19, P-7.22
#[test]
fn what_was_told_of_an_exit_is_forgotten_when_the_next_has_joined_and_is_no_reason_for_anything_else() {
    let (mut server, _) = asked(&[1]);
    server.exited(START, conversation(1), &Exit { goes_on: true, ..exit() }).unwrap();
    server.joined(START, conversation(1), Pid::new(6)).unwrap();
    server.failed(START, conversation(1)).unwrap();
    assert_eq!(texts(&mut server), [ReasonCode::EXITED.meaning().unwrap()]);

    let (mut server, _) = asked(&[1]);
    server.exited(START, conversation(1), &Exit { goes_on: true, ..exit() }).unwrap();
    feed(&mut server, START, &[close(1), request(3, b"?")].concat());
    let Body::ConversationError { reason_code: ReasonCode::CLOSING, message, .. } =
        said(&mut server).remove(0)
    else {
        panic!("the conversation is closing");
    };
    assert_eq!(message.as_deref(), ReasonCode::CLOSING.meaning());
}

#[test]
fn a_request_that_ended_with_its_participant_alone_leaves_the_conversation_open() {
    let (mut client, key) = client_with_conversation(1, Config::default());
    client.ask(START, key, None, Bytes::new()).unwrap();
    let stream = written(&mut client)[0].stream.get();
    feed(&mut client, START, &error_v1(stream, key.get(), ReasonCode::REPLACED));
    client.ask(START, key, None, Bytes::from_static(b"the next one")).unwrap();
}

#[test]
fn requests_that_ended_with_their_conversation_are_outstanding_no_more() {
    type End = fn(&mut Connection);
    let ends: [End; 3] = [
        |server| server.exited(START, conversation(1), &exit()).unwrap(),
        |server| server.ended(START, conversation(1)).unwrap(),
        |server| server.refuse(START, conversation(1), ReasonCode::NO_PARTICIPANT, None).unwrap(),
    ];
    for end in ends {
        let mut server = server_of(1, limited(|limits| limits.requests_max = 1));
        let events = feed(&mut server, START, &[open(1), request(3, b"?")].concat());
        assert_eq!(events.len(), 2);
        end(&mut server);
        let events = feed(&mut server, START, &[open(2), message_v1(flag::REPLY, 1, 2, b"?")].concat());
        assert_eq!(events.len(), 2, "there is room for a request again");
    }
}

/// P-7.14
#[test]
fn a_refused_open_ends_the_requests_that_were_pipelined_behind_it() {
    let mut server = server(1);
    feed(&mut server, START, &[open(1), request(3, b"?"), message_v1(0, 5, 1, b"note")].concat());
    server.refuse(START, conversation(1), ReasonCode::NO_PARTICIPANT, None).unwrap();
    let expected = [Said::Error(1, ReasonCode::NO_PARTICIPANT), Said::Error(3, ReasonCode::NO_PARTICIPANT)];
    assert_eq!(answers(&mut server), expected);
    feed(&mut server, START, &request(7, b"?"));
    assert_eq!(answers(&mut server), [Said::Error(7, ReasonCode::NOT_OPEN)]);
}

/// P-7.15
#[test]
fn a_close_is_silent_and_its_requests_run_to_their_end() {
    let (mut server, ids) = asked(&[3]);
    let closing = Event::Close { conversation: conversation(1) };
    assert_eq!(feed(&mut server, START, &[close(1), close(1), close(8)].concat()), [closing]);
    assert_eq!(server.strays(), 2);
    feed(&mut server, START, &request(5, b"late"));
    assert_eq!(answers(&mut server), [Said::Error(5, ReasonCode::CLOSING)]);
    server.reply(START, reply(conversation(1), ids[0], b"in time")).unwrap();
    server.ended(START, conversation(1)).unwrap();
    assert_eq!(answers(&mut server), [Said::Reply(3, b"in time".to_vec())]);
    assert_eq!(server.conversation_phase(conversation(1)), None);
}

#[test]
fn a_refusal_with_code_zero_is_still_a_refusal() {
    let (mut server, ids) = asked(&[3]);
    server.outcome(START, conversation(1), ids[0], &refused(ReasonCode::new(0))).unwrap();
    assert_eq!(answers(&mut server), [Said::Error(3, ReasonCode::OTHER)]);
}

#[test]
fn a_message_that_asked_for_nothing_can_be_refused_on_its_stream() {
    let mut server = server_with_conversation(1, Config::default());
    let events = feed(&mut server, START, &message_v1(0, 12, 1, b"note"));
    let note = message_of(&events[0]).id;
    server.outcome(START, conversation(1), note, &Outcome::Accepted { record: None }).unwrap();
    assert_eq!(answers(&mut server), []);
    server.outcome(START, conversation(1), note, &refused(ReasonCode::BUSY)).unwrap();
    assert_eq!(answers(&mut server), [Said::Error(12, ReasonCode::BUSY)]);
}

#[test]
fn replies_that_are_held_back_are_bounded_in_bytes_and_flow_again() {
    let (mut server, ids) = asked(&[1, 3, 5, 7, 9]);
    let big =
        |answers| Reply { payload: Bytes::from(vec![1; 400 << 10]), ..reply(conversation(1), answers, b"") };
    server.reply(START, big(ids[1])).unwrap();
    server.reply(START, big(ids[2])).unwrap();
    let full = server.reply(START, big(ids[3])).unwrap_err();
    assert_eq!(full.reason, CommandError::Full);
    server.reply(START, reply(conversation(1), ids[0], b"first")).unwrap();
    assert_eq!(answers(&mut server).len(), 3);
    server.reply(START, full.payload).unwrap();
    assert_eq!(answers(&mut server).len(), 1);
}

#[test]
fn parts_that_are_held_back_are_bounded_in_bytes_and_the_first_request_can_always_end() {
    let mut server = server(1);
    let bytes: Vec<u8> =
        (1..=4).flat_map(|id| [open(id), message_v1(flag::REPLY, id, id.into(), b"?")].concat()).collect();
    let events = feed(&mut server, START, &bytes);
    let ids: Vec<_> = events.iter().skip(1).step_by(2).map(|event| message_of(event).id).collect();
    let part = |n: usize, last| Reply {
        last,
        payload: Bytes::from(vec![1; 400 << 10]),
        ..reply(conversation(n as u64 + 1), ids[n], b"")
    };
    server.reply(START, part(0, false)).unwrap();
    server.reply(START, part(1, false)).unwrap();
    let no_room = server.reply(START, part(2, false)).unwrap_err();
    assert!(matches!(no_room.reason, CommandError::Limit { .. }), "{no_room:?}");
    server.reply(START, part(0, true)).unwrap();
    assert_eq!(answers(&mut server).len(), 1);
    server.reply(START, no_room.payload).unwrap();
}

#[test]
fn what_is_held_back_is_counted_until_its_request_ends_however_it_ends() {
    let (mut server, ids) = asked(&[1, 3, 5]);
    let idle = server.held_bytes();
    let part = |answers| Reply { last: false, ..reply(conversation(1), answers, b"part") };
    server.reply(START, part(ids[0])).unwrap();
    server.reply(START, part(ids[1])).unwrap();
    assert_eq!(server.held_bytes(), idle + 8);
    server.outcome(START, conversation(1), ids[1], &Outcome::Deadline).unwrap();
    assert_eq!(server.held_bytes(), idle + 4, "the parts of a request that failed are let go");
    server.exited(START, conversation(1), &exit()).unwrap();
    output(&mut server);
    assert_eq!(server.held_bytes(), idle);

    let (mut server, ids) = asked(&[1, 3, 5]);
    server.reply(START, reply(conversation(1), ids[2], b"held")).unwrap();
    let held = server.held_bytes();
    assert!(held >= idle + 4);
    server.reply(START, reply(conversation(1), ids[0], b"first")).unwrap();
    output(&mut server);
    assert_eq!(server.held_bytes(), held, "what was given at once was not held");
    server.reply(START, reply(conversation(1), ids[1], b"second")).unwrap();
    output(&mut server);
    assert_eq!(server.held_bytes(), idle, "what was given is held no more");
}

/// Only the end of a reply makes room for parts, so replies that wait for room would wait for each other.
#[test]
fn parts_without_room_never_wait_for_each_other() {
    let (mut server, ids) = asked(&[1, 3]);
    let part = |answers| Reply {
        last: false,
        payload: Bytes::from(vec![1; 300 << 10]),
        ..reply(conversation(1), answers, b"")
    };
    for answers in [ids[0], ids[1], ids[0]] {
        server.reply(START, part(answers)).unwrap();
    }
    assert!(matches!(server.reply(START, part(ids[1])).unwrap_err().reason, CommandError::Limit { .. }));
    server.outcome(START, conversation(1), ids[1], &refused(ReasonCode::BUSY)).unwrap();
    server.reply(START, Reply { last: true, ..part(ids[0]) }).unwrap();
    let [Said::Reply(1, whole), Said::Error(3, ReasonCode::BUSY)] = &answers(&mut server)[..] else {
        panic!("both requests end");
    };
    assert_eq!(whole.len(), 900 << 10);
}

// ── client ──────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_client_counts_its_conversation_as_open_at_once() {
    let (mut client, id) = client_with_conversation(1, Config::default());
    assert_eq!(client.conversation_phase(id), Some(ConversationPhase::Open));
    let message = client.message(START, id, Expects::Acceptance, Bytes::new()).unwrap();
    let frame = &written(&mut client)[0];
    assert_eq!((frame.flags, u64::from(frame.stream.get())), (0, message.get()));
}

/// P-7.16
#[test]
fn a_reply_belongs_to_the_request_on_its_stream() {
    let (mut client, key) = client_with_conversation(1, Config::default());
    let first = client.ask(START, key, None, Bytes::from_static(b"1")).unwrap();
    let second = client.ask(START, key, None, Bytes::from_static(b"2")).unwrap();
    let streams: Vec<u32> = written(&mut client).iter().map(|frame| frame.stream.get()).collect();
    let bytes = [
        message_v1(flag::REPLY, streams[1], key.get(), b"two"),
        message_v1(flag::REPLY, streams[0], key.get(), b"one"),
    ];
    let expected = [Event::Reply(reply(key, second, b"two")), Event::Reply(reply(key, first, b"one"))];
    assert_eq!(feed(&mut client, START, &bytes.concat()), expected);
}

/// P-7.17
#[test]
fn what_nobody_asked_for_is_counted_and_never_surfaces() {
    let (mut client, key) = client_with_conversation(1, Config::default());
    let asked = client.ask(START, key, None, Bytes::new()).unwrap();
    let noted = client.message(START, key, Expects::Nothing, Bytes::new()).unwrap();
    let streams: Vec<u32> = written(&mut client).iter().map(|frame| frame.stream.get()).collect();
    let good = message_v1(flag::REPLY, streams[0], key.get(), b"good");
    let strays = [
        message_v1(0, streams[0], key.get(), b"no reply"),
        message_v1(flag::REPLY, streams[0], key.get() + 2, b"of another conversation"),
        message_v1(flag::REPLY, streams[1], key.get(), b"to a note"),
        message_v1(flag::REPLY, 77, key.get(), b"to nothing"),
        error_v1(77, 77, ReasonCode::OTHER),
    ];
    assert_eq!(feed(&mut client, START, &strays.concat()), []);
    assert_eq!(client.strays(), strays.len() as u64);
    assert_eq!(feed(&mut client, START, &good), [Event::Reply(reply(key, asked, b"good"))]);
    assert_eq!(feed(&mut client, START, &good), []);
    assert_eq!(feed(&mut client, START, &error_v1(streams[0], key.get(), ReasonCode::OTHER)), []);
    assert_eq!(client.strays(), strays.len() as u64 + 2);
    let error = error_v1(streams[1], key.get(), ReasonCode::BUSY);
    let told = Event::Outcome { conversation: key, message: noted, outcome: refused(ReasonCode::BUSY) };
    assert_eq!(feed(&mut client, START, &error), [told]);
}

/// P-7.18
#[test]
fn an_error_on_the_stream_of_the_open_or_before_it_refuses_the_conversation() {
    for offset in [0, 2] {
        let mut client = client(1);
        client.open(START, "earlier").unwrap();
        let key = client.open(START, "subject").unwrap();
        let asked = client.ask(START, key, None, Bytes::new()).unwrap();
        let stream = written(&mut client)[1].stream.get() - offset;
        let reason = ReasonCode::OTHER;
        let expected = [
            Event::Refused { conversation: key, reason, text: None },
            Event::Outcome { conversation: key, message: asked, outcome: refused(reason) },
        ];
        assert_eq!(feed(&mut client, START, &error_v1(stream, key.get(), reason)), expected);
        assert_eq!(client.conversation_phase(key), None);
    }
}

/// P-7.19
#[test]
fn errors_end_the_request_on_their_stream_with_what_their_code_says() {
    let cases = [
        (ReasonCode::EXITED, Outcome::Exited),
        (ReasonCode::REPLACED, Outcome::Exited),
        (ReasonCode::DEADLINE, Outcome::Deadline),
        (ReasonCode::OTHER, refused(ReasonCode::OTHER)),
    ];
    for (code, outcome) in cases {
        let (mut client, key) = client_with_conversation(1, Config::default());
        let message = client.ask(START, key, None, Bytes::new()).unwrap();
        let stream = written(&mut client)[0].stream.get();
        let expected = Event::Outcome { conversation: key, message, outcome };
        assert_eq!(feed(&mut client, START, &error_v1(stream, key.get(), code)), [expected]);
    }
}

/// P-7.19
#[test]
fn an_exit_that_is_known_refuses_the_next_message_here() {
    let (mut client, key) = client_with_conversation(1, Config::default());
    client.ask(START, key, None, Bytes::new()).unwrap();
    let stream = written(&mut client)[0].stream.get();
    feed(&mut client, START, &error_v1(stream, key.get(), ReasonCode::EXITED));
    let rejected = client.ask(START, key, None, Bytes::from_static(b"back")).unwrap_err();
    assert_eq!(rejected.reason, CommandError::Exited(key));
    assert_eq!(rejected.payload.payload, b"back"[..]);
    client.close(START, key, None).unwrap();
    assert_eq!(events(&mut client), [Event::Ended { conversation: key }]);
}

#[test]
fn a_closed_conversation_ends_with_its_last_request() {
    let (mut client, key) = client_with_conversation(1, Config::default());
    let answered = client.ask(START, key, None, Bytes::new()).unwrap();
    let abandoned = client.ask(START, key, None, Bytes::new()).unwrap();
    let stream = written(&mut client)[0].stream.get();
    client.close(START, key, None).unwrap();
    assert_eq!(client.close(START, key, None), Err(CommandError::Closing(key)));
    assert_eq!(events(&mut client), []);
    let replied = Event::Reply(reply(key, answered, b"yes"));
    assert_eq!(feed(&mut client, START, &message_v1(flag::REPLY, stream, key.get(), b"yes")), [replied]);
    client.abandon(key, abandoned).unwrap();
    assert_eq!(events(&mut client), [Event::Ended { conversation: key }]);
    assert_eq!(client.abandon(key, abandoned), Err(CommandError::NotOutstanding));
}

#[test]
fn a_closed_conversation_ends_behind_the_last_reply_or_error() {
    let ends: [fn(u32, u64) -> Vec<u8>; 2] = [
        |stream, key| message_v1(flag::REPLY, stream, key, b"yes"),
        |stream, key| error_v1(stream, key, ReasonCode::BUSY),
    ];
    for end in ends {
        let (mut client, key) = client_with_conversation(1, Config::default());
        client.ask(START, key, None, Bytes::new()).unwrap();
        let stream = written(&mut client)[0].stream.get();
        client.close(START, key, None).unwrap();
        let events = feed(&mut client, START, &end(stream, key.get()));
        assert_eq!(events[1..], [Event::Ended { conversation: key }], "{events:?}");
    }
}

#[test]
fn a_deadline_that_passes_in_a_closing_conversation_ends_both() {
    let (mut client, key) = client_with_conversation(1, Config::default());
    let asked = client.ask(START, key, Some(Duration::from_secs(1)), Bytes::new()).unwrap();
    client.close(START, key, None).unwrap();
    output(&mut client);
    client.tick(seconds(1));
    let expected = [
        Event::Outcome { conversation: key, message: asked, outcome: Outcome::Deadline },
        Event::Ended { conversation: key },
    ];
    assert_eq!(events(&mut client), expected);
}

#[test]
fn an_open_that_waits_for_its_id_is_in_the_account() {
    let mut server = server_with_conversation(1, Config::default());
    let open = open_on(5, 1, &"x".repeat(1000));
    feed(&mut server, START, &[close(1), open.clone()].concat());
    assert_eq!(server.held_bytes(), open.len());
    assert_eq!(server.recount_held(), open.len());
    assert!(open.len() < Config::default().limits.held_bytes_max());
}

/// P-7.10: a request that an exit has ended has had its answer. Whoever serves it may refuse it afterwards, because it
/// reached them behind the exit; what asked for nothing is refused on its stream as ever.
#[test]
fn a_request_that_an_exit_has_ended_is_not_answered_again() {
    let mut server = server_with_conversation(1, Config::default());
    let said = [(flag::REPLY, 3), (flag::REPLY, 5), (0, 7)];
    let said = said.map(|(flags, stream)| message_v1(flags, stream, 1, b"?")).concat();
    let events = feed(&mut server, START, &said);
    let ids: Vec<_> = events.iter().map(|event| message_of(event).id).collect();
    server.exited(START, conversation(1), &exit()).unwrap();
    let exited = ReasonCode::EXITED;
    assert_eq!(answers(&mut server), [Said::Error(3, exited), Said::Error(5, exited)]);
    let refused = refused(exited);
    assert!(server.outcome(START, conversation(1), ids[1], &refused).is_err());
    server.outcome(START, conversation(1), ids[2], &refused).unwrap();
    assert_eq!(answers(&mut server), [Said::Error(7, exited)]);
    // Also when it is refused for each of the two that another exit would have ended.
    assert!(server.outcome(START, conversation(1), ids[0], &refused).is_err());
    assert_eq!(answers(&mut server), []);
}
