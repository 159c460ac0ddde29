//! The bus itself, in a fixed budget of less than half a minute on two cores without optimization: the saved
//! scenarios, the same seeds every time, and seeds that are new with every commit. The corpus of the fuzzer is
//! replayed by the tests of `liminal-laws`.

#![allow(clippy::print_stdout, reason = "a failed test says where its seeds come from")]

use std::process::Command;

use liminal_core::{Phase, Trigger};
use liminal_proto::{ConversationPhase, ConversationTrigger};
use liminal_sim::{Mark, Network, Transition, worlds};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

/// Too rare for this budget: the long run has to see them.
const RARE: [Mark; 3] = [Mark::NobodyLeft, Mark::GivenUp, Mark::ReplyAfterDeath];

/// Of the transitions in the life of a conversation those that need several things to meet. (The long run
/// demands all of them.)
const MUST_OCCUR: [Transition; 7] = [
    Transition::AtBus(Phase::Created, Trigger::JoinRefused),
    Transition::AtBus(Phase::Created, Trigger::OwnerLost),
    Transition::AtBus(Phase::Completing, Trigger::Exited),
    Transition::AtBus(Phase::Completing, Trigger::Joined),
    Transition::AtBus(Phase::Failed, Trigger::Close),
    Transition::AtOpener(ConversationPhase::Open, ConversationTrigger::Rerouted),
    Transition::AtOpener(ConversationPhase::Closing, ConversationTrigger::Opened),
];

/// How many seeds each commit adds to the fixed ones.
const SEEDS_OF_COMMIT: u64 = 500;

#[test]
fn every_promise_holds_on_a_faithful_network() {
    let report = worlds::everything(Network::Faithful).scenarios(SCENARIOS).seeds(0..6_000).check();
    let unseen = report.unseen();
    assert!(unseen.iter().all(|mark| RARE.contains(mark)), "never seen: {unseen:?}");
    for transition in MUST_OCCUR {
        assert!(report.coverage.runs(transition) > 0, "{transition} is missing: {}", report.coverage);
    }
}

#[test]
fn robustness_holds_on_a_byzantine_network() {
    worlds::everything(Network::Byzantine).scenarios(SCENARIOS).seeds(0..3_000).check();
}

#[test]
fn every_promise_holds_for_the_seeds_of_this_commit() {
    let (commit, first) = commit();
    println!("the seeds of {commit} are {SEEDS_OF_COMMIT} from {first} on");
    for network in [Network::Faithful, Network::Byzantine] {
        worlds::everything(network).seeds(first..first + SEEDS_OF_COMMIT).check();
    }
}

/// The commit that is tested, and the seed that follows from it. Outside of a repository it is always the same.
fn commit() -> (String, u64) {
    let from_ci = ["GITHUB_SHA", "CI_COMMIT_SHA"].into_iter().find_map(|name| std::env::var(name).ok());
    let commit = from_ci.or_else(head).unwrap_or_else(|| "0123456789abcdef".to_owned());
    let seed = commit.get(..12).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    (commit, seed.unwrap_or_default())
}

fn head() -> Option<String> {
    let git =
        Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = git.ok().filter(|git| git.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
