//! What of a run is worth drawing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use liminal_core::transcript::{BusId, Entry, Noted, OpenerId, Transcript};
use liminal_core::{Answer, LinkId, Ticket};
use liminal_proto::{Event, Instant, Pid};

use super::words;

/// Longer stories are cut: nobody reads them.
const STEPS_MAX: usize = 120;
/// Of one that is cut this much of the beginning is kept.
const BEGINNING: usize = 20;
/// How much of what comes behind the mistake is kept.
const BEHIND: usize = 8;

/// Who says something, or is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Opener(OpenerId),
    /// By its place, of which it was the first; `None`: there is no other. One that is started again has the place
    /// of the one before.
    Bus(Option<BusId>),
    /// A link of a bus, on which somebody serves of whom nothing else is known.
    Link(BusId, LinkId),
    Participant(BusId, Pid),
}

/// One thing that is said or happens.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: Instant,
    pub(super) from: Who,
    /// The same: it happens there.
    pub(super) to: Who,
    pub(super) text: String,
    /// It shows here that something does not hold.
    pub(super) broken: bool,
    /// It is about a connection or an offer as such, and no conversation.
    setup: bool,
}

/// A line of a story.
pub(super) enum Line {
    Step(Step),
    /// So many were left out.
    Cut(usize),
}

pub(super) struct Story {
    pub(super) who: Vec<Who>,
    pub(super) lines: Vec<Line>,
}

impl Story {
    pub(super) fn of(transcript: &Transcript, broken_at: Option<usize>) -> Self {
        let mut teller = Teller::new(transcript);
        for (at, entry) in transcript.entries().iter().enumerate() {
            teller.on_entry(entry, Some(at) == broken_at);
        }
        let lines = cut(without_setup(std::mem::take(&mut teller.steps)));
        let mut who: BTreeSet<Who> = teller.places.values().map(|place| Who::Bus(*place)).collect();
        for line in &lines {
            if let Line::Step(step) = line {
                who.extend([step.from, step.to]);
            }
        }
        Self { who: who.into_iter().collect(), lines }
    }
}

/// Of an opener that has no conversation nothing is shown, and of no opener how its connection is taken down
/// at the end.
fn without_setup(steps: Vec<Step>) -> Vec<Step> {
    let talks: BTreeSet<Who> =
        steps.iter().filter(|it| !it.setup || it.broken).flat_map(|it| [it.from, it.to]).collect();
    let calm = steps.iter().position(|it| it.text == words::CALM).unwrap_or(steps.len());
    let of_interest = |(at, step): &(usize, Step)| {
        let both_talk = talks.contains(&step.from) && talks.contains(&step.to);
        step.broken || (both_talk && (!step.setup || *at < calm))
    };
    steps.into_iter().enumerate().filter(of_interest).map(|(_, step)| step).collect()
}

/// The beginning, and what leads to the mistake, or to the end.
fn cut(mut steps: Vec<Step>) -> Vec<Line> {
    let end = steps.iter().rposition(|it| it.broken).map_or(steps.len(), |at| at + 1 + BEHIND);
    let behind = steps.len().saturating_sub(end);
    steps.truncate(end);
    let between = steps.len().saturating_sub(STEPS_MAX);
    let mut lines: Vec<Line> = steps.into_iter().map(Line::Step).collect();
    if between > 0 {
        lines.splice(BEGINNING..BEGINNING + between, [Line::Cut(between)]);
    }
    lines.extend((behind > 0).then_some(Line::Cut(behind)));
    lines
}

/// Its name in a diagram.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opener(opener) => write!(f, "o{}", opener.get()),
            Self::Bus(None) => f.write_str("bus"),
            Self::Bus(Some(bus)) => write!(f, "bus{}", bus.get()),
            Self::Link(bus, link) if bus.get() <= 1 => write!(f, "l{}", link.get()),
            Self::Link(bus, link) => write!(f, "b{}l{}", bus.get(), link.get()),
            Self::Participant(bus, pid) if bus.get() <= 1 => write!(f, "p{pid}"),
            Self::Participant(bus, pid) => write!(f, "b{}p{pid}", bus.get()),
        }
    }
}

struct Teller {
    /// Where each bus stands.
    places: BTreeMap<BusId, Option<BusId>>,
    /// Those of which the handshake comes through: that is enough to say.
    connected: BTreeSet<OpenerId>,
    tickets: BTreeMap<(BusId, Ticket), Pid>,
    /// The buses of those openers that are clients that serve.
    clients: BTreeMap<OpenerId, BusId>,
    /// Which openers have dialled which links.
    links: BTreeMap<(BusId, LinkId), OpenerId>,
    steps: Vec<Step>,
}

impl Teller {
    fn new(transcript: &Transcript) -> Self {
        let connected = transcript.entries().iter().filter_map(|entry| match &entry.what {
            Noted::Told { opener, event: Event::Connected { .. } } => Some(*opener),
            _ => None,
        });
        let clients = transcript.entries().iter().filter_map(|entry| match &entry.what {
            Noted::Serves { opener, .. } => Some((*opener, entry.bus)),
            _ => None,
        });
        let (connected, clients, places) = (connected.collect(), clients.collect(), places(transcript));
        let (tickets, links) = (BTreeMap::new(), BTreeMap::new());
        Self { places, connected, tickets, clients, links, steps: Vec::new() }
    }

    /// A client that serves stands where its bus does.
    fn opener(&self, opener: OpenerId) -> Who {
        self.clients.get(&opener).map_or(Who::Opener(opener), |bus| self.bus(*bus))
    }

    /// Who serves on a link.
    fn link(&self, bus: BusId, link: LinkId) -> Who {
        let client = self.links.get(&(bus, link)).and_then(|opener| self.clients.get(opener));
        client.map_or(Who::Link(bus, link), |client| self.bus(*client))
    }

    fn bus(&self, bus: BusId) -> Who {
        Who::Bus(self.places.get(&bus).copied().flatten())
    }

    fn on_entry(&mut self, entry: &Entry, broken: bool) {
        let bus = self.bus(entry.bus);
        let told = self.tell(entry).or_else(|| broken.then(|| (bus, bus, words::whole(entry))));
        let setup = is_setup(&entry.what);
        if let Some((from, to, text)) = told.filter(|_| broken || !self.is_said_later(&entry.what)) {
            self.steps.push(Step { at: entry.at, from, to, text: words::cut(text), broken, setup });
        }
    }

    fn is_said_later(&self, what: &Noted) -> bool {
        matches!(what, Noted::Dialled { opener, .. } if self.connected.contains(opener))
    }

    fn tell(&mut self, entry: &Entry) -> Option<(Who, Who, String)> {
        let bus = self.bus(entry.bus);
        let of = |who: &OpenerId| self.opener(*who);
        let pid = |pid: Pid| Who::Participant(entry.bus, pid);
        Some(match &entry.what {
            Noted::Dialled { opener, link } => {
                let who = of(opener);
                self.links.insert((entry.bus, *link), *opener);
                (who, bus, "dials".into())
            }
            Noted::Said { opener, event } => (of(opener), bus, words::event(event)?),
            Noted::Told { opener, event } => (bus, of(opener), words::event(event)?),
            // That its bus crashes says it.
            Noted::Gone { opener } if self.clients.contains_key(opener) => return None,
            Noted::Gone { opener } => (of(opener), of(opener), "is gone".into()),
            Noted::Called { ticket, invocation } => {
                self.tickets.insert((entry.bus, *ticket), invocation.pid);
                (bus, pid(invocation.pid), words::call(&invocation.what))
            }
            Noted::CalledOn { link, id, invocation, .. } => {
                let call = words::call(&invocation.what);
                (bus, self.link(entry.bus, *link), format!("c{id} p{} {call}", invocation.pid))
            }
            Noted::LetGo { link, id, cancel } => {
                let verb = if *cancel { "cancel" } else { "close" };
                (bus, self.link(entry.bus, *link), format!("c{id} {verb}"))
            }
            Noted::Heard { link, event } => self.heard(entry, *link, event)?,
            Noted::Answered { ticket, answer } => self.answer(entry, *ticket, answer),
            Noted::Died { pid: who, reason, .. } => (pid(*who), bus, format!("dies, {reason}")),
            Noted::Recorded { conversation, record } => {
                let number = record.number;
                (bus, bus, format!("log {} r{number} {:?}", conversation.get(), record.what))
            }
            Noted::Uncompensated(it) => (bus, bus, it.to_string()),
            Noted::Paused { opener, until } => {
                let who = opener.as_ref().map_or(bus, of);
                (who, who, format!("stands still until {until}"))
            }
            Noted::Unread { opener, until } => {
                (of(opener), of(opener), format!("reads no replies until {until}"))
            }
            Noted::BusLost => (bus, bus, "crashes".into()),
            Noted::BusStarted { .. } => (bus, bus, "is started again".into()),
            Noted::Calm => (bus, bus, words::CALM.into()),
            Noted::Broken { text } => (bus, bus, text.clone()),
            _ => return None,
        })
    }

    /// What a known client says of its offers was shown when it said so.
    fn heard(&self, entry: &Entry, link: LinkId, event: &Event) -> Option<(Who, Who, String)> {
        let who = self.link(entry.bus, link);
        let is_told = is_of_offer(event) && !matches!(who, Who::Link(..));
        if is_told { None } else { Some((who, self.bus(entry.bus), words::event(event)?)) }
    }

    fn answer(&self, entry: &Entry, ticket: Ticket, answer: &Answer) -> (Who, Who, String) {
        let pid = self.tickets.get(&(entry.bus, ticket)).copied().unwrap_or_default();
        (Who::Participant(entry.bus, pid), self.bus(entry.bus), words::answer(answer))
    }
}

/// Where each bus stands: in the place of the first that was there, if there are several places.
fn places(transcript: &Transcript) -> BTreeMap<BusId, Option<BusId>> {
    let mut firsts: BTreeMap<BusId, BusId> = BTreeMap::new();
    for entry in transcript.entries() {
        let first = match entry.what {
            Noted::BusStarted { after } => firsts.get(&after).copied(),
            _ => None,
        };
        firsts.entry(entry.bus).or_insert(first.unwrap_or(entry.bus));
    }
    let is_one = firsts.values().collect::<BTreeSet<_>>().len() <= 1;
    firsts.into_iter().map(|(bus, first)| (bus, (!is_one).then_some(first))).collect()
}

const fn is_setup(what: &Noted) -> bool {
    match what {
        Noted::Dialled { .. } => true,
        Noted::Said { event, .. } | Noted::Told { event, .. } => {
            matches!(event, Event::Connected { .. } | Event::Closed(_)) || is_of_offer(event)
        }
        _ => false,
    }
}

const fn is_of_offer(event: &Event) -> bool {
    matches!(
        event,
        Event::Serve { .. }
            | Event::Withdraw { .. }
            | Event::Serving { .. }
            | Event::NotServing { .. }
            | Event::Withdrawn { .. }
    )
}
