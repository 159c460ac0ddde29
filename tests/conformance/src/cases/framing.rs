//! Bytes that are no frames, or none that this state of a connection allows: before the handshake and after
//! it, in both versions. Whoever sends them is told the exact code and closed; neighbours do not notice.

use std::thread;
use std::time::Duration;

use liminal_proto::ReasonCode;
use liminal_proto::wire::{Body, Dialect, FrameType, Version};

use super::hostile::beside_a_neighbour;
use crate::WAIT;
use crate::puppet::Seen;
use crate::raw::Raw;
use crate::stage::{Setup, Stage, World};
use crate::transport::Transport;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Connecting,
    Active(Dialect),
}

impl At {
    const ALL: [Self; 3] = [Self::Connecting, Self::Active(Dialect::V1), Self::Active(Dialect::V2)];
    const ACTIVE: &[Self] = &[Self::Active(Dialect::V1), Self::Active(Dialect::V2)];

    fn peer(self, world: &World<'_>) -> Raw {
        let mut raw = world.raw();
        if let Self::Active(dialect) = self {
            raw.shake_hands(dialect);
        }
        raw
    }
}

/// A header that announces `len` bytes, and what of them is there.
fn frame(type_id: u8, stream: u32, len: usize, there: &[u8]) -> Vec<u8> {
    let len = u32::try_from(len).unwrap();
    [&[type_id, 0][..], &stream.to_be_bytes(), &len.to_be_bytes(), there].concat()
}

/// The same with nothing missing.
fn whole(type_id: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(type_id, stream, payload.len(), payload)
}

const CONNECT: u8 = 0x01;
const SUBSCRIBE: u8 = 0x05;
const OPEN: u8 = 0x0C;
const MESSAGE: u8 = 0x0D;
const PING: u8 = 0x13;
const WORKER_REGISTER: u8 = 0x17;
const UNKNOWN: u8 = 0xEE;

/// What is wrong, where, the bytes, and the code.
type Fault = (&'static str, &'static [At], Vec<u8>, ReasonCode);

fn faults() -> Vec<Fault> {
    let four_gib = u32::MAX.to_be_bytes();
    let connect = |token_len: &[u8]| [&[0, 1, 0, 0, 0, 1, 0, 0][..], token_len].concat();
    let big = vec![0x55; 5000];
    let token = [&connect(&5000_u32.to_be_bytes())[..], &big].concat();
    let (codec, stream, large) = (ReasonCode::CODEC, ReasonCode::INVALID_STREAM, ReasonCode::TOO_LARGE);
    let header = |id, number: u32, len: [u8; 4]| [&[id, 0][..], &number.to_be_bytes(), &len].concat();
    let subscribe = |count: &[u8]| [&[0, 0, 0, 1, b'c'][..], count].concat();
    let envelope = [&[0; 8][..], &1000_u32.to_be_bytes(), &[0; 60]].concat();
    vec![
        ("4 GiB", &At::ALL, header(CONNECT, 0, four_gib), large),
        ("4 GiB of an unknown type", &At::ALL, header(UNKNOWN, 7, four_gib), large),
        (
            "one byte above the limit",
            At::ACTIVE,
            header(MESSAGE, 1, ((1_u32 << 20) + 1).to_be_bytes()),
            large,
        ),
        (
            "one byte above the first limit",
            &[At::Connecting],
            header(CONNECT, 0, 8193_u32.to_be_bytes()),
            large,
        ),
        ("a control frame on a stream", &At::ALL, whole(PING, 3, &[]), stream),
        ("an exchange on stream 0", &At::ALL, whole(OPEN, 0, &[]), stream),
        ("a token of 4 GiB", &[At::Connecting], whole(CONNECT, 0, &connect(&four_gib)), codec),
        ("a token above its limit", &[At::Connecting], whole(CONNECT, 0, &token), ReasonCode::AUTHENTICATION),
        (
            "a name that goes on past the end",
            &At::ALL,
            whole(OPEN, 1, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, b'x']),
            codec,
        ),
        ("an envelope that goes on past the end", &At::ALL, whole(MESSAGE, 1, &envelope), codec),
        ("schemas without end", &At::ALL, whole(SUBSCRIBE, 1, &subscribe(&four_gib)), codec),
        ("namespaces without end", &At::ALL, whole(WORKER_REGISTER, 0, &four_gib), codec),
        ("a byte too many", &At::ALL, whole(PING, 0, &[0]), codec),
        (
            "a name that is no text",
            &At::ALL,
            whole(OPEN, 1, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0xFF]),
            codec,
        ),
        ("nothing where fields must be", &At::ALL, whole(MESSAGE, 1, &[]), codec),
    ]
}

/// Each is judged by itself, whatever the state.
pub fn what_is_no_frame_is_told_with_its_code(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for (what, states, bytes, code) in faults() {
            for &at in states {
                let mut raw = at.peer(&world);
                raw.send_bytes(&bytes);
                raw.expect_refusal_of(code, &format!("{what}, {at:?}"));
            }
        }
    });
}

/// Every frame that a client may send is out of place before Connect, but for Ping; what only a server sends
/// is ignored at any time.
pub fn nothing_comes_before_connect(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for body in [
            Body::Disconnect,
            Body::Pong,
            Body::Unsubscribe { subscription_id: 1 },
            crate::raw::message(1, b"hello"),
            Body::PushReply { correlation_id: 1, payload: &b""[..] },
        ] {
            let name = body.frame_type().map_or("", FrameType::name);
            let mut raw = world.raw();
            let stream = u32::from(!matches!(body, Body::Disconnect | Body::Pong));
            raw.send(0, stream, body);
            raw.expect_refusal_of(ReasonCode::INVALID_STATE, name);
        }
        let mut raw = world.raw();
        raw.send(0, 0, Body::Ping);
        assert_eq!(raw.expect().body, Body::Pong);
        raw.send(0, 0, Body::ConnectAck { selected_version: Version::V1_0, capabilities: 0 });
        raw.shake_hands(Dialect::V1);
    });
}

/// A second Connect, at once or later, equal or not.
pub fn a_second_connect_is_out_of_place(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for dialect in [Dialect::V1, Dialect::V2] {
            let version = dialect.version();
            let connect = Body::Connect { min_version: version, max_version: version, auth_token: &b""[..] };
            let mut later = world.raw();
            later.shake_hands(dialect);
            later.send(0, 0, connect.clone());
            later.expect_refusal(ReasonCode::INVALID_STATE);
            let mut at_once = world.raw();
            at_once.send_bytes(&at_once.bytes_of(0, 0, connect).repeat(2));
            at_once.dialect = dialect;
            assert!(matches!(at_once.expect().body, Body::ConnectAck { .. }));
            if dialect == Dialect::V2 {
                assert!(matches!(at_once.expect().body, Body::Windows { .. }));
            }
            at_once.expect_refusal(ReasonCode::INVALID_STATE);
        }
    });
}

/// A frame that begins and does not end, or grows by a byte at a time.
pub fn a_frame_that_does_not_come_is_given_up(transport: &dyn Transport) {
    let soon = Duration::from_millis(100);
    let world = Stage::default()
        .options(|options| {
            let limits = &mut options.connection.limits;
            (limits.unfinished_frame_time, limits.handshake_unfinished_frame_time) = (soon, soon);
        })
        .serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for at in At::ALL {
            let begun: [&[u8]; 3] =
                [&[MESSAGE], &frame(MESSAGE, 1, 5000, &[]), &frame(MESSAGE, 1, 5000, &[0; 99])];
            for bytes in begun {
                let mut raw = at.peer(&world);
                raw.send_bytes(bytes);
                raw.expect_refusal_of(ReasonCode::TOO_SLOW, &format!("{at:?} {bytes:?}"));
            }
        }
    });
}

/// Whoever sends a byte in each interval is too slow after the first second, however much time there is.
pub fn a_byte_at_a_time_is_too_little_in_the_long_run(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| {
            let limits = &mut options.connection.limits;
            (limits.unfinished_frame_time, limits.handshake_unfinished_frame_time) = (2 * WAIT, 2 * WAIT);
            limits.handshake_time = 2 * WAIT;
        })
        .serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        let mut peers = At::ALL.map(|at| at.peer(&world));
        for raw in &mut peers {
            raw.send_bytes(&frame(MESSAGE, 1, 5000, &[]));
        }
        // Until the server has closed, which it tells before; what is sent after that may find nobody.
        while peers.iter_mut().any(|raw| !raw.has_input()) {
            for raw in &mut peers {
                let _ = raw.try_send(&[0]);
            }
            thread::sleep(Duration::from_millis(20));
        }
        for mut raw in peers {
            let Body::ConnectError { reason_code, .. } = raw.expect().body else { panic!("no ConnectError") };
            assert_eq!(reason_code, ReasonCode::TOO_SLOW);
        }
    });
}

/// Unknown types are ignored one by one, on any stream and with any flags, and are a flood together.
pub fn unknown_types_are_ignored_until_they_are_a_flood(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for at in At::ALL {
            let mut raw = at.peer(&world);
            raw.send_bytes(&whole(UNKNOWN, 0, b"whatever"));
            raw.send_bytes(&[0xEF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
            raw.send(0, 0, Body::Ping);
            assert_eq!(raw.expect().body, Body::Pong, "{at:?}");
            let _ = raw.try_send(&whole(UNKNOWN, 9, &[7; 20]).repeat(1000));
            raw.expect_refusal_of(ReasonCode::LIMIT, &format!("{at:?}"));
        }
    });
}

/// What follows a fault in the same breath is discarded: nobody is told of it.
pub fn what_follows_the_end_is_discarded(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for dialect in [Dialect::V1, Dialect::V2] {
            let mut raw = world.raw();
            raw.shake_hands(dialect);
            raw.open(1, 1, "async");
            raw.ask(1, 1, b"before");
            assert_eq!(raw.expect_answer(), (1, "before".into()));
            let fault = whole(PING, 0, &[0]);
            let rest = [raw.open_bytes(3, 3, "async"), raw.ask_bytes(1, 2, b"behind the end")].concat();
            raw.send_bytes(&[fault, rest.to_vec()].concat());
            raw.expect_refusal(ReasonCode::CODEC);
            world.await_left();

            let mut raw = world.raw();
            raw.shake_hands(dialect);
            let rest = [raw.open_bytes(1, 1, "async"), raw.ask_bytes(1, 1, b"behind the end")].concat();
            raw.send_bytes(&[raw.bytes_of(0, 0, Body::Disconnect), rest.into()].concat());
            assert_eq!(raw.expect().body, Body::Disconnect);
            raw.expect_end();
        }
    });
    let behind = |seen: &Seen| *seen == Seen::Said("behind the end".into());
    assert!(!world.seen().iter().any(behind));
}

/// The stream ends inside a frame: told as a breach in both versions, and the part is delivered to nobody.
pub fn an_end_inside_a_frame_is_a_breach(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for dialect in [Dialect::V1, Dialect::V2] {
            let mut raw = world.raw();
            raw.shake_hands(dialect);
            let request = raw.ask_bytes(1, 2, b"cut off");
            for cut in [1, 9, 10, 11, request.len() - 1] {
                let mut raw = world.raw();
                raw.shake_hands(dialect);
                raw.open(1, 1, "async");
                raw.ask(1, 1, b"before");
                assert_eq!(raw.expect_answer(), (1, "before".into()));
                raw.send_bytes(&request[..cut]);
                raw.end();
                raw.expect_refusal(ReasonCode::TRUNCATED_PAYLOAD);
                world.await_left();
            }
        }
    });
    assert!(!world.seen().contains(&Seen::Said("cut off".into())));
}
