//! Rare situations that matter. A long run that never sees one of them has not tested what it is for.

mod clients;

use std::collections::{BTreeMap, BTreeSet};

use liminal_core::transcript::{BusId, Entry, Noted, OpenerId, Transcript};
use liminal_core::{Answer, Call, ConversationKey, Leaving, LinkId, Recorded, Ticket};
use liminal_proto::{ConversationId, Event, Instant, MessageId, Outcome, Pid};

use self::clients::Clients;

macro_rules! all_marks {
    ($($name:ident, $text:literal;)*) => {
        /// A rare situation that matters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Mark { $(#[doc = $text] $name,)* }

        impl Mark {
            /// Every mark.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What it is, in a few words.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

all_marks! {
    ExitRacesClose, "a participant exits when its conversation was told to close";
    ReplyRacesExit, "a participant replies and exits in the same call";
    ReplyAfterDeath, "a call of a participant that was killed still replies";
    LateReply, "a reply comes after its request has ended";
    RerouteWhileClosing, "a conversation that is told to close goes on with another participant";
    Redelivered, "a message reaches a second participant";
    GivenUp, "a request ends because its participants exit too often";
    NobodyLeft, "nobody takes the place of a participant that exited";
    OwnerLostAtWork, "an owner is lost while its participant works";
    DeadlineAtWork, "a request ends at its deadline while its participant works";
    BusyHost, "a host has no free seat";
    Uncompensated, "a compensation fails";
    RefusedToDead, "a message reaches a conversation whose participant has exited";
    UnknownEnd, "a request ends as unknown";
    ReplyAtDeadline, "a reply comes at the very moment of the deadline";
    PausedPastDeadline, "the bus stands still past the deadline of a request";
    PartThenRerouted, "who has given a part of its reply exits, and the conversation goes on";
    ThirdRedelivery, "a message is moved for the third time";
    CompensatedUnanswered, "an exit is compensated that leaves requests unanswered";
    BusRestarted, "a conversation is opened on a bus that was started again";
    Outlived, "the time of a conversation is over while its participant works";
    NextAnswersForLost, "a client is lost with a request in hand, and the next participant answers it";
    NextTakesInvitation, "an invitation is refused, and the next participant takes it";
    ExitCrossesEnd, "an exit on a link crosses the end of its conversation";
    ReplyRacesWithdrawal, "a reply comes behind the withdrawal of its offer";
    LateReplyOfClient, "a client replies in a conversation that is over for it";
    CancelledAtClient, "nobody wants any more what a client is asked";
    PlaceAwaited, "a conversation waits for a place at a client that has none free";
    Drained, "an offer that drains is gone with its last conversation";
    VoiceOfDead, "a dead client is heard when its successor serves";
    Hung, "a participant on a link does not answer long after it was due to";
    BusyClient, "a client is too busy for what it is given";
    CreditAwaited, "an opener that had no credit is given some";
    MovedFromLinkOrTo, "a conversation moves from a client to a host, or back";
}

/// The marks of a run.
pub(crate) fn marks(transcript: &Transcript) -> BTreeSet<Mark> {
    let (mut watch, mut clients) = (Watch::default(), Clients::default());
    for entry in transcript.entries() {
        watch.on_entry(entry);
        clients.on_entry(entry);
    }
    watch.seen.append(&mut clients.seen);
    watch.seen
}

type Key = (BusId, ConversationKey);

#[derive(Default)]
struct Watch {
    seen: BTreeSet<Mark>,
    links: BTreeMap<(BusId, LinkId), OpenerId>,
    owners: BTreeMap<Key, (OpenerId, ConversationId)>,
    closing: BTreeSet<(OpenerId, ConversationId)>,
    restarted: BTreeSet<BusId>,
    calls: BTreeMap<(BusId, Ticket), (Key, Pid, bool)>,
    dead: BTreeSet<(Key, Pid)>,
    ended: BTreeSet<(Key, u64)>,
    in_hand: BTreeMap<Key, u64>,
    replied: BTreeSet<(BusId, Ticket)>,
    speaks_v2: BTreeSet<OpenerId>,
    recorded: BTreeSet<(OpenerId, ConversationId, MessageId)>,
    /// The deadlines of all requests.
    deadlines: BTreeMap<(Key, u64), Instant>,
    /// Requests that have not ended.
    open: BTreeSet<(Key, u64)>,
    /// Those of which a part was answered.
    parted: BTreeSet<(Key, u64)>,
    /// Whether the last exit left a request unanswered.
    left_open: bool,
}

impl Watch {
    fn see(&mut self, holds: bool, mark: Mark) {
        if holds {
            self.seen.insert(mark);
        }
    }

    fn is_closing(&self, key: Key) -> bool {
        self.owners.get(&key).is_some_and(|owner| self.closing.contains(owner))
    }

    fn works(&self, key: Key) -> bool {
        self.calls.values().any(|(of, ..)| *of == key)
    }

    fn on_entry(&mut self, entry: &Entry) {
        let bus = entry.bus;
        match &entry.what {
            Noted::Dialled { opener, link } => {
                self.links.insert((bus, *link), *opener);
            }
            Noted::Owned { conversation, link, id } => {
                if let Some(opener) = self.links.get(&(bus, *link)) {
                    self.owners.insert((bus, *conversation), (*opener, *id));
                }
                self.see(self.restarted.contains(&bus), Mark::BusRestarted);
                self.see(*link == LinkId::BUS && self.left_open, Mark::CompensatedUnanswered);
            }
            Noted::BusStarted { .. } => {
                self.restarted.insert(bus);
            }
            Noted::Said { opener, event: Event::Close { conversation } } => {
                self.closing.insert((*opener, *conversation));
            }
            Noted::Told { opener, event } => self.on_told(*opener, event),
            Noted::Called { ticket, invocation } => {
                let key = (bus, invocation.conversation);
                let asks = matches!(invocation.what, Call::Message { expects_reply: true, .. });
                if let Call::Message { record, redelivered, .. } = &invocation.what {
                    self.in_hand.insert(key, record.get());
                    self.see(*redelivered > 0, Mark::Redelivered);
                    self.see(*redelivered > 2, Mark::ThirdRedelivery);
                }
                self.calls.insert((bus, *ticket), (key, invocation.pid, asks));
            }
            Noted::Answered { ticket, answer } => self.on_answered(entry.at, bus, *ticket, answer),
            Noted::Paused { opener: None, until } => {
                let passes =
                    |it: &(Key, u64)| it.0.0 == bus && self.deadlines.get(it).is_some_and(|by| by < until);
                let passes = self.open.iter().any(passes);
                self.see(passes, Mark::PausedPastDeadline);
            }
            Noted::Died { conversation, pid, .. } => {
                self.dead.insert(((bus, *conversation), *pid));
            }
            Noted::Recorded { conversation, record } => {
                self.on_record((bus, *conversation), record.number.get(), &record.what)
            }
            Noted::Uncompensated(_) => self.see(true, Mark::Uncompensated),
            _ => {}
        }
    }

    fn on_told(&mut self, opener: OpenerId, event: &Event) {
        match event {
            Event::Connected { version } if version.major == 2 => {
                self.speaks_v2.insert(opener);
            }
            Event::Room { .. } => self.see(true, Mark::CreditAwaited),
            Event::Outcome { outcome: Outcome::Unknown, .. } => self.see(true, Mark::UnknownEnd),
            // What ended with an exit and is not in the log came after it.
            Event::Outcome { conversation, message, outcome: Outcome::Exited } => {
                let recorded = self.recorded.contains(&(opener, *conversation, *message));
                self.see(!recorded && self.speaks_v2.contains(&opener), Mark::RefusedToDead);
            }
            _ => {}
        }
    }

    fn on_answered(&mut self, at: Instant, bus: BusId, ticket: Ticket, answer: &Answer) {
        let Some((key, pid, asks)) = self.calls.get(&(bus, ticket)).copied() else { return };
        if let Answer::Reply(_) = answer {
            let hand = self.in_hand.get(&key).copied().unwrap_or(0);
            self.see(self.dead.contains(&(key, pid)), Mark::ReplyAfterDeath);
            self.see(asks && self.ended.contains(&(key, hand)), Mark::LateReply);
            self.see(asks && self.deadlines.get(&(key, hand)) == Some(&at), Mark::ReplyAtDeadline);
            self.replied.insert((bus, ticket));
        }
        self.see(*answer == Answer::Busy, Mark::BusyHost);
        let exits = matches!(answer, Answer::Exited(_)) && asks;
        self.see(exits && self.replied.contains(&(bus, ticket)), Mark::ReplyRacesExit);
        if answer.returns() {
            self.calls.remove(&(bus, ticket));
        }
    }

    fn on_record(&mut self, key: Key, number: u64, what: &Recorded) {
        self.on_request(key, number, what);
        match what {
            Recorded::Message { id, .. } | Recorded::Request { id, .. } => {
                if let Some((opener, conversation)) = self.owners.get(&key) {
                    self.recorded.insert((*opener, *conversation, *id));
                }
            }
            Recorded::Exited { goes_on, .. } => {
                let closing = self.is_closing(key);
                self.see(closing, Mark::ExitRacesClose);
                self.see(closing && *goes_on, Mark::RerouteWhileClosing);
                let in_hand = self.in_hand.get(&key).map(|hand| (key, *hand));
                let parted = in_hand.is_some_and(|it| self.open.contains(&it) && self.parted.contains(&it));
                self.see(parted && *goes_on, Mark::PartThenRerouted);
                self.left_open = self.open.iter().any(|(of, _)| *of == key);
            }
            Recorded::Failed => self.see(true, Mark::NobodyLeft),
            Recorded::Left { why: Leaving::OwnerLost, .. } => {
                self.see(self.works(key), Mark::OwnerLostAtWork)
            }
            Recorded::Left { why: Leaving::Closed, .. } => {
                let is_open = self.owners.contains_key(&key) && !self.is_closing(key);
                self.see(is_open && self.works(key), Mark::Outlived);
            }
            Recorded::RequestEnded { request, how } => {
                self.ended.insert((key, request.get()));
                let in_hand = self.in_hand.get(&key) == Some(&request.get());
                self.see(*how == Outcome::Deadline && in_hand && self.works(key), Mark::DeadlineAtWork);
                self.see(*how == Outcome::Exited && !in_hand, Mark::GivenUp);
            }
            _ => {}
        }
    }

    /// Keeps account of the requests that have not ended.
    fn on_request(&mut self, key: Key, number: u64, what: &Recorded) {
        match what {
            Recorded::Request { deadline, .. } => {
                self.deadlines.insert((key, number), *deadline);
                self.open.insert((key, number));
            }
            Recorded::Reply { request, last: false, .. } => {
                self.parted.insert((key, request.get()));
            }
            Recorded::Reply { request, .. } | Recorded::RequestEnded { request, .. } => {
                self.open.remove(&(key, request.get()));
            }
            Recorded::Failed | Recorded::Left { .. } => self.open.retain(|(of, _)| *of != key),
            _ => {}
        }
    }
}
