//! Peers that are broken or mean no good: each is answered or closed, and its neighbours never notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use liminal_proto::wire::{Body, Dialect, Version};
use liminal_proto::{ConversationId, Limits, MessageId, ReasonCode};

use crate::WAIT;
use crate::puppet::{Host, Seen, say};
use crate::raw::Raw;
use crate::stage::{Setup, Stage, World};
use crate::transport::Transport;

/// Runs something hostile while a neighbour asks all the time.
pub(super) fn beside_a_neighbour(world: &World<'_>, hostile: impl FnOnce()) {
    let (_handle, conversation) = world.open("inline");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !over.load(Ordering::Relaxed) || asked < 10 {
                assert_eq!(conversation.ask("hello".into(), WAIT / 4).unwrap(), "hello");
                asked += 1;
                thread::sleep(Duration::from_millis(1));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(hostile));
        over.store(true, Ordering::Relaxed);
        asking.join().unwrap();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Bytes before the handshake that are not the protocol, or not what it allows there.
pub fn strangers_are_told_and_closed(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let raw = world.raw();
    let connect = |min, max| Body::Connect { min_version: min, max_version: max, auth_token: &b""[..] };
    let too_new = Version { major: 9, minor: 0 };
    let mut trailing = raw.bytes_of(0, 0, Body::Disconnect).to_vec();
    trailing[9] = 1;
    trailing.push(0);
    let wrong_stream = raw.bytes_of(0, 0, Body::Ping).to_vec();
    let wrong_stream = [&wrong_stream[..5], &[7], &wrong_stream[6..]].concat();
    let cases: [(&str, Vec<u8>, ReasonCode); 10] = [
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), ReasonCode::TOO_LARGE),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), ReasonCode::TOO_LARGE),
        ("noise", vec![0xA5; 64], ReasonCode::TOO_LARGE),
        (
            "a length of 4 GiB, and nothing else",
            b"\x01\x00\0\0\0\0\xff\xff\xff\xff".to_vec(),
            ReasonCode::TOO_LARGE,
        ),
        ("a length above the limit", b"\x01\x00\0\0\0\0\x00\x10\x00\x01".to_vec(), ReasonCode::TOO_LARGE),
        ("a wrong stream", wrong_stream, ReasonCode::INVALID_STREAM),
        ("a trailing byte", trailing, ReasonCode::CODEC),
        (
            "a message",
            raw.bytes_of(1, 1, crate::raw::message(1, b"hello")).to_vec(),
            ReasonCode::INVALID_STATE,
        ),
        (
            "an open",
            raw.bytes_of(
                0,
                1,
                Body::ConversationOpen { conversation_id: ConversationId::new(1), subject: "inline" },
            )
            .to_vec(),
            ReasonCode::INVALID_STATE,
        ),
        (
            "no version in common",
            raw.bytes_of(0, 0, connect(too_new, too_new)).to_vec(),
            ReasonCode::VERSION_MISMATCH,
        ),
    ];
    beside_a_neighbour(&world, || {
        for (what, bytes, code) in cases {
            let mut raw = world.raw();
            raw.send_bytes(&bytes);
            let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| raw.expect_refusal(code)));
            assert!(refused.is_ok(), "{what}");
        }
    });
}

/// A fault that comes with a request outstanding ends its conversation as well.
pub fn a_fault_ends_the_conversations(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = world.raw();
        raw.shake_hands(Dialect::V1);
        raw.open(1, 1, host.subject());
        raw.say(0, 1, 1, b"hello");
        world.await_said("hello");
        raw.send_bytes(&[0xA5; 64]);
        raw.expect_refusal(ReasonCode::TOO_LARGE);
        world.await_orphaned();
    }
}

/// One byte at a time is slow, and no fault.
pub fn one_byte_at_a_time_is_understood(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| {
            let limits = &mut options.connection.limits;
            limits.unfinished_frame_rate_min = 1;
            limits.handshake_unfinished_frame_time = WAIT;
            limits.handshake_time = WAIT;
        })
        .serve(transport, Setup::V2);
    let mut raw = world.raw();
    let version = Version::V1_0;
    let frames = [
        raw.bytes_of(0, 0, Body::Connect { min_version: version, max_version: version, auth_token: b"" }),
        raw.bytes_of(
            0,
            1,
            Body::ConversationOpen { conversation_id: ConversationId::new(1), subject: "inline" },
        ),
        raw.bytes_of(1, 1, crate::raw::message(1, b"hello")),
    ];
    for byte in frames.concat() {
        raw.send_bytes(&[byte]);
        thread::yield_now();
    }
    assert!(matches!(raw.expect().body, Body::ConnectAck { .. }));
    assert_eq!(raw.expect_reply(), (1, "hello".into()));
}

/// A frame that never ends, and a handshake that never begins, are given up.
pub fn those_who_stall_are_closed(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| {
            let limits = &mut options.connection.limits;
            limits.handshake_time = Duration::from_millis(100);
            limits.unfinished_frame_time = Duration::from_millis(100);
        })
        .serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        let mut silent = world.raw();
        silent.expect_refusal(ReasonCode::TOO_SLOW);
        let mut slow = world.raw();
        slow.shake_hands(Dialect::V1);
        slow.send_bytes(b"\x0d\x00\0\0\0\x01\0\0\x01\0 and no more");
        slow.expect_refusal(ReasonCode::TOO_SLOW);
    });
}

/// More pings than anybody needs.
pub fn a_flood_of_pings_is_closed(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        let mut raw = world.raw();
        raw.shake_hands(Dialect::V1);
        let ping = raw.bytes_of(0, 0, Body::Ping);
        let _ = raw.try_send(&ping.repeat(1000));
        let last = std::iter::from_fn(|| raw.next_frame()).last().unwrap();
        assert!(matches!(last.body, Body::ConnectError { reason_code: ReasonCode::LIMIT, .. }), "{last:?}");
    });
}

/// A client of 1.0 that never reads its replies is not read from, or closed.
pub fn a_client_of_1_0_that_does_not_read_is_not_read_from(transport: &dyn Transport) {
    does_not_read(transport, Dialect::V1);
}

/// The same in 2.0.
pub fn a_client_of_2_0_that_does_not_read_is_closed(transport: &dyn Transport) {
    does_not_read(transport, Dialect::V2);
}

fn does_not_read(transport: &dyn Transport, dialect: Dialect) {
    let world = Stage::default()
        .options(|options| {
            let limits = &mut options.connection.limits;
            limits.write_stall_time = Duration::from_secs(1);
            // All that it says: what it is given credit for is not what ends it.
            limits.conversation_window = Limits::CREDIT_MAX;
            limits.connection_window = Limits::CREDIT_MAX;
        })
        .serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        let mut hostile = Host::ALL.map(|host| {
            let mut raw = Raw::connect_narrow(world.address());
            raw.shake_hands(dialect);
            raw.open(1, 1, host.subject());
            let sent = (1..=500).take_while(|&number| asks_for_much(&mut raw, number)).count();
            // Far more than the sockets hold: where the first replies find no room a 1.0 client is not read
            // from. 2.0 is read on and refused, and so is work that comes faster than replies are made, as it
            // always does where they are made elsewhere.
            let is_paused = dialect == Dialect::V1 && matches!(host, Host::Inline) && !transport.is_relayed();
            assert!(!is_paused || sent < 500, "50 MB were read from a client that reads nothing");
            (raw, sent == 500)
        });
        // They go on until their output has stood still for too long, and they are given up.
        let mut left = 0;
        for number in 501.. {
            left += world.seen().iter().filter(|seen| matches!(seen, Seen::Left(..))).count();
            if left == hostile.len() {
                break;
            }
            for (raw, goes_on) in &mut hostile {
                *goes_on = *goes_on && asks_for_much(raw, number);
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// False: the peer takes no more.
fn asks_for_much(raw: &mut Raw, number: u64) -> bool {
    raw.try_send(&raw.ask_bytes(1, number, &[7; 100_000]))
}

/// An exit does not stand behind the replies of other conversations that find no room.
pub fn an_exit_overtakes_replies_that_find_no_room(transport: &dyn Transport) {
    const CONVERSATIONS: u32 = 60;
    let world = Stage::default()
        .options(|options| options.connection.limits.output_soft_max = 64 << 10)
        .serve(transport, Setup::V2);
    let mut raw = Raw::connect_narrow(world.address());
    raw.shake_hands(Dialect::V2);
    let say = |raw: &mut Raw, flags, stream, number, payload: &str| {
        let (answers, timeout_ms) = (None, None);
        let (message_id, payload) = (MessageId::new(number), payload.as_bytes());
        raw.send(
            flags,
            stream,
            Body::Message { message_id, answers, timeout_ms, redelivered: None, metadata: None, payload },
        );
    };
    // All of these are called before the first of them replies, and with more than the sockets hold.
    for number in 0..CONVERSATIONS {
        let stream = 1 + 2 * number;
        raw.open(stream, stream.into(), "blocking");
        say(&mut raw, 1, stream, 1, say::BULK_LATER);
    }
    let last = 1 + 2 * CONVERSATIONS;
    raw.open(last, last.into(), "blocking");
    say(&mut raw, 0, last, 1, say::PANIC_LATER);
    world.await_said(say::PANIC_LATER);
    world.await_seen(|seen| (seen == Seen::Dropped).then_some(()));
    let (mut before, mut after, mut exited) = (0, 0, false);
    while before + after < CONVERSATIONS || !exited {
        match raw.expect().body {
            Body::Exited { .. } => exited = true,
            Body::Message { .. } if exited => after += 1,
            Body::Message { .. } => before += 1,
            _ => {}
        }
    }
    assert!(after > 0, "the exit came behind all {before} replies");
}

/// Replies that find no room wait, up to a bound; then their client counts as one that does not read.
pub fn replies_that_wait_are_bounded(transport: &dyn Transport) {
    const CONVERSATIONS: u32 = 200;
    for dialect in [Dialect::V1, Dialect::V2] {
        let world = Stage::default()
            .options(|options| {
                options.connection.limits.output_soft_max = 64 << 10;
                options.connection.limits.write_stall_time = 4 * WAIT;
                options.held_reply_bytes_max = 4 * say::BULK;
                options.stop.blocking_seats = CONVERSATIONS as usize;
            })
            .serve(transport, Setup::V2);
        beside_a_neighbour(&world, || {
            let mut raw = Raw::connect_narrow(world.address());
            raw.shake_hands(dialect);
            // Accepted before the first of them replies, and with more than the sockets hold.
            for stream in (0..CONVERSATIONS).map(|number| 1 + 2 * number) {
                raw.open(stream, stream.into(), "async");
                raw.ask(stream, 1, say::BULK_LATER.as_bytes());
            }
            // Nobody closes a conversation, so who leaves has lost its owner; some may have found no room to join.
            world.await_orphaned();
        });
    }
}

/// A client that is killed with requests outstanding: its participants are told, the rest goes on.
pub fn a_client_that_is_killed_takes_nothing_down(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| options.bus.reply_time = Duration::from_millis(200))
        .serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for dialect in [Dialect::V1, Dialect::V2] {
            for host in Host::ALL {
                let mut raw = world.raw();
                raw.shake_hands(dialect);
                raw.open(1, 1, host.subject());
                raw.ask(1, 1, say::NAP.as_bytes());
                world.await_said(say::NAP);
                raw.kill();
                world.await_left();
            }
        }
    });
    world.finish();
}

/// A server that breaks the rules is closed, whatever the client is doing.
pub fn a_server_that_talks_nonsense_is_closed(transport: &dyn Transport) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    for nonsense in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0; 3], &[0xFF; 100]] {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut server = Raw::accept(&listener);
                server.send_bytes(nonsense);
                server.end();
                while server.next_frame().is_some() {}
            });
            assert!(transport.connect(&address, liminal_proto::Config::default(), true).is_err());
        });
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut server = Raw::accept(&listener);
                server.accept_hands(Version::V2_0);
                server.send_bytes(nonsense);
                server.end();
                server.drain();
            });
            let handle = transport.connect(&address, liminal_proto::Config::default(), true).unwrap();
            handle.closed();
            assert!(handle.open("anything").is_err());
        });
    }
}
