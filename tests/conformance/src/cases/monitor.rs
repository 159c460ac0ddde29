//! Third parties that look on: what is told to them, and that nobody notices.

use std::collections::BTreeMap;
use std::sync::Arc;

use liminal_core::{CrashPolicy, Subject, Watched};
use liminal_driver::Monitoring;
use liminal_driver::error::{Crash, MonitorEnd, MonitorError};
use liminal_proto::wire::{Body, Dialect, FrameBuf};
use liminal_proto::{
    Content, ConversationId, Exit, GapReason, LogId, Logged, Metadata, Notice, Pid, ReasonCode, RecordNumber,
};

use super::hostile::beside_a_neighbour;
use crate::WAIT;
use crate::puppet::{Fault, Host, say};
use crate::raw::Raw;
use crate::stage::{Setup, Stage};
use crate::transport::{Monitor, Transport, Watch};
use crate::wire::Wire;

/// The next thing that a watch is told.
#[track_caller]
fn next(watch: &dyn Watch) -> Watched {
    watch.next_within(WAIT).unwrap().expect("something should have been recorded")
}

/// The next thing that a monitor is told.
#[track_caller]
fn notice(monitor: &dyn Monitor) -> Notice {
    monitor.next_within(WAIT).unwrap().expect("something should have happened")
}

/// What a watch is told until a participant has left, for good.
fn until_left(watch: &dyn Watch) -> Vec<Watched> {
    let mut told = Vec::new();
    loop {
        told.push(next(watch));
        if let Some(Watched::Record(record)) = told.last()
            && matches!(record.what, Logged::Left { .. })
        {
            return told;
        }
    }
}

/// A record in words; replies to one request that follow each other are one.
fn in_words(told: &[Watched]) -> Vec<String> {
    let text = |content: &Content| String::from_utf8_lossy(&content.payload).into_owned();
    let mut words = Vec::new();
    let mut reply = String::new();
    for watched in told {
        let Watched::Record(record) = watched else { panic!("nothing is left out: {watched:?}") };
        match &record.what {
            Logged::Joined { .. } => words.push("joined".into()),
            Logged::Message { content, .. } => words.push(format!("message {}", text(content))),
            Logged::Request { content, .. } => words.push(format!("request {}", text(content))),
            Logged::Reply { content, last, .. } => {
                reply += &text(content);
                if *last {
                    words.push(format!("reply {}", std::mem::take(&mut reply)));
                }
            }
            Logged::Left { cancelled, .. } => words.push(format!("left, cancelled: {cancelled}")),
            what => words.push(format!("{what:?}")),
        }
    }
    words
}

/// Two who look on from connections of their own see the same: every record, in its place, and nothing of others.
pub fn a_watch_is_told_every_record_once_in_the_order_of_the_log(transport: &dyn Transport) {
    for setup in Setup::all(transport).iter().filter(|setup| !setup.is_v1()) {
        for host in Host::ALL {
            let world = Stage::default().serve(transport, *setup);
            let (one, other) = (world.connect(), world.connect());
            let watches = [one.watch(host.subject().into()).unwrap(), other.watch(Subject::Any).unwrap()];
            let elsewhere = other.watch("elsewhere".into()).unwrap();
            let (_handle, conversation) = world.open(host.subject());
            assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
            conversation.message("between".into()).unwrap();
            assert_eq!(conversation.ask(say::PARTS.into(), WAIT).unwrap(), say::JOINED);
            conversation.close().unwrap();
            let [told, same] = watches.map(|watch| until_left(&*watch));
            assert_eq!(told, same, "{host:?} {setup:?}");
            let story = [
                "joined",
                "request hello",
                "reply hello",
                "message between",
                "request parts",
                "reply one two three",
                "left, cancelled: false",
            ];
            assert_eq!(in_words(&told), story, "{host:?} {setup:?}");
            for (number, watched) in (1..).zip(&told) {
                let Watched::Record(record) = watched else { continue };
                assert_eq!(record.number, RecordNumber::new(number));
                assert_eq!(record.subject.as_deref(), (number == 1).then_some(host.subject()));
            }
            assert_eq!(elsewhere.next_within(std::time::Duration::ZERO), Ok(None));
        }
    }
}

/// Who comes later is told how far a conversation is, and then what happens from then on.
pub fn a_watch_of_what_is_open_begins_with_a_gap(transport: &dyn Transport) {
    let metadata = Metadata::builder().header("traceparent", "00-0af7-b7ad-01").unwrap().build();
    let said = Content::new("after", metadata);
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        let (_handle, conversation) = world.open(host.subject());
        assert_eq!(conversation.ask("before".into(), WAIT).unwrap(), "before");
        let watch = world.connect().watch(host.subject().into()).unwrap();
        conversation.message(said.clone()).unwrap();
        let Watched::Gap(gap) = next(&*watch) else { panic!("no gap") };
        assert_eq!((gap.from.get(), gap.to.get(), gap.why), (1, 3, GapReason::Before), "{host:?}");
        assert_eq!(gap.subject.as_deref(), Some(host.subject()));
        let Watched::Record(record) = next(&*watch) else { panic!("a second gap") };
        assert_eq!((record.number.get(), record.subject), (4, None));
        assert_eq!(record.what.content(), Some(&said));
    }
}

/// The exit as whoever asked is told it.
fn as_told(crash: &Crash) -> Exit {
    let Crash { pid, reason, record, goes_on, unanswered, .. } = crash.clone();
    Exit { pid, reason, record, goes_on, unanswered }
}

/// A responder is gone while two requests are outstanding: whoever asked and whoever looks on is told the same, with
/// both of them, once.
pub fn an_exit_is_told_with_what_was_unanswered(transport: &dyn Transport) {
    for host in Host::ALL {
        let world = Stage::empty().serve(transport, Setup::V2);
        let wire = Wire::to(world.address(), 64 << 10);
        let responder = transport.connect(&wire.address(), world.config().clone(), true).unwrap();
        let _service = responder.serve("work".into(), world.puppet(host), 8).unwrap();
        let onlooker = world.connect();
        let watch = onlooker.watch("work".into()).unwrap();
        let (_handle, conversation) = world.open("work");
        let pid = conversation.participant_pids().unwrap()[0];
        let monitor = onlooker.monitor(pid).unwrap();
        assert_eq!(conversation.ask("answered".into(), WAIT).unwrap(), "answered");
        conversation.request(say::NOTHING.into(), WAIT).unwrap();
        conversation.receive_reply(WAIT).unwrap_err();
        let held = [say::HOLD, "behind it"].map(|said| conversation.request(said.into(), WAIT).unwrap());
        let mut asked = Vec::new();
        while asked.len() < held.len() {
            if let Watched::Record(record) = next(&*watch)
                && let Logged::Request { id, .. } = record.what
                && held.contains(&id)
            {
                asked.push(record.number);
            }
        }
        wire.cut();
        let Notice::Exited(exit) = notice(&*monitor) else { panic!("no exit") };
        assert_eq!((exit.unanswered.count(), exit.unanswered.records()), (2, &asked[..]), "{host:?}");
        assert_eq!(exit.pid, pid);
        assert_eq!(as_told(&conversation.await_crash(WAIT).unwrap()), exit);
        let exits = std::iter::repeat_with(|| next(&*watch));
        let told = exits.filter_map(|watched| match watched {
            Watched::Record(record) if matches!(record.what, Logged::Exited { .. }) => Some(*record),
            _ => None,
        });
        let told = told.take(1).next().unwrap();
        let (reason, goes_on) = (exit.reason, false);
        assert_eq!((told.number, told.what), (exit.record, Logged::Exited { pid, reason, goes_on }));
        conversation.close().unwrap();
        assert_eq!(notice(&*monitor), Notice::Ended { cancelled: false });
        assert_eq!(monitor.next(), Err(MonitorEnd::Over));
        world.release();
    }
}

/// Who takes the place of whom is told, and that the conversation is over: also when its opener is gone.
pub fn a_conversation_that_goes_on_is_monitored_to_its_end(transport: &dyn Transport) {
    for host in Host::ALL {
        let stage = Stage::empty().puppet(host, "work", Fault::None);
        let world = stage.on_crash("work", CrashPolicy::RouteToNext).serve(transport, Setup::V2);
        let (handle, conversation) = world.open("work");
        let onlooker = world.connect();
        let first = conversation.participant_pids().unwrap()[0];
        let monitor = onlooker.monitor(first).unwrap();
        assert_eq!(conversation.ask(say::REROUTED.into(), WAIT).unwrap(), "1", "{host:?}");
        let Notice::Exited(exit) = notice(&*monitor) else { panic!("no exit") };
        assert!(exit.pid == first && exit.goes_on && exit.unanswered.count() == 1, "{exit:?} {host:?}");
        let second = conversation.participant_pids().unwrap()[0];
        assert_eq!(notice(&*monitor), Notice::Joined { pid: second });
        drop((conversation, handle));
        assert!(matches!(notice(&*monitor), Notice::Ended { .. }));
        assert_eq!(monitor.next(), Err(MonitorEnd::Over));
    }
}

/// Watches on bytes, and waits until it stands.
fn watch_on(raw: &mut Raw, stream: u32, subject: &str) {
    raw.send(0, stream, Body::Watch { subject: Some(subject) });
    assert!(matches!(raw.expect().body, Body::Monitoring));
}

/// Far more is said than a watcher that does not read has room for: whoever speaks does not notice. When the watcher
/// reads, it finds every record or a gap, in the order of the log, and the end.
pub fn who_watches_and_does_not_read_finds_a_gap_and_slows_nobody(transport: &dyn Transport) {
    const ASKED: usize = 400;
    const SIZE: usize = 20_000;
    let world = Stage::default()
        .options(|options| {
            options.bus.watched_bytes_max = 64 << 10;
            options.connection.limits.write_stall_time = 4 * WAIT;
        })
        .serve(transport, Setup::V2);
    let mut raw = Raw::connect_narrow(world.address());
    raw.shake_hands(Dialect::V2);
    watch_on(&mut raw, 1, "inline");
    let (_handle, conversation) = world.open("inline");
    for number in 0..ASKED {
        let said = vec![number as u8; SIZE];
        assert!(conversation.ask(said.clone().into(), WAIT).unwrap() == said);
    }
    conversation.close().unwrap();
    let mut logs = Logs::default();
    let mut gaps = 0;
    // The last records may be left out as well.
    while logs.last() < 2 + 2 * ASKED as u64 {
        gaps += usize::from(logs.told(raw.expect()) == Told::Gap);
    }
    assert!(gaps > 0, "there was room for everything");
}

/// How far the logs are that a watcher reads on bytes.
#[derive(Default)]
struct Logs(BTreeMap<LogId, u64>);

/// What such a watcher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Record,
    Gap,
}

impl Logs {
    fn told(&mut self, frame: FrameBuf) -> Told {
        match frame.body {
            Body::Record { log, record, .. } => {
                self.goes_on(log, record, record);
                Told::Record
            }
            Body::Gap { log, from, to, why, .. } => {
                assert_eq!(why, GapReason::TooSlow.code());
                self.goes_on(log, from, to);
                Told::Gap
            }
            body => panic!("{body:?}"),
        }
    }

    fn goes_on(&mut self, log: LogId, from: RecordNumber, to: RecordNumber) {
        let last = self.0.entry(log).or_default();
        assert!(from.get() == *last + 1 && to >= from, "{from} to {to} behind {last}");
        *last = to.get();
    }

    /// How far the only one is.
    fn last(&self) -> u64 {
        assert!(self.0.len() <= 1);
        self.0.values().next().copied().unwrap_or_default()
    }
}

/// One that is killed while it is told much, and one that is dropped, are missed by nobody.
pub fn who_watches_and_is_killed_is_nothing_to_the_conversation(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        for round in 0..10 {
            let (onlooker, mut raw) = (world.connect(), Raw::connect_narrow(world.address()));
            raw.shake_hands(Dialect::V2);
            watch_on(&mut raw, 1, "async");
            let watch = onlooker.watch(Subject::Any).unwrap();
            let (_handle, conversation) = world.open("async");
            let pid = conversation.participant_pids().unwrap()[0];
            let monitor = onlooker.monitor(pid).unwrap();
            for number in 0..20 {
                if number == round {
                    drop((monitor.clone(), watch.clone()));
                }
                let said = vec![number; 20_000];
                assert!(conversation.ask(said.clone().into(), WAIT).unwrap() == said);
            }
            drop((monitor, watch));
            raw.kill();
            assert_eq!(conversation.ask("go on".into(), WAIT).unwrap(), "go on");
            assert!(onlooker.ping().is_ok());
            conversation.close().unwrap();
        }
    });
    world.finish();
}

/// What was told is there to be taken, and then the loss. Another connection may watch anew.
pub fn a_watch_ends_with_its_connection(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let wire = Wire::to(world.address(), 64 << 10);
    let onlooker = transport.connect(&wire.address(), world.config().clone(), true).unwrap();
    let watch = onlooker.watch("inline".into()).unwrap();
    let (_handle, conversation) = world.open("inline");
    let monitor = onlooker.monitor(conversation.participant_pids().unwrap()[0]).unwrap();
    assert!(matches!(next(&*watch), Watched::Record(record) if record.number.get() == 1));
    wire.cut();
    assert!(matches!(watch.next(), Err(MonitorEnd::Lost(_))));
    assert!(matches!(watch.next_within(WAIT), Err(MonitorEnd::Lost(_))));
    assert!(matches!(monitor.next(), Err(MonitorEnd::Lost(_))));
    assert!(matches!(onlooker.watch("inline".into()), Err(MonitorError::Lost(_))));
    let anew = world.connect().watch("inline".into()).unwrap();
    conversation.message("go on".into()).unwrap();
    assert!(matches!(next(&*anew), Watched::Gap(gap) if gap.to.get() == 1));
}

#[track_caller]
fn refused<T: ?Sized>(asked: Result<Arc<T>, MonitorError>) -> ReasonCode {
    match asked {
        Err(MonitorError::Refused(refusal)) => refusal.reason,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was taken"),
    }
}

/// A server may let nobody look on, and says so with the code for that.
pub fn who_may_not_look_on_is_refused(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| options.monitoring = Monitoring::Nobody)
        .serve(transport, Setup::V2);
    let (handle, conversation) = world.open("inline");
    let pid = conversation.participant_pids().unwrap()[0];
    for _ in 0..3 {
        assert_eq!(refused(handle.watch("inline".into())), ReasonCode::NOT_ALLOWED);
        assert_eq!(refused(handle.watch(Subject::Any)), ReasonCode::NOT_ALLOWED);
        assert_eq!(refused(handle.monitor(pid)), ReasonCode::NOT_ALLOWED);
    }
    assert_eq!(conversation.ask("go on".into(), WAIT).unwrap(), "go on");
}

/// The dead, the unknown, what is monitored already, and what is too much.
pub fn what_cannot_be_monitored_is_refused_with_its_code(transport: &dyn Transport) {
    let world =
        Stage::default().options(|options| options.bus.watches_per_link_max = 2).serve(transport, Setup::V2);
    let (_handle, conversation) = world.open("inline");
    let pid = conversation.participant_pids().unwrap()[0];
    let onlooker = world.connect();
    let _monitor = onlooker.monitor(pid).unwrap();
    assert_eq!(refused(onlooker.monitor(pid)), ReasonCode::ALREADY_OPEN);
    assert_eq!(refused(onlooker.monitor(Pid::new(u64::MAX))), ReasonCode::EXITED);
    conversation.ask(say::EXIT.into(), WAIT).unwrap_err();
    assert_eq!(refused(world.connect().monitor(pid)), ReasonCode::EXITED);
    let _watches = [(); 2].map(|()| onlooker.watch("inline".into()).unwrap());
    assert_eq!(refused(onlooker.watch("inline".into())), ReasonCode::LIMIT);
    let long = "x".repeat(Stage::default().config.limits.name_max + 1);
    assert!(matches!(onlooker.watch(long.into()), Err(MonitorError::Rejected(_))));
}

/// What is no frame, or stands where it must not, ends the connection with its code; what concerns nothing is ignored.
pub fn frames_of_monitors_out_of_place_are_judged_with_their_code(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let frame = |type_id: u8, stream: u32, payload: &[u8]| {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[type_id, 0][..], &stream.to_be_bytes(), &len, payload].concat()
    };
    let (codec, stream) = (ReasonCode::CODEC, ReasonCode::INVALID_STREAM);
    let cases = [
        ("a pid that is cut off", frame(0x8E, 3, &[0; 7]), codec),
        ("a pid with a byte behind it", frame(0x8E, 3, &[0; 9]), codec),
        ("a subject that goes on past the end", frame(0x8F, 3, &[1, 0, 0, 0, 9, b'x']), codec),
        ("a subject that is no text", frame(0x8F, 3, &[1, 0, 0, 0, 1, 0xFF]), codec),
        ("a tag of its own", frame(0x8F, 3, &[2]), codec),
        ("a monitor on stream 0", frame(0x8E, 0, &[0; 8]), stream),
        ("a monitor on a stream of the server", frame(0x8E, 4, &[0; 8]), stream),
        ("a watch on a stream that was used", frame(0x8F, 1, &[0]), stream),
        ("something behind the end of what it takes back", frame(0x91, 1, &[0]), codec),
    ];
    beside_a_neighbour(&world, || {
        for (what, bytes, code) in cases {
            let mut raw = world.raw();
            raw.shake_hands(Dialect::V2);
            watch_on(&mut raw, 1, "nobody");
            raw.send_bytes(&bytes);
            raw.expect_refusal_of(code, what);
        }
        let mut raw = world.raw();
        raw.shake_hands(Dialect::V2);
        let (log, number) = (LogId::new(1), RecordNumber::new(1));
        raw.send(0, 1, Body::Unmonitor);
        raw.send(0, 1, Body::Gap { log, from: number, to: number, why: 0, subject: None });
        raw.send(0, 1, Body::Monitoring);
        raw.send(0, 1, Body::Unmonitored);
        watch_on(&mut raw, 1, "nobody");
        raw.send(
            0,
            1,
            Body::ConversationClose {
                conversation_id: ConversationId::new(1),
                reason_code: None,
                message: None,
            },
        );
        raw.send(0, 1, Body::Unmonitor);
        raw.send(0, 1, Body::Unmonitor);
        assert!(matches!(raw.expect().body, Body::Unmonitored));
        raw.send(0, 0, Body::Ping);
        assert!(matches!(raw.expect().body, Body::Pong));
    });
}

/// 1.0 has no words for it, whichever side speaks no more.
pub fn monitoring_needs_version_2(transport: &dyn Transport) {
    for &setup in Setup::all(transport).iter().filter(|setup| setup.is_v1()) {
        let world = Stage::default().serve(transport, setup);
        let (handle, conversation) = world.open("inline");
        assert_eq!(handle.watch("inline".into()).err(), Some(MonitorError::NeedsVersion2), "{setup:?}");
        assert_eq!(handle.monitor(Pid::new(1)).err(), Some(MonitorError::NeedsVersion2), "{setup:?}");
        assert_eq!(conversation.ask("go on".into(), WAIT).unwrap(), "go on");
    }
}
