//! Frames that are well-formed and mean no good, from clients and from servers.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use liminal_core::Received;
use liminal_core::participant::from_fn;
use liminal_driver::Address;
use liminal_driver::error::{AskError, Exited};
use liminal_proto::wire::{Body, Dialect, RecordNumbers};
use liminal_proto::{Config, ConversationId, ExitReason, Limits, MessageId, Pid, ReasonCode, RecordNumber};

use super::hostile::beside_a_neighbour;
use crate::WAIT;
use crate::puppet::{Host, PLANNED, say};
use crate::raw::Raw;
use crate::stage::{Setup, Stage, World};
use crate::transport::{Role, Transport};

const DIALECTS: [Dialect; 2] = [Dialect::V1, Dialect::V2];

/// How the server refuses an open, in either version: the stream and the code.
fn expect_no_open(raw: &mut Raw) -> (u32, ReasonCode) {
    let frame = raw.expect();
    match frame.body {
        Body::ConversationError { reason_code, .. } | Body::Refused { reason_code, .. } => {
            (frame.stream.get(), reason_code)
        }
        body => panic!("no refusal but {body:?}"),
    }
}

/// Opens beyond the limit are refused one by one, those that are open go on, and a slot is free again when
/// its conversation is closed.
pub fn opens_beyond_the_limit_are_refused(transport: &dyn Transport) {
    if transport.is_relayed() {
        return; // Its connection has no room for the participants of all.
    }
    let world = Stage::default()
        .options(|options| options.connection.limits.conversations_max = 3)
        .serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for dialect in DIALECTS {
            let mut raw = world.raw();
            raw.shake_hands(dialect);
            for stream in [1, 3, 5] {
                raw.open(stream, stream.into(), "inline");
                raw.ask(stream, 1, b"hello");
                assert_eq!(raw.expect_answer(), (stream, "hello".into()));
            }
            raw.open(7, 7, "inline");
            assert_eq!(expect_no_open(&mut raw), (7, ReasonCode::LIMIT), "{dialect:?}");
            raw.ask(5, 2, b"still there?");
            assert_eq!(raw.expect_answer(), (5, "still there?".into()));
            if dialect == Dialect::V1 {
                // Nothing tells when what was closed has really ended.
                continue;
            }
            let conversation_id = ConversationId::new(3);
            raw.send(0, 3, Body::ConversationClose { conversation_id, reason_code: None, message: None });
            assert!(matches!(raw.expect().body, Body::ConversationClose { .. }));
            raw.open(9, 9, "inline");
            raw.ask(9, 1, b"room again");
            assert_eq!(raw.expect_answer(), (9, "room again".into()));
        }
    });
}

/// The bytes of one of many frames, by its number.
type Flood<'a> = &'a dyn Fn(&Raw, u32) -> Bytes;

/// A flood of what is refused, of each kind, ends the connection.
pub fn a_flood_of_what_is_refused_is_closed(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let nobody = |raw: &Raw, number: u32| raw.open_bytes(1 + 2 * number, (1 + 2 * number).into(), "nobody");
    let unopened = |raw: &Raw, number: u32| raw.ask_bytes(1 + 2 * number, 1, b"hello?");
    let long_name = "x".repeat(300);
    let too_long = |raw: &Raw, number: u32| raw.open_bytes(1 + 2 * number, number.into(), &long_name);
    let subscribe =
        |raw: &Raw, number: u32| raw.bytes_of(0, 1, Body::Unsubscribe { subscription_id: number.into() });
    let kinds: [(&str, Flood<'_>, &[Dialect]); 4] = [
        ("opens of nobody's subject", &nobody, &DIALECTS),
        ("requests in what is not open", &unopened, &DIALECTS),
        ("names that are too long", &too_long, &[Dialect::V1]),
        ("subscriptions that are none", &subscribe, &DIALECTS),
    ];
    beside_a_neighbour(&world, || {
        for (what, bytes, dialects) in kinds {
            for &dialect in dialects {
                let mut raw = world.raw();
                raw.shake_hands(dialect);
                let flood: Vec<u8> = (0..1000).flat_map(|number| bytes(&raw, number)).collect();
                let _ = raw.try_send(&flood);
                let told = std::iter::from_fn(|| raw.next_frame());
                let last = told.last().unwrap_or_else(|| panic!("closed without a word: {what} {dialect:?}"));
                let is_limit =
                    matches!(&last.body, Body::ConnectError { reason_code: ReasonCode::LIMIT, .. });
                assert!(is_limit, "{what} {dialect:?}: {last:?}");
            }
        }
    });
}

/// The id of a conversation that is open is not free, and the one who has it does not notice.
pub fn the_id_of_an_open_conversation_is_not_free(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        let mut raw = world.raw();
        raw.shake_hands(Dialect::V1);
        raw.open(1, 1, "inline");
        raw.open(3, 1, "async");
        assert_eq!(raw.expect_error(), (3, 1, ReasonCode::ALREADY_OPEN));
        raw.ask(1, 1, say::COUNT.as_bytes());
        assert_eq!(raw.expect_answer(), (1, "1".into()));

        for (again, id) in [(1, 1), (3, 3), (5, 7)] {
            let mut raw = world.raw();
            raw.shake_hands(Dialect::V2);
            raw.open(3, 3, "inline");
            assert!(matches!(raw.expect().body, Body::Opened { .. }));
            raw.open(again, id, "inline");
            raw.expect_refusal(ReasonCode::INVALID_STREAM);
        }
    });
}

/// Ids are names that a client gives; the largest are as good as any.
pub fn the_largest_ids_are_as_good_as_any(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let mut raw = world.raw();
    raw.shake_hands(Dialect::V1);
    raw.open(u32::MAX, u64::MAX, "async");
    raw.say(1, u32::MAX, u64::MAX, b"hello");
    assert_eq!(raw.expect_reply(), (u32::MAX, "hello".into()));
    let mut raw = world.raw();
    raw.shake_hands(Dialect::V2);
    raw.open(u32::MAX, u32::MAX.into(), "async");
    raw.ask(u32::MAX, u64::MAX, b"hello");
    assert_eq!(raw.expect_answer(), (u32::MAX, "hello".into()));
    // Ids ascend, and there is none above it.
    raw.ask(u32::MAX, u64::MAX, b"once more");
    raw.expect_refusal(ReasonCode::INVALID_STREAM);
}

/// What one connection has open is not there for another, whatever ids it names.
pub fn the_conversation_of_another_is_out_of_reach(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for dialect in DIALECTS {
        let (mut owner, mut other) = (world.raw(), world.raw());
        owner.shake_hands(dialect);
        other.shake_hands(dialect);
        owner.open(1, 1, "inline");
        owner.ask(1, 1, say::COUNT.as_bytes());
        assert_eq!(owner.expect_answer(), (1, "1".into()));
        other.ask(1, 1, say::COUNT.as_bytes());
        match other.expect().body {
            Body::ConversationError { reason_code, .. } | Body::Outcome { reason_code, .. } => {
                assert_eq!(reason_code, ReasonCode::NOT_OPEN);
            }
            body => panic!("{body:?}"),
        }
        let (conversation_id, reason_code) = (ConversationId::new(1), None);
        other.send(0, 1, Body::ConversationClose { conversation_id, reason_code, message: None });
        owner.ask(1, 2, say::COUNT.as_bytes());
        assert_eq!(owner.expect_answer(), (1, "2".into()), "{dialect:?}");
    }
}

/// A server that replies to nobody's request, in another's conversation, or twice: the asker has the one
/// reply that is its own, and what comes after its deadline is nobody's.
pub fn forged_replies_do_not_surface(transport: &dyn Transport) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    for dialect in DIALECTS {
        thread::scope(|scope| {
            scope.spawn(|| forge(&listener, dialect));
            let config = Config { max_dialect: dialect, ..Config::default() };
            let handle = transport.connect(&address, config, true).unwrap();
            let conversation = handle.open("anything").unwrap();
            let late = conversation.ask("too late".into(), Duration::from_millis(50));
            assert_eq!(late, Err(AskError::Timeout), "{dialect:?}");
            assert_eq!(conversation.ask("first".into(), WAIT).unwrap(), "first", "{dialect:?}");
            assert_eq!(conversation.ask("second".into(), WAIT).unwrap(), "second", "{dialect:?}");
            assert!(!conversation.has_detected_crash());
            handle.disconnect();
        });
    }
}

/// A raw peer serves "mine", takes part in the conversation of one who asks there, and says this instead of the
/// answer. What the asker is told.
fn asks_a_raw_responder(world: &World<'_>, said: &dyn Fn(&mut Raw, u64)) -> Result<Bytes, AskError> {
    let mut raw = world.raw();
    raw.shake_hands(Dialect::V2);
    raw.send(0, 1, Body::Serve { capacity: 8, subject: Some("mine") });
    assert_eq!(raw.expect_beside_credit().body, Body::Serving);
    let handle = world.connect();
    thread::scope(|scope| {
        let asked = scope.spawn(|| handle.open("mine").unwrap().ask("?".into(), WAIT));
        let invited = raw.expect_beside_credit();
        assert!(matches!(invited.body, Body::Invite { .. }), "{invited:?}");
        raw.send(0, GUEST, Body::Opened { pid: None });
        let Body::Message { message_id, .. } = raw.expect_beside_credit().body else {
            panic!("nothing is asked")
        };
        said(&mut raw, message_id.get());
        asked.join().unwrap()
    })
}

/// What the first conversation is called to which a client is invited.
const GUEST: u32 = 2;

/// A client that serves and answers what was never asked, or after its own end: none of it reaches anybody.
pub fn a_responder_that_forges_reaches_nobody(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        let answered = asks_a_raw_responder(&world, &|raw, asked| {
            answer(raw, GUEST, asked + 90, b"never asked");
            answer(raw, 400, asked, b"never invited");
            answer(raw, GUEST, asked, b"the answer");
            answer(raw, GUEST, asked, b"once more");
        });
        assert_eq!(answered.unwrap(), "the answer");
        let answered = asks_a_raw_responder(&world, &|raw, asked| {
            let (pid, record, cause, message) = (Pid::new(9), RecordNumber::new(9), 1, Some("enough"));
            raw.send(
                0,
                GUEST,
                Body::Exited {
                    pid,
                    record,
                    cause,
                    message,
                    unanswered: 0,
                    records: RecordNumbers::default(),
                },
            );
            answer(raw, GUEST, asked, b"from beyond");
        });
        let Err(AskError::Exited(Exited::Crash(crash))) = answered else { panic!("{answered:?}") };
        assert_eq!(crash.reason, ExitReason::Crashed { text: "enough".into() });
    });
}

/// A client that serves and breaks a rule is told so with the exact code, and who asks it that it has exited.
pub fn a_responder_that_breaks_a_rule_has_exited(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    // An offer of nothing, one that does not ascend, and one on a stream of the server.
    let cases: [(&[u8], ReasonCode); 3] = [
        (&[0x87, 0, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 0, 0], ReasonCode::CODEC),
        (&[0x87, 0, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 1, 0], ReasonCode::INVALID_STREAM),
        (&[0x87, 0, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 1, 0], ReasonCode::INVALID_STREAM),
    ];
    beside_a_neighbour(&world, || {
        for (breach, code) in cases {
            let answered = asks_a_raw_responder(&world, &|raw, _| {
                raw.send_bytes(breach);
                raw.expect_refusal(code);
            });
            let Err(AskError::Exited(Exited::Crash(crash))) = answered else { panic!("{answered:?}") };
            assert!(matches!(crash.reason, ExitReason::Violated { .. }), "{crash:?}");
        }
    });
}

/// Answers the first request when the second comes, and each of the others amid forgeries.
fn forge(listener: &TcpListener, dialect: Dialect) {
    let mut raw = Raw::accept(listener);
    raw.accept_hands(dialect.version());
    raw.dialect = dialect;
    let mut late = None;
    while let Some(frame) = raw.next_frame() {
        let (stream, said) = (frame.stream.get(), frame.body);
        let (id, payload) = match said {
            Body::ConversationOpen { .. } if dialect == Dialect::V2 => {
                raw.send(0, stream, Body::Opened { pid: None });
                continue;
            }
            Body::Message { message_id, payload, .. } => (message_id.get(), payload),
            Body::ConversationMessage { envelope, .. } => (0, envelope.payload),
            Body::Disconnect => return raw.send(0, 0, Body::Disconnect),
            _ => continue,
        };
        let Some((late_stream, late_id)) = late else {
            late = Some((stream, id));
            continue;
        };
        answer(&mut raw, late_stream, late_id, b"too late");
        answer(&mut raw, stream + 400, id, b"on another's stream");
        answer(&mut raw, stream, id + 400, if dialect == Dialect::V2 { b"to nobody" } else { &payload });
        answer(&mut raw, stream, id, &payload);
        answer(&mut raw, stream, id, b"twice");
    }
}

fn answer(raw: &mut Raw, stream: u32, id: u64, payload: &[u8]) {
    match raw.dialect {
        Dialect::V1 => raw.say(1, stream, 1, payload),
        Dialect::V2 => {
            let (message_id, answers, timeout_ms) = (MessageId::new(0), Some(MessageId::new(id)), None);
            raw.send(
                2,
                stream,
                Body::Message { message_id, answers, timeout_ms, redelivered: None, metadata: None, payload },
            );
        }
    }
}

/// What a participant says of its exit is cut to a bound, and no terminal misreads it.
pub fn hostile_last_words_are_cut_and_escaped(transport: &dyn Transport) {
    let factory =
        || {
            from_fn(|context, message: Received| {
                let text = "\u{1b}[2J\r\nWARN forged \u{202e}line\u{0}"
                    .repeat(if message.payload == "long" { 5000 } else { 1 });
                context.exit(ExitReason::Crashed { text });
            })
        };
    let world = Stage::default().role("rude", Role::Inline(Arc::new(factory))).serve(transport, Setup::V2);
    for how in ["short", "long"] {
        let (_handle, conversation) = world.open("rude");
        let asked = conversation.ask(how.into(), WAIT);
        let Err(AskError::Exited(Exited::Crash(crash))) = asked else { panic!("{asked:?}") };
        let ExitReason::Crashed { text } = &crash.reason else { panic!("{crash:?}") };
        assert!(text.len() <= Limits::default().text_max && text.contains("forged"), "{} bytes", text.len());
        let shown = crash.to_string();
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        let mut raw = world.raw();
        raw.shake_hands(Dialect::V1);
        raw.open(1, 1, "rude");
        raw.ask(1, 1, how.as_bytes());
        let Body::ConversationError { message, .. } = raw.expect().body else { panic!("no error") };
        let message = message.unwrap();
        assert!(message.len() <= Limits::default().text_max && message.contains("forged"), "{message:?}");
        let shown = Exited::Words(Some(message)).to_string();
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
}

/// A client that floods while its replies are stuck is judged, not waited for: it reads nothing, and what it
/// sends is still read, or its time runs out.
pub fn a_client_that_floods_while_it_is_written_to_is_closed(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| options.connection.limits.write_stall_time = Duration::from_secs(1))
        .serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for dialect in DIALECTS {
            // Below what may be queued, and above it.
            for requests in [3, 40] {
                let mut raw = Raw::connect_narrow(world.address());
                raw.shake_hands(dialect);
                raw.open(1, 1, "inline");
                // Who has not joined when it is closed has nothing to leave.
                raw.ask(1, 1, b"are you there?");
                world.await_said("are you there?");
                let mut taken = (2..2 + requests)
                    .take_while(|&number| raw.try_send(&raw.ask_bytes(1, number, &[7; 300_000])));
                let _ = taken.by_ref().count();
                let pings = raw.bytes_of(0, 0, Body::Ping).repeat(2000);
                let _ = raw.try_send(&pings);
                world.await_left();
            }
        }
    });
}

/// A server that sends without end while the client still writes: the client goes on reading, so neither
/// waits for the other, and the request that was being written is answered in the end.
pub fn a_client_reads_on_while_it_writes(transport: &dyn Transport) {
    const STRAYS: u64 = 200;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let large = Bytes::from(vec![7; 1_000_000]);
    for dialect in DIALECTS {
        for driven in [true, false] {
            thread::scope(|scope| {
                let server = scope.spawn(|| {
                    let mut raw = Raw::accept(&listener);
                    raw.accept_hands(dialect.version());
                    raw.dialect = dialect;
                    let open = raw.expect();
                    if dialect == Dialect::V2 {
                        raw.send(0, open.stream.get(), Body::Opened { pid: None });
                    }
                    // Far more than the sockets hold, before the first byte of a request is read.
                    (0..STRAYS).for_each(|_| answer(&mut raw, 401, 9, &[3; 100_000]));
                    for _ in 0..5 {
                        let request = raw.expect_beside_credit();
                        let id = if let Body::Message { message_id, .. } = request.body {
                            message_id.get()
                        } else {
                            0
                        };
                        answer(&mut raw, request.stream.get(), id, b"at last");
                    }
                    raw
                });
                let mut config = Config { max_dialect: dialect, ..Config::default() };
                // The server may send them all.
                config.limits.connection_window = 64 << 20;
                let handle = transport.connect(&address, config, driven).unwrap();
                let conversation = handle.open("anything").unwrap();
                thread::scope(|scope| {
                    for _ in 0..5 {
                        scope.spawn(|| {
                            assert_eq!(
                                conversation.ask(large.clone().into(), WAIT).unwrap(),
                                "at last",
                                "{dialect:?} {driven}"
                            );
                        });
                    }
                });
                drop(server.join().unwrap());
            });
        }
    }
}

/// A panic whose words are planned is told as such to the one who asked, in every host, under all of this.
pub fn an_exit_is_told_amid_a_flood(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = world.raw();
        raw.shake_hands(Dialect::V2);
        raw.open(1, 1, host.subject());
        let unknown = [0xEE, 0, 0, 0, 0, 9, 0, 0, 0, 0].repeat(150);
        raw.send_bytes(&[&raw.ask_bytes(1, 1, say::PANIC.as_bytes())[..], &unknown].concat());
        assert!(matches!(raw.expect().body, Body::Opened { .. }));
        let Body::Exited { message, .. } = raw.expect().body else { panic!("no exit") };
        assert_eq!(message.as_deref(), Some(PLANNED), "{host:?}");
    }
}
