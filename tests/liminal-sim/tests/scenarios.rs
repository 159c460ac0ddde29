//! The saved scenarios show what their names say. Those that do not any more are renewed by
//! `cargo run --release -p liminal-sim --example marks`.

#![allow(clippy::panic, reason = "a failed test says which scenario it is about")]

use std::path::Path;

use liminal_sim::{Mark, Network, Scenario, scenarios_in, worlds};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

#[test]
fn there_is_a_scenario_for_each_rare_situation_and_it_shows_it() {
    let sim = worlds::everything(Network::Faithful);
    for mark in Mark::ALL {
        let path = Path::new(SCENARIOS).join(mark.text().replace(' ', "-") + ".scenario");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let saved: Scenario = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(saved.broken, format!("nothing: {}", mark.text()));
        let marks = sim.run(&saved.tape).marks();
        assert!(marks.contains(mark), "{} shows {marks:?}", path.display());
    }
}

#[test]
fn every_scenario_is_of_a_world_that_the_command_knows() {
    for scenario in scenarios_in(Path::new(SCENARIOS)) {
        assert!(worlds::named(&scenario.sim).is_some(), "{}", scenario.sim);
    }
}
