//! What a watch is told of logs: records, and which of them it is not told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use core::time::Duration;

use liminal_proto::wire::Body;
use liminal_proto::{
    CommandError, Config, Connection, Content, Event, ExitReason, Gap, GapReason, LogId, LogRecord, Logged,
    MessageId, Metadata, MonitorPhase, Notice, Outcome, Pid, ReasonCode, RecordNumber, StreamId,
};

use support::*;

const WATCH: StreamId = StreamId::new(1);
const LOG: LogId = LogId::new(9);
const PID: Pid = Pid::new(7);

fn record(what: Logged) -> LogRecord {
    LogRecord { log: LOG, number: RecordNumber::new(4), subject: None, what }
}

fn gap(from: u64, to: u64, why: GapReason) -> Gap {
    let (from, to) = (RecordNumber::new(from), RecordNumber::new(to));
    Gap { log: LOG, from, to, subject: None, why }
}

/// A client whose watch stands.
fn watching_client(config: Config) -> Connection {
    let mut client = client_of(2, config);
    assert_eq!(client.watch(START, Some("subject")), Ok(WATCH));
    output(&mut client);
    let told = feed(&mut client, START, &frame(0, 1, Body::Monitoring));
    assert_eq!(told, [Event::Monitoring { monitor: WATCH }]);
    client
}

/// The server's side of the same.
fn watched_server(config: Config) -> Connection {
    let mut server = server_of(2, config);
    feed(&mut server, START, &frame(0, 1, Body::Watch { subject: Some("subject") }));
    server.monitoring(START, WATCH).unwrap();
    output(&mut server);
    server
}

/// What a client is told of what its server says.
fn passed_on(record: &LogRecord) -> Vec<Event> {
    let mut server = watched_server(Config::default());
    server.record(START, WATCH, record).unwrap();
    let bytes = output(&mut server);
    feed(&mut watching_client(Config::default()), START, &bytes)
}

fn everything() -> Vec<Logged> {
    let (id, request, pid) = (MessageId::new(3), RecordNumber::new(2), PID);
    let (content, text) = (Content::from("hello"), Some("because".to_owned()));
    let metadata = Metadata::builder().header("traceparent", "00-0af7-b7ad-01").unwrap().build();
    let described = Content::new("hello", metadata);
    let ended = |how| Logged::RequestEnded { request, how };
    let crashed = ExitReason::Crashed { text: "boom".to_owned() };
    vec![
        Logged::Joined { pid },
        Logged::Message { id, content: content.clone() },
        Logged::Message { id, content: Content::default() },
        Logged::Message { id, content: described.clone() },
        Logged::Reply { request, last: true, content: described },
        Logged::Request { id, timeout: Duration::from_millis(5000), content: content.clone() },
        Logged::Reply { request, last: true, content: content.clone() },
        Logged::Reply { request, last: false, content },
        ended(Outcome::Refused { reason: ReasonCode::BUSY, text: text.clone() }),
        ended(Outcome::Refused { reason: ReasonCode::NO_REPLY, text: None }),
        ended(Outcome::Exited),
        ended(Outcome::Deadline),
        Logged::JoinRefused { pid, text },
        Logged::JoinRefused { pid, text: None },
        Logged::Left { pid, cancelled: false },
        Logged::Left { pid, cancelled: true },
        Logged::Exited { pid, reason: crashed, goes_on: true },
        Logged::Exited { pid, reason: ExitReason::Signal { signal: 9 }, goes_on: false },
        Logged::Failed,
        Logged::Other { what: 200 },
    ]
}

/// P-7.88, P-7.92
#[test]
fn every_record_arrives_as_what_it_was() {
    for what in everything() {
        let record = record(what);
        let told = Event::Record { monitor: WATCH, record: Box::new(record.clone()) };
        assert_eq!(passed_on(&record), [told]);
    }
}

/// P-7.91
#[test]
fn the_subject_comes_with_the_first_record_and_with_a_gap_from_the_first() {
    let subject = Some("subject".to_owned());
    let first = LogRecord { number: RecordNumber::new(1), subject, ..record(Logged::Joined { pid: PID }) };
    assert_eq!(passed_on(&first), [Event::Record { monitor: WATCH, record: Box::new(first.clone()) }]);
    let gap = Gap { subject: first.subject, ..gap(1, 5, GapReason::Before) };
    let mut server = watched_server(Config::default());
    server.gap(START, WATCH, &gap).unwrap();
    let bytes = output(&mut server);
    let told = feed(&mut watching_client(Config::default()), START, &bytes);
    assert_eq!(told, [Event::Gap { monitor: WATCH, gap }]);
}

/// P-7.88, P-7.89, P-7.90
#[test]
fn a_gap_says_which_records_are_missing_and_why() {
    let reasons = [GapReason::Before, GapReason::TooSlow, GapReason::TooLarge, GapReason::Other(777)];
    for (code, why) in [0, 1, 2, 777].into_iter().zip(reasons) {
        let mut server = watched_server(Config::default());
        server.gap(START, WATCH, &gap(2, 5, why)).unwrap();
        let bytes = output(&mut server);
        let (from, to) = (RecordNumber::new(2), RecordNumber::new(5));
        assert_eq!(bytes, frame(0, 1, Body::Gap { log: LOG, from, to, why: code, subject: None }));
        let told = feed(&mut watching_client(Config::default()), START, &bytes);
        assert_eq!(told, [Event::Gap { monitor: WATCH, gap: gap(2, 5, why) }]);
    }
}

/// P-7.87
#[test]
fn records_that_cannot_be_are_ignored() {
    let on = |log, record| Body::Record {
        log: LogId::new(log),
        record: RecordNumber::new(record),
        what: 9,
        of: 0,
        cause: 0,
        timeout_ms: None,
        subject: None,
        message: None,
        metadata: None,
        payload: bytes::Bytes::new(),
    };
    let missing = |from, to| Body::Gap {
        log: LOG,
        from: RecordNumber::new(from),
        to: RecordNumber::new(to),
        why: 0,
        subject: None,
    };
    for body in [on(9, 0), missing(0, 3), missing(4, 3)] {
        let mut client = watching_client(Config::default());
        assert_eq!(feed(&mut client, START, &frame(0, 1, body)), []);
        assert_eq!((client.strays(), client.monitor_phase(WATCH)), (1, Some(MonitorPhase::Standing)));
    }
    let mut client = watching_client(Config::default());
    assert_eq!(feed(&mut client, START, &frame(0, 1, on(0, 1))).len(), 1, "any log");
}

/// P-7.87
#[test]
fn a_watch_is_told_no_notices_and_a_monitor_no_records() {
    let failed = record(Logged::Failed);
    let mut watched = watched_server(Config::default());
    assert_eq!(watched.notice(START, WATCH, &Notice::Failed), Err(CommandError::NotMonitoring(WATCH)));
    assert_eq!(output(&mut watched), b"");
    let mut client = watching_client(Config::default());
    let of_monitor = [frame(0, 1, Body::Failed), frame(0, 1, Body::Joined { pid: PID }), close(1)];
    for bytes in of_monitor {
        assert_eq!(feed(&mut client, START, &bytes), []);
    }
    assert_eq!(client.strays(), 3);

    let mut monitored = server(2);
    feed(&mut monitored, START, &frame(0, 1, Body::Monitor { pid: PID }));
    monitored.monitoring(START, WATCH).unwrap();
    let not = Err(CommandError::NotMonitoring(WATCH));
    let gap = gap(1, 2, GapReason::Before);
    assert_eq!(
        [monitored.record(START, WATCH, &failed), monitored.gap(START, WATCH, &gap)],
        [not.clone(), not]
    );
    let mut monitoring = client_of(2, Config::default());
    monitoring.monitor(START, PID).unwrap();
    let mut watched = watched_server(Config::default());
    watched.record(START, WATCH, &failed).unwrap();
    watched.gap(START, WATCH, &gap).unwrap();
    let bytes = [frame(0, 1, Body::Monitoring), output(&mut watched)].concat();
    assert_eq!(feed(&mut monitoring, START, &bytes), [Event::Monitoring { monitor: WATCH }]);
    assert_eq!(monitoring.strays(), 2);
}

/// P-7.85
#[test]
fn once_it_is_taken_back_a_watch_is_told_what_was_under_way_and_then_nothing() {
    let failed = record(Logged::Failed);
    let mut server = watched_server(Config::default());
    server.record(START, WATCH, &failed).unwrap();
    let under_way = output(&mut server);
    let mut client = watching_client(Config::default());
    client.unmonitor(START, WATCH).unwrap();
    let unmonitor = output(&mut client);
    assert_eq!(feed(&mut server, START, &unmonitor), [Event::Unmonitor { monitor: WATCH }]);
    assert_eq!(server.record(START, WATCH, &failed), Err(CommandError::NotMonitoring(WATCH)));
    assert_eq!(feed(&mut client, START, &under_way).len(), 1);
    server.unmonitored(START, WATCH).unwrap();
    let last = output(&mut server);
    assert_eq!(feed(&mut client, START, &last), [Event::Unmonitored { monitor: WATCH }]);
    assert_eq!(feed(&mut client, START, &under_way), []);
}

/// P-7.88: what cannot be told as it is, is for the embedder to leave out.
#[test]
fn a_record_waits_for_room_and_one_that_fits_no_frame_is_refused() {
    let large = |len| record(Logged::Message { id: MessageId::new(1), content: vec![7; len].into() });
    let config = limited(|limits| (limits.output_soft_max, limits.frame_payload_max) = (1000, 500));
    let mut server = watched_server(config);
    let told = (0..10).take_while(|_| server.record(START, WATCH, &large(300)).is_ok()).count();
    assert!((1..10).contains(&told));
    assert_eq!(server.record(START, WATCH, &large(300)), Err(CommandError::Full));
    assert_eq!(server.gap(START, WATCH, &gap(1, 2, GapReason::TooSlow)), Ok(()), "a gap takes little");
    output(&mut server);
    assert_eq!(server.record(START, WATCH, &large(300)), Ok(()));
    let too_large = server.record(START, WATCH, &large(500));
    assert!(matches!(too_large, Err(CommandError::TooLarge { limit: 500, .. })), "{too_large:?}");
}

/// P-7.77
#[test]
fn a_record_that_is_longer_than_its_watcher_takes_is_refused() {
    let mut server = Connection::server(START, Config::default());
    let small = limited(|limits| limits.frame_payload_max = 300);
    let watch = frame(0, 1, Body::Watch { subject: None });
    let connected = [connect((2, 0), (2, 0), b""), windows(&small.limits), watch];
    feed(&mut server, START, &connected.concat());
    server.monitoring(START, WATCH).unwrap();
    let of = |len| record(Logged::Message { id: MessageId::new(1), content: vec![7; len].into() });
    assert_eq!(server.record(START, WATCH, &of(200)), Ok(()));
    let too_large = server.record(START, WATCH, &of(300));
    assert!(matches!(too_large, Err(CommandError::TooLarge { limit: 300, .. })), "{too_large:?}");
}

/// P-7.72
#[test]
fn a_reply_on_the_stream_of_a_monitor_is_paid_for_and_told_to_nobody() {
    let small = limited(|limits| limits.connection_window = 4_000);
    let mut client = watching_client(small);
    assert_eq!(feed(&mut client, START, &reply_v2(1, 5, true, &[7; 2_936])), []);
    assert_eq!(client.connection_credit_left()[1].owed, 0);
    let given = frame(0, 0, Body::ConnectionCredit { messages: 0, replies: 3_000 });
    assert_eq!(output(&mut client), given);
}

/// A timeout is never shorter on the wire than it was.
#[test]
fn the_timeout_of_a_request_is_told_in_whole_milliseconds() {
    let (id, content) = (MessageId::new(1), Content::default());
    let asked = record(Logged::Request { id, timeout: Duration::from_nanos(1_000_001), content });
    let [Event::Record { record, .. }] = &passed_on(&asked)[..] else { panic!("no record") };
    assert!(matches!(record.what, Logged::Request { timeout, .. } if timeout == Duration::from_millis(2)));
}

/// P-8.3: a subject above the limit of names is none that a conversation can have, and is not kept.
#[test]
fn a_subject_that_is_too_long_is_not_kept() {
    let mut client = watching_client(limited(|limits| limits.name_max = 7));
    let (log, number) = (LogId::new(7), RecordNumber::new(1));
    for (subject, kept) in [("subject", Some("subject")), ("subjects", None)] {
        let gap = Body::Gap { log, from: number, to: number, why: 0, subject: Some(subject) };
        let events = feed(&mut client, START, &frame(0, 1, gap));
        let [Event::Gap { gap, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(gap.subject.as_deref(), kept);
    }
}
