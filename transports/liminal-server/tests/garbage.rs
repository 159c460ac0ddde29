//! What strangers say to a server: each gets the exact code where the protocol has one, then a close and
//! one line in the log, and nobody else notices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kit::{DEADLINE, Server, TRANSPORTS, connect_frame, frame};
use liminal_proto::wire::{Body, Version};
use liminal_proto::{ConversationId, Limits, ReasonCode};
use serde_json::Value;

/// A stranger is gone after this, on a busy machine too.
const PROMPTLY: Duration = Duration::from_secs(3);

fn with_length(type_id: u8, stream: u32, len: u32) -> Vec<u8> {
    let mut bytes = vec![type_id, 0];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes
}

fn tls_hello() -> Vec<u8> {
    let mut bytes = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03];
    bytes.extend((0..506_u32).map(|n| (n * 7) as u8));
    bytes
}

/// Bytes without any sense, the same in each run, whose first frame announces far too much.
fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..4096).map(|_| next() | 0x40).collect()
}

/// Name, what is said first, the code of the answer, and what the log says.
fn strangers() -> Vec<(&'static str, Vec<u8>, ReasonCode, &'static str)> {
    let too_large = ReasonCode::TOO_LARGE;
    let open = Body::ConversationOpen { conversation_id: ConversationId::new(1), subject: "x".into() };
    let (low, high) = (Version { major: 7, minor: 0 }, Version { major: 9, minor: 0 });
    let future = Body::Connect { min_version: low, max_version: high, auth_token: Bytes::new() };
    let mut twice = connect_frame();
    twice.extend(connect_frame());
    let mut wrong_field = connect_frame();
    wrong_field[13] = 0xFF;
    wrong_field[17] = 0xFF;
    wrong_field[18] = 0xFF;
    vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), too_large, "an HTTP request"),
        ("POST", [&b"POST /x HTTP/1.1\r\n\r\n"[..], &[0; 4096]].concat(), too_large, "an HTTP request"),
        ("TLS", tls_hello(), too_large, "a TLS hello"),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), too_large, "an SSH banner"),
        ("noise", noise(), too_large, "above the limit"),
        ("4 GiB", with_length(0x01, 0, u32::MAX), too_large, "above the limit of"),
        ("4 GiB of unknown type", with_length(0xEE, 7, u32::MAX), too_large, "above the limit of"),
        ("no Connect", frame(1, 0, open), ReasonCode::INVALID_STATE, "ConversationOpen"),
        ("Pong first", frame(0, 0, Body::Pong), ReasonCode::INVALID_STATE, "Pong"),
        ("bad stream", with_length(0x01, 9, 0), ReasonCode::INVALID_STREAM, "Connect must be on stream 0"),
        ("a field goes on past the end", wrong_field, ReasonCode::CODEC, "auth_token"),
        ("from the future", frame(0, 0, future), ReasonCode::VERSION_MISMATCH, "7.0 to 9.0"),
    ]
}

/// Asks all the time, and fails when one answer is wrong or late.
struct Bystander {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<u32>,
}

impl Bystander {
    fn start(server: &Server) -> Self {
        let (handle, _) = liminal_blocking::connect(server.address()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let conversation = handle.open("x").unwrap();
            let mut asked = 0;
            while !stopped.load(Ordering::Relaxed) || asked == 0 {
                assert_eq!(conversation.ask("still there?", PROMPTLY).unwrap(), "still there?");
                asked += 1;
            }
            asked
        });
        Self { stop, thread }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert!(self.thread.join().unwrap() > 0);
    }
}

#[test]
fn a_stranger_is_told_why_and_is_gone_and_nobody_else_notices() {
    for transport in TRANSPORTS {
        let server = Server::on_tcp(transport, &[]);
        let bystander = Bystander::start(&server);
        for (name, bytes, code, logged) in strangers() {
            let began = Instant::now();
            let mut peer = server.peer();
            peer.send(&bytes);
            assert_eq!(peer.refusal(), code, "{transport}: {name}");
            assert!(began.elapsed() < PROMPTLY, "{transport}: {name}");
            let line = server.logs("WARN");
            assert!(line.contains(logged), "{transport}: {name}: {line}");
        }
        bystander.finish();
        server.signal("-TERM");
        let ended = server.ended();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!ended.log.iter().any(|line| line.contains("WARN")), "{ended:?}");
    }
}

#[test]
fn after_the_handshake_the_same_codes_hold() {
    let open =
        frame(1, 0, Body::ConversationOpen { conversation_id: ConversationId::new(1), subject: "x".into() });
    for transport in TRANSPORTS {
        let server = Server::on_tcp(transport, &[]);
        let bystander = Bystander::start(&server);
        for (name, bytes, code) in [
            ("second Connect", connect_frame(), ReasonCode::INVALID_STATE),
            ("4 GiB", with_length(0x0D, 1, u32::MAX), ReasonCode::TOO_LARGE),
            ("one byte above the limit", with_length(0x0D, 1, (1 << 20) + 1), ReasonCode::TOO_LARGE),
            ("message on stream 0", with_length(0x0D, 0, 0), ReasonCode::INVALID_STREAM),
            ("empty message", with_length(0x0D, 1, 0), ReasonCode::CODEC),
            ("Ping with a payload", [&with_length(0x13, 0, 1)[..], b"x"].concat(), ReasonCode::CODEC),
        ] {
            let mut peer = server.peer();
            peer.shake_hands();
            peer.send(&open);
            peer.send(&bytes);
            assert_eq!(peer.refusal(), code, "{transport}: {name}");
            server.logs("WARN");
        }
        bystander.finish();
    }
}

/// The recorded byte strings that 1.0 peers refuse, with their codes.
fn malformed() -> Vec<(String, Vec<u8>, u16)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/interop/vectors/frames.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = vectors["malformed"].as_array().unwrap();
    let case = |case: &Value| {
        let bytes = liminal_cli::frame_json::hex::decode(case["hex"].as_str().unwrap()).unwrap();
        let code = case["reason_code"].as_u64().unwrap();
        (case["name"].as_str().unwrap().to_owned(), bytes, u16::try_from(code).unwrap())
    };
    cases.iter().map(case).collect()
}

/// The code that a server answers a malformed first frame with. Judging comes in the order of the
/// specification: the limit at the tenth byte, and what never becomes a whole frame is cut off.
fn answer(bytes: &[u8], recorded: u16, limit: u32) -> ReasonCode {
    let announced = bytes.get(6..10).map(|len| u32::from_be_bytes(len.try_into().unwrap()));
    match ReasonCode::new(recorded) {
        _ if announced.is_some_and(|announced| announced > limit) => ReasonCode::TOO_LARGE,
        ReasonCode::INCOMPLETE_HEADER => ReasonCode::TRUNCATED_PAYLOAD,
        recorded => recorded,
    }
}

#[test]
fn malformed_bytes_get_the_recorded_codes() {
    let limits = Limits::default();
    let server = Server::on_tcp("smol", &[]);
    let bystander = Bystander::start(&server);
    for (name, bytes, recorded) in malformed() {
        for connected in [false, true] {
            let mut peer = server.peer();
            if connected {
                peer.shake_hands();
            }
            peer.send(&bytes);
            // Only the end of the stream makes a fault of what is merely incomplete.
            peer.end();
            let limit = if connected { limits.frame_payload_max } else { limits.handshake_frame_payload_max };
            if bytes.is_empty() {
                assert_eq!(peer.hear(), None, "{name}");
            } else {
                assert_eq!(peer.refusal(), answer(&bytes, recorded, limit), "{name}, connected: {connected}");
            }
        }
    }
    bystander.finish();
}

#[test]
fn a_stranger_who_says_half_a_header_and_waits_is_shown_the_door() {
    let server = Server::on_tcp("smol", &[]);
    let bystander = Bystander::start(&server);
    let began = Instant::now();
    let mut peer = server.peer();
    peer.send(&[0x01, 0x00, 0x00]);
    assert_eq!(peer.refusal(), ReasonCode::TOO_SLOW);
    assert!(began.elapsed() < DEADLINE / 3);
    bystander.finish();
}
