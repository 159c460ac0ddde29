//! Peers that try to use up what a server has, one frame at a time: each is bounded, and neighbours do not notice.

use std::thread;
use std::time::Duration;

use liminal_proto::wire::{Body, Dialect, SchemaIds};
use liminal_proto::{Config, ConversationId, Keepalive, Limits, ReasonCode};

use super::hostile::beside_a_neighbour;
use crate::puppet::{Seen, say};
use crate::raw::Raw;
use crate::stage::{Setup, Stage, World, eventually};
use crate::transport::Transport;

const DIALECTS: [Dialect; 2] = [Dialect::V1, Dialect::V2];

fn connect_bytes(raw: &Raw, dialect: Dialect, auth_token: &[u8]) -> bytes::Bytes {
    let version = dialect.version();
    raw.bytes_of(0, 0, Body::Connect { min_version: version, max_version: version, auth_token })
}

fn close(raw: &mut Raw, stream: u32) {
    let (conversation_id, reason_code, message) = (ConversationId::new(stream.into()), None, None);
    raw.send(0, stream, Body::ConversationClose { conversation_id, reason_code, message });
}

/// Who was refused and keeps its socket has no place any more: another may have it.
pub fn who_was_refused_and_keeps_its_socket_has_no_place(transport: &dyn Transport) {
    if transport.is_relayed() {
        return; // Whoever serves is a client too many.
    }
    let world =
        Stage::default().options(|options| options.admission.connections_max = 2).serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        let mut raw = world.raw();
        raw.send_bytes(&[0xA5; 64]);
        raw.expect_refusal(ReasonCode::TOO_LARGE);
        eventually(|| world.try_connect(Config::default(), true).is_ok_and(|it| it.ping().is_ok()));
        drop(raw);
    });
}

/// Whatever is wrong with a token, the answer is the same to the last byte.
pub fn a_wrong_token_has_one_answer(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| options.connection.token = "secret".into())
        .config(|config| config.token = "secret".into())
        .serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        let mut answers = Vec::new();
        for dialect in DIALECTS {
            for token in [&b""[..], b"s", b"secreT", b"secret1", &[7; 5000]] {
                let mut raw = world.raw();
                raw.send_bytes(&connect_bytes(&raw, dialect, token));
                answers.push(raw.expect());
                raw.expect_end();
            }
        }
        let refusal = |body: &Body<_, _>| {
            matches!(body, Body::ConnectError { reason_code: ReasonCode::AUTHENTICATION, .. })
        };
        assert!(refusal(&answers[0].body), "{:?}", answers[0]);
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    });
}

/// Who has not shaken hands is answered a few pings, and then told why it is closed.
pub fn strangers_are_not_answered_for_ever(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        let mut raw = world.raw();
        let pings = raw.bytes_of(0, 0, Body::Ping).repeat(5000);
        let _ = raw.try_send(&pings);
        for _ in 0..Limits::default().handshake_control_frames_max {
            assert_eq!(raw.expect().body, Body::Pong);
        }
        raw.expect_refusal(ReasonCode::LIMIT);
    });
}

/// A conversation that is closed while its participant works keeps its slot until the work has really stopped.
pub fn a_slot_is_free_only_when_the_work_has_stopped(transport: &dyn Transport) {
    if transport.is_relayed() {
        return; // Its connection has no room for the participants of all.
    }
    for dialect in DIALECTS {
        let world = Stage::default()
            .options(|options| {
                options.bus.conversations_per_link_max = 2;
                options.bus.completing_time = Duration::from_millis(20);
                options.bus.reply_time = Duration::from_millis(20);
            })
            .serve(transport, Setup::V2);
        beside_a_neighbour(&world, || {
            let mut raw = world.raw();
            raw.shake_hands(dialect);
            for stream in [1, 3] {
                raw.open(stream, stream.into(), "blocking");
                raw.ask(stream, 1, say::HOLD.as_bytes());
                world.await_said(say::HOLD);
                close(&mut raw, stream);
            }
            assert_eq!(opens(&mut raw, 5), Err(ReasonCode::LIMIT), "{dialect:?}");
            world.release();
            let mut streams = (7..).step_by(2);
            eventually(|| {
                thread::sleep(Duration::from_millis(5));
                opens(&mut raw, streams.next().unwrap()).is_ok()
            });
        });
    }
}

/// Opens a conversation and asks in it; what was said of earlier ones is passed over.
fn opens(raw: &mut Raw, stream: u32) -> Result<(), ReasonCode> {
    raw.open(stream, stream.into(), "inline");
    raw.ask(stream, 1, b"hello");
    loop {
        let frame = raw.expect();
        let is_it = frame.stream.get() == stream;
        match frame.body {
            Body::ConversationError { reason_code, .. } if is_it && raw.dialect == Dialect::V1 => {
                // The request is refused as well, behind its open.
                assert!(matches!(raw.expect().body, Body::ConversationError { .. }));
                return Err(reason_code);
            }
            Body::Refused { reason_code, .. } if is_it => return Err(reason_code),
            Body::Message { .. } | Body::ConversationMessage { .. } if is_it => return Ok(()),
            _ => {}
        }
    }
}

/// A client of 2.0 that gives no sign of life is asked for one, and given up in the end.
pub fn a_client_that_answers_no_ping_is_given_up(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| {
            options.connection.keepalive =
                Some(Keepalive { silence: Duration::from_millis(50), unanswered_max: 2 });
        })
        .serve(transport, Setup::V2);
    let mut raw = world.raw();
    raw.shake_hands(Dialect::V2);
    raw.open(1, 1, "inline");
    assert!(matches!(raw.expect().body, Body::Opened { .. }));
    for _ in 0..2 {
        assert_eq!(raw.expect().body, Body::Ping);
    }
    raw.expect_refusal(ReasonCode::TOO_SLOW);
    world.await_orphaned();
}

/// Subscriptions to what is not there are refused one by one, and are a flood together.
pub fn a_flood_of_subscriptions_is_closed(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for dialect in DIALECTS {
            let mut raw = world.raw();
            raw.shake_hands(dialect);
            let none = SchemaIds::new([]).unwrap();
            let accepted_schemas = none.as_slice();
            let subscribe = Body::Subscribe { channel: "nowhere", accepted_schemas, max_in_flight: 1 };
            let flood = raw.bytes_of(0, 1, subscribe).repeat(1000);
            let _ = raw.try_send(&flood);
            let last = std::iter::from_fn(|| raw.next_frame()).last();
            let last = last.expect("it is told why").body;
            assert!(matches!(last, Body::ConnectError { reason_code: ReasonCode::LIMIT, .. }), "{last:?}");
        }
    });
}

/// Names that nobody serves, each of them new and as long as a name may be, are refused one by one.
pub fn new_names_are_refused_one_by_one(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for dialect in DIALECTS {
            let mut raw = world.raw();
            raw.shake_hands(dialect);
            for nth in 0..90_u32 {
                raw.open(1 + 2 * nth, (1 + 2 * nth).into(), &format!("{nth:0>256}"));
                let code = match raw.expect().body {
                    Body::ConversationError { reason_code, .. } | Body::Refused { reason_code, .. } => {
                        reason_code
                    }
                    body => panic!("{body:?}"),
                };
                assert_eq!(code, ReasonCode::NO_PARTICIPANT);
            }
            raw.send(0, 0, Body::Ping);
            assert_eq!(raw.expect().body, Body::Pong);
        }
    });
}

/// Waits until so many participants have left.
fn await_departures(world: &World<'_>, count: u32) {
    for _ in 0..count {
        world.await_left();
    }
}

/// Waits until so many participants have joined.
fn await_arrivals(world: &World<'_>, count: u32) {
    for _ in 0..count {
        world.await_seen(|seen| matches!(seen, Seen::Joined(_)).then_some(()));
    }
}

/// A client that opens and closes all the time leaves nothing behind.
pub fn opening_and_closing_without_end_leaves_nothing(transport: &dyn Transport) {
    const CYCLES: u32 = 300;
    let world = Stage::default().serve(transport, Setup::V2);
    for dialect in DIALECTS {
        let mut raw = world.raw();
        raw.shake_hands(dialect);
        for stream in (0..CYCLES).map(|nth| 1 + 2 * nth) {
            raw.open(stream, stream.into(), "async");
            // A host that had to seat many at once would be busy, and those it refuses never leave.
            await_arrivals(&world, 1);
            close(&mut raw, stream);
            await_departures(&world, 1);
        }
        raw.send(0, 0, Body::Ping);
        while raw.expect().body != Body::Pong {}
    }
    world.finish();
}

/// A client with a thousand participants that is gone at once: each is told, and its neighbours do not wait.
pub fn the_end_of_a_thousand_participants_delays_nobody(transport: &dyn Transport) {
    const PARTICIPANTS: u32 = 1000;
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        // That of the neighbour.
        await_arrivals(&world, 1);
        for dialect in DIALECTS {
            let mut raw = world.raw();
            raw.shake_hands(dialect);
            for stream in (0..PARTICIPANTS).map(|nth| 1 + 2 * nth) {
                raw.open(stream, stream.into(), "async");
                // A host that had to seat many at once would be busy.
                await_arrivals(&world, 1);
            }
            raw.kill();
            await_departures(&world, PARTICIPANTS);
        }
    });
}
