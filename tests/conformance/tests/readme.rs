//! What the README shows is code that the tests compile and run.

use std::fs;
use std::path::Path;

#[path = "../../../transports/liminal-blocking/examples/readme.rs"]
mod readme;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

/// The text without its indentation, and without the marks of documentation, which is tested, too.
fn flat(text: &str) -> String {
    text.lines().map(|line| line.trim_start_matches("//!").trim()).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_block_of_rust_in_the_readme_stands_in_an_example() {
    let examples = [
        flat(&read("liminal-proto/examples/std_loop.rs")),
        flat(&read("transports/liminal-blocking/examples/readme.rs")),
        flat(&read("tests/liminal-sim/src/lib.rs")),
    ];
    let readme = read("README.md");
    let blocks: Vec<_> =
        readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 3, "the README shows both sides and the loop");
    for block in blocks {
        assert!(examples.iter().any(|example| example.contains(flat(block).trim())), "{block}");
    }
}

#[test]
fn both_sides_of_the_readme_converse() {
    readme::main().unwrap();
}
