//! What a broken or hostile peer gets for its bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use bytes::Bytes;
use liminal_proto::wire::{Body, DecodeError, HEADER_LEN, WorkerVerdict, flag};
use liminal_proto::{Config, Connection, Event, ReasonCode, Reply, Resemblance, TimerReason, Violation};

use support::*;

/// P-1.3, P-6.14
#[test]
fn a_frame_above_the_limit_is_refused_at_its_tenth_byte() {
    for (mut server, limit) in [(server(1), 1 << 20), (Connection::server(START, Config::default()), 8 << 10)]
    {
        let mut header = raw(0x0D, 0, 1, b"");
        header[6..].copy_from_slice(&(limit + 1_u32).to_be_bytes());
        assert_eq!(feed(&mut server, START, &header[..9]), []);
        let events = feed(&mut server, START, &header[9..]);
        let error = DecodeError::TooLarge { len: limit + 1, limit };
        assert!(matches!(violation(&events), Violation::Undecodable { error: it, .. } if *it == error));
        assert_connect_error(&mut server, ReasonCode::TOO_LARGE);
    }
}

/// P-1.3
#[test]
fn the_largest_frame_is_taken_and_a_declared_length_reserves_nothing() {
    let mut server = server_with_conversation(1, Config::default());
    let mut header = raw(0x0D, 0, 1, b"");
    header[6..].copy_from_slice(&(1_u32 << 20).to_be_bytes());
    assert_eq!(feed(&mut server, START, &header), []);
    assert!(server.read_space().unwrap().len() <= 4096);
    assert!(wants(&mut server).read);
}

/// P-6.14
#[test]
fn undecodable_frames_get_a_connect_error_with_the_exact_code() {
    let cases = [
        (ReasonCode::INVALID_STREAM, raw(0x0C, 0, 0, &[0; 12])),
        (ReasonCode::INVALID_STREAM, raw(0x13, 0, 1, b"")),
        (ReasonCode::CODEC, raw(0x13, 0, 0, b"trailing")),
        (ReasonCode::CODEC, raw(0x0D, 0, 1, &[0; 20])),
        (ReasonCode::CODEC, raw(0x0C, 0, 1, b"\0\0\0\0\0\0\0\x01\0\0\0\x01\xFF")),
        (ReasonCode::CODEC, raw(0x0C, 0, 1, b"\0\0\0\0\0\0\0\x01\xFF\xFF\xFF\xFF")),
        (ReasonCode::CODEC, raw(0x05, 0, 1, b"\0\0\0\0\xFF\xFF\xFF\xFF\0\0\0\x01")),
        (ReasonCode::TOO_LARGE, vec![0xFF; HEADER_LEN]),
    ];
    for version in [1, 2] {
        for (code, bytes) in &cases {
            let mut server = server(version);
            let events = feed(&mut server, START, bytes);
            assert!(matches!(violation(&events), Violation::Undecodable { .. }), "{events:?}");
            assert_connect_error(&mut server, *code);
        }
    }
}

#[test]
fn a_client_leaves_a_server_that_sends_nonsense_without_a_word() {
    let mut client = client(1);
    let events = feed(&mut client, START, &raw(0x13, 0, 1, b""));
    assert!(matches!(violation(&events), Violation::Undecodable { .. }));
    assert_eq!(client.output_len(), 0);
    assert!(wants(&mut client).finished);
}

#[test]
fn strangers_are_named_in_the_text() {
    let cases: [(&[u8], Resemblance, &str); 5] = [
        (b"GET / HTTP/1.1\r\nHost: example\r\n\r\n", Resemblance::Http, "an HTTP request"),
        (b"POST /v1 HTTP/1.1\r\n", Resemblance::Http, "an HTTP request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Resemblance::Http, "an HTTP request"),
        (b"\x16\x03\x01\x00\xF8\x01\x00\x00\xF4\x03\x03rest", Resemblance::Tls, "a TLS hello"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Resemblance::Ssh, "an SSH banner"),
    ];
    for (bytes, resemblance, words) in cases {
        let mut server = Connection::server(START, Config::default());
        let events = feed(&mut server, START, bytes);
        let Violation::Undecodable { resembles, .. } = violation(&events) else { panic!("{events:?}") };
        assert_eq!(*resembles, Some(resemblance));
        assert!(violation(&events).to_string().contains(words));
        assert!(assert_connect_error(&mut server, ReasonCode::TOO_LARGE).contains(words));
    }
}

#[test]
fn what_looks_like_a_stranger_later_on_is_not_called_one() {
    let mut server = server(1);
    let events = feed(&mut server, START, b"GET / HTTP/1.1\r\n");
    assert!(matches!(violation(&events), Violation::Undecodable { resembles: None, .. }));
}

/// P-3.3
#[test]
fn unknown_types_are_ignored_on_any_stream_with_any_flags() {
    let mut server = server_with_conversation(1, Config::default());
    let unknown: Vec<u8> = (0x1A..=0xFF)
        .flat_map(|type_id| raw(type_id, type_id, u32::from(type_id) % 3, b"whatever"))
        .collect();
    let mut now = START;
    for chunk in unknown.chunks(18 * 100) {
        assert_eq!(feed(&mut server, now, chunk), []);
        now = now.after(core::time::Duration::from_secs(2));
    }
    assert_eq!(output(&mut server), b"");
    assert_eq!(feed(&mut server, now, &message_v1(0, 1, 1, b"known")).len(), 1);
}

/// P-6.17
#[test]
fn bytes_after_the_end_are_discarded_unread() {
    let mut server = server(1);
    feed(&mut server, START, &raw(0x13, 0, 1, b""));
    output(&mut server);
    let many = vec![0; 1 << 20];
    assert_eq!(server.receive(START, &many), many.len());
    assert!(server.read_space().is_none());
    let wants = wants(&mut server);
    assert!(wants.finished && !wants.read);
}

#[test]
fn a_violation_discards_what_stands_behind_it() {
    let mut server = server_with_conversation(1, Config::default());
    let bytes = [message_v1(0, 1, 1, b"before"), raw(0x13, 0, 1, b""), message_v1(0, 1, 1, b"after")];
    let events = feed(&mut server, START, &bytes.concat());
    assert!(matches!(events[..], [Event::Message(_), Event::Closed(_)]), "{events:?}");
}

#[test]
fn unused_operations_of_1_0_are_refused_on_their_stream() {
    let mut server = server(1);
    let publish = Body::Publish { channel: "c", envelope: envelope(b""), idempotency_key: None };
    feed(&mut server, START, &frame(0, 7, publish));
    let written = written(&mut server);
    assert_eq!(written[0].stream.get(), 7);
    let reason_code = ReasonCode::UNKNOWN_CHANNEL;
    assert!(matches!(written[0].body, Body::PublishError { reason_code: it, .. } if it == reason_code));
}

#[test]
fn a_worker_that_registers_is_accepted() {
    let none: [&str; 0] = [];
    let texts = || liminal_proto::wire::Texts::new(none).unwrap();
    let body = Body::WorkerRegister {
        namespaces: texts(),
        task_queue: "q",
        node: None,
        activity_types: texts(),
        identity: "i",
    };
    let mut server = server(1);
    assert_eq!(feed(&mut server, START, &frame(0, 0, body)), []);
    assert_eq!(said(&mut server), [Body::WorkerRegisterAck { verdict: WorkerVerdict::Accepted }]);
    assert_eq!(server.strays(), 0);
}

#[test]
fn a_violation_says_in_words_what_came_and_when() {
    let mut server = Connection::server(START, Config::default());
    feed(&mut server, START, &open(1));
    let text = assert_connect_error(&mut server, ReasonCode::INVALID_STATE);
    assert!(text.contains("ConversationOpen") && text.contains("before Connect"), "{text}");
    let mut server = Connection::server(START, Config::default());
    feed(&mut server, START, &connect((3, 0), (4, 7), b""));
    let text = assert_connect_error(&mut server, ReasonCode::VERSION_MISMATCH);
    assert!(text.contains("3.0") && text.contains("4.7"), "{text}");
    let limit = core::time::Duration::from_secs(10);
    let slow = |what| Violation::TooSlow { what, limit }.to_string();
    assert!(slow(TimerReason::Handshake).contains("the handshake was not through"));
    assert!(slow(TimerReason::WriteStall).contains("the peer read none of the output"));
}

#[test]
fn a_name_above_its_limit_refuses_the_operation_and_not_the_connection() {
    let mut server = server(1);
    let name = "n".repeat(257);
    assert_eq!(feed(&mut server, START, &open_on(3, 8, &name)), []);
    let said = said(&mut server);
    let code = ReasonCode::INVALID_NAME;
    assert!(matches!(said[..], [Body::ConversationError { reason_code, .. }] if reason_code == code));
    assert_eq!(feed(&mut server, START, &open_on(3, 8, &name[1..])).len(), 1);
}

#[test]
fn what_is_logged_of_connections_and_messages_shows_lengths_and_never_what_was_said() {
    let mut server = server_with_conversation(2, Config::default());
    let bytes = message_v2(flag::WANTS_REPLY, 1, 2, b"secret");
    let event = feed(&mut server, START, &bytes).remove(0);
    let message = format!("{:?}", message_of(&event));
    assert!(message.starts_with("Message { conversation: ConversationId(1), id: MessageId(2)"), "{message}");
    assert!(message.ends_with("payload: 6 bytes, metadata: 0 bytes }"), "{message}");
    let reply = Reply { last: false, ..reply(conversation(1), id(2), b"secret, too") };
    assert!(
        format!("{reply:?}").ends_with("last: false, payload: 11 bytes, metadata: 0 bytes }"),
        "{reply:?}"
    );
    server.reply(START, reply).unwrap();
    server.receive(START, &bytes[..12]);
    assert_eq!(server.held_bytes(), 12 + server.output_len());
    let (side, queued) = ("Connection { side: Server, phase: Active", server.output_len());
    let shown = format!("{server:?}");
    assert!(shown.starts_with(side), "{shown}");
    assert!(shown.ends_with(&format!("input: 12 bytes, output: {queued} bytes, .. }}")), "{shown}");
}

#[test]
fn texts_of_the_peer_are_cut_when_they_are_kept() {
    let mut client = Connection::client(START, Config::default());
    output(&mut client);
    let text = "é".repeat(1000);
    let body = Body::ConnectError { reason_code: ReasonCode::OTHER, message: Some(text.as_str()) };
    let events = feed(&mut client, START, &frame(0, 0, body));
    let [Event::Closed(liminal_proto::CloseReason::Refused { text: Some(kept), .. })] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(kept.len(), 1024);
}

#[test]
fn limits_without_sense_panic_nowhere_and_frames_of_control_still_go_out() {
    let config = limited(|limits| {
        limits.frame_payload_max = 40;
        limits.input_max = 0;
    });
    let mut server = server_of(2, config);
    feed(&mut server, START, &open(1));
    server.refuse(START, conversation(1), ReasonCode::NO_PARTICIPANT, Some(&"long ".repeat(20))).unwrap();
    assert_eq!(written(&mut server).len(), 1);
    let mut client =
        Connection::client(START, Config { token: Bytes::from(vec![1; 100]), ..Config::default() });
    assert!(!output(&mut client).is_empty());
}
