//! What a client asks to be told of conversations of others, and what becomes of that.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use bytes::Bytes;
use liminal_proto::wire::{Body, RecordNumbers, flag};
use liminal_proto::{
    CommandError, Config, Connection, Event, Exit, ExitReason, Limits, MonitorPhase, Notice, Pid, ReasonCode,
    RecordNumber, Side, StreamId, Unanswered, Violation,
};

use support::*;

const MONITOR: StreamId = StreamId::new(1);
const PID: Pid = Pid::new(7);
const REFUSED: ReasonCode = ReasonCode::NOT_ALLOWED;

/// What is done to a monitor, by the side that does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Monitor,
    Monitoring,
    Refuse,
    Unmonitor,
    Unmonitored,
    Exits,
    Joins,
    Fails,
    Ends,
}

use Step::*;

const EVERY_STEP: [Step; 8] = [Monitoring, Refuse, Unmonitor, Unmonitored, Exits, Joins, Fails, Ends];

fn exit(goes_on: bool) -> Exit {
    let reason = ExitReason::Crashed { text: "boom".to_owned() };
    let unanswered = Unanswered::new(3, [RecordNumber::new(2)]);
    Exit { pid: PID, record: RecordNumber::new(4), reason, goes_on, unanswered }
}

fn exited(flags: u8, count: u32, records: &[u64]) -> Vec<u8> {
    let records = RecordNumbers::new(records.iter().copied().map(RecordNumber::new)).unwrap();
    let (pid, record, cause, message) = (PID, RecordNumber::new(4), 1, Some("boom"));
    frame(flags, MONITOR.get(), Body::Exited { pid, record, cause, message, unanswered: count, records })
}

impl Step {
    fn side(self) -> Side {
        if matches!(self, Monitor | Unmonitor) { Side::Client } else { Side::Server }
    }

    fn notice(self) -> Option<Notice> {
        match self {
            Exits => Some(Notice::Exited(exit(true))),
            Joins => Some(Notice::Joined { pid: Pid::new(8) }),
            Fails => Some(Notice::Failed),
            Ends => Some(Notice::Ended { cancelled: true }),
            _ => None,
        }
    }

    fn bytes(self) -> Vec<u8> {
        let on = |body| frame(0, MONITOR.get(), body);
        let cancelled = Some(ReasonCode::CANCELLED);
        match self {
            Monitor => on(Body::Monitor { pid: PID }),
            Monitoring => on(Body::Monitoring),
            Refuse => on(Body::Refused { reason_code: REFUSED, message: Some("no") }),
            Unmonitor => on(Body::Unmonitor),
            Unmonitored => on(Body::Unmonitored),
            Exits => exited(flag::GOES_ON, 3, &[2]),
            Joins => on(Body::Joined { pid: Pid::new(8) }),
            Fails => on(Body::Failed),
            Ends => on(Body::ConversationClose {
                conversation_id: conversation(1),
                reason_code: cancelled,
                message: None,
            }),
        }
    }

    /// What the other side is told.
    fn event(self) -> Event {
        let monitor = MONITOR;
        match self {
            Monitor => Event::Monitor { monitor, pid: PID },
            Monitoring => Event::Monitoring { monitor },
            Refuse => Event::NotMonitoring { monitor, reason: REFUSED, text: Some("no".to_owned()) },
            Unmonitor => Event::Unmonitor { monitor },
            Unmonitored => Event::Unmonitored { monitor },
            Exits | Joins | Fails | Ends => Event::Notice { monitor, notice: self.notice().unwrap() },
        }
    }

    fn command(self, connection: &mut Connection) -> Result<(), CommandError> {
        match self {
            Monitor => connection.monitor(START, PID).map(|monitor| assert_eq!(monitor, MONITOR)),
            Monitoring => connection.monitoring(START, MONITOR),
            Refuse => connection.refuse_monitor(START, MONITOR, REFUSED, Some("no")),
            Unmonitor => connection.unmonitor(START, MONITOR),
            Unmonitored => connection.unmonitored(START, MONITOR),
            Exits | Joins | Fails | Ends => connection.notice(START, MONITOR, &self.notice().unwrap()),
        }
    }

    /// Does it on its own side, or lets it arrive on the other: whether it was taken. What is not leaves no
    /// trace but its count.
    fn is_taken(self, connection: &mut Connection) -> bool {
        let strays = connection.strays();
        if self.side() == connection.side() {
            let is_ending = connection.monitor_phase(MONITOR) == Some(MonitorPhase::Ending);
            let result = self.command(connection);
            let written = output(connection);
            match result {
                // That it was taken back is the last word of it then.
                Ok(()) if is_ending && self == Ends => assert_eq!(written, Unmonitored.bytes()),
                Ok(()) => assert_eq!(written, self.bytes()),
                Err(error) => {
                    assert_eq!(error, CommandError::NotMonitoring(MONITOR));
                    assert_eq!(written, b"");
                }
            }
            return !written.is_empty();
        }
        let told = feed(connection, START, &self.bytes());
        assert_eq!(output(connection), b"");
        if told.is_empty() {
            assert_eq!(connection.strays(), strays + 1, "{self:?}");
            return false;
        }
        assert_eq!((told, connection.strays()), (vec![self.event()], strays));
        true
    }
}

/// The ways to each state of a monitor, the phase that it is in, and what may come next: at the client, and where
/// it differs, what the server may no longer say.
const STATES: [(&[Step], Option<MonitorPhase>, &[Step]); 8] = [
    (&[Monitor], Some(MonitorPhase::Asked), &[Monitoring, Refuse, Unmonitor]),
    (
        &[Monitor, Monitoring],
        Some(MonitorPhase::Standing),
        &[Refuse, Unmonitor, Unmonitored, Exits, Joins, Fails, Ends],
    ),
    (&[Monitor, Unmonitor], Some(MonitorPhase::Revoked), &[Monitoring, Refuse, Unmonitored]),
    (
        &[Monitor, Monitoring, Unmonitor],
        Some(MonitorPhase::Ending),
        &[Refuse, Unmonitored, Exits, Joins, Fails, Ends],
    ),
    (
        &[Monitor, Unmonitor, Monitoring],
        Some(MonitorPhase::Ending),
        &[Refuse, Unmonitored, Exits, Joins, Fails, Ends],
    ),
    (&[Monitor, Monitoring, Unmonitored], None, &[]),
    (&[Monitor, Monitoring, Exits, Ends], None, &[]),
    (&[Monitor, Refuse], None, &[]),
];

fn in_state(side: Side, way: &[Step]) -> Connection {
    let mut connection = if side == Side::Client { client(2) } else { server(2) };
    for step in way {
        assert!(step.is_taken(&mut connection), "{way:?}: {step:?}");
    }
    connection
}

/// P-7.80, P-7.83, P-7.84, P-7.85, P-7.86, P-7.87: on the server's side nothing more is said to a client that has
/// taken its monitor back, but that it is so; on the client's side what was under way still comes.
#[test]
fn a_monitor_is_answered_once_told_while_it_stands_and_ended_once_on_both_sides() {
    for side in [Side::Client, Side::Server] {
        for (way, phase, next) in STATES {
            for step in EVERY_STEP {
                let mut connection = in_state(side, way);
                assert_eq!(connection.monitor_phase(MONITOR), phase, "{way:?}");
                let taken = step.is_taken(&mut connection);
                let is_ending = side == Side::Server && phase == Some(MonitorPhase::Ending);
                let too_late = is_ending && step.notice().is_some() && step != Ends;
                let expected = next.contains(&step) && !too_late;
                assert_eq!(taken, expected, "{side}: {step:?} after {way:?}");
                if !taken {
                    assert_eq!(connection.monitor_phase(MONITOR), phase, "{side}: {step:?} after {way:?}");
                }
            }
        }
    }
}

/// P-7.87
#[test]
fn frames_of_conversations_and_offers_on_the_stream_of_a_monitor_have_no_effect() {
    let on = |body| frame(0, MONITOR.get(), body);
    let answers = [
        on(Body::Opened { pid: None }),
        on(Body::Serving),
        on(Body::Withdrawn),
        on(Body::Outcome { message_id: id(1), reason_code: REFUSED, record: None, message: None }),
        reply_v2(MONITOR.get(), 1, false, b"to nothing"),
    ];
    let asks =
        [message_v2(flag::WANTS_REPLY, MONITOR.get(), 1, b"?"), close(MONITOR.get()), on(Body::Withdraw)];
    for (way, phase, _) in STATES {
        for (side, frames) in [(Side::Client, &answers[..]), (Side::Server, &asks[..])] {
            for bytes in frames {
                let mut connection = in_state(side, way);
                assert_eq!(feed(&mut connection, START, bytes), [], "{way:?}");
                assert_eq!((connection.strays(), connection.monitor_phase(MONITOR)), (1, phase));
                assert_eq!(output(&mut connection), b"");
            }
        }
    }
    // A foreign id in the end of the conversation is no end.
    let mut client = in_state(Side::Client, &[Monitor, Monitoring]);
    let foreign =
        Body::ConversationClose { conversation_id: conversation(3), reason_code: None, message: None };
    assert_eq!(feed(&mut client, START, &on(foreign)), []);
    assert_eq!(client.monitor_phase(MONITOR), Some(MonitorPhase::Standing));
}

/// P-1.5: also where a monitor stands.
#[test]
fn whatever_a_server_begins_on_the_stream_of_a_monitor_is_a_breach() {
    let mut client = in_state(Side::Client, &[Monitor, Monitoring]);
    let told = feed(&mut client, START, &frame(0, 1, Body::Invite { pid: PID, subject: "s" }));
    assert!(matches!(violation(&told), Violation::ForeignStream { .. }), "{told:?}");
}

/// P-7.31, P-7.80
#[test]
fn monitors_watches_offers_and_opens_ascend_together() {
    let watch = || frame(0, 1, Body::Watch { subject: None });
    let serve = || frame(0, 1, Body::Serve { capacity: 1, subject: None });
    let pairs = [
        (Monitor.bytes(), Monitor.bytes()),
        (watch(), open(1)),
        (open(3), watch()),
        (serve(), Monitor.bytes()),
    ];
    for (first, second) in pairs {
        let mut server = server(2);
        let told = feed(&mut server, START, &[first, second].concat());
        assert!(matches!(violation(&told), Violation::NotAscending { what: "stream", .. }), "{told:?}");
        assert_connect_error(&mut server, ReasonCode::INVALID_STREAM);
    }
    let mut client = client(2);
    let key = client.open(START, "subject").unwrap();
    let monitor = client.monitor(START, PID).unwrap();
    let watch = client.watch(START, Some("subject")).unwrap();
    let offer = client.serve(START, None, 1).unwrap();
    assert_eq!(key, conversation(1));
    assert_eq!([monitor, watch, offer].map(StreamId::get), [3, 5, 7]);
}

#[test]
fn commands_about_monitors_belong_to_one_side_and_to_2_0() {
    for step in [Monitor, Monitoring, Refuse, Unmonitor, Unmonitored, Exits, Joins, Fails, Ends] {
        let mut other = if step.side() == Side::Client { server(2) } else { client(2) };
        assert_eq!(step.command(&mut other), Err(CommandError::WrongSide(step.side())), "{step:?}");
        let mut old = if step.side() == Side::Client { client(1) } else { server(1) };
        assert_eq!(step.command(&mut old), Err(CommandError::NeedsVersion2), "{step:?}");
        let mut early = match step.side() {
            Side::Client => Connection::client(START, Config::default()),
            Side::Server => Connection::server(START, Config::default()),
        };
        assert_eq!(step.command(&mut early), Err(CommandError::NotConnected), "{step:?}");
        let mut over = in_state(step.side(), &[Monitor]);
        over.link_lost(START, liminal_proto::LinkError::Reset);
        assert_eq!(events(&mut over).len(), 1);
        assert_eq!(step.command(&mut over), Err(CommandError::ConnectionClosed), "{step:?}");
    }
    assert_eq!(client(1).watch(START, None), Err(CommandError::NeedsVersion2));
    assert_eq!(server(2).watch(START, None), Err(CommandError::WrongSide(Side::Client)));
}

#[test]
fn whoever_is_closing_begins_no_monitor_and_sees_to_the_end_of_those_there_are() {
    let mut client = in_state(Side::Client, &[Monitor, Monitoring]);
    client.disconnect(START);
    assert_eq!(client.monitor(START, PID), Err(CommandError::ConnectionClosed));
    output(&mut client);
    assert_eq!(feed(&mut client, START, &Exits.bytes()), [Exits.event()]);
    assert_eq!(client.unmonitor(START, MONITOR), Ok(()));
    assert_eq!(feed(&mut client, START, &Unmonitored.bytes()), [Unmonitored.event()]);
}

#[test]
fn a_monitor_is_no_answer_that_a_half_closed_client_is_owed() {
    let mut server = in_state(Side::Server, &[Monitor, Monitoring]);
    server.eof(START);
    let told = events(&mut server);
    assert_eq!(told, [Event::Closed(liminal_proto::CloseReason::PeerEof)]);
}

/// P-7.93
#[test]
fn an_exit_names_the_first_requests_without_an_answer_and_no_more() {
    let many: Vec<u64> = (1..=65).collect();
    let numbers = || many.iter().copied().map(RecordNumber::new);
    let named: Vec<RecordNumber> = numbers().take(64).collect();
    let unanswered = Unanswered::new(70, numbers());
    assert_eq!((unanswered.count(), unanswered.records()), (70, &named[..]));
    let exit = Exit { unanswered, ..exit(false) };
    let notice = Notice::Exited(exit.clone());

    let mut server = in_state(Side::Server, &[Monitor, Monitoring]);
    server.notice(START, MONITOR, &notice).unwrap();
    assert_eq!(output(&mut server), exited(0, 70, &many[..64]));
    let mut client = in_state(Side::Client, &[Monitor, Monitoring]);
    assert_eq!(feed(&mut client, START, &exited(0, 70, &many)), [Event::Notice { monitor: MONITOR, notice }]);

    // Whoever opened the conversation is told the same.
    let (mut client, conversation) = client_with_conversation(2, Config::default());
    assert_eq!(feed(&mut client, START, &exited(0, 70, &many)), [Event::Exited { conversation, exit }]);
}

#[test]
fn of_nothing_that_was_unanswered_nothing_is_kept() {
    let none = Unanswered::new(0, [RecordNumber::new(1)]);
    assert_eq!((none.count(), none.records(), &none), (0, &[][..], &Unanswered::default()));
    assert_eq!(format!("{none:?}"), "Unanswered { count: 0, records: [] }");
}

// ── limits ──────────────────────────────────────────────────────────────────────────────────────────

fn monitors(streams: impl Iterator<Item = u32>) -> Vec<u8> {
    streams.flat_map(|stream| frame(0, stream, Body::Monitor { pid: Pid::new(stream.into()) })).collect()
}

fn refusal(stream: u32, reason_code: ReasonCode) -> Vec<u8> {
    frame(0, stream, Body::Refused { reason_code, message: None })
}

/// P-8.20
#[test]
fn monitors_max() {
    let config = || limited(|limits| limits.monitors_max = 2);
    let watch = |stream| frame(0, stream, Body::Watch { subject: None });
    let mut server = server_of(2, config());
    assert_eq!(feed(&mut server, START, &[monitors([1].into_iter()), watch(3)].concat()).len(), 2);
    assert_eq!(feed(&mut server, START, &[monitors([5].into_iter()), watch(7)].concat()), []);
    let refused = [refusal(5, ReasonCode::LIMIT), refusal(7, ReasonCode::LIMIT)].concat();
    assert_eq!(output(&mut server), refused);
    server.monitoring(START, MONITOR).unwrap();
    server.unmonitored(START, MONITOR).unwrap();
    assert_eq!(feed(&mut server, START, &watch(9)).len(), 1);

    let mut client = client_of(2, config());
    assert!(client.monitor(START, PID).is_ok() && client.watch(START, None).is_ok());
    let full = Err(CommandError::Limit { what: "monitors", limit: 2 });
    assert_eq!([client.monitor(START, PID), client.watch(START, None)], [full.clone(), full]);
    feed(&mut client, START, &Refuse.bytes());
    assert!(client.monitor(START, PID).is_ok());
}

/// P-7.81, P-7.82, P-8.15: who asks for the dead could not know it; all else is a fault.
#[test]
fn monitors_that_are_refused_count_unless_an_exit_or_want_of_room_explains_it() {
    let cases = [
        (ReasonCode::NOT_ALLOWED, true),
        (ReasonCode::ALREADY_OPEN, true),
        (ReasonCode::LIMIT, true),
        (ReasonCode::EXITED, false),
        (ReasonCode::TOO_SLOW, false),
        (ReasonCode::BUSY, false),
        (ReasonCode::STOPPING, false),
    ];
    for (reason, counts) in cases {
        let mut server = server(2);
        for stream in (1..=201).step_by(2) {
            assert_eq!(feed(&mut server, START, &monitors([stream].into_iter())).len(), 1);
            server.refuse_monitor(START, StreamId::new(stream), reason, None).unwrap();
            assert!(counts || output(&mut server) == refusal(stream, reason));
        }
        let told = events(&mut server);
        assert_eq!(!told.is_empty(), counts, "{reason}");
        if counts {
            assert!(matches!(violation(&told), Violation::Flood { .. }));
        }
    }
}

/// P-8.13
#[test]
fn a_flood_of_watches_and_of_unmonitors_of_nothing_is_control() {
    let watch = |nth: u32| frame(0, 2 * nth + 1, Body::Watch { subject: None });
    let unmonitor = |nth: u32| frame(0, 2 * nth + 1, Body::Unmonitor);
    for (what, one) in [("watches", &watch as &dyn Fn(u32) -> Vec<u8>), ("frames", &unmonitor)] {
        let mut server = server(2);
        let many: Vec<u8> = (0..200).flat_map(one).collect();
        assert!(feed(&mut server, START, &many).iter().all(|event| matches!(event, Event::Watch { .. })));
        let told = feed(&mut server, START, &one(200));
        assert!(
            matches!(violation(&told), Violation::Flood { what: it } if it.starts_with(what)),
            "{told:?}"
        );
        assert_connect_error(&mut server, ReasonCode::LIMIT);
    }
    // What crosses an end is nobody's fault, and monitors that are taken are bounded by their number.
    let mut server = server(2);
    assert_eq!(feed(&mut server, START, &monitors((1..1001).step_by(2))).len(), 500);
    let many: Vec<u8> = (0..500).flat_map(unmonitor).collect();
    for stream in (1..1001).step_by(2) {
        server.monitoring(START, StreamId::new(stream)).unwrap();
        server.notice(START, StreamId::new(stream), &Notice::Ended { cancelled: false }).unwrap();
    }
    output(&mut server);
    assert_eq!(feed(&mut server, START, &many), []);
    assert_eq!(server.strays(), 500);
}

#[test]
fn the_subject_of_a_watch_is_a_name() {
    let config = || limited(|limits| limits.name_max = 4);
    let watch = |subject| frame(0, 1, Body::Watch { subject: Some(subject) });
    let event = Event::Watch { monitor: MONITOR, subject: Some("name".to_owned()) };
    assert_eq!(feed(&mut server_of(2, config()), START, &watch("name")), [event]);
    let mut server = server_of(2, config());
    assert_eq!(feed(&mut server, START, &watch("names")), []);
    assert_eq!(output(&mut server), refusal(1, ReasonCode::INVALID_NAME));
    let mut client = client_of(2, config());
    assert_eq!(client.watch(START, Some("names")), Err(CommandError::TooLarge { len: 5, limit: 4 }));
    assert_eq!(client.watch(START, Some("name")), Ok(MONITOR));
    assert_eq!(output(&mut client), watch("name"));
}

fn small(limits: &mut Limits) {
    (limits.output_soft_max, limits.frame_payload_max) = (1000, 500);
}

/// P-8.5
#[test]
fn a_monitor_finds_no_room_where_nothing_new_does() {
    let mut server = server_of(2, limited(small));
    feed(&mut server, START, &monitors((1..40).step_by(2)));
    let text = "x".repeat(100);
    for stream in (1..40).step_by(2) {
        server.refuse_monitor(START, StreamId::new(stream), ReasonCode::BUSY, Some(&text)).unwrap();
    }
    assert_eq!(feed(&mut server, START, &monitors([41].into_iter())), []);
    assert_eq!(said(&mut server).pop(), Some(Body::Refused { reason_code: ReasonCode::BUSY, message: None }));

    let mut client = client_of(2, limited(|limits| limits.output_soft_max = 9));
    client.ping(START).unwrap();
    assert_eq!(client.monitor(START, PID), Err(CommandError::Full));
    output(&mut client);
    assert_eq!(client.monitor(START, PID), Ok(MONITOR), "no stream was used up");
}

/// P-8.5: a notice waits for room, so that a burst of them closes nobody who reads.
#[test]
fn notices_wait_where_there_is_no_room_and_none_is_lost() {
    let mut server = server_of(2, limited(small));
    feed(&mut server, START, &monitors([1].into_iter()));
    server.monitoring(START, MONITOR).unwrap();
    assert!(server.is_output_low());
    let told =
        (0..100).take_while(|_| server.notice(START, MONITOR, &Exits.notice().unwrap()).is_ok()).count();
    assert!((10..100).contains(&told) && !server.is_output_low(), "{told}");
    let small = (0..100).take_while(|_| server.notice(START, MONITOR, &Notice::Failed).is_ok()).count();
    let full = server.notice(START, MONITOR, &Ends.notice().unwrap());
    assert_eq!(full, Err(CommandError::Full));
    assert_eq!(server.monitor_phase(MONITOR), Some(MonitorPhase::Standing));
    assert_eq!(said(&mut server).len(), 1 + told + small);
    assert!(server.is_output_low());
    assert_eq!(server.notice(START, MONITOR, &Ends.notice().unwrap()), Ok(()));
    assert_eq!(output(&mut server), Ends.bytes());
}

/// P-8.7
#[test]
fn who_asks_for_monitors_and_never_reads_is_closed() {
    let config = limited(|limits| {
        limits.frame_payload_max = 100;
        (limits.output_soft_max, limits.output_hard_max) = (1000, 2000);
    });
    let mut server = server_of(2, config);
    feed(&mut server, START, &monitors((1..2000).step_by(2)));
    let answered =
        (1..2000).step_by(2).take_while(|&stream| server.monitoring(START, StreamId::new(stream)).is_ok());
    assert_eq!(answered.count(), 201);
    assert!(matches!(violation(&events(&mut server)), Violation::Unread { .. }));
}

#[test]
fn a_text_about_a_monitor_is_cut_on_both_sides() {
    let config = || limited(|limits| limits.text_max = 4);
    let mut server = server_of(2, config());
    feed(&mut server, START, &Monitor.bytes());
    server.refuse_monitor(START, MONITOR, REFUSED, Some("fives")).unwrap();
    let sent = Body::Refused { reason_code: REFUSED, message: Some("five") };
    assert_eq!(output(&mut server), frame(0, 1, sent));
    let mut client = client_of(2, config());
    client.monitor(START, PID).unwrap();
    let long = frame(0, 1, Body::Refused { reason_code: REFUSED, message: Some("fives") });
    let told = Event::NotMonitoring { monitor: MONITOR, reason: REFUSED, text: Some("five".to_owned()) };
    assert_eq!(feed(&mut client, START, &long), [told]);
}

/// P-5.2
#[test]
fn on_a_1_0_link_frames_about_monitors_are_of_unknown_type() {
    for bytes in [Monitor.bytes(), Unmonitor.bytes(), frame(0, 1, Body::Watch { subject: None })] {
        let mut server = server(1);
        assert_eq!(feed(&mut server, START, &bytes), []);
        assert_eq!((output(&mut server), server.strays()), (vec![], 0));
    }
    for bytes in [Monitoring.bytes(), Unmonitored.bytes()] {
        let mut client = client(1);
        assert_eq!(feed(&mut client, START, &bytes), []);
        assert_eq!(client.strays(), 0);
    }
}

/// P-6.14
#[test]
fn malformed_frames_about_monitors_break_the_connection_with_their_exact_code() {
    let frames: [(u8, &[u8]); 9] = [
        (0x8E, b"\0\0\0\0\0\0\0"),
        (0x8E, b"\0\0\0\0\0\0\0\x07."),
        (0x8F, b""),
        (0x8F, b"\x02"),
        (0x8F, b"\x01\0\0\0\x02s"),
        (0x8F, b"\x01\0\0\0\x01\xFF"),
        (0x8F, b"\0."),
        (0x91, b"."),
        (0x90, b"."),
    ];
    for (type_id, payload) in frames {
        let mut server = in_state(Side::Server, &[Monitor, Monitoring]);
        let told = feed(&mut server, START, &raw(type_id, 0, 3, payload));
        assert!(
            matches!(violation(&told), Violation::Undecodable { .. }),
            "{type_id:x} {payload:?}: {told:?}"
        );
        assert_connect_error(&mut server, ReasonCode::CODEC);
        let mut server = in_state(Side::Server, &[Monitor, Monitoring]);
        let told = feed(&mut server, START, &raw(type_id, 0, 0, payload));
        assert!(matches!(violation(&told), Violation::Undecodable { .. }), "{told:?}");
        assert_connect_error(&mut server, ReasonCode::INVALID_STREAM);
    }
}

#[test]
fn a_list_of_records_that_promises_more_than_there_is_breaks_the_connection() {
    let whole = exited(0, 1, &[2]);
    let mut bytes = whole.clone();
    let at = whole.len() - 12;
    bytes[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut client = in_state(Side::Client, &[Monitor, Monitoring]);
    assert!(matches!(violation(&feed(&mut client, START, &bytes)), Violation::Undecodable { .. }));
    let mut client = in_state(Side::Client, &[Monitor, Monitoring]);
    assert_eq!(feed(&mut client, START, &whole).len(), 1);
}

#[test]
fn what_is_logged_of_notices_shows_no_payload() {
    let shown = format!("{:?}", Event::Notice { monitor: MONITOR, notice: Notice::Failed });
    assert_eq!(shown, "Notice { monitor: StreamId(1), notice: Failed }");
    let body: Body<&str, Bytes> = Body::Monitor { pid: PID };
    assert_eq!(format!("{body:?}"), "Monitor { pid: Pid(7) }");
}

/// P-7.85: the end of the conversation was on its way when the monitor was taken back, and whoever tells it had let go of
/// the monitor already: nobody else would answer.
#[test]
fn a_monitor_that_is_taken_back_while_its_last_notice_is_on_the_way_is_answered() {
    let mut server = in_state(Side::Server, &[Monitor, Monitoring, Unmonitor]);
    server.notice(START, MONITOR, &Notice::Ended { cancelled: false }).unwrap();
    assert_eq!(output(&mut server), Unmonitored.bytes());
    assert_eq!(server.monitor_phase(MONITOR), None);
}
