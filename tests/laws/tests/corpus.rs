//! What the fuzzer has found worth keeping, replayed.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a failed test says so, and where")]

use std::path::Path;

use liminal_laws::TARGETS;

/// Says what it replays, so that a broken law is found in the file that breaks it.
fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|(it, _)| *it == name).expect("a target of this name");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files = 0;
    for entry in folder.read_dir().expect("a corpus of this name") {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        target(&std::fs::read(&path).expect("a readable file"));
        files += 1;
    }
    assert!(files > 0, "the corpus is empty");
}

#[test]
fn the_laws_of_the_codec_hold_for_its_corpus() {
    replay("codec");
}

#[test]
fn the_laws_of_a_connection_hold_for_its_corpus() {
    replay("connection");
}

#[test]
fn any_split_of_the_inputs_in_the_corpus_gives_the_same() {
    replay("splits");
}

#[test]
fn the_bus_does_what_its_reference_does_for_its_corpus() {
    replay("bus");
}

#[test]
fn the_promises_of_the_bus_hold_for_the_corpus_of_the_world() {
    replay("world");
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let entries = folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut corpora: Vec<_> = entries.map(|name| name.into_string().expect("a plain name")).collect();
    corpora.sort();
    let mut targets = TARGETS.map(|(name, _)| name.to_owned());
    targets.sort();
    assert_eq!(corpora, targets);
}
