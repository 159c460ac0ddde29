//! The handshake, and which frame is allowed when.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use bytes::Bytes;
use liminal_proto::wire::{
    Body, Dialect, FrameType, RecordNumbers, SchemaIds, Texts, Version, WorkerVerdict,
};
use liminal_proto::{
    CloseReason, CommandError, Config, Connection, Event, LogId, MessageId, OnExit, Phase, Pid, ReasonCode,
    RecordNumber, Violation,
};

use support::*;

fn speaking(min: Dialect, max: Dialect) -> Config {
    Config { min_dialect: min, max_dialect: max, ..Config::default() }
}

/// P-6.2, P-6.5, P-6.6
#[test]
fn the_server_picks_the_highest_version_in_common() {
    let any = || speaking(Dialect::V1, Dialect::V2);
    let only_1 = || speaking(Dialect::V1, Dialect::V1);
    let only_2 = || speaking(Dialect::V2, Dialect::V2);
    let nothing = || speaking(Dialect::V2, Dialect::V1);
    let cases = [
        (any(), (1, 0), (1, 0), Some(1)),
        (any(), (1, 0), (1, 3), Some(1)),
        (any(), (0, 9), (1, 0), Some(1)),
        (any(), (1, 0), (2, 0), Some(2)),
        (any(), (2, 0), (3, 0), Some(2)),
        (any(), (0, 0), (65535, 65535), Some(2)),
        (any(), (1, 1), (1, 3), None),
        (any(), (0, 0), (0, 0), None),
        (any(), (3, 3), (3, 3), None),
        (any(), (2, 0), (1, 0), None),
        (only_1(), (1, 0), (2, 0), Some(1)),
        (only_1(), (2, 0), (2, 0), None),
        (only_2(), (1, 0), (2, 0), Some(2)),
        (only_2(), (1, 0), (1, 3), None),
        (nothing(), (1, 0), (2, 0), None),
    ];
    for (config, min, max, selected) in cases {
        let mut server = Connection::server(START, config);
        let events = feed(&mut server, START, &connect(min, max, b""));
        match selected {
            Some(major) => {
                let version = Version { major, minor: 0 };
                assert_eq!(events, [Event::Connected { version }], "{min:?}..{max:?}");
                assert_eq!(output(&mut server), [connect_ack(major), greeting(major)].concat());
                assert_eq!(server.version(), Some(version));
            }
            None => {
                assert!(matches!(violation(&events), Violation::NoCommonVersion { .. }), "{min:?}..{max:?}");
                assert_connect_error(&mut server, ReasonCode::VERSION_MISMATCH);
                assert_eq!(server.version(), None);
            }
        }
    }
}

/// P-6.1
#[test]
fn a_client_offers_its_range_with_its_token_and_says_nothing_more_until_it_is_answered() {
    let config = Config { token: Bytes::from_static(b"secret"), ..speaking(Dialect::V1, Dialect::V2) };
    let mut client = Connection::client(START, config);
    assert_eq!(output(&mut client), connect((1, 0), (2, 0), b"secret"));
    assert_eq!(client.phase(), Phase::Authenticating);
    assert_eq!(client.version(), None);
    assert_eq!(client.open(START, "subject"), Err(CommandError::NotConnected));
    assert_eq!(client.ping(START), Err(CommandError::NotConnected));
    assert_eq!(output(&mut client), b"");
}

/// P-6.7
#[test]
fn a_client_takes_a_selected_version_that_it_speaks_and_leaves_otherwise() {
    let any = || speaking(Dialect::V1, Dialect::V2);
    let cases = [
        (any(), Version::V1_0, true),
        (any(), Version::V2_0, true),
        (any(), Version { major: 1, minor: 3 }, false),
        (any(), Version { major: 3, minor: 0 }, false),
        (speaking(Dialect::V1, Dialect::V1), Version::V2_0, false),
        (speaking(Dialect::V2, Dialect::V2), Version::V1_0, false),
    ];
    for (config, selected_version, spoken) in cases {
        let offered = config.max_dialect;
        let mut client = Connection::client(START, config);
        output(&mut client);
        let ack = frame(0, 0, Body::ConnectAck { selected_version, capabilities: 0 });
        let events = feed(&mut client, START, &[ack, greeting(selected_version.major)].concat());
        if spoken {
            assert_eq!(events, [Event::Connected { version: selected_version }]);
        } else {
            let reason = CloseReason::UnspokenVersion { selected: selected_version };
            let redial = offered == Dialect::V2 && selected_version.major == 1;
            assert_eq!(reason.suggests_redial(offered), redial);
            assert_eq!(events, [Event::Closed(reason)]);
            assert_eq!(client.version(), None);
        }
    }
}

/// P-6.8
#[test]
fn a_refused_client_learns_the_code_and_the_text() {
    let mut client = Connection::client(START, Config::default());
    let message = Some("go away");
    let refusal = frame(0, 0, Body::ConnectError { reason_code: ReasonCode::AUTHENTICATION, message });
    let reason =
        CloseReason::Refused { reason: ReasonCode::AUTHENTICATION, text: Some("go away".to_owned()) };
    assert_eq!(feed(&mut client, START, &refusal), [Event::Closed(reason)]);
}

#[test]
fn a_second_answer_to_its_connect_is_a_fault_of_the_server() {
    let mut client = client(2);
    let events = feed(&mut client, START, &connect_ack(2));
    assert!(matches!(violation(&events), Violation::WrongState { frame: "ConnectAck", .. }), "{events:?}");
}

#[test]
fn a_connected_client_that_is_told_of_an_error_of_the_connection_is_closed_with_it() {
    let mut client = client(2);
    let refusal = frame(0, 0, Body::ConnectError { reason_code: ReasonCode::LIMIT, message: Some("enough") });
    let reason = CloseReason::Refused { reason: ReasonCode::LIMIT, text: Some("enough".to_owned()) };
    assert_eq!(reason.to_string(), "the server refused the connection: limit reached (0x010a): enough");
    assert_eq!(feed(&mut client, START, &refusal), [Event::Closed(reason)]);
}

#[test]
fn dialling_again_may_help_where_the_version_alone_was_refused_and_an_older_one_was_not_offered_alone() {
    let refused = |reason| CloseReason::Refused { reason, text: None };
    let cases = [
        (refused(ReasonCode::VERSION_MISMATCH), true),
        (refused(ReasonCode::AUTHENTICATION), false),
        (CloseReason::PeerEof, false),
    ];
    for (reason, suggests) in cases {
        assert_eq!(reason.suggests_redial(Dialect::V2), suggests, "{reason}");
        assert!(!reason.suggests_redial(Dialect::V1), "{reason}");
    }
}

/// P-6.3, P-6.4
#[test]
fn every_wrong_token_gets_the_same_answer() {
    let config = Config { token: Bytes::from_static(b"secret"), ..Config::default() };
    let too_long = vec![b's'; config.limits.token_max + 1];
    let tokens: [&[u8]; 7] = [b"", b"s", b"secre", b"secrets", b"Secret", b"secreT", &too_long];
    let answers: Vec<_> = tokens
        .into_iter()
        .map(|token| {
            let mut server = Connection::server(START, config.clone());
            // The range has no version in common: the token is judged first.
            let events = feed(&mut server, START, &connect((9, 0), (9, 0), token));
            assert_eq!(violation(&events), &Violation::BadToken);
            output(&mut server)
        })
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let body = &frames(Dialect::V1, &answers[0])[0].body;
    assert!(matches!(body, Body::ConnectError { reason_code: ReasonCode::AUTHENTICATION, .. }));
}

/// P-6.3
#[test]
fn the_right_token_opens_and_without_a_configured_one_any_does() {
    let demanding = Config { token: Bytes::from_static(b"secret"), ..Config::default() };
    for (config, token) in [(demanding, &b"secret"[..]), (Config::default(), b"whatever")] {
        let mut server = Connection::server(START, config);
        let events = feed(&mut server, START, &connect((1, 0), (1, 0), token));
        assert_eq!(events, [Event::Connected { version: Version::V1_0 }]);
    }
}

/// P-6.9
#[test]
fn frames_of_version_2_before_the_handshake_are_of_unknown_type() {
    let mut server = Connection::server(START, Config::default());
    let early = message_v2(0, 0x55, 1, b"early");
    let bytes = [early.clone(), connect((2, 0), (2, 0), b""), greeting(2), early].concat();
    assert_eq!(feed(&mut server, START, &bytes), [Event::Connected { version: Version::V2_0 }]);
    let answers: Vec<_> = said(&mut server).iter().filter_map(Body::frame_type).collect();
    let only_the_second = [FrameType::ConnectAck, FrameType::Windows, FrameType::Outcome];
    assert_eq!(answers, only_the_second);
}

// ── the table ───────────────────────────────────────────────────────────────────────────────────────

/// A valid frame of each type, and one of none.
fn every_frame() -> Vec<(Option<FrameType>, Vec<u8>)> {
    let reason_code = ReasonCode::OTHER;
    let version = Version::V1_0;
    let none: [&str; 0] = [];
    let texts = Texts::new(none).unwrap();
    let texts = || Texts::clone(&texts);
    let schemas = SchemaIds::new([]).unwrap();
    let conversation_id = conversation(99);
    let bodies: Vec<Body<&str, Bytes>> = vec![
        Body::Connect { min_version: version, max_version: version, auth_token: Bytes::new() },
        Body::ConnectAck { selected_version: version, capabilities: 0 },
        Body::ConnectError { reason_code, message: None },
        Body::Disconnect,
        Body::Subscribe { channel: "c", accepted_schemas: schemas, max_in_flight: 1 },
        Body::SubscribeAck { subscription_id: 1, selected_schema: Default::default() },
        Body::SubscribeError { reason_code, message: None },
        Body::Unsubscribe { subscription_id: 1 },
        Body::Publish { channel: "c", envelope: envelope(b""), idempotency_key: None },
        Body::PublishAck { message_id: 1 },
        Body::PublishError { reason_code, message: None },
        Body::ConversationOpen { conversation_id, subject: "s" },
        Body::ConversationMessage { conversation_id, envelope: envelope(b"") },
        Body::ConversationClose { conversation_id, reason_code: None, message: None },
        Body::ConversationError { conversation_id, reason_code, message: None },
        Body::Accept { referenced_message_id: "m" },
        Body::Defer { referenced_message_id: "m", reason: None },
        Body::Reject { referenced_message_id: "m", reason: None },
        Body::Ping,
        Body::Pong,
        Body::Push { correlation_id: 1, payload: Bytes::new() },
        Body::PushReply { correlation_id: 1, payload: Bytes::new() },
        Body::WorkerRegister {
            namespaces: texts(),
            task_queue: "q",
            node: None,
            activity_types: texts(),
            identity: "i",
        },
        Body::WorkerRegisterAck { verdict: WorkerVerdict::Accepted },
        Body::Deliver { delivery_seq: 1, envelope: envelope(b"") },
        Body::Opened { pid: None },
        Body::Refused { reason_code, message: None },
        Body::Message {
            message_id: MessageId::new(1),
            answers: None,
            timeout_ms: None,
            redelivered: None,
            metadata: None,
            payload: Bytes::new(),
        },
        Body::Exited {
            pid: Pid::new(1),
            record: RecordNumber::new(1),
            cause: 0,
            message: None,
            unanswered: 0,
            records: RecordNumbers::default(),
        },
        Body::Outcome { message_id: MessageId::new(1), reason_code, record: None, message: None },
        Body::Joined { pid: Pid::new(1) },
        Body::Failed,
        Body::Serve { capacity: 1, subject: None },
        Body::Serving,
        Body::Withdraw,
        Body::Withdrawn,
        Body::Invite { pid: Pid::new(1), subject: "s" },
        Body::Open { on_exit: OnExit::Fail, total_ms: None, idle_ms: None, subject: "s" },
        Body::Windows { payload_max: 1, conversation: 1, connection: 1 },
        Body::Monitor { pid: Pid::new(1) },
        Body::Watch { subject: None },
        Body::Monitoring,
        Body::Unmonitor,
        Body::Unmonitored,
        Body::Record {
            log: LogId::new(1),
            record: RecordNumber::new(1),
            what: 9,
            of: 0,
            cause: 0,
            timeout_ms: None,
            subject: None,
            message: None,
            metadata: None,
            payload: Bytes::new(),
        },
        Body::Gap {
            log: LogId::new(1),
            from: RecordNumber::new(1),
            to: RecordNumber::new(1),
            why: 0,
            subject: None,
        },
        Body::Credit { bytes: 1 },
        Body::ConnectionCredit { messages: 1, replies: 1 },
    ];
    let mut frames: Vec<_> = bodies.into_iter().map(|body| (body.frame_type(), valid(body))).collect();
    assert!(frames.iter().map(|(frame_type, _)| *frame_type).eq(FrameType::ALL.iter().copied().map(Some)));
    frames.push((None, raw(0x7F, 0xFF, 3, b"anything")));
    frames
}

fn valid(body: Body<&str, Bytes>) -> Vec<u8> {
    let rule = body.frame_type().unwrap().stream_rule();
    let stream = if rule.allows(liminal_proto::StreamId::CONTROL) { 0 } else { 99 };
    frame(0, stream, body)
}

/// What a server does with a frame.
#[derive(Debug, PartialEq, Eq)]
enum Does {
    /// It is ignored.
    Ignores,
    /// It answers with Pong.
    Pongs,
    /// It takes it; what comes of it is not the table's business.
    Takes,
    /// The connection is over, with this code in a `ConnectError`.
    Refuses(ReasonCode),
    /// It echoes Disconnect, and the connection is over.
    Echoes,
    /// The connection is over without a word.
    Ends,
}

fn server_does(server: &mut Connection, bytes: &[u8]) -> Does {
    let strays = server.strays();
    let events = feed(server, START, bytes);
    let said = said(server);
    match (&events[..], &said[..]) {
        ([], [Body::Pong]) => Does::Pongs,
        ([Event::Closed(CloseReason::Violation(_))], [Body::ConnectError { reason_code, .. }]) => {
            Does::Refuses(*reason_code)
        }
        ([Event::Closed(CloseReason::Peer)], [Body::Disconnect]) => Does::Echoes,
        ([Event::Closed(_)], []) => Does::Ends,
        ([], []) if server.strays() == strays || server.phase() != Phase::Closed => Does::Ignores,
        _ => Does::Takes,
    }
}

/// P-6.12
#[test]
fn on_streams_of_its_own_an_active_server_ignores_every_frame_where_it_has_begun_nothing() {
    for (frame_type, mut bytes) in every_frame() {
        bytes[5] &= !1;
        use FrameType as T;
        let begins =
            matches!(frame_type, Some(T::ConversationOpen | T::Open | T::Serve | T::Monitor | T::Watch));
        if bytes[5] == 0 {
            continue;
        }
        let mut server = server(2);
        let expected = if begins { Does::Refuses(ReasonCode::INVALID_STREAM) } else { Does::Ignores };
        assert_eq!(server_does(&mut server, &bytes), expected, "{frame_type:?}");
    }
}

/// P-7.17
#[test]
fn a_connected_client_ignores_every_frame_where_it_has_begun_nothing_and_was_not_invited() {
    use FrameType as T;
    for (frame_type, bytes) in every_frame() {
        for parity in [0, 1] {
            let mut bytes = bytes.clone();
            if bytes[5] == 0 {
                continue;
            }
            bytes[5] = bytes[5] & !1 | parity;
            let mut client = client(2);
            let told = feed(&mut client, START, &bytes);
            let answers = match (frame_type, parity) {
                (Some(T::Invite), 0) => vec![T::Refused],
                (Some(T::Message), 0) => vec![T::Outcome],
                _ => vec![],
            };
            let breach = (frame_type, parity) == (Some(T::Invite), 1);
            assert_eq!(!told.is_empty(), breach, "{frame_type:?}: {told:?}");
            let said: Vec<_> = said(&mut client).iter().filter_map(Body::frame_type).collect();
            assert_eq!(said, answers, "{frame_type:?}");
        }
    }
}

/// Frames of which a server, too, makes nothing when it has neither asked for them nor begun anything.
fn is_for_clients(frame_type: FrameType) -> bool {
    use FrameType as T;
    matches!(
        frame_type,
        T::ConnectAck
            | T::ConnectError
            | T::SubscribeAck
            | T::SubscribeError
            | T::PublishAck
            | T::PublishError
            | T::ConversationError
            | T::Push
            | T::WorkerRegisterAck
            | T::Deliver
            | T::Opened
            | T::Refused
            | T::Exited
            | T::Outcome
            | T::Joined
            | T::Failed
            | T::Serving
            | T::Withdrawn
            | T::Invite
            | T::Credit
            | T::ConnectionCredit
            | T::Monitoring
            | T::Unmonitored
            | T::Record
            | T::Gap
    )
}

/// P-6.10, P-6.11, P-6.12
#[test]
fn before_connect_a_server_takes_connect_answers_ping_and_refuses_the_rest() {
    for (frame_type, bytes) in every_frame() {
        let mut server = Connection::server(START, Config::default());
        let expected = match frame_type {
            None => Does::Ignores,
            Some(FrameType::Connect) => Does::Takes,
            Some(FrameType::Ping) => Does::Pongs,
            Some(it) if is_for_clients(it) || it.since() == Dialect::V2 => Does::Ignores,
            Some(_) => Does::Refuses(ReasonCode::INVALID_STATE),
        };
        assert_eq!(server_does(&mut server, &bytes), expected, "{frame_type:?}");
    }
}

/// P-6.12, P-6.13, P-6.14
#[test]
fn an_active_server_refuses_a_second_connect_and_ignores_what_only_servers_send() {
    for version in [1, 2] {
        for (frame_type, bytes) in every_frame() {
            let mut server = server(version);
            let does = server_does(&mut server, &bytes);
            match frame_type {
                Some(FrameType::Connect) => assert_eq!(does, Does::Refuses(ReasonCode::INVALID_STATE)),
                Some(FrameType::Windows) if version == 2 => {
                    assert_eq!(does, Does::Refuses(ReasonCode::INVALID_STATE));
                }
                Some(FrameType::Disconnect) => assert_eq!(does, Does::Echoes),
                Some(FrameType::Ping) => assert_eq!(does, Does::Pongs),
                Some(it) if is_for_clients(it) => assert_eq!(does, Does::Ignores, "{it:?}"),
                None | Some(FrameType::Pong) => assert_eq!(does, Does::Ignores, "{frame_type:?}"),
                Some(_) => assert_eq!(server.phase(), Phase::Active, "{frame_type:?}"),
            }
        }
    }
}

/// P-6.15
#[test]
fn a_closing_server_takes_disconnect_as_the_end_and_still_refuses_connect() {
    for (frame_type, bytes) in every_frame() {
        let mut server = server(1);
        server.disconnect(START);
        assert_eq!(said(&mut server), [Body::Disconnect]);
        let does = server_does(&mut server, &bytes);
        match frame_type {
            Some(FrameType::Connect) => assert_eq!(does, Does::Refuses(ReasonCode::INVALID_STATE)),
            Some(FrameType::Disconnect) => assert_eq!(does, Does::Ends),
            Some(FrameType::Ping) => assert_eq!(does, Does::Pongs),
            _ => assert_eq!(server.phase(), Phase::ClosingLocal, "{frame_type:?}"),
        }
    }
}

/// P-6.18
#[test]
fn a_2_0_server_takes_windows_first_and_nothing_before_it() {
    for (frame_type, bytes) in every_frame() {
        let mut server = Connection::server(START, Config::default());
        feed(&mut server, START, &connect((2, 0), (2, 0), b""));
        output(&mut server);
        let does = server_does(&mut server, &bytes);
        let expected = match frame_type {
            Some(FrameType::Windows | FrameType::Pong) | None => Does::Ignores,
            Some(FrameType::Disconnect) => Does::Echoes,
            Some(FrameType::Ping) => Does::Pongs,
            Some(_) => Does::Refuses(ReasonCode::INVALID_STATE),
        };
        assert_eq!(does, expected, "{frame_type:?}");
    }
}

/// P-6.18
#[test]
fn a_2_0_client_says_windows_when_its_version_was_chosen_and_is_connected_by_those_of_the_server() {
    for (frame_type, bytes) in every_frame() {
        let mut client = Connection::client(START, Config::default());
        output(&mut client);
        assert_eq!(feed(&mut client, START, &connect_ack(2)), []);
        assert_eq!((output(&mut client), client.version()), (greeting(2), None));
        assert_eq!(client.open(START, "subject"), Err(CommandError::NotConnected));
        let events = feed(&mut client, START, &bytes);
        match frame_type {
            Some(FrameType::Windows) => assert_eq!(events, [Event::Connected { version: Version::V2_0 }]),
            Some(FrameType::ConnectError) => {
                assert!(matches!(events[..], [Event::Closed(CloseReason::Refused { .. })]));
            }
            Some(FrameType::Ping) => assert_eq!(said(&mut client), [Body::Pong]),
            Some(it) => assert!(matches!(violation(&events), Violation::WrongState { .. }), "{it:?}"),
            None => assert_eq!(events, []),
        }
    }
}

#[test]
fn a_closed_server_takes_nothing() {
    for (frame_type, bytes) in every_frame() {
        let mut server = server(1);
        feed(&mut server, START, &disconnect());
        output(&mut server);
        assert_eq!(feed(&mut server, START, &bytes), [], "{frame_type:?}");
        assert_eq!(server.output_len(), 0);
    }
}

/// P-6.16
#[test]
fn a_client_takes_nothing_but_the_answer_to_its_connect() {
    for (frame_type, bytes) in every_frame() {
        let mut client = Connection::client(START, Config::default());
        output(&mut client);
        let events = feed(&mut client, START, &bytes);
        match frame_type {
            Some(FrameType::ConnectAck) => assert!(matches!(events[..], [Event::Connected { .. }])),
            Some(FrameType::ConnectError) => {
                assert!(matches!(events[..], [Event::Closed(CloseReason::Refused { .. })]));
            }
            Some(FrameType::Ping) => assert_eq!(said(&mut client), [Body::Pong]),
            Some(it) if it.since() == Dialect::V1 => {
                assert!(matches!(violation(&events), Violation::WrongState { .. }), "{it:?}");
                assert_eq!(client.output_len(), 0, "a client has no word for a violation");
            }
            None | Some(_) => assert_eq!(events, [], "{frame_type:?}"),
        }
    }
}

/// P-3.4
#[test]
fn the_stream_is_judged_before_the_state() {
    for (frame_type, bytes) in every_frame() {
        let Some(frame_type) = frame_type.filter(|it| it.since() == Dialect::V1) else { continue };
        let mut bytes = bytes;
        bytes[5] = u8::from(bytes[5] == 0);
        for mut server in [Connection::server(START, Config::default()), server(1)] {
            let does = server_does(&mut server, &bytes);
            assert_eq!(does, Does::Refuses(ReasonCode::INVALID_STREAM), "{frame_type:?}");
        }
    }
}

/// P-8.16
#[test]
fn a_client_for_whom_there_is_no_room_is_told_before_its_connect_was_read() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let mut client = Connection::client(START, speaking(Dialect::V1, dialect));
        let body = Body::ConnectError { reason_code: ReasonCode::LIMIT, message: Some("no room") };
        let events = feed(&mut client, START, &frame(0, 0, body));
        let refused = CloseReason::Refused { reason: ReasonCode::LIMIT, text: Some("no room".into()) };
        assert_eq!(events, [Event::Closed(refused)]);
    }
}
