//! What a client offers to serve, and what becomes of the offer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use liminal_proto::wire::{Body, Dialect, EncodeError, Fault, RecordNumbers, flag};
use liminal_proto::{
    CommandError, Config, Connection, Event, OfferPhase, Pid, ReasonCode, Side, StreamId, Violation,
};

use support::*;

const OFFER: StreamId = StreamId::new(1);
const REFUSED: ReasonCode = ReasonCode::NOT_ALLOWED;

/// What is done to an offer, by the side that does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Serve,
    Serving,
    Refuse,
    Drain,
    Withdraw,
    Withdrawn,
}

use Step::*;

impl Step {
    fn side(self) -> Side {
        if matches!(self, Serve | Drain | Withdraw) { Side::Client } else { Side::Server }
    }

    fn bytes(self) -> Vec<u8> {
        let on = |flags, body| frame(flags, OFFER.get(), body);
        match self {
            Serve => on(0, Body::Serve { capacity: 3, subject: Some("work") }),
            Serving => on(0, Body::Serving),
            Refuse => on(0, Body::Refused { reason_code: REFUSED, message: Some("no") }),
            Drain => on(flag::DRAIN, Body::Withdraw),
            Withdraw => on(0, Body::Withdraw),
            Withdrawn => on(0, Body::Withdrawn),
        }
    }

    /// What the other side is told.
    fn event(self) -> Event {
        let offer = OFFER;
        match self {
            Serve => Event::Serve { offer, subject: Some("work".to_owned()), capacity: 3 },
            Serving => Event::Serving { offer },
            Refuse => Event::NotServing { offer, reason: REFUSED, text: Some("no".to_owned()) },
            Drain => Event::Withdraw { offer, drain: true },
            Withdraw => Event::Withdraw { offer, drain: false },
            Withdrawn => Event::Withdrawn { offer },
        }
    }

    fn command(self, connection: &mut Connection) -> Result<(), CommandError> {
        match self {
            Serve => connection.serve(START, Some("work"), 3).map(|offer| assert_eq!(offer, OFFER)),
            Serving => connection.serving(START, OFFER),
            Refuse => connection.refuse_offer(START, OFFER, REFUSED, Some("no")),
            Drain => connection.withdraw(START, OFFER, true),
            Withdraw => connection.withdraw(START, OFFER, false),
            Withdrawn => connection.withdrawn(START, OFFER),
        }
    }

    /// Does it on its own side, or lets it arrive on the other: whether it was taken. What is not leaves no
    /// trace but its count.
    fn is_taken(self, connection: &mut Connection) -> bool {
        let strays = connection.strays();
        if self.side() == connection.side() {
            let result = self.command(connection);
            let written = output(connection);
            match result {
                Ok(()) => assert_eq!(written, self.bytes()),
                Err(error) => {
                    assert_eq!(error, CommandError::NotServing(OFFER));
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

/// The ways to each state of an offer, the phase that it is in, and what may come next.
const STATES: [(&[Step], Option<OfferPhase>, &[Step]); 8] = [
    (&[Serve], Some(OfferPhase::Offered), &[Serving, Refuse, Drain, Withdraw]),
    (&[Serve, Serving], Some(OfferPhase::Serving), &[Drain, Withdraw, Withdrawn]),
    (&[Serve, Drain], Some(OfferPhase::Draining), &[Serving, Refuse, Withdraw, Withdrawn]),
    (&[Serve, Serving, Drain], Some(OfferPhase::Draining), &[Withdraw, Withdrawn]),
    (&[Serve, Withdraw], Some(OfferPhase::Withdrawing), &[Serving, Refuse, Withdrawn]),
    (&[Serve, Drain, Withdraw, Serving], Some(OfferPhase::Withdrawing), &[Withdrawn]),
    (&[Serve, Serving, Withdrawn], None, &[]),
    (&[Serve, Refuse], None, &[]),
];

fn in_state(side: Side, way: &[Step]) -> Connection {
    let mut connection = if side == Side::Client { client(2) } else { server(2) };
    for step in way {
        assert!(step.is_taken(&mut connection), "{way:?}: {step:?}");
    }
    connection
}

/// P-7.50, P-7.57, P-7.58, P-7.59
#[test]
fn an_offer_is_answered_once_and_taken_back_once_in_each_way_on_both_sides() {
    for side in [Side::Client, Side::Server] {
        for (way, phase, next) in STATES {
            for step in [Serving, Refuse, Drain, Withdraw, Withdrawn] {
                let mut connection = in_state(side, way);
                assert_eq!(connection.offer_phase(OFFER), phase, "{way:?}");
                let taken = step.is_taken(&mut connection);
                assert_eq!(taken, next.contains(&step), "{side}: {step:?} after {way:?}");
                if !taken {
                    assert_eq!(connection.offer_phase(OFFER), phase, "{side}: {step:?} after {way:?}");
                }
            }
        }
    }
}

/// P-7.59
#[test]
fn frames_of_conversations_on_the_stream_of_an_offer_have_no_effect() {
    let (pid, record, reason_code) = (Pid::new(1), liminal_proto::RecordNumber::new(1), ReasonCode::OTHER);
    let on = |body| frame(0, OFFER.get(), body);
    let answers = [
        on(Body::Opened { pid: None }),
        on(Body::Exited {
            pid,
            record,
            cause: 0,
            message: None,
            unanswered: 0,
            records: RecordNumbers::default(),
        }),
        on(Body::Joined { pid }),
        on(Body::Failed),
        on(Body::Outcome { message_id: id(1), reason_code, record: None, message: None }),
        reply_v2(OFFER.get(), 1, false, b"to nothing"),
        close(OFFER.get()),
    ];
    let asks = [message_v2(flag::WANTS_REPLY, OFFER.get(), 1, b"?"), close(OFFER.get())];
    for (way, phase, _) in STATES {
        for (side, frames) in [(Side::Client, &answers[..]), (Side::Server, &asks[..])] {
            for bytes in frames {
                let mut connection = in_state(side, way);
                assert_eq!(feed(&mut connection, START, bytes), [], "{way:?}");
                assert_eq!((connection.strays(), connection.offer_phase(OFFER)), (1, phase));
                assert_eq!(output(&mut connection), b"");
            }
        }
    }
}

/// P-7.31, P-7.50
#[test]
fn offers_and_opens_ascend_together() {
    for (first, second) in
        [(Serve.bytes(), Serve.bytes()), (Serve.bytes(), open(1)), (open(3), Serve.bytes())]
    {
        let mut server = server(2);
        let told = feed(&mut server, START, &[first, second].concat());
        assert!(matches!(violation(&told), Violation::NotAscending { what: "stream", .. }), "{told:?}");
        assert_connect_error(&mut server, ReasonCode::INVALID_STREAM);
    }
    let mut client = client(2);
    let key = client.open(START, "subject").unwrap();
    let offer = client.serve(START, None, 1).unwrap();
    let next = client.open(START, "subject").unwrap();
    assert_eq!((key, offer, next), (conversation(1), StreamId::new(3), conversation(5)));
    let all = frame(0, 3, Body::Serve { capacity: 1, subject: None });
    assert_eq!(output(&mut client), [open(1), all.clone(), open(5)].concat());
    let told = Event::Serve { offer: StreamId::new(1), subject: None, capacity: 1 };
    let of_all = frame(0, 1, Body::Serve { capacity: 1, subject: None });
    assert_eq!(feed(&mut server(2), START, &of_all), [told], "for every subject");
}

/// P-7.51
#[test]
fn a_capacity_of_nothing_is_no_offer() {
    let mut client = client(2);
    let refused = client.serve(START, Some("work"), 0);
    assert!(
        matches!(&refused, Err(CommandError::Unencodable(EncodeError::Codec { fault: Fault::Zero, .. }))),
        "{refused:?}"
    );
    assert_eq!(output(&mut client), b"");
    assert_eq!(client.serve(START, Some("work"), 1), Ok(OFFER), "no stream was used up");
    let mut server = server(2);
    let told = feed(&mut server, START, &raw(0x87, 0, 1, b"\0\0\0\0\0"));
    assert!(matches!(violation(&told), Violation::Undecodable { .. }), "{told:?}");
    assert_connect_error(&mut server, ReasonCode::CODEC);
}

#[test]
fn commands_about_offers_belong_to_one_side_and_to_2_0() {
    for step in [Serve, Serving, Refuse, Drain, Withdraw, Withdrawn] {
        let mut other = if step.side() == Side::Client { server(2) } else { client(2) };
        assert_eq!(step.command(&mut other), Err(CommandError::WrongSide(step.side())), "{step:?}");
        let mut old = if step.side() == Side::Client { client(1) } else { server(1) };
        assert_eq!(step.command(&mut old), Err(CommandError::NeedsVersion2), "{step:?}");
        let mut early = match step.side() {
            Side::Client => Connection::client(START, Config::default()),
            Side::Server => Connection::server(START, Config::default()),
        };
        assert_eq!(step.command(&mut early), Err(CommandError::NotConnected), "{step:?}");
        let mut over = in_state(step.side(), &[Serve]);
        over.link_lost(START, liminal_proto::LinkError::Reset);
        assert_eq!(events(&mut over).len(), 1);
        assert_eq!(step.command(&mut over), Err(CommandError::ConnectionClosed), "{step:?}");
    }
}

#[test]
fn whoever_is_closing_makes_no_offers_and_sees_to_the_end_of_those_it_made() {
    let mut client = in_state(Side::Client, &[Serve, Serving]);
    client.disconnect(START);
    assert_eq!(client.serve(START, None, 1), Err(CommandError::ConnectionClosed));
    assert_eq!(client.withdraw(START, OFFER, false), Ok(()));
    assert_eq!(feed(&mut client, START, &Withdrawn.bytes()), [Withdrawn.event()]);
}

// ── limits ──────────────────────────────────────────────────────────────────────────────────────────

fn offers(streams: impl Iterator<Item = u32>) -> Vec<u8> {
    streams.flat_map(|stream| frame(0, stream, Body::Serve { capacity: 1, subject: None })).collect()
}

/// P-8.17
#[test]
fn offers_max() {
    let config = || limited(|limits| limits.offers_max = 2);
    let mut server = server_of(2, config());
    assert_eq!(feed(&mut server, START, &offers([1, 3].into_iter())).len(), 2);
    assert_eq!(feed(&mut server, START, &offers([5].into_iter())), []);
    let refusal = Body::Refused { reason_code: ReasonCode::LIMIT, message: None };
    assert_eq!(output(&mut server), frame(0, 5, refusal));
    server.serving(START, OFFER).unwrap();
    server.withdrawn(START, OFFER).unwrap();
    assert_eq!(feed(&mut server, START, &offers([7].into_iter())).len(), 1);

    let mut client = client_of(2, config());
    assert!(client.serve(START, None, 1).is_ok() && client.serve(START, None, 1).is_ok());
    let full = client.serve(START, None, 1);
    assert_eq!(full, Err(CommandError::Limit { what: "offers", limit: 2 }));
    feed(&mut client, START, &Refuse.bytes());
    assert!(client.serve(START, None, 1).is_ok());
}

#[test]
fn the_subject_of_an_offer_is_a_name() {
    let config = || limited(|limits| limits.name_max = 4);
    let serve = |subject| frame(0, 1, Body::Serve { capacity: 1, subject: Some(subject) });
    assert_eq!(feed(&mut server_of(2, config()), START, &serve("name")).len(), 1);
    let mut server = server_of(2, config());
    assert_eq!(feed(&mut server, START, &serve("names")), []);
    let refusal = Body::Refused { reason_code: ReasonCode::INVALID_NAME, message: None };
    assert_eq!(output(&mut server), frame(0, 1, refusal));
    let mut client = client_of(2, config());
    assert_eq!(client.serve(START, Some("names"), 1), Err(CommandError::TooLarge { len: 5, limit: 4 }));
    assert_eq!(client.serve(START, Some("name"), 1), Ok(OFFER));
}

/// P-8.5
#[test]
fn an_offer_finds_no_room_where_nothing_new_does() {
    let small = |limits: &mut liminal_proto::Limits| {
        (limits.output_soft_max, limits.frame_payload_max) = (1000, 500);
    };
    let mut server = server_of(2, limited(small));
    feed(&mut server, START, &offers((1..40).step_by(2)));
    let text = "x".repeat(100);
    for stream in (1..40).step_by(2) {
        server.refuse_offer(START, StreamId::new(stream), ReasonCode::BUSY, Some(&text)).unwrap();
    }
    assert_eq!(feed(&mut server, START, &offers([41].into_iter())), []);
    let refusal = said(&mut server).pop();
    assert_eq!(refusal, Some(Body::Refused { reason_code: ReasonCode::BUSY, message: None }));

    let mut client = client_of(2, limited(|limits| limits.output_soft_max = 9));
    client.ping(START).unwrap();
    assert_eq!(client.serve(START, None, 1), Err(CommandError::Full));
    output(&mut client);
    assert_eq!(client.serve(START, None, 1), Ok(OFFER), "no stream was used up");
}

/// P-8.15
#[test]
fn offers_that_are_refused_count_unless_it_is_the_servers_own_affair() {
    let cases = [(REFUSED, true), (ReasonCode::BUSY, false), (ReasonCode::STOPPING, false)];
    for (reason, counts) in cases {
        let mut server = server(2);
        for stream in (1..=201).step_by(2) {
            assert_eq!(feed(&mut server, START, &offers([stream].into_iter())).len(), 1);
            server.refuse_offer(START, StreamId::new(stream), reason, None).unwrap();
        }
        let told = events(&mut server);
        assert_eq!(!told.is_empty(), counts, "{reason}");
        if counts {
            assert!(matches!(violation(&told), Violation::Flood { .. }));
        }
    }
    let mut server = server_of(2, limited(|limits| limits.name_max = 0));
    let bad = |stream| frame(0, stream, Body::Serve { capacity: 1, subject: Some("s") });
    let many: Vec<u8> = (1..=201).step_by(2).flat_map(bad).collect();
    assert!(matches!(violation(&feed(&mut server, START, &many)), Violation::Flood { .. }));
}

/// P-8.7
#[test]
fn who_is_told_of_its_offers_and_never_reads_is_closed() {
    let config = limited(|limits| {
        limits.frame_payload_max = 100;
        limits.output_soft_max = 1000;
        limits.output_hard_max = 2000;
        limits.offers_max = 10_000;
    });
    let mut server = server_of(2, config);
    feed(&mut server, START, &offers((1..2000).step_by(2)));
    let answered =
        (1..2000).step_by(2).take_while(|&stream| server.serving(START, StreamId::new(stream)).is_ok());
    assert_eq!(answered.count(), 201);
    assert!(matches!(violation(&events(&mut server)), Violation::Unread { .. }));
}

#[test]
fn a_text_about_an_offer_is_cut_on_both_sides() {
    let config = || limited(|limits| limits.text_max = 4);
    let mut server = server_of(2, config());
    feed(&mut server, START, &Serve.bytes());
    server.refuse_offer(START, OFFER, REFUSED, Some("fives")).unwrap();
    let sent = Body::Refused { reason_code: REFUSED, message: Some("five") };
    assert_eq!(output(&mut server), frame(0, 1, sent));
    let mut client = client_of(2, config());
    client.serve(START, Some("work"), 3).unwrap();
    let long = frame(0, 1, Body::Refused { reason_code: REFUSED, message: Some("fives") });
    let told = Event::NotServing { offer: OFFER, reason: REFUSED, text: Some("five".to_owned()) };
    assert_eq!(feed(&mut client, START, &long), [told]);
}

/// P-5.2
#[test]
fn on_a_1_0_link_frames_about_offers_are_of_unknown_type() {
    for step in [Serve, Serving, Withdraw, Withdrawn] {
        let mut connection = if step.side() == Side::Client { server(1) } else { client(1) };
        assert_eq!(feed(&mut connection, START, &step.bytes()), []);
        assert_eq!(connection.version(), Some(Dialect::V1.version()));
        assert_eq!(connection.offer_phase(OFFER), None);
    }
}
