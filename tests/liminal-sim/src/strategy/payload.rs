//! Payloads.

use std::ops::RangeInclusive;

use bytes::Bytes;
use liminal_proto::Limits;
use proptest::num::usize::BinarySearch;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};
use proptest::strategy::{NewTree, Union, ValueTree as _};
use proptest::test_runner::TestRunner;

/// Where something changes in the library, in bytes: below 64 a message is charged more; from 1 KiB on a
/// payload that is kept has an allocation of its own, and from 4 KiB on one that is sent is shared; 16 KiB and
/// 64 KiB are what drivers read at once and what a connection keeps unread.
const EDGES: [usize; 5] = [64, 1 << 10, 4 << 10, 16 << 10, 64 << 10];

/// Lengths of payloads, from 0 to what fits a message of either version under these limits: none, few bytes,
/// the edges between small, kept and shared ones, the longest ones, and any between them.
///
/// The longest are always among them, so with the default limits some are of a mebibyte. They shrink to 0.
///
/// ```
/// use liminal_proto::Limits;
/// use liminal_sim::strategy;
/// use proptest::prelude::*;
///
/// let limits = Limits { frame_payload_max: 1000, ..Limits::default() };
/// proptest!(|(len in strategy::payload_len(&limits))| prop_assert!(len < 1000));
/// ```
pub fn payload_len(limits: &Limits) -> impl Strategy<Value = usize> + use<> {
    let max = message_max(limits);
    let near = |edge: usize| edge.saturating_sub(1).min(max)..=(edge + 1).min(max);
    let mut lengths = vec![(4, within(0..=0)), (8, within(1..=max.min(63)))];
    lengths.extend(EDGES.iter().filter(|edge| **edge < max).map(|edge| (1, within(near(*edge)))));
    lengths.push((1, within(near(max))));
    lengths.push((1, within(0..=max)));
    Lengths(Union::new_weighted(lengths))
}

/// Drawn near the edges, and made smaller as any number is: the edge that matters need not be the one that was
/// drawn.
#[derive(Debug)]
struct Lengths(Union<BoxedStrategy<usize>>);

impl Strategy for Lengths {
    type Tree = BinarySearch;
    type Value = usize;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        Ok(BinarySearch::new(self.0.new_tree(runner)?.current()))
    }
}

/// Payloads of these lengths. The first bytes are any, so that two payloads differ; the rest repeats them, so
/// that a case with long ones is made in little time.
///
/// ```
/// use liminal_core::participant::from_fn;
/// use liminal_proto::Limits;
/// use liminal_sim::{Script, Sim, strategy};
/// use proptest::prelude::*;
///
/// let payloads = strategy::payload(strategy::payload_len(&Limits::default()));
/// proptest!(ProptestConfig::with_cases(10), |(payload in payloads)| {
///     Sim::new("echo", move |plan| {
///         plan.serve("echo", || from_fn(|context, message| context.reply(message.payload)));
///         plan.opener(Script::new().open("echo").ask(payload.clone()).wait_for_replies().close());
///     })
///     .seeds(0..2)
///     .check();
/// });
/// ```
pub fn payload(len: impl Strategy<Value = usize>) -> impl Strategy<Value = Bytes> {
    (len, any::<[u8; 8]>()).prop_map(|(len, pattern)| pattern.into_iter().cycle().take(len).collect())
}

/// The longest payload of a message that both versions carry: in 1.0 it stands behind the id of its
/// conversation and in an envelope of 42 bytes, whose length stands before it.
fn message_max(limits: &Limits) -> usize {
    const ENVELOPE_V1: usize = 8 + 4 + 42;
    (limits.frame_payload_max as usize).saturating_sub(ENVELOPE_V1)
}

fn within(range: RangeInclusive<usize>) -> BoxedStrategy<usize> {
    if range.start() == range.end() { Just(*range.start()).boxed() } else { range.boxed() }
}
