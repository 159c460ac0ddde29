//! What runs come to, and whether that depends on who is first.

use liminal_sim::{Race, Scenario, Tape, Track, worlds};

#[test]
fn every_named_world_is_the_one_of_its_name() {
    for name in worlds::NAMES {
        let sim = worlds::named(name).map(|sim| format!("{sim:?}"));
        assert!(sim.as_ref().is_some_and(|it| it.contains(&format!("{name:?}"))), "{sim:?}");
    }
    assert!(worlds::named("elsewhere").is_none());
}

#[test]
fn conversations_that_have_nothing_to_do_with_each_other_do_not_race() {
    assert_eq!(worlds::errands().races(&Tape::default()), []);
    let speaking_both: Tape = "...00010000010000".parse().expect("this is a tape");
    assert_eq!(worlds::errands().races(&speaking_both), []);
}

#[test]
fn who_wants_the_same_races() {
    assert_eq!(worlds::last_seat().races(&Tape::default()), [Race::Order]);
}

#[test]
fn a_fault_that_changes_a_conversation_is_told_as_one() {
    let sim = worlds::errands();
    let differs = (0..200).find_map(|seed| {
        let mut tape = Tape::default();
        tape.track_mut(Track::Faults).extend_from_slice(Tape::from_seed(seed).track(Track::Faults));
        let races = sim.races(&tape);
        (!races.is_empty()).then_some(races)
    });
    assert_eq!(differs, Some(vec![Race::Faults]));
}

#[test]
fn every_saved_scenario_is_of_a_named_world() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for Scenario { sim, .. } in liminal_sim::scenarios_in(&folder) {
        assert!(worlds::named(&sim).is_some(), "{sim}");
    }
}
