//! The bus itself, in a fixed budget: the saved scenarios, and the same seeds every time.

use liminal_sim::{Mark, Network, worlds};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

#[test]
fn every_promise_holds_on_a_faithful_network() {
    let report = worlds::everything(Network::Faithful).scenarios(SCENARIOS).seeds(0..600).check();
    for mark in [Mark::ExitRacesClose, Mark::Redelivered, Mark::DeadlineAtWork, Mark::OwnerLostAtWork] {
        assert!(!report.unseen().contains(&mark), "never seen: {}", mark.text());
    }
}

#[test]
fn robustness_holds_on_a_byzantine_network() {
    worlds::everything(Network::Byzantine).scenarios(SCENARIOS).seeds(0..200).check();
}
