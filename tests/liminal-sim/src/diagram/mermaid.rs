//! A sequence diagram for Mermaid.

use std::fmt::Write as _;

use liminal_core::Transcript;

use super::story::{Line, Step, Story, Who};

pub(super) fn draw(transcript: &Transcript, broken_at: Option<usize>) -> String {
    let story = Story::of(transcript, broken_at);
    let mut text = String::from("sequenceDiagram\n");
    for who in &story.who {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    participant {who} as {}", name(*who));
    }
    let ends = story.who.first().copied().zip(story.who.last().copied());
    for line in &story.lines {
        let _ = match (line, ends) {
            (Line::Step(step), _) => writeln!(text, "    {}", arrow(step)),
            (Line::Cut(count), Some((first, last))) => {
                writeln!(text, "    Note over {first},{last}: … {count} lines …")
            }
            (Line::Cut(_), None) => Ok(()),
        };
        if let Line::Step(Step { broken: true, to, .. }) = line {
            let _ = writeln!(text, "    Note over {to}: here it shows");
        }
    }
    text
}

fn name(who: Who) -> String {
    match who {
        Who::Opener(opener) => format!("opener {}", opener.get()),
        Who::Bus(None) => "bus".into(),
        Who::Bus(Some(bus)) => format!("bus {}", bus.get()),
        Who::Link(bus, link) if bus.get() <= 1 => format!("link {}", link.get()),
        Who::Link(bus, link) => format!("link {} of bus {}", link.get(), bus.get()),
        Who::Participant(bus, pid) if bus.get() <= 1 => format!("participant {pid}"),
        Who::Participant(bus, pid) => format!("participant {pid} of bus {}", bus.get()),
    }
}

fn arrow(Step { at, from, to, text, .. }: &Step) -> String {
    let text = escaped(text);
    if from == to { format!("Note over {to}: {at} {text}") } else { format!("{from}->>{to}: {at} {text}") }
}

/// A semicolon ends a statement, a number sign begins a code, and the rest would be taken for markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            ';' | '#' | '"' | '<' | '>' | '&' | '%' | '\\' | '`' | '{' | '}' => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "#{};", u32::from(char));
            }
            char if char.is_control() => escaped.push(' '),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::draw;
    use crate::{Network, Tape, worlds};

    /// Mermaid's own grammar, as far as it is used here.
    fn is_statement(line: &str, names: &[&str]) -> bool {
        let is_text = |text: &str| {
            let codes = text
                .split('#')
                .skip(1)
                .all(|code| code.split_once(';').is_some_and(|(number, _)| number.parse::<u32>().is_ok()));
            let ends = text.matches(';').count() == text.matches('#').count();
            codes && ends && !text.contains(['"', '<', '>', '%']) && !text.is_empty()
        };
        let Some((head, text)) = line.trim_start().split_once(": ") else { return false };
        let over = head.strip_prefix("Note over ");
        let who: Vec<&str> = over.map_or_else(|| head.split("->>").collect(), |it| it.split(',').collect());
        who.iter().all(|it| names.contains(it)) && (over.is_some() || who.len() == 2) && is_text(text)
    }

    #[test]
    fn every_line_is_a_statement_about_those_who_were_declared() {
        let sim = worlds::everything(Network::Faithful);
        for seed in 0..60 {
            let ran = sim.run(&Tape::from_seed(seed));
            let text = draw(&ran.transcript, Some(ran.transcript.entries().len() / 2));
            let (declared, rest): (Vec<&str>, Vec<&str>) =
                text.lines().skip(1).partition(|line| line.starts_with("    participant "));
            let names: Vec<&str> = declared.iter().filter_map(|it| it.split_whitespace().nth(1)).collect();
            assert!(text.starts_with("sequenceDiagram\n") && text.contains(": here it shows"), "{text}");
            for line in rest {
                assert!(is_statement(line, &names), "{line:?} in {text}");
            }
        }
    }

    #[test]
    fn what_would_be_taken_for_markup_is_escaped() {
        assert_eq!(super::escaped("a;b#c\"d\"\n%%<e>"), "a#59;b#35;c#34;d#34; #37;#37;#60;e#62;");
    }
}
