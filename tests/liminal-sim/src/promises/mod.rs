//! The promises of the bus, checked on a transcript, wherever it came from.

mod calls;
mod clients;
mod guests;
mod log;
mod openers;
#[cfg(test)]
mod planted;
mod rest;
mod unanswered;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use liminal_core::transcript::{BusId, Entry, Noted, OpenerId, Transcript};
use liminal_core::{ConversationKey, LinkId, Ticket};
use liminal_proto::{Pid, StreamId};

use self::calls::CallOut;
use self::clients::Ends;
use self::guests::{Guest, Offer, Place};
use self::log::Log;
use self::openers::OpenerState;
use crate::swarm::Network;

macro_rules! promises {
    ($($name:ident, $text:literal, $looks:literal;)*) => {
        /// A promise of the bus, by its id. Each says what it promises, and what of a transcript is looked at for
        /// that.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Promise { $(#[doc = $text] #[doc = ""] #[doc = $looks] $name,)* }

        impl Promise {
            /// Every promise that is checked.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What it says.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

promises! {
    O1, "Everyone who sees record n of a conversation sees the same record.",
        "What participants are given, and what openers are told with a number, is what the log has under it.";
    O2, "Records arrive in order, without holes.",
        "The log of each conversation counts from 1; the numbers that its opener is told ascend.";
    O3, "No record is delivered twice to the same participant.",
        "The calls of each participant, but for those that its host was too busy to make; and each says how many \
         have exited since.";
    O4, "What is delivered was sent, by someone entitled to send it.",
        "Each message in a log was said by the opener that owns it, each reply was given by its participant.";
    O5, "A sender's messages keep their order.",
        "The messages in each log, and the calls of each participant: none is given while an older request waits, \
         nor on a link before the one before it is answered.";
    O6, "Every operation ends in exactly one of accepted, refused, unknown; unknown only with the connection.",
        "What each opener is told of each thing that it has said, until its connection is over.";
    L1, "A participant's life ends in exactly one record: left or exited.",
        "The log, and at the end of the run whether every life has ended.";
    L2, "All that was accepted from a participant stands before the end of its life, and nothing after it.",
        "The answers of hosts against the log.";
    L3, "A death is sequenced before anything later, and told exactly once.",
        "What stands in the log behind the moment of a death, which exits each opener is told, and which requests each is \
         said to leave unanswered.";
    L4, "Who is said to have exited has exited.",
        "A host must have said so before. Who has left must have had an owner that closed the conversation or had \
         named a time that is over, or one that was lost.";
    L5, "What a participant held is released before anyone can read of its exit.",
        "The requests in the accounts of the bus, which the log must have as open.";
    L6, "Asking the dead is answered at once.",
        "What connections take after they have told of a death, and what stands in the log behind an end.";
    Q1, "A request completes exactly once, no later than its deadline.",
        "The log and what openers are told, with the time at which they are.";
    Q2, "A reply answers the request that it names.",
        "What openers are told against the log.";
    Q3, "Reply against exit is decided by the order of the log.",
        "Requests that end with an exit: in the log, and as openers are told.";
    Q4, "No request reaches a participant after its deadline or cancellation.",
        "The calls, with their time, against the requests that the log has as open.";
    P1, "When faults stop and inputs end, nothing stays outstanding.",
        "What the bus holds after the time of rest and after the end of all connections, and whether its hosts hold \
         a participant that was told nothing.";
    R1, "Credit is conserved, and both ends agree on it.",
        "Of every connection on which nothing is under way: what each side may say and the other may hear, in each \
         conversation and in all, and that nobody keeps what is dealt with.";
    R2, "What is held stays within its bounds, and the accounts equal a recount.",
        "At moments at which the bus has nothing to do: all that it holds, and of the links that one, and there the \
         place (its accepted messages, its connection, its replies without room), that is nearest to its bound.";
    R3, "One slow or hostile peer delays others by no more than a constant.",
        "The longest that the connection of any link has waited for its turn, in turns of others: for each of them \
         as many as the bus may have in a row, and one.";
    R4, "No input panics, and after its end a connection says nothing more.",
        "Panics anywhere; on both sides what a connection tells and how much output it has after its end; and \
         whether a link opens conversations or ends once more after its end.";
    R6, "Same inputs, same trace.",
        "The digests of two runs of one tape, for some of the runs.";
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Promise {
    /// Whether it must hold on a network that changes bytes, too.
    const fn is_robustness(self) -> bool {
        matches!(self, Self::P1 | Self::R2 | Self::R3 | Self::R4 | Self::R6)
    }
}

/// A promise that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// The entry of the transcript at which it shows.
    pub entry: usize,
    /// What is wrong there.
    pub text: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.promise, self.promise.text(), self.text)
    }
}

/// Checks all promises, and gives the first that does not hold. On a byzantine network robustness alone is
/// promised.
#[must_use]
pub fn check_promises(transcript: &Transcript, network: Network) -> Option<Broken> {
    let mut checker = Checker { network, ..Checker::default() };
    for (at, entry) in transcript.entries().iter().enumerate() {
        checker.entry = at;
        checker.on_entry(entry);
        let counts = |it: &Broken| network == Network::Faithful || it.promise.is_robustness();
        if let Some(broken) = checker.broken.drain(..).find(counts) {
            return Some(broken);
        }
    }
    None
}

/// What is known at one place of a transcript.
#[derive(Default)]
struct Checker {
    network: Network,
    entry: usize,
    broken: Vec<Broken>,
    logs: BTreeMap<(BusId, ConversationKey), Log>,
    calls: BTreeMap<(BusId, Ticket), CallOut>,
    /// Participants on links.
    guests: BTreeMap<Place, Guest>,
    /// What links have offered.
    offers: BTreeMap<(BusId, LinkId, StreamId), Offer>,
    ends: Ends,
    openers: BTreeMap<OpenerId, OpenerState>,
    links: BTreeMap<(BusId, LinkId), OpenerId>,
    /// Who has said that it joins.
    willing: BTreeSet<(BusId, ConversationKey, Pid)>,
    /// Who has a reason to be said to have exited.
    causes: BTreeSet<(BusId, ConversationKey, Pid)>,
    lost: BTreeSet<BusId>,
    /// Participants that their hosts hold: until they were told that they have left, or have exited.
    hosted: BTreeSet<(BusId, ConversationKey, Pid)>,
    /// Connections of which the bus was told that they are over.
    closed: BTreeSet<(BusId, LinkId)>,
    /// Some process stood still: it learns of deadlines late.
    paused: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Busy,
    Calm,
    Over,
}

impl Checker {
    fn on_entry(&mut self, entry: &Entry) {
        let (at, bus) = (entry.at, entry.bus);
        match &entry.what {
            Noted::Dialled { opener, link } => {
                self.links.insert((bus, *link), *opener);
                self.openers.insert(*opener, OpenerState::default());
            }
            Noted::Serves { opener, link } => self.on_serves(bus, *link, *opener),
            Noted::Said { opener, event } => self.on_said(at, *opener, event),
            Noted::Told { opener, event } => self.on_told(at, *opener, event),
            Noted::Gone { opener } => {
                self.openers.remove(opener);
            }
            Noted::LinkClosed { link } => self.on_link_closed(bus, *link),
            Noted::Owned { conversation, link, id } => self.on_owned(at, (bus, *conversation), *link, *id),
            Noted::Recorded { conversation, record } => self.on_record((bus, *conversation), record),
            Noted::Called { ticket, invocation } => self.on_called(at, bus, *ticket, invocation),
            Noted::CalledOn { link, id, offer, message, invocation } => {
                self.on_called_on(at, (bus, *link, *id), (*offer, *message), invocation);
            }
            Noted::LetGo { link, id, cancel } => self.on_let_go((bus, *link, *id), *cancel),
            Noted::Heard { link, event } => self.on_heard(bus, *link, event),
            Noted::Answered { ticket, answer } => self.on_answered(bus, *ticket, answer),
            Noted::Died { conversation, pid, .. } => self.on_died((bus, *conversation), *pid),
            Noted::Paused { .. } => self.paused = true,
            Noted::BusLost => {
                self.lost.insert(bus);
            }
            Noted::Measured { load, recount } => self.on_measured(bus, *load, *recount),
            Noted::Held { link, by, bytes, recount, bytes_max } => {
                self.on_held(*link, *by, (*bytes, *recount), *bytes_max);
            }
            Noted::Waited { link, turns, turns_max } => self.on_waited(*link, *turns, *turns_max),
            Noted::Credit { link, of, here, there } => self.on_credit(*link, *of, (*here, *there)),
            Noted::Calm => self.on_calm(bus),
            Noted::Over => self.on_over(),
            Noted::Broken { text } => self.breaks(Promise::R4, text.clone()),
            _ => {}
        }
    }

    fn breaks(&mut self, promise: Promise, text: impl Into<String>) {
        self.broken.push(Broken { promise, entry: self.entry, text: text.into() });
    }

    /// Breaks the promise unless this holds.
    fn expect(&mut self, holds: bool, promise: Promise, text: impl FnOnce() -> String) {
        if !holds {
            self.breaks(promise, text());
        }
    }
}
