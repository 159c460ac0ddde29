//! Draws a state machine from its transition table and holds the drawing in the docs against it.

extern crate std;

use core::fmt::Debug;
use core::fmt::Write as _;

use alloc::string::String;

/// The transitions as a text diagram: one line for each phase and target, with the triggers between.
fn draw<P: Copy + Debug + PartialEq, T: Copy + Debug>(
    phases: &[P],
    triggers: &[T],
    next: fn(P, T) -> Option<P>,
) -> String {
    let width = phases.iter().map(|phase| std::format!("{phase:?}").len()).max().unwrap_or(0);
    let mut drawing = String::from("```text\n");
    for &from in phases {
        for &to in phases {
            let between: std::vec::Vec<String> = triggers
                .iter()
                .filter(|&&trigger| next(from, trigger) == Some(to))
                .map(|trigger| std::format!("{trigger:?}"))
                .collect();
            if !between.is_empty() {
                let _ = writeln!(
                    drawing,
                    "{:width$} ──{}──▶ {to:?}",
                    std::format!("{from:?}"),
                    between.join(", ")
                );
            }
        }
    }
    drawing.push_str("```\n");
    drawing
}

/// Fails unless `committed` is what the table draws; `UPDATE_DIAGRAMS=1` writes it instead.
pub(crate) fn assert_drawn<P: Copy + Debug + PartialEq, T: Copy + Debug>(
    path: &str,
    committed: &str,
    phases: &[P],
    triggers: &[T],
    next: fn(P, T) -> Option<P>,
) {
    let drawn = draw(phases, triggers, next);
    if std::env::var_os("UPDATE_DIAGRAMS").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::write(path, &drawn).expect("the diagram can be written");
        return;
    }
    assert_eq!(drawn, committed, "the table has changed: run the tests with UPDATE_DIAGRAMS=1");
}
