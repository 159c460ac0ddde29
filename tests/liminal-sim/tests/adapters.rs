//! What is made up for other tests: frames, payloads and scenarios are valid, meet what matters, and shrink.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use liminal_proto::Limits;
use liminal_proto::wire::{Body, Dialect, FrameType, decode};
use liminal_sim::{AnyFrame, Fault, Network, Tape, Track, strategy, worlds};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestError, TestRunner};

/// So many values, the same every time.
fn some<S: Strategy>(count: usize, strategy: S) -> impl Iterator<Item = S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(move |_| strategy.new_tree(&mut runner).unwrap().current())
}

/// The smallest value that proptest finds for which `holds` does not.
fn smallest<S: Strategy>(strategy: S, holds: impl Fn(&S::Value) -> bool) -> S::Value {
    let config = Config { failure_persistence: None, max_shrink_iters: 100_000, ..Config::default() };
    let fails = |value| if holds(&value) { Ok(()) } else { Err(TestCaseError::fail("it does not")) };
    match TestRunner::new(config).run(&strategy, fails) {
        Err(TestError::Fail(_, value)) => value,
        other => panic!("nothing was found: {other:?}"),
    }
}

fn is_valid(it: &AnyFrame) -> Result<(), TestCaseError> {
    let bytes = it.encoded();
    let (frame, used) = decode(it.dialect, u32::MAX, &bytes)?;
    prop_assert_eq!((frame.to_buf(), used), (it.frame.clone(), bytes.len()));
    Ok(())
}

proptest! {
    #[test]
    fn every_frame_is_one_that_the_codec_takes(frame in strategy::any_frame()) {
        is_valid(&frame)?;
    }

    #[test]
    fn whatever_a_fuzzer_writes_is_a_frame_that_the_codec_takes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(frame) = AnyFrame::arbitrary(&mut Unstructured::new(&bytes)) {
            is_valid(&frame)?;
        }
    }

    #[test]
    fn a_tape_is_all_that_a_fuzzer_writes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let tape = Tape::arbitrary_take_rest(Unstructured::new(&bytes)).unwrap();
        prop_assert_eq!(tape, Tape::from_bytes(&bytes));
    }

    #[test]
    fn a_scenario_is_read_as_it_is_printed(scenario in strategy::scenario("a desk", 16)) {
        prop_assert_eq!(scenario.to_string().parse(), Ok(scenario));
    }
}

#[test]
fn frames_are_of_every_type() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let seen: BTreeSet<_> =
            some(2_000, strategy::frame(dialect)).map(|it| it.body.frame_type()).collect();
        let known = FrameType::ALL.iter().filter(|it| it.since() <= dialect);
        let all: BTreeSet<_> = known.copied().map(Some).chain([None]).collect();
        assert_eq!(seen, all, "of {dialect:?}");
    }
}

#[test]
fn a_fuzzer_reaches_every_type_too() {
    let noise = prop::collection::vec(any::<u8>(), 200);
    let types = some(3_000, noise)
        .map(|bytes| AnyFrame::arbitrary(&mut Unstructured::new(&bytes)).unwrap().frame.body.frame_type());
    assert_eq!(types.collect::<BTreeSet<_>>().len(), FrameType::ALL.len() + 1);
}

#[test]
fn a_frame_shrinks_to_what_matters() {
    let frame = smallest(strategy::frame_of(FrameType::Message), |frame| match &frame.body {
        Body::Message { payload, .. } => payload.len() < 3,
        _ => true,
    });
    let Body::Message {
        message_id,
        answers: None,
        timeout_ms: None,
        redelivered: None,
        metadata: None,
        payload,
    } = frame.body
    else {
        panic!("{frame:?} says more than it must")
    };
    assert_eq!((frame.flags, frame.stream.get(), message_id.get()), (0, 1, 0));
    assert_eq!(payload, Bytes::from(vec![0; 3]));
}

#[test]
fn payloads_meet_every_edge_and_shrink_to_it() {
    let limits = Limits { frame_payload_max: 10_054, ..Limits::default() };
    let lengths: BTreeSet<_> = some(2_000, strategy::payload_len(&limits)).collect();
    for edge in [0, 1, 63, 64, 65, 1023, 1024, 4095, 4096, 9_999, 10_000] {
        assert!(lengths.contains(&edge), "no payload of {edge} bytes");
    }
    assert_eq!(lengths.last(), Some(&10_000), "the longest that fits");
    let found = smallest(strategy::payload(strategy::payload_len(&limits)), |it| it.len() < 4096);
    assert_eq!(found.len(), 4096);
}

#[test]
fn the_faults_of_a_scenario_are_those_of_its_run() {
    let sim = worlds::everything(Network::Faithful);
    for scenario in some(20, strategy::scenario("everything", 8)) {
        let swarm = sim.run(&scenario.tape).swarm;
        for (fault, weight) in Fault::ALL.iter().zip(scenario.tape.track(Track::Faults)) {
            let weight = [0, 8, 32, 96][usize::from(*weight)];
            assert_eq!(swarm.weight(*fault), weight, "{} in {swarm}", fault.name());
        }
    }
}
