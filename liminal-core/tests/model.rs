//! Any sequence of operations against a naive reference, and the promises that hold for all of them.

use liminal_laws::bus::{Op, SUBJECTS_OPENED, World};
use proptest::prelude::*;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Connect),
        4 => (any::<u8>(), 0..4_u8, 0..SUBJECTS_OPENED.len() as u8)
            .prop_map(|(link, id, subject)| Op::Open { link, id, subject }),
        10 => (any::<u8>(), 0..4_u8, 0..3_u8, 0..4_u8, any::<u8>())
            .prop_map(|(link, id, expects, timeout, len)| Op::Say { link, id, expects, timeout, len }),
        2 => (any::<u8>(), 0..4_u8).prop_map(|(link, id)| Op::Close { link, id }),
        1 => any::<u8>().prop_map(|link| Op::Lose { link }),
        14 => (any::<u8>(), 0..12_u8).prop_map(|(ticket, kind)| Op::Answer { ticket, kind }),
        1 => (any::<u8>(), 0..12_u8).prop_map(|(ticket, kind)| Op::AnswerAnew { ticket, kind }),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(call, pid)| Op::Exit { call, pid }),
        3 => (0..40_u8).prop_map(|time| Op::Tick { time }),
        1 => any::<u8>().prop_map(|link| Op::Full { link }),
        2 => any::<u8>().prop_map(|link| Op::Ready { link }),
        2 => (any::<u8>(), 0..4_u8).prop_map(|(link, id)| Op::Unread { link, id }),
        3 => (any::<u8>(), 0..4_u8).prop_map(|(link, id)| Op::Read { link, id }),
        1 => Just(Op::Register),
        1 => any::<u8>().prop_map(|offer| Op::Unregister { offer }),
        6 => (any::<u8>(), any::<u8>()).prop_map(|(link, call)| Op::Monitor { link, call }),
        2 => (any::<u8>(), 0..=SUBJECTS_OPENED.len() as u8).prop_map(|(link, subject)| Op::Watch { link, subject }),
        1 => any::<u8>().prop_map(|which| Op::Unmonitor { which }),
        3 => any::<u8>().prop_map(|link| Op::Drained { link }),
        12 => (1..20_u8).prop_map(|times| Op::Poll { times }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// O1 to O6, L1 to L7, Q1 to Q4, P1, R2: see [`World`].
    #[test]
    fn the_bus_does_what_the_reference_does(ops in prop::collection::vec(op(), 0..200)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.finish();
    }

    #[test]
    fn r6_same_inputs_same_trace(ops in prop::collection::vec(op(), 0..100)) {
        let trace = || {
            let mut world = World::new();
            ops.iter().for_each(|op| world.apply(op));
            world.finish();
            world.trace
        };
        prop_assert_eq!(trace(), trace());
    }
}
