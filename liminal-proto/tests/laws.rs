//! The laws of a connection, each as a property.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use liminal_laws::connection::{Beginning, Call, Ends, Player, assert_splits_are_equal, small};
use liminal_proto::wire::Dialect;
use liminal_proto::{CloseReason, Config, Event, Expects, LinkError, Misuse, Next, Phase, Side, Violation};
use proptest::prelude::*;

use support::strategy::{anything, client_frame, server_frame, serving_frame, well_behaved};
use support::*;

/// So many cases, unless the environment asks for another number.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { default } else { ProptestConfig { cases, ..default } }
}

fn beginning() -> impl Strategy<Value = Beginning> {
    let side = prop::sample::select(vec![Side::Client, Side::Server]);
    let dialect = prop::sample::select(vec![Dialect::V1, Dialect::V2]);
    (side, dialect, prop::bool::weighted(0.8)).prop_map(|(side, dialect, through)| Beginning {
        side,
        dialect,
        through,
    })
}

// ── 1: any order of calls ───────────────────────────────────────────────────────────────────────────

fn call() -> BoxedStrategy<Call> {
    let key = || prop_oneof![12 => 0_u64..10, 1 => any::<u64>()];
    let size = || prop_oneof![6 => 0_usize..100, 1 => Just(3000_usize), 1 => Just(usize::MAX)];
    let bytes = || prop::collection::vec(anything(), 1..4).prop_map(|frames| frames.concat());
    prop_oneof![
        10 => bytes().prop_map(Call::Receive),
        4 => bytes().prop_map(Call::Read),
        1 => size().prop_map(Call::ReadDone),
        1 => Just(Call::Eof),
        1 => Just(Call::LinkLost),
        4 => prop_oneof![3 => 0_u64..100_000, 1 => any::<u64>()].prop_map(Call::Tick),
        2 => Just(Call::ToWrite),
        3 => size().prop_map(Call::Wrote),
        3 => size().prop_map(Call::TakeWrite),
        10 => (1_usize..5).prop_map(Call::Poll),
        4 => (0_usize..300).prop_map(Call::Open),
        4 => (key(), 0_u8..2, 0_usize..3000).prop_map(|(key, expects, len)| Call::Message(key, expects, len)),
        6 => (key(), prop::option::of(0_u64..1000)).prop_map(|(key, timeout)| Call::Ask(key, timeout)),
        1 => (key(), key()).prop_map(|(key, message)| Call::Abandon(key, message)),
        2 => key().prop_map(Call::Close),
        2 => Just(Call::Ping),
        1 => Just(Call::Disconnect),
        6 => key().prop_map(Call::Opened),
        2 => key().prop_map(Call::Refuse),
        6 => (key(), 0_usize..4, any::<bool>(), 0_usize..3000)
            .prop_map(|(key, message, last, len)| Call::Reply(key, message, last, len)),
        4 => (key(), 0_usize..4, 0_u16..5).prop_map(|(key, message, kind)| Call::Outcome(key, message, kind)),
        2 => (key(), any::<bool>()).prop_map(|(key, goes_on)| Call::Exited(key, goes_on)),
        1 => key().prop_map(Call::Joined),
        1 => key().prop_map(Call::Failed),
        2 => key().prop_map(Call::Ended),
        8 => serving_call(),
        8 => monitor_call(),
    ]
    .boxed()
}

/// What is said about offers, and in conversations that a client was invited to.
fn serving_call() -> BoxedStrategy<Call> {
    let key = || prop_oneof![12 => 0_u64..10, 1 => any::<u64>()];
    let offer = || 0_u32..8;
    prop_oneof![
        2 => (0_usize..300, 0_u32..4).prop_map(|(len, capacity)| Call::Serve(len, capacity)),
        1 => (offer(), any::<bool>()).prop_map(|(offer, drain)| Call::Withdraw(offer, drain)),
        2 => offer().prop_map(Call::Serving),
        1 => offer().prop_map(Call::RefuseOffer),
        1 => offer().prop_map(Call::Withdrawn),
        4 => key().prop_map(Call::Invite),
        4 => (key(), key(), 0_u8..3, 0_usize..3000)
            .prop_map(|(key, message, expects, len)| Call::Deliver(key, message, expects, len)),
    ]
    .boxed()
}

/// What is said about monitors and watches.
fn monitor_call() -> BoxedStrategy<Call> {
    let monitor = || 0_u32..8;
    prop_oneof![
        2 => (0_u64..10).prop_map(Call::Monitor),
        2 => (0_usize..300).prop_map(Call::Watch),
        1 => monitor().prop_map(Call::Unmonitor),
        3 => monitor().prop_map(Call::Monitoring),
        1 => monitor().prop_map(Call::RefuseMonitor),
        1 => monitor().prop_map(Call::Unmonitored),
        3 => (monitor(), 0_u8..4).prop_map(|(monitor, kind)| Call::Notice(monitor, kind)),
        2 => (monitor(), 0_usize..5000).prop_map(|(monitor, len)| Call::Record(monitor, len)),
        1 => monitor().prop_map(Call::Gap),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(cases(500))]

    /// Laws 1, 4 and 5.
    #[test]
    fn any_order_of_calls_is_legal_and_the_end_comes_once_and_last(
        beginning in beginning(),
        tiny in any::<bool>(),
        calls in prop::collection::vec(call(), 1..80),
    ) {
        let config = if tiny { small() } else { Config::default() };
        let mut player = Player::new(beginning.begin(config.clone()), &config);
        calls.into_iter().for_each(|call| player.play(call));
        player.finish();
    }

    /// Law 1: being late loses nothing, and time never goes back.
    #[test]
    fn an_earlier_time_counts_as_the_latest_one(times in prop::collection::vec(0_u64..40, 1..20)) {
        let mut connection = server(2);
        let mut reference = server(2);
        let mut latest = 0;
        for time in times {
            latest = latest.max(time);
            connection.tick(seconds(time));
            reference.tick(seconds(latest));
            prop_assert_eq!(drain(&mut connection), drain(&mut reference));
            prop_assert_eq!(output(&mut connection), output(&mut reference));
        }
    }
}

#[test]
fn misuse_is_clamped_and_noted() {
    let mut client = client(1);
    client.ping(START).unwrap();
    client.wrote(11);
    assert_eq!(client.misuse(), Some(Misuse::WroteTooMuch { reported: 11, queued: 10 }));
    assert_eq!(client.output_len(), 0);
    client.ping(START).unwrap();
    assert_eq!(said(&mut client).len(), 1, "the connection stays sound");
}

// ── 2: chunking ─────────────────────────────────────────────────────────────────────────────────────

proptest! {
    #![proptest_config(cases(300))]

    /// Law 2. P-1.4
    #[test]
    fn any_split_of_the_same_bytes_gives_the_same_events_and_answers(
        beginning in beginning(),
        behaved in (well_behaved(1), well_behaved(2)),
        well_meaning in prop::collection::vec(prop_oneof![client_frame(), server_frame(), serving_frame()], 0..20),
        hostile in prop::collection::vec(anything(), 0..10),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let behaved = match (beginning.side, beginning.dialect) {
            (Side::Client, _) => Vec::new(),
            (Side::Server, Dialect::V1) => behaved.0,
            (Side::Server, Dialect::V2) => behaved.1,
        };
        let bytes = [behaved, well_meaning.concat(), hostile.concat()].concat();
        assert_splits_are_equal(beginning, &bytes, &cuts);
    }
}

// ── 3: the input buffer is the only queue ───────────────────────────────────────────────────────────

proptest! {
    #![proptest_config(cases(60))]

    /// Laws 3 and 7: whatever arrives, no more of it is kept than the limit and one frame.
    #[test]
    fn input_that_nobody_takes_is_bounded(
        beginning in beginning(),
        pieces in prop::collection::vec(prop::collection::vec(anything(), 1..40), 1..10),
    ) {
        let config = small();
        let limit = config.limits.input_max + config.limits.frame_payload_max as usize + 10;
        let mut connection = beginning.begin(config);
        let mut kept = 0;
        for piece in pieces {
            kept += connection.receive(START, &piece.concat());
            prop_assert!(connection.phase() == Phase::Closed || kept <= limit);
            prop_assert!(connection.read_space().is_none_or(|space| space.len() <= 4096));
        }
    }

    /// Law 3: state moves as events are returned.
    #[test]
    fn nothing_visible_runs_ahead_of_the_events(opens in 1_u32..20) {
        let mut server = server(2);
        let ids = || (1..=2 * opens).step_by(2);
        let bytes: Vec<u8> = ids().flat_map(open).collect();
        server.receive(START, &bytes);
        for n in ids() {
            prop_assert_eq!(server.conversation_phase(conversation(n.into())), None);
            let is_open = matches!(server.poll(), Next::Event(Event::Open { .. }));
            prop_assert!(is_open);
            prop_assert!(server.conversation_phase(conversation(n.into())).is_some());
        }
    }
}

// ── 4: idle work ────────────────────────────────────────────────────────────────────────────────────

#[test]
fn ten_thousand_idle_conversations_want_nothing_more_than_none() {
    for version in [1, 2] {
        let mut server = server(version);
        let before = wants(&mut server);
        for id in (1..=20_000).step_by(2) {
            feed(&mut server, START, &open(id));
            server.opened(START, conversation(id.into()), None).unwrap();
            output(&mut server);
        }
        assert_eq!(wants(&mut server), before);
    }
}

proptest! {
    #![proptest_config(cases(200))]

    /// Law 4: however far time jumps, all that is due is done in one go.
    #[test]
    fn after_a_tick_the_next_wake_is_later(
        dialect in prop::sample::select(vec![Dialect::V1, Dialect::V2]),
        jumps in prop::collection::vec(0_u64..30_000, 1..12),
        timeouts in prop::collection::vec(0_u64..30_000, 0..5),
        unread in any::<bool>(),
    ) {
        let (mut client, key) = client_with_conversation(dialect.version().major, Config::default());
        for timeout in timeouts {
            client.ask(START, key, Some(Duration::from_millis(timeout)), Bytes::new()).unwrap();
        }
        let mut now = START;
        for jump in jumps {
            if !unread {
                output(&mut client);
            }
            now = now.after(Duration::from_millis(jump));
            client.tick(now);
            let (_, wants) = drain(&mut client);
            prop_assert!(wants.wake.at().is_none_or(|at| at > now), "{:?} at {}", wants, now);
        }
    }
}

// ── 6: whose fault ──────────────────────────────────────────────────────────────────────────────────

proptest! {
    #![proptest_config(cases(200))]

    /// Law 6: input never becomes a misuse, commands never a violation, and a violation has one code.
    #[test]
    fn errors_say_whose_fault_it_is(
        beginning in beginning(),
        frames in prop::collection::vec(anything(), 0..20),
    ) {
        let mut connection = beginning.begin(Config::default());
        output(&mut connection);
        let told = feed(&mut connection, START, &frames.concat());
        prop_assert_eq!(connection.misuse(), None);
        if let Some(Event::Closed(CloseReason::Violation(violation))) = told.last() {
            let unread = matches!(violation, Violation::Unread { .. });
            if connection.side() == Side::Server && !unread {
                assert_connect_error(&mut connection, violation.code());
            }
        }
    }
}

// ── exactly one end for each request ────────────────────────────────────────────────────────────────

#[derive(Clone, Debug)]
enum Step {
    Frame(Vec<u8>),
    Open,
    Ask(usize, Option<u64>),
    Tell(usize, bool),
    Abandon(usize),
    Close(usize),
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => server_frame().prop_map(Step::Frame),
        2 => Just(Step::Open),
        6 => (0_usize..4, prop::option::of(1_u64..200)).prop_map(|(nth, timeout)| Step::Ask(nth, timeout)),
        3 => (0_usize..4, any::<bool>()).prop_map(|(nth, confirm)| Step::Tell(nth, confirm)),
        1 => (0_usize..10).prop_map(Step::Abandon),
        1 => (0_usize..4).prop_map(Step::Close),
        2 => (0_u64..100).prop_map(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(cases(400))]

    /// Promises Q1 and Q2, against a server that sends any valid frame at any time.
    #[test]
    fn every_request_has_exactly_one_end(
        dialect in prop::sample::select(vec![Dialect::V1, Dialect::V2]),
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut client = client_of(dialect.version().major, Config::default());
        let mut keys = vec![client.open(START, "subject").unwrap()];
        let (mut ends, mut sent) = (Ends::default(), BTreeSet::new());
        let mut now = START;
        for step in steps {
            match step {
                Step::Frame(bytes) => prop_assert_eq!(client.receive(now, &bytes), bytes.len()),
                Step::Open => keys.extend(client.open(now, "subject").ok()),
                Step::Ask(nth, timeout) => {
                    let key = keys[nth % keys.len()];
                    let timeout = timeout.map(Duration::from_millis);
                    if let Ok(message) = client.ask(now, key, timeout, Bytes::new()) {
                        ends.asks(key, message);
                        prop_assert!(sent.insert((key, message)));
                    }
                }
                Step::Tell(nth, confirm) => {
                    let key = keys[nth % keys.len()];
                    let expects = if confirm { Expects::Acceptance } else { Expects::Nothing };
                    if let Ok(message) = client.message(now, key, expects, Bytes::new()) {
                        if confirm && dialect == Dialect::V2 {
                            ends.awaits(key, message);
                        }
                        prop_assert!(sent.insert((key, message)));
                    }
                }
                Step::Abandon(nth) => {
                    if let Some((key, message)) = ends.nth(nth)
                        && client.abandon(key, message).is_ok()
                    {
                        ends.ends(key, message);
                    }
                }
                Step::Close(nth) => drop(client.close(now, keys[nth % keys.len()], None)),
                Step::Tick(by) => {
                    now = now.after(Duration::from_millis(by));
                    client.tick(now);
                }
            }
            output(&mut client);
            events(&mut client).iter().for_each(|event| ends.on_event(event));
        }
        client.link_lost(now, LinkError::Reset);
        events(&mut client).iter().for_each(|event| ends.on_event(event));
        ends.assert_complete();
    }
}

proptest! {
    #![proptest_config(cases(300))]

    /// A server's room for requests is given back by every way in which they can end.
    #[test]
    fn room_for_requests_is_never_lost(
        dialect in prop::sample::select(vec![Dialect::V1, Dialect::V2]),
        behaved in (well_behaved(1), well_behaved(2)),
        calls in prop::collection::vec(server_call(), 1..60),
    ) {
        let config = limited(|limits| limits.refusals.burst = 1_000_000);
        let mut player = Player::new(server_of(dialect.version().major, config.clone()), &config);
        player.play(Call::Receive(if dialect == Dialect::V1 { behaved.0 } else { behaved.1 }));
        for call in calls {
            player.play(call);
            player.play(Call::Poll(1));
            player.play(Call::TakeWrite(usize::MAX));
            player.play(Call::Wrote(player.connection().output_len()));
        }
        // What ends may have held up the opening of its id, and that of the next.
        for _ in 0..100 {
            player.play(Call::Poll(10));
            for key in (0..100).chain([u32::MAX.into(), u64::MAX]) {
                player.play(Call::Ended(key));
            }
        }
        player.play(Call::Eof);
        player.play(Call::Poll(1));
        prop_assert!(player.is_closed(), "something is still owed");
    }
}

fn server_call() -> impl Strategy<Value = Call> {
    let key = || 0_u64..12;
    prop_oneof![
        12 => client_frame().prop_filter("ends the connection", |bytes| bytes[5] != 0).prop_map(Call::Receive),
        4 => key().prop_map(Call::Opened),
        1 => key().prop_map(Call::Refuse),
        4 => (key(), 0_usize..4, any::<bool>(), 0_usize..300)
            .prop_map(|(key, message, last, len)| Call::Reply(key, message, last, len)),
        3 => (key(), 0_usize..4, 0_u16..5).prop_map(|(key, message, kind)| Call::Outcome(key, message, kind)),
        1 => (key(), any::<bool>()).prop_map(|(key, goes_on)| Call::Exited(key, goes_on)),
        1 => key().prop_map(Call::Ended),
    ]
}
