//! A sequence diagram in text.

use std::fmt::Write as _;

use liminal_core::Transcript;

use super::story::{Line, Step, Story, Who};

/// How wide a lane is at most and at least, and all of them together.
const LANE_MAX: usize = 12;
const LANE_MIN: usize = 6;
const LANES: usize = 120;
/// What stands before the first lane.
const TIME: usize = 12;

pub(super) fn draw(transcript: &Transcript, broken_at: Option<usize>) -> String {
    let story = Story::of(transcript, broken_at);
    let width = LANES / story.who.len().max(1);
    // Where there are too many to stand side by side each line says by itself who speaks.
    let lanes = (width >= LANE_MIN).then(|| Lanes { who: &story.who, width: width.min(LANE_MAX) });
    let mut text = lanes.as_ref().map_or_else(String::new, Lanes::head);
    for line in &story.lines {
        // Writing to a string cannot fail.
        let _ = match (line, &lanes) {
            (Line::Cut(count), _) => writeln!(text, "{:TIME$}… {count} lines …", ""),
            (Line::Step(step), Some(lanes)) => writeln!(text, "{}", lanes.arrow(step)),
            (Line::Step(step), None) => writeln!(text, "{}", listed(step)),
        };
        if let Line::Step(Step { broken: true, .. }) = line {
            let _ = writeln!(text, "{:TIME$}^^^ here it shows", "");
        }
    }
    text
}

fn time(step: &Step) -> String {
    format!("{:>10}  ", step.at.to_string())
}

fn listed(step: &Step) -> String {
    let Step { from, to, text, .. } = step;
    let who = if from == to { from.to_string() } else { format!("{from} → {to}") };
    format!("{}{who:<16} {text}", time(step))
}

struct Lanes<'a> {
    who: &'a [Who],
    width: usize,
}

impl Lanes<'_> {
    fn head(&self) -> String {
        let names = self.who.iter().map(|who| format!("{:<width$}", who.to_string(), width = self.width));
        let head: String = names.collect();
        format!("{:>10}  {}\n", "time", head.trim_end())
    }

    fn arrow(&self, step: &Step) -> String {
        let lane = |who: Who| self.who.iter().position(|it| *it == who).unwrap_or(0);
        let (from, to) = (lane(step.from), lane(step.to));
        let (left, right) = (from.min(to), from.max(to));
        let mut line = time(step);
        for lane in 0..self.who.len() {
            line.push(match lane {
                lane if from == to && lane == from => '*',
                lane if lane == left => {
                    if from < to {
                        '├'
                    } else {
                        '◀'
                    }
                }
                lane if lane == right => {
                    if from < to {
                        '▶'
                    } else {
                        '┤'
                    }
                }
                lane if (left..right).contains(&lane) => '─',
                _ => '│',
            });
            let fill = if (left..right).contains(&lane) { '─' } else { ' ' };
            let rest = if lane + 1 == self.who.len() { 2 } else { self.width - 1 };
            line.extend(std::iter::repeat_n(fill, rest));
        }
        line + &step.text
    }
}

#[cfg(test)]
mod tests {
    use liminal_core::transcript::{BusId, Noted, OpenerId, Transcript};
    use liminal_proto::{ConversationId, Event, Instant};

    use super::draw;

    fn said(count: u64, subject: &str) -> Transcript {
        let mut transcript = Transcript::new();
        for opener in 1..=count {
            let event = Event::Open {
                conversation: ConversationId::new(opener),
                subject: subject.into(),
                terms: liminal_proto::Terms::default(),
            };
            transcript.note(
                Instant::ORIGIN,
                BusId::new(1),
                Noted::Said { opener: OpenerId::new(opener), event },
            );
        }
        transcript
    }

    #[test]
    fn where_many_speak_each_line_says_who() {
        let few = draw(&said(3, "echo"), None);
        assert_eq!(few.lines().next(), Some("      time  o1          o2          o3          bus"));
        let many = draw(&said(30, "echo"), Some(29));
        assert!(many.lines().all(|line| line.chars().count() < 60), "{many}");
        assert!(
            many.ends_with("0ns  o30 → bus        c30 open echo\n            ^^^ here it shows\n"),
            "{many}"
        );
    }

    #[test]
    fn a_long_story_is_cut_and_what_leads_to_the_mistake_is_kept() {
        let story = draw(&said(1_000, "echo"), Some(700));
        assert!(story.lines().count() < 140, "{story}");
        for part in ["o1 → bus", "o701 → bus", "… 589 lines …", "… 291 lines …"] {
            assert!(story.contains(part), "{part}: {story}");
        }
    }

    #[test]
    fn a_long_name_is_cut_and_takes_no_second_line() {
        let story = draw(&said(1, &format!("a\n{}", "b".repeat(5_000))), None);
        assert!(story.lines().count() == 2 && story.len() < 400, "{story}");
    }
}
