//! `liminal sim`: runs of the simulator, again and over sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use kit::{Ended, TRANSPORTS, run};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/liminal-sim/scenarios");

fn replay(scenario: &str, options: &[&str]) -> Ended {
    let path = format!("{FOLDER}/{scenario}.scenario");
    run(&[&["sim", "replay", &path], options].concat(), b"")
}

/// What stands behind a name at the beginning of a line, each time that it does.
fn said<'a>(ended: &'a Ended, name: &str) -> Vec<&'a str> {
    let lines = ended.lines().into_iter();
    lines.filter_map(|line| Some(line.trim_start().strip_prefix(name)?.trim())).collect()
}

#[test]
fn a_scenario_without_races_comes_to_the_same_over_every_transport() {
    for transport in TRANSPORTS {
        let ended = replay("each-opener-has-a-participant-of-its-own", &["--over", transport]);
        ended.succeeds();
        let digests = said(&ended, "digest");
        assert!(digests.len() == 2 && digests[0] == digests[1], "{ended:?}");
        assert_eq!(said(&ended, "together"), ["it came to the same"]);
        assert!(said(&ended, "races")[0].starts_with("no: "), "{ended:?}");
        assert!(said(&ended, "promises").iter().all(|it| it.starts_with("hold")), "{ended:?}");
        assert_eq!(said(&ended, "opener-6's").len(), 2, "{ended:?}");
    }
}

#[test]
fn a_scenario_that_races_says_so_over_every_transport() {
    for transport in TRANSPORTS {
        let ended = replay("two-buyers-want-the-last-seat", &["--over", transport]);
        ended.succeeds();
        assert!(said(&ended, "races")[0].starts_with("yes; "), "{ended:?}");
        assert_eq!(said(&ended, "promises").len(), 2, "{ended:?}");
    }
}

#[test]
fn a_scenario_with_faults_says_that_they_are_made_in_the_simulator_alone() {
    let ended = replay("a-compensation-fails", &["--over", "blocking"]);
    ended.succeeds();
    assert!(
        said(&ended, "races")[0].contains("its faults, which are made in the simulator alone"),
        "{ended:?}"
    );
}

#[test]
fn every_saved_scenario_is_replayed_in_the_simulator() {
    for entry in std::fs::read_dir(FOLDER).unwrap() {
        let path = entry.unwrap().path();
        let ended = run(&["sim", "replay", path.to_str().unwrap()], b"");
        ended.succeeds();
        assert!(said(&ended, "promises")[0].starts_with("hold"), "{ended:?}");
    }
}

#[test]
fn a_diagram_is_drawn_when_it_is_asked_for() {
    let drawn = |options| replay("two-buyers-want-the-last-seat", options).lines().join("\n").contains("├──");
    assert!(drawn(&["--diagram"]) && !drawn(&[]));
}

#[test]
fn a_run_is_written_down_in_the_format_that_is_asked_for_and_nothing_else_is() {
    let written = |format| replay("two-buyers-want-the-last-seat", &["--format", format]);
    for format in ["text", "mermaid", "json"] {
        written(format).succeeds();
    }
    assert!(written("text").lines()[0].trim_start().starts_with("time  o1"), "{:?}", written("text"));
    assert_eq!(written("mermaid").lines()[0], "sequenceDiagram");
    let json = written("json").json();
    assert!(json.iter().all(|it| it["at_ns"].is_u64() && it["what"].is_string()), "{json:?}");
    assert!(json.iter().any(|it| it["payload"] == "sold out"), "{json:?}");
    written("svg").fails(1, "text, mermaid or json");
    replay("two-buyers-want-the-last-seat", &["--format", "json", "--over", "smol"]).fails(1, "--over");
}

#[test]
fn sim_alone_explains_itself() {
    let ended = run(&["sim"], b"");
    ended.succeeds();
    assert!(
        ended.lines().iter().any(|line| line.trim_start().starts_with("liminal sim replay FILE")),
        "{ended:?}"
    );
}

#[test]
fn what_cannot_be_replayed_is_told_in_one_line() {
    let file = |name: &str, text: &str| {
        let path = std::env::temp_dir().join(format!("liminal-sim-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (nonsense, elsewhere) =
        (file("nonsense", "# a file\nnonsense\n"), file("elsewhere", "sim: a desk of mine\n"));
    let local = file("local", "sim: everything\nworkload: 01\n");
    run(&["sim", "replay", "/nowhere/a.scenario"], b"").fails(1, "cannot read the scenario");
    run(&["sim", "replay", &nonsense], b"").fails(1, "line 2");
    run(&["sim", "replay", &elsewhere], b"").fails(1, "\"a desk of mine\"");
    replay("everything--byzantine-p1-c8d84b7a", &["--over", "smol"]).fails(1, "leave out --over");
    run(&["sim", "replay", &local, "--over", "smol"], b"").fails(1, "in the program of its bus");
    run(&["sim", "replay"], b"").fails(1, "FILE");
    for path in [nonsense, elsewhere, local] {
        std::fs::remove_file(path).unwrap();
    }
}
