//! A run as a sequence diagram in text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use liminal_core::transcript::{BusId, Entry, Noted, OpenerId, Transcript};
use liminal_core::{Answer, Call, Recorded, Ticket};
use liminal_proto::{Event, Expects, Message, Outcome, Pid};

/// Longer stories are cut in the middle: nobody reads them.
const LINES_MAX: usize = 120;
const LANE: usize = 12;

/// Who says what to whom, with openers at the left, the bus in the middle, and participants at the right. The
/// entry at which something broke is marked.
#[must_use]
pub fn draw(transcript: &Transcript, broken_at: Option<usize>) -> String {
    let mut diagram = Diagram::new(transcript);
    for (at, entry) in transcript.entries().iter().enumerate() {
        let before = diagram.lines.len();
        diagram.on_entry(entry);
        if Some(at) == broken_at {
            if diagram.lines.len() == before {
                diagram.lines.push(format!("{:>10}  {:?}", entry.at.to_string(), entry.what));
            }
            diagram.lines.push("            ^^^ here it shows".into());
        }
    }
    let cut = diagram.lines.len().saturating_sub(LINES_MAX);
    if cut > 0 {
        let middle = LINES_MAX / 2;
        diagram.lines.splice(middle..middle + cut, [format!("            … {cut} lines …")]);
    }
    diagram.head() + &diagram.lines.join("\n") + "\n"
}

struct Diagram {
    openers: Vec<OpenerId>,
    pids: Vec<(BusId, Pid)>,
    tickets: BTreeMap<(BusId, Ticket), Pid>,
    lines: Vec<String>,
}

impl Diagram {
    fn new(transcript: &Transcript) -> Self {
        let mut this =
            Self { openers: Vec::new(), pids: Vec::new(), tickets: BTreeMap::new(), lines: Vec::new() };
        for entry in transcript.entries() {
            match &entry.what {
                Noted::Dialled { opener, .. } => this.openers.push(*opener),
                Noted::Called { invocation, .. } if !this.pids.contains(&(entry.bus, invocation.pid)) => {
                    this.pids.push((entry.bus, invocation.pid));
                }
                _ => {}
            }
        }
        this
    }

    /// The lanes: openers, the bus, participants.
    fn head(&self) -> String {
        let openers = self.openers.iter().map(|it| format!("o{}", it.get()));
        let pids = self.pids.iter().map(|(_, pid)| format!("p{pid}"));
        let names = openers.chain(["bus".into()]).chain(pids);
        names
            .fold(format!("{:>10}  ", "time"), |head, name| head + &format!("{name:<LANE$}"))
            .trim_end()
            .to_owned()
            + "\n"
    }

    fn on_entry(&mut self, entry: &Entry) {
        let bus = self.openers.len();
        let opener = |who: &OpenerId| self.openers.iter().position(|it| it == who).unwrap_or(0);
        let lane = |pid: Pid| bus + 1 + self.pids.iter().position(|it| *it == (entry.bus, pid)).unwrap_or(0);
        let arrow = match &entry.what {
            Noted::Dialled { opener: who, .. } => Some((opener(who), bus, "dials".into())),
            Noted::Said { opener: who, event } => tell(event).map(|text| (opener(who), bus, text)),
            Noted::Told { opener: who, event } => tell(event).map(|text| (bus, opener(who), text)),
            Noted::Gone { opener: who } => Some((opener(who), opener(who), "is gone".into())),
            Noted::Called { ticket, invocation } => {
                self.tickets.insert((entry.bus, *ticket), invocation.pid);
                Some((bus, lane(invocation.pid), call(&invocation.what)))
            }
            Noted::Answered { ticket, answer } => {
                let pid = self.tickets.get(&(entry.bus, *ticket)).copied().unwrap_or_default();
                Some((lane(pid), bus, answered(answer)))
            }
            Noted::Died { pid, reason, .. } => Some((lane(*pid), bus, format!("dies, {reason}"))),
            Noted::Recorded { conversation, record } => {
                let what = recorded(&record.what);
                Some((bus, bus, format!("log {} r{} {what}", conversation.get(), record.number)))
            }
            Noted::Paused { opener: who, until } => {
                let at = who.as_ref().map_or(bus, opener);
                Some((at, at, format!("stands still until {until}")))
            }
            Noted::BusLost => Some((bus, bus, "crashes".into())),
            Noted::Calm => Some((bus, bus, "faults have stopped, inputs have ended".into())),
            Noted::Over => Some((bus, bus, "every connection is closed".into())),
            Noted::Broken { text } => Some((bus, bus, text.clone())),
            _ => None,
        };
        if let Some((from, to, text)) = arrow {
            self.arrow(&entry.at.to_string(), from, to, &text);
        }
    }

    fn arrow(&mut self, at: &str, from: usize, to: usize, text: &str) {
        let lanes = self.openers.len() + 1 + self.pids.len();
        let (left, right) = (from.min(to), from.max(to));
        let mut line = format!("{at:>10}  ");
        for lane in 0..lanes {
            let cell = match lane {
                lane if from == to && lane == from => "*".into(),
                lane if lane == left => {
                    if from < to {
                        "├".into()
                    } else {
                        "◀".into()
                    }
                }
                lane if lane == right => {
                    if from < to {
                        "▶".into()
                    } else {
                        "┤".into()
                    }
                }
                _ if (left..right).contains(&lane) => "─".to_owned(),
                _ => "│".to_owned(),
            };
            let fill = if (left..right).contains(&lane) { '─' } else { ' ' };
            let rest = if lane + 1 == lanes { 2 } else { LANE - 1 };
            line += &cell;
            line.extend(std::iter::repeat_n(fill, rest));
        }
        // Writing to a string cannot fail.
        let _ = write!(line, "{text}");
        self.lines.push(line);
    }
}

fn tell(event: &Event) -> Option<String> {
    Some(match event {
        Event::Open { conversation, subject } => format!("c{conversation} open {subject}"),
        Event::Message(Message { conversation, id, expects, payload, timeout }) => {
            let verb = if *expects == Expects::Reply { "ask" } else { "say" };
            let within = timeout.map_or(String::new(), |timeout| format!(" within {timeout:?}"));
            format!("c{conversation} {verb} m{id}{within} {}", quoted(payload))
        }
        Event::Close { conversation } => format!("c{conversation} close"),
        Event::Opened { conversation, .. } => format!("c{conversation} opened"),
        Event::Refused { conversation, reason, .. } => format!("c{conversation} refused: {reason}"),
        Event::Reply(reply) => {
            let kind = if reply.last { "reply" } else { "part" };
            format!("c{} {kind} to m{} {}", reply.conversation, reply.answers, quoted(&reply.payload))
        }
        Event::Outcome { conversation, message, outcome } => {
            format!("c{conversation} m{message} {}", outcome_of(outcome))
        }
        Event::Exited { conversation, exit } => {
            format!("c{conversation} p{} exited: {}", exit.pid, exit.reason)
        }
        Event::Joined { conversation, pid } => format!("c{conversation} p{pid} joined"),
        Event::Failed { conversation } => format!("c{conversation} failed"),
        Event::Ended { conversation } => format!("c{conversation} ended"),
        Event::Closed(reason) => format!("connection: {reason}"),
        Event::Connected { version } => format!("connected, {}.{}", version.major, version.minor),
        _ => return None,
    })
}

fn outcome_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted { .. } => "accepted".into(),
        Outcome::Refused { reason, .. } => format!("refused: {reason}"),
        Outcome::Exited => "ended: its participant has exited".into(),
        Outcome::Deadline => "ended: deadline".into(),
        _ => "ended: unknown".into(),
    }
}

fn call(call: &Call) -> String {
    match call {
        Call::Join { subject } => format!("join {subject}"),
        Call::Message { record, payload, expects_reply, redelivered, .. } => {
            let mark = if *expects_reply { "?" } else { "" };
            let again = if *redelivered > 0 { ", again" } else { "" };
            format!("r{record} {}{mark}{again}", quoted(payload))
        }
        Call::Wake { .. } => "wake".into(),
        Call::Leave { why } => format!("leave: {why:?}"),
        other => format!("{other:?}"),
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Part(payload) => format!("part {}", quoted(payload)),
        Answer::Reply(payload) => format!("reply {}", quoted(payload)),
        other => format!("{other:?}"),
    }
}

fn recorded(what: &Recorded) -> String {
    format!("{what:?}")
}

/// The beginning of a payload.
fn quoted(payload: &Bytes) -> String {
    let text = String::from_utf8_lossy(payload);
    let text = text.trim_start();
    if text.chars().count() > 24 {
        return format!("{:?}… ({} bytes)", text.chars().take(20).collect::<String>(), payload.len());
    }
    format!("{text:?}")
}
