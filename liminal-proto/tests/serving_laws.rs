//! The laws of a connection where both sides open conversations: a client that serves and its server, at the
//! two ends of a link on which somebody else speaks, too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use liminal_laws::connection::{Call, Player};
use liminal_proto::wire::{Body, RecordNumbers, flag};
use liminal_proto::{Config, ConversationId, Pid, ReasonCode, RecordNumber};
use proptest::prelude::*;

use support::*;

#[derive(Clone, Debug)]
enum Step {
    Client(Call),
    Server(Call),
    /// What the other side never said arrives on this one.
    Forged(bool, Vec<u8>),
}

/// Streams and ids are few, so that they meet: the client has 1, 3 and 5, the server 2, 4 and 6.
fn invited() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![2, 4, 6])
}

fn own() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![1, 3, 5])
}

fn offer() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![1, 3, 5])
}

fn of_client() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => (0_u32..3).prop_map(|capacity| Call::Serve(4, capacity)),
        3 => (offer(), any::<bool>()).prop_map(|(offer, drain)| Call::Withdraw(offer, drain)),
        1 => Just(Call::Open(4)),
        1 => (own(), prop::option::of(1_u64..50)).prop_map(|(key, timeout)| Call::Ask(key, timeout)),
        1 => own().prop_map(Call::Close),
        5 => invited().prop_map(Call::Opened),
        1 => invited().prop_map(Call::Refuse),
        4 => (invited(), 0_usize..4, any::<bool>())
            .prop_map(|(key, message, last)| Call::Reply(key, message, last, 3)),
        3 => (invited(), 0_usize..4, 0_u16..5).prop_map(|(key, message, kind)| Call::Outcome(key, message, kind)),
        1 => (invited(), any::<bool>()).prop_map(|(key, goes_on)| Call::Exited(key, goes_on)),
        1 => invited().prop_map(Call::Ended),
    ]
}

fn of_server() -> impl Strategy<Value = Call> {
    prop_oneof![
        5 => offer().prop_map(Call::Serving),
        1 => offer().prop_map(Call::RefuseOffer),
        2 => offer().prop_map(Call::Withdrawn),
        5 => invited().prop_map(Call::Invite),
        8 => (invited(), 1_u64..12, 0_u8..3)
            .prop_map(|(key, message, expects)| Call::Deliver(key, message, expects, 3)),
        2 => (invited(), 1_u64..12).prop_map(|(key, message)| Call::Abandon(key, message)),
        1 => invited().prop_map(Call::Close),
        1 => own().prop_map(Call::Opened),
        1 => (own(), 0_usize..4).prop_map(|(key, message)| Call::Reply(key, message, true, 3)),
    ]
}

/// What answers, on any stream.
fn forged() -> impl Strategy<Value = Vec<u8>> {
    let pid = Pid::new(7);
    let body = prop_oneof![
        Just(Body::Opened { pid: None }),
        Just(Body::Refused { reason_code: ReasonCode::OTHER, message: None }),
        Just(Body::Exited {
            pid,
            record: RecordNumber::new(1),
            cause: 1,
            message: None,
            unanswered: 0,
            records: RecordNumbers::default()
        }),
        Just(Body::Joined { pid }),
        Just(Body::Failed),
        Just(Body::Serving),
        Just(Body::Withdraw),
        Just(Body::Withdrawn),
    ];
    let word = (1_u32..8, 0_u8..2, body).prop_map(|(stream, flags, body)| frame(flags, stream, body));
    let answer = (1_u32..8, 1_u64..12, any::<bool>())
        .prop_map(|(stream, answers, more)| reply_v2(stream, answers, more, b"forged"));
    let outcome = (1_u32..8, 1_u64..12, any::<bool>()).prop_map(|(stream, message, accepted)| {
        outcome_v2(stream, message, if accepted { ReasonCode::new(0) } else { ReasonCode::BUSY })
    });
    let asks = (1_u32..8, 1_u64..12).prop_map(|(stream, id)| message_v2(flag::WANTS_REPLY, stream, id, b"?"));
    prop_oneof![6 => word, 2 => answer, 2 => outcome, 1 => asks, 1 => (1_u32..8).prop_map(close)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => of_client().prop_map(Step::Client),
        5 => of_server().prop_map(Step::Server),
        2 => (any::<bool>(), forged()).prop_map(|(to_client, bytes)| Step::Forged(to_client, bytes)),
    ]
}

/// Frames that nobody needs are counted elsewhere; here they would only end the run.
fn patient() -> Config {
    limited(|limits| {
        limits.refusals.burst = 1_000_000;
        limits.control_frames.burst = 1_000_000;
    })
}

fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { default } else { ProptestConfig { cases, ..default } }
}

/// All that one has to say reaches the other.
fn turn(from: &mut Player, to: &mut Player) {
    to.play(Call::Receive(from.output()));
    to.play(Call::Poll(10));
}

proptest! {
    #![proptest_config(cases(300))]

    /// Promises Q1 and Q2 in both directions, and of offers that each word comes once.
    #[test]
    fn whoever_serves_and_whoever_asks_each_end_is_told_once(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let config = patient();
        let mut client = Player::new(client_of(2, config.clone()), &config);
        let mut server = Player::new(server_of(2, config.clone()), &config);
        for step in steps {
            match step {
                Step::Client(call) => client.play(call),
                Step::Server(call) => server.play(call),
                Step::Forged(true, bytes) => client.play(Call::Receive(bytes)),
                Step::Forged(false, bytes) => server.play(Call::Receive(bytes)),
            }
            turn(&mut client, &mut server);
            turn(&mut server, &mut client);
        }
        client.finish();
        server.finish();
    }

    /// Without anybody else on the link neither side ever breaks a rule, whatever its embedder does, and both
    /// see each conversation and each offer alike once all has arrived.
    #[test]
    fn two_real_sides_never_break_a_rule_and_agree(
        steps in prop::collection::vec(prop_oneof![
            of_client().prop_map(Step::Client),
            of_server().prop_map(Step::Server),
        ], 1..80),
    ) {
        let config = patient();
        let mut client = Player::new(client_of(2, config.clone()), &config);
        let mut server = Player::new(server_of(2, config.clone()), &config);
        for step in steps {
            match step {
                Step::Client(call) => client.play(call),
                Step::Server(call) => server.play(call),
                Step::Forged(..) => {}
            }
            turn(&mut client, &mut server);
            turn(&mut server, &mut client);
            // What the client answered by itself.
            turn(&mut client, &mut server);
        }
        prop_assert!(!client.is_closed() && !server.is_closed());
        let (client, server) = (client.connection(), server.connection());
        for key in (1..20).map(ConversationId::new) {
            prop_assert_eq!(client.conversation_phase(key), server.conversation_phase(key), "{}", key);
        }
        for offer in (1..20).map(liminal_proto::StreamId::new) {
            prop_assert_eq!(client.offer_phase(offer), server.offer_phase(offer), "{}", offer);
        }
    }
}
