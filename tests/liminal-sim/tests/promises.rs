//! The bus itself, in a fixed budget: the saved scenarios, and the same seeds every time.

use liminal_core::{Phase, Trigger};
use liminal_proto::{ConversationPhase, ConversationTrigger};
use liminal_sim::{Mark, Network, Transition, worlds};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

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

#[test]
fn every_promise_holds_on_a_faithful_network() {
    let report = worlds::everything(Network::Faithful).scenarios(SCENARIOS).seeds(0..600).check();
    for mark in [Mark::ExitRacesClose, Mark::Redelivered, Mark::DeadlineAtWork, Mark::OwnerLostAtWork] {
        assert!(!report.unseen().contains(&mark), "never seen: {}", mark.text());
    }
    for transition in MUST_OCCUR {
        assert!(report.coverage.runs(transition) > 0, "{transition} is missing: {}", report.coverage);
    }
}

#[test]
fn robustness_holds_on_a_byzantine_network() {
    worlds::everything(Network::Byzantine).scenarios(SCENARIOS).seeds(0..200).check();
}
