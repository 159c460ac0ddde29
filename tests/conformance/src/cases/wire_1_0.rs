//! What a client of 1.0 sees that has nothing of ours in it but the codec.

use std::time::Duration;

use liminal_proto::wire::{Body, Dialect, Version};
use liminal_proto::{ConversationId, ReasonCode};

use crate::WAIT;
use crate::puppet::{Host, NAP, Seen, say};
use crate::raw::{Raw, message};
use crate::stage::{Setup, Stage, World};
use crate::transport::{Role, Transport};

fn client(world: &World<'_>) -> Raw {
    let mut raw = world.raw();
    raw.shake_hands(Dialect::V1);
    raw
}

/// Open is silent; a request is answered on its own stream, with the flag of a reply.
pub fn a_request_is_answered_on_its_stream(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for (conversation, host) in [7, 8, u64::MAX].into_iter().zip(Host::ALL) {
        let mut raw = client(&world);
        raw.open(1, conversation, host.subject());
        raw.say(0, 1, conversation, b"no reply wanted");
        raw.say(1, 4, conversation, b"one");
        assert_eq!(raw.expect_reply(), (4, "one".into()));
        raw.say(1, 1, conversation, b"two");
        raw.say(1, 1, conversation, b"three");
        assert_eq!(raw.expect_reply(), (1, "two".into()));
        assert_eq!(raw.expect_reply(), (1, "three".into()));
    }
}

/// Pipelined requests are answered in their order, though the first takes longest.
pub fn pipelined_requests_are_answered_in_order(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = client(&world);
        raw.open(1, 1, host.subject());
        raw.say(1, 1, 1, say::NAP.as_bytes());
        raw.say(0, 1, 1, b"not asked");
        raw.say(1, 1, 1, b"after");
        assert_eq!(raw.expect_reply().1, say::NAP);
        assert_eq!(raw.expect_reply().1, "after");
    }
}

/// A ping is answered, also before Connect.
pub fn a_ping_before_connect_is_answered(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let mut raw = world.raw();
    raw.send(0, 0, Body::Ping);
    let pong = raw.expect();
    assert_eq!((pong.flags, pong.body), (0, Body::Pong));
    raw.shake_hands(Dialect::V1);
    raw.send(0, 0, Body::Ping);
    assert_eq!(raw.expect().body, Body::Pong);
}

/// A client that shuts down its half after a request still gets the answer, then the end of the stream.
pub fn a_half_closed_client_gets_its_answer(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        for said in ["at once", say::NAP] {
            let mut raw = client(&world);
            raw.open(1, 1, host.subject());
            raw.say(1, 1, 1, said.as_bytes());
            raw.end();
            assert_eq!(raw.expect_reply(), (1, said.into()), "{host:?}");
            raw.expect_end();
            world.await_left();
        }
    }
}

/// The answer of a half-closed client may also be that there is none.
pub fn a_half_closed_client_is_told_of_the_deadline(transport: &dyn Transport) {
    // Long enough for whoever joins at once, also on the way to a client and back.
    let time = if transport.is_relayed() { 10 * NAP } else { NAP };
    let world = Stage::default().options(|options| options.bus.reply_time = time).serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = client(&world);
        raw.open(1, 1, host.subject());
        raw.say(1, 1, 1, say::HOLD.as_bytes());
        raw.end();
        assert_eq!(raw.expect_error(), (1, 1, ReasonCode::DEADLINE), "{host:?}");
        raw.expect_end();
    }
    world.release();
}

/// A client that just ends its half is closed, and its participants are told.
pub fn a_client_that_ends_is_closed(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let mut raw = client(&world);
    for (conversation, host) in (1..).zip(Host::ALL) {
        raw.open(1, conversation, host.subject());
        raw.say(1, 1, conversation, b"hello");
        raw.expect_reply();
    }
    raw.end();
    raw.expect_end();
    for _ in Host::ALL {
        world.await_left();
    }
}

/// Disconnect is echoed, then the stream ends.
pub fn disconnect_is_echoed(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let mut raw = client(&world);
    raw.open(1, 1, "async");
    raw.say(1, 1, 1, b"hello");
    raw.expect_reply();
    raw.send(0, 0, Body::Disconnect);
    assert_eq!(raw.expect().body, Body::Disconnect);
    raw.expect_end();
    world.await_left();
}

/// No reply within the reply time: an error with the code of a deadline.
pub fn a_request_that_nobody_answers_gets_an_error(transport: &dyn Transport) {
    let world = Stage::default().options(|options| options.bus.reply_time = NAP).serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = client(&world);
        raw.open(3, 9, host.subject());
        raw.say(1, 5, 9, say::HOLD.as_bytes());
        assert_eq!(raw.expect_error(), (5, 9, ReasonCode::DEADLINE), "{host:?}");
    }
    world.release();
}

/// An exit ends the requests that are outstanding, and what is said afterwards.
pub fn an_exit_is_an_error_on_the_stream_of_each_request(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = client(&world);
        raw.open(1, 1, host.subject());
        raw.say(1, 1, 1, say::PANIC.as_bytes());
        raw.say(1, 3, 1, b"hello?");
        assert_eq!(raw.expect_error(), (1, 1, ReasonCode::EXITED));
        assert_eq!(raw.expect_error(), (3, 1, ReasonCode::EXITED));
        raw.say(0, 5, 1, b"hello?");
        assert_eq!(raw.expect_error(), (5, 1, ReasonCode::EXITED));
        raw.open(7, 1, host.subject());
        raw.say(1, 7, 1, b"again");
        assert_eq!(
            raw.expect_reply(),
            (7, "again".into()),
            "an id whose conversation failed may be opened again"
        );
    }
}

/// Errors of operations: each on the stream of its request, with its own code.
pub fn operations_that_fail_say_why(transport: &dyn Transport) {
    let world = Stage::default().role("trace", Role::TraceOnly).serve(transport, Setup::V2);
    let mut raw = client(&world);
    raw.open(1, 1, "nobody");
    assert_eq!(raw.expect_error(), (1, 1, ReasonCode::NO_PARTICIPANT));
    raw.say(0, 3, 1, b"hello?");
    assert_eq!(raw.expect_error(), (3, 1, ReasonCode::NOT_OPEN));
    raw.open(5, 2, "trace");
    raw.say(0, 5, 2, b"for the record");
    raw.say(1, 5, 2, b"anybody?");
    assert_eq!(raw.expect_error(), (5, 2, ReasonCode::NO_PARTICIPANT));
    raw.open(7, 3, "inline");
    raw.open(9, 3, "inline");
    assert_eq!(raw.expect_error(), (9, 3, ReasonCode::ALREADY_OPEN));
    raw.say(1, 7, 3, b"still open");
    assert_eq!(raw.expect_reply(), (7, "still open".into()));
    raw.open(11, 4, &"x".repeat(257));
    assert_eq!(raw.expect_error(), (11, 4, ReasonCode::INVALID_NAME));
    raw.say(1, 7, 3, say::NOTHING.as_bytes());
    assert_eq!(raw.expect_error(), (7, 3, ReasonCode::NO_REPLY));
}

/// Frames that a client has no business to send, and types that nobody knows, are ignored.
pub fn stray_frames_are_ignored(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let mut raw = client(&world);
    raw.send(0, 0, Body::Pong);
    raw.send(0xFF, 99, Body::Unknown { type_id: 0xEE, payload: b"opaque" });
    raw.send(0, 1, Body::PublishAck { message_id: 1 });
    raw.send(0, 1, Body::Accept { referenced_message_id: "1" });
    raw.open(1, 1, "inline");
    raw.say(1, 1, 1, b"hello");
    assert_eq!(raw.expect_reply(), (1, "hello".into()));
}

/// Closing is silent: what comes next is the answer to what is asked next.
pub fn closing_is_silent(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = client(&world);
        for conversation in 1..4 {
            open_ask_close(&mut raw, conversation, host);
            world.await_left();
        }
    }
}

/// An id that was closed may be opened again at once: nobody tells a 1.0 client when the closing is through.
pub fn an_id_that_was_closed_may_be_opened_again(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = client(&world);
        for _ in 0..3 {
            open_ask_close(&mut raw, 1, host);
        }
    }
}

fn open_ask_close(raw: &mut Raw, conversation: u64, host: Host) {
    raw.open(1, conversation, host.subject());
    raw.say(1, 1, conversation, say::COUNT.as_bytes());
    assert_eq!(raw.expect_reply().1, "1");
    let conversation_id = ConversationId::new(conversation);
    raw.send(0, 1, Body::ConversationClose { conversation_id, reason_code: None, message: None });
}

/// A server selects a 1.x that this client does not speak: it dials again and offers 1.0 alone.
pub fn a_server_of_a_later_1_x_is_dialled_again(transport: &dyn Transport) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut first = Raw::accept(&listener);
            let offered = first.accept_hands(Version { major: 1, minor: 1 });
            assert_eq!(offered, (Version::V1_0, Version::V2_0));
            assert_eq!(first.next_frame(), None);
            let mut second = Raw::accept(&listener);
            assert_eq!(second.accept_hands(Version::V1_0), (Version::V1_0, Version::V1_0));
            assert!(matches!(second.expect().body, Body::ConversationOpen { .. }));
            let asked = second.expect();
            assert!(matches!(asked.body, Body::ConversationMessage { .. }));
            second.send(1, asked.stream.get(), message(1, b"welcome"));
            assert!(matches!(second.expect().body, Body::ConversationClose { .. }));
            assert_eq!(second.expect().body, Body::Disconnect);
        });
        let handle = transport.connect(&address, liminal_proto::Config::default(), true).unwrap();
        assert_eq!(handle.version(), Version::V1_0);
        let conversation = handle.open("anything").unwrap();
        assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "welcome");
        drop(conversation);
        drop(handle);
        server.join().unwrap();
    });
}

/// A client that does not speak 1.0 does not offer it, whatever the server selects.
pub fn a_client_of_2_0_alone_never_offers_1_0(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V1Server);
    let config = liminal_proto::Config { min_dialect: Dialect::V2, ..Default::default() };
    assert!(world.try_connect(config, true).is_err());
}

/// A client of 1.0 that vanishes with requests outstanding leaves nothing behind.
pub fn a_client_that_vanishes_leaves_nothing(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| options.bus.reply_time = Duration::from_millis(100))
        .serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = client(&world);
        raw.open(1, 1, host.subject());
        raw.say(1, 1, 1, say::HOLD.as_bytes());
        world.await_said(say::HOLD);
        drop(raw);
        if host == Host::Blocking {
            world.release();
        }
        world.await_left();
        world.await_seen(|seen| (seen == Seen::Dropped).then_some(()));
    }
    world.finish();
}
