//! Which transitions in the life of a conversation were reached: read from transcripts and the tables of the
//! two machines, so that nothing is instrumented.

mod at_bus;
mod at_opener;

use std::collections::BTreeMap;
use std::fmt;

use liminal_core::transcript::{Noted, Transcript};
use liminal_core::{Phase, Trigger};
use liminal_proto::{ConversationPhase, ConversationTrigger};

use self::at_bus::AtBus;
use self::at_opener::AtOpener;

/// One transition in the life of a conversation: a trigger in a phase in which its table has an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Transition {
    /// As the bus sees the conversation.
    AtBus(Phase, Trigger),
    /// As the connection of its opener sees it.
    AtOpener(ConversationPhase, ConversationTrigger),
}

/// What the tables allow and the bus never does. The first is dead by construction. The other is for a server
/// that has no bus: the table of an opener has to take what the protocol allows, and a test sees that it does.
const UNREACHABLE: [Transition; 2] = [
    // Who dies while it joins has joined first: its life has its record.
    Transition::AtBus(Phase::Created, Trigger::Exited),
    // The same at the opener; and on a 1.0 link a conversation is open at once.
    Transition::AtOpener(ConversationPhase::Opening, ConversationTrigger::Exited),
];

impl Transition {
    /// Every transition that can be reached.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let every = every_at_bus().chain(every_at_opener());
        every.filter(|it| it.is_in_table() && !UNREACHABLE.contains(it)).collect()
    }

    const fn is_in_table(self) -> bool {
        match self {
            Self::AtBus(phase, trigger) => phase.next(trigger).is_some(),
            Self::AtOpener(phase, trigger) => phase.next(trigger).is_some(),
        }
    }

    fn phase(self) -> String {
        match self {
            Self::AtBus(phase, _) => format!("{phase:?}"),
            Self::AtOpener(phase, _) => format!("{phase:?}"),
        }
    }

    fn trigger(self) -> String {
        match self {
            Self::AtBus(_, trigger) => format!("{trigger:?}"),
            Self::AtOpener(_, trigger) => format!("{trigger:?}"),
        }
    }

    const fn side(self) -> &'static str {
        match self {
            Self::AtBus(..) => "at the bus",
            Self::AtOpener(..) => "at openers",
        }
    }
}

fn every_at_bus() -> impl Iterator<Item = Transition> {
    Phase::ALL.into_iter().flat_map(|phase| Trigger::ALL.map(|trigger| Transition::AtBus(phase, trigger)))
}

fn every_at_opener() -> impl Iterator<Item = Transition> {
    ConversationPhase::ALL
        .into_iter()
        .flat_map(|phase| ConversationTrigger::ALL.map(|trigger| Transition::AtOpener(phase, trigger)))
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} × {}", self.side(), self.phase(), self.trigger())
    }
}

/// Which transitions were reached, each by how many runs.
///
/// Where a transcript leaves open which of two was taken (a close and an exit that cross), neither counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    runs: BTreeMap<Transition, u64>,
}

impl Coverage {
    /// What one run has reached. What is said on a network that changes bytes means nothing: leave such
    /// runs out.
    #[must_use]
    pub fn of(transcript: &Transcript) -> Self {
        let (mut bus, mut opener) = (AtBus::default(), AtOpener::default());
        for entry in transcript.entries() {
            bus.on_entry(entry);
            if let Noted::Said { .. } | Noted::Told { .. } | Noted::Gone { .. } = entry.what {
                opener.on_entry(entry);
            }
        }
        let reached = bus.reached().into_iter().chain(opener.reached());
        Self { runs: reached.map(|transition| (transition, 1)).collect() }
    }

    /// Adds what others have reached.
    pub fn add(&mut self, other: &Self) {
        for (transition, runs) in &other.runs {
            *self.runs.entry(*transition).or_default() += runs;
        }
    }

    /// How many runs have reached this.
    #[must_use]
    pub fn runs(&self, transition: Transition) -> u64 {
        self.runs.get(&transition).copied().unwrap_or(0)
    }

    /// What no run has reached although it can be.
    #[must_use]
    pub fn unreached(&self) -> Vec<Transition> {
        Transition::all().into_iter().filter(|it| !self.runs.contains_key(it)).collect()
    }
}

/// What was never reached, on a line for each side.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unreached = self.unreached();
        if unreached.is_empty() {
            return f.write_str("every transition of a conversation was reached");
        }
        let (mut side, mut phase) = ("", String::new());
        for transition in unreached {
            if transition.side() != side {
                let end = if side.is_empty() { "" } else { "\n" };
                side = transition.side();
                phase = transition.phase();
                write!(f, "{end}never reached {side}: {phase} × {}", transition.trigger())?;
            } else if transition.phase() != phase {
                phase = transition.phase();
                write!(f, "; {phase} × {}", transition.trigger())?;
            } else {
                write!(f, ", {}", transition.trigger())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use liminal_core::transcript::{BusId, OpenerId};
    use liminal_proto::{
        Config, Connection, ConversationId, Event, Exit, ExitReason, Instant, Next, Pid, RecordNumber,
        Unanswered,
    };

    use super::*;
    use crate::{Network, Tape, worlds};

    #[test]
    fn what_was_never_reached_takes_a_line_for_each_side() {
        let mut coverage = Coverage::default();
        for transition in Transition::all() {
            coverage.runs.insert(transition, 1);
        }
        assert_eq!(coverage.to_string(), "every transition of a conversation was reached");
        coverage.runs.retain(|it, _| !matches!(it, Transition::AtBus(Phase::Created, _)));
        coverage.runs.remove(&Transition::AtBus(Phase::Failed, Trigger::Close));
        let opened = Transition::AtOpener(ConversationPhase::Closing, ConversationTrigger::Opened);
        coverage.runs.remove(&opened);
        assert_eq!(
            coverage.to_string(),
            "never reached at the bus: Created × Joined, JoinRefused, Close, OwnerLost; Failed × Close\n\
             never reached at openers: Closing × Opened"
        );
    }

    #[test]
    fn no_run_contradicts_the_tables_and_none_reaches_what_cannot_be() {
        let sim = worlds::everything(Network::Faithful);
        for seed in 0..800 {
            let ran = sim.run(&Tape::from_seed(seed));
            let mut bus = AtBus::default();
            ran.transcript.entries().iter().for_each(|entry| bus.on_entry(entry));
            let run = crate::draw_diagram(&ran.transcript, None);
            assert_eq!(bus.contradictions(), [], "seed {seed}\n{run}");
            let coverage = Coverage::of(&ran.transcript);
            for transition in UNREACHABLE {
                assert_eq!(coverage.runs(transition), 0, "seed {seed}: {transition}");
            }
            assert!(coverage.runs.keys().all(|it| it.is_in_table()), "seed {seed}");
        }
    }

    const NOW: Instant = Instant::ORIGIN;

    /// A client, and a server without a bus.
    struct Pair {
        client: Connection,
        server: Connection,
        said: Transcript,
    }

    impl Pair {
        fn new() -> Self {
            let client = Connection::client(NOW, Config::default());
            let server = Connection::server(NOW, Config::default());
            let mut this = Self { client, server, said: Transcript::new() };
            this.settle();
            this
        }

        fn open(&mut self) -> ConversationId {
            let conversation = self.client.open(NOW, "desk").expect("it is connected");
            self.note(|opener| Noted::Said {
                opener,
                event: Event::Open {
                    conversation,
                    subject: "desk".into(),
                    terms: liminal_proto::Terms::default(),
                },
            });
            self.settle();
            conversation
        }

        fn note(&mut self, what: impl FnOnce(OpenerId) -> Noted) {
            self.said.note(NOW, BusId::new(1), what(OpenerId::new(1)));
        }

        /// Everything that was written arrives, and the client hears what it is told.
        fn settle(&mut self) {
            for _ in 0..4 {
                while let Next::Event(event) = self.client.poll() {
                    self.note(|opener| Noted::Told { opener, event });
                }
                while let Next::Event(_) = self.server.poll() {}
                carry(&mut self.client, &mut self.server);
                carry(&mut self.server, &mut self.client);
            }
        }
    }

    fn carry(from: &mut Connection, to: &mut Connection) {
        let bytes = from.take_write(usize::MAX);
        from.wrote(bytes.len());
        assert_eq!(to.receive(NOW, &bytes), bytes.len());
    }

    #[test]
    fn a_server_without_a_bus_may_do_what_the_bus_never_does_to_an_opener() {
        let mut pair = Pair::new();
        let id = pair.open();
        let (pid, record) = (Pid::new(1), RecordNumber::new(1));
        let (reason, unanswered) = (ExitReason::Normal, Unanswered::default());
        let exit = Exit { pid, record, reason, goes_on: false, unanswered };
        pair.server.exited(NOW, id, &exit).expect("there is such a conversation");
        pair.settle();
        let coverage = Coverage::of(&pair.said);
        let at_openers = |it: &&Transition| matches!(it, Transition::AtOpener(..));
        for transition in UNREACHABLE.iter().filter(at_openers) {
            assert_eq!(coverage.runs(*transition), 1, "{transition}");
        }
    }
}
