//! What the log of a conversation must look like.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use liminal_core::transcript::{BusId, OpenerId};
use liminal_core::{ConversationKey, Leaving, LinkId, Record, Recorded};
use liminal_proto::{ConversationId, ExitReason, Instant, MessageId, Outcome, Pid, ReasonCode, Terms};

use super::clients::Given;
use super::guests::Place;
use super::openers::Said;
use super::{Checker, Promise};

/// The log of one conversation, as far as it is known.
#[derive(Default)]
pub(super) struct Log {
    pub(super) records: Vec<Record>,
    owner: Option<Owner>,
    pub(super) link: Option<LinkId>,
    begun: Instant,
    pub(super) active: Option<Pid>,
    /// All who have joined, and whether their life has ended.
    pub(super) lives: BTreeMap<Pid, bool>,
    /// How many of them have exited.
    pub(super) exits: usize,
    /// Requests that have not ended, with their deadlines.
    pub(super) open: BTreeMap<u64, Instant>,
    /// What was open when the owner was lost. Nobody is told of its end; records of it that stood in the log before
    /// the bus knew may still come out.
    adrift: Adrift,
    /// Nothing may follow.
    pub(super) over: bool,
    /// Who is dead, and must be said to be before anything else is.
    pub(super) must_exit: Option<Pid>,
    /// Replies that the bus has accepted from the participant, and that must stand in the log: to which
    /// request, whether they end it, and what they say.
    pub(super) due: VecDeque<(u64, bool, Bytes)>,
    /// The message that the participant was given last.
    pub(super) in_hand: Option<u64>,
    /// What each participant was given.
    pub(super) given: BTreeMap<Pid, BTreeSet<u64>>,
    /// How many of the owner's messages are behind the last that was recorded.
    said: usize,
    /// How many records are behind the last reply that the bus which has invited to it has heard.
    pub(super) heard: usize,
}

/// Who has opened a conversation, and what it is called there.
#[derive(Clone, Copy)]
enum Owner {
    Opener(OpenerId, ConversationId),
    /// Another bus has invited to it.
    Bus(Place),
}

/// Requests, and replies that had been accepted, of a conversation whose owner is gone.
#[derive(Default)]
struct Adrift {
    open: BTreeMap<u64, Instant>,
    due: VecDeque<(u64, bool, Bytes)>,
}

type Key = (BusId, ConversationKey);

impl Log {
    pub(super) fn record(&self, number: u64) -> Option<&Record> {
        self.records.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Whether its time is over, by what its owner wanted: in all, or because nothing was said for so long.
    fn is_outlived(&self, at: Instant, terms: Terms) -> bool {
        let last = self.records.last().map_or(self.begun, |record| record.at);
        let is_over = |from: Instant, time: Option<Duration>| time.is_some_and(|time| from.after(time) <= at);
        is_over(self.begun, terms.total) || is_over(last, terms.idle)
    }

    /// Where another bus has invited to it, if one has.
    pub(super) const fn place(&self) -> Option<Place> {
        match self.owner {
            Some(Owner::Bus(place)) => Some(place),
            Some(Owner::Opener(..)) | None => None,
        }
    }

    /// The record of a message of its owner.
    pub(super) fn record_of(&self, id: MessageId) -> Option<u64> {
        self.records.iter().rev().find(|record| has_id(&record.what, id)).map(|record| record.number.get())
    }

    /// Whether the message of this record is to be answered still: a request that has ended is not.
    pub(super) fn is_unanswered(&self, number: u64) -> bool {
        let asks = matches!(self.record(number).map(|it| &it.what), Some(Recorded::Request { .. }));
        !asks || self.open.contains_key(&number)
    }

    /// How many participants have exited since this record.
    pub(super) fn exits_since(&self, number: u64) -> usize {
        let behind = self.records.iter().rev().take_while(|record| record.number.get() > number);
        behind.filter(|record| matches!(record.what, Recorded::Exited { .. })).count()
    }

    /// Whether the request of a record has ended without a reply, in this way.
    pub(super) fn has_ended(&self, number: u64, outcome: &Outcome) -> bool {
        let ended = |what: &Recorded| matches!(what, Recorded::RequestEnded { request, how } if request.get() == number && how == outcome);
        self.records.iter().any(|record| ended(&record.what))
    }

    /// Whether this participant takes part, as far as anybody knows.
    pub(super) fn is_active(&self, pid: Pid) -> bool {
        self.active == Some(pid) && self.must_exit != Some(pid)
    }

    /// A participant has answered the request of this record, which must stand in the log then.
    pub(super) fn accept(&mut self, pid: Pid, request: u64, last: bool, payload: &Bytes) {
        // After its last part a request is through, though the log does not say so yet.
        let through = self.due.iter().any(|(of, ends, _)| *of == request && *ends);
        if self.is_active(pid) && self.open.contains_key(&request) && !through {
            self.due.push_back((request, last, payload.clone()));
        }
    }
}

impl Checker {
    pub(super) fn on_owned(&mut self, at: Instant, (bus, key): Key, link: LinkId, id: ConversationId) {
        let over = self.closed.contains(&(bus, link));
        self.expect(!over, Promise::R4, || format!("{link} opens a conversation after its end."));
        let opener = self.links.get(&(bus, link)).copied();
        let place = self.invited((bus, key), link, id);
        let log = self.logs.entry((bus, key)).or_default();
        log.begun = at;
        log.link = Some(link);
        log.owner = opener.map(|opener| Owner::Opener(opener, id)).or(place.map(Owner::Bus));
        if let Some(state) = opener.and_then(|opener| self.openers.get_mut(&opener)) {
            state.keys.insert(id, (bus, key));
        }
    }

    /// How many conversations of a bus may be over when a time has passed that their openers have named.
    pub(super) fn timed(&self, bus: BusId) -> usize {
        let is_timed = |log: &Log| match log.owner {
            Some(Owner::Opener(opener, id)) => {
                let it = self.openers.get(&opener).and_then(|state| state.conversations.get(&id));
                it.is_some_and(|it| !it.ended && (it.terms.total.is_some() || it.terms.idle.is_some()))
            }
            Some(Owner::Bus(_)) | None => false,
        };
        self.logs.iter().filter(|((of, _), log)| *of == bus && is_timed(log)).count()
    }

    /// What a lost link owned is cancelled without a record for each.
    pub(super) fn on_link_closed(&mut self, bus: BusId, link: LinkId) {
        let first = self.closed.insert((bus, link));
        self.expect(first, Promise::R4, || format!("{link} is over for the second time."));
        let of_bus = self.logs.iter_mut().filter(|((of, _), _)| *of == bus);
        for (_, log) in of_bus.filter(|(_, log)| log.link == Some(link)) {
            log.adrift = Adrift { open: mem::take(&mut log.open), due: mem::take(&mut log.due) };
        }
        self.on_guests_lost(bus, link);
    }

    pub(super) fn on_record(&mut self, key: Key, record: &Record) {
        let Some(mut log) = self.logs.get_mut(&key).map(mem::take) else {
            return self.breaks(Promise::O4, format!("A record of {}, which nobody opened.", key.1));
        };
        let number = record.number.get();
        let next = log.records.len() as u64 + 1;
        self.expect(number == next, Promise::O2, || format!("Record {number} comes where {next} should."));
        self.check_place(key.0, &mut log, &record.what);
        self.on_what(key, &mut log, record);
        log.records.push(record.clone());
        if let Some(place) = self.logs.get_mut(&key) {
            *place = log;
        }
    }

    fn on_what(&mut self, key: Key, log: &mut Log, record: &Record) {
        match &record.what {
            Recorded::Joined { pid } => {
                let first = log.lives.insert(*pid, false).is_none() && log.active.is_none();
                self.expect(first, Promise::L1, || format!("Participant {pid} joins where it cannot."));
                let willing = self.willing.contains(&(key.0, key.1, *pid));
                self.expect(willing, Promise::O4, || {
                    format!("Participant {pid} has not said that it joins.")
                });
                self.check_invited(log, *pid);
                log.active = Some(*pid);
            }
            Recorded::Message { id, payload, metadata: _ } => self.on_message(log, *id, payload, false),
            Recorded::Request { id, payload, deadline, metadata: _ } => {
                self.on_message(log, *id, payload, true);
                let orphan = self.is_orphan(key.0, log);
                let open = if orphan { &mut log.adrift.open } else { &mut log.open };
                open.insert(record.number.get(), *deadline);
            }
            Recorded::Reply { request, last, payload, metadata: _ } => {
                self.on_reply(log, record.at, (request.get(), *last, payload));
            }
            Recorded::RequestEnded { request, how } => self.on_request_ended(log, request.get(), how),
            Recorded::JoinRefused { pid, .. } => {
                let joined = log.lives.contains_key(pid);
                self.expect(!joined, Promise::L1, || format!("Participant {pid} had joined already."));
            }
            Recorded::Left { pid, why } => {
                self.check_why(record.at, key.0, log, *why);
                self.on_end(log, *pid, true);
            }
            Recorded::Exited { pid, reason, goes_on } => self.on_exit(key, log, *pid, reason, *goes_on),
            Recorded::Failed => {
                log.over = true;
                log.open.clear();
            }
            _ => {}
        }
    }

    /// Whether this may stand here at all.
    fn check_place(&mut self, bus: BusId, log: &mut Log, what: &Recorded) {
        let says = matches!(what, Recorded::Message { .. } | Recorded::Request { .. });
        let promise = if says { Promise::L6 } else { Promise::L2 };
        self.expect(!log.over, promise, || format!("{what:?} stands behind the end."));
        let Some(dead) = log.must_exit else { return };
        match what {
            Recorded::Joined { pid } if *pid == dead => {}
            Recorded::Exited { pid, .. } if *pid == dead => log.must_exit = None,
            // It has lost its owner, too, and there is nobody to be told which was first.
            Recorded::Left { pid, why: Leaving::OwnerLost } if *pid == dead && self.is_orphan(bus, log) => {
                log.must_exit = None;
            }
            what => {
                self.breaks(Promise::L3, format!("{what:?} stands before the exit of participant {dead}."))
            }
        }
    }

    fn on_message(&mut self, log: &mut Log, id: MessageId, payload: &Bytes, asks: bool) {
        let (found, has_ids) = match log.owner {
            Some(Owner::Opener(opener, conversation)) => {
                let Some(state) = self.openers.get(&opener) else { return };
                let said = state.said.get(&conversation).map_or(&[][..], Vec::as_slice);
                let same =
                    |it: &Said| it.payload == *payload && it.asks == asks && (state.is_v1() || it.id == id);
                (find(said, log.said, same), !state.is_v1())
            }
            Some(Owner::Bus(place)) => {
                let Some(guest) = self.guests.get(&place) else { return };
                let same = |it: &Given| (&it.payload, it.asks, it.message) == (payload, asks, id);
                (find(&guest.given, log.said, same), true)
            }
            None => return,
        };
        match found {
            Found::Behind(at) => log.said = at + 1,
            Found::Before if has_ids && log.records.iter().any(|it| has_id(&it.what, id)) => {
                self.breaks(Promise::O3, format!("Message {id} is accepted twice."));
            }
            Found::Before => self.breaks(Promise::O5, format!("Message {id} is overtaken.")),
            Found::Nowhere => self.breaks(Promise::O4, format!("Nobody has said message {id}.")),
        }
    }

    fn on_reply(&mut self, log: &mut Log, at: Instant, reply: (u64, bool, &Bytes)) {
        let (request, last, payload) = reply;
        let deadline = log.open.get(&request).or_else(|| log.adrift.open.get(&request)).copied();
        self.expect(deadline.is_some(), Promise::Q2, || format!("Record {request} awaits no reply."));
        let in_time = deadline.is_none_or(|deadline| at <= deadline);
        self.expect(in_time, Promise::Q1, || format!("The reply to record {request} is late."));
        self.expect(log.active.is_some(), Promise::L2, || "A reply where nobody takes part.".into());
        let due = log.due.pop_front().or_else(|| log.adrift.due.pop_front());
        let same = due.is_some_and(|(of, ends, what)| (of, ends, &what) == (request, last, payload));
        self.expect(same, Promise::O4, || {
            format!("No participant has given this reply to record {request}.")
        });
        if last {
            log.open.remove(&request);
            log.adrift.open.remove(&request);
        }
    }

    fn on_request_ended(&mut self, log: &mut Log, request: u64, how: &Outcome) {
        let was_open = log.open.remove(&request).or_else(|| log.adrift.open.remove(&request)).is_some();
        self.expect(was_open, Promise::Q1, || format!("Record {request} had ended before."));
        let any_exit = log.lives.values().any(|ended| *ended);
        let exit = *how != Outcome::Exited || any_exit;
        self.expect(exit, Promise::Q3, || format!("Record {request} ends with an exit that comes later."));
        if matches!(how, Outcome::Refused { reason: ReasonCode::BUSY, .. }) {
            // Parts from a link that find no room are not accepted, and end their request.
            log.due.retain(|(of, ends, _)| *of != request || *ends);
        }
        self.check_due(log, Some(request));
    }

    /// Nothing that was accepted from the participant may be missing.
    fn check_due(&mut self, log: &Log, request: Option<u64>) {
        let missing = log.due.iter().find(|(of, ..)| request.is_none_or(|request| *of == request));
        if let Some((of, ..)) = missing {
            self.breaks(Promise::L2, format!("A reply to record {of} was accepted, and is not in the log."));
        }
    }

    fn on_end(&mut self, log: &mut Log, pid: Pid, over: bool) {
        let lives = log.active == Some(pid) && log.lives.insert(pid, true) == Some(false);
        self.expect(lives, Promise::L1, || {
            format!("The life of participant {pid} had ended, or never begun.")
        });
        self.check_due(log, None);
        log.active = None;
        log.over |= over;
        if over {
            log.open.clear();
        }
    }

    fn is_orphan(&self, bus: BusId, log: &Log) -> bool {
        log.link.is_some_and(|link| self.closed.contains(&(bus, link)))
    }

    /// Who leaves does so because its owner closed the conversation or its time is over, or because the owner is
    /// gone.
    fn check_why(&mut self, at: Instant, bus: BusId, log: &Log, why: Leaving) {
        let let_go = log.place().and_then(|place| self.guests.get(&place)).and_then(|guest| guest.let_go);
        let lost = self.is_orphan(bus, log) || let_go == Some(true);
        let closes = |owner: Owner| match owner {
            Owner::Opener(opener, id) => {
                let it = self.openers.get(&opener).and_then(|state| state.conversations.get(&id));
                // Nobody knows what an opener that is gone had said.
                it.is_none_or(|it| it.closing || log.is_outlived(at, it.terms))
            }
            Owner::Bus(_) => let_go == Some(false),
        };
        let caused = match why {
            Leaving::OwnerLost => lost || log.link.is_none(),
            Leaving::Closed => log.owner.is_none_or(closes),
            _ => true,
        };
        self.expect(caused, Promise::L4, || format!("Nothing is the cause of leaving as {why:?}."));
    }

    fn on_exit(&mut self, key: Key, log: &mut Log, pid: Pid, reason: &ExitReason, goes_on: bool) {
        let hangs = *reason == ExitReason::Hung && self.is_late(key, pid);
        let caused = hangs || self.causes.contains(&(key.0, key.1, pid));
        self.expect(caused, Promise::L4, || format!("Participant {pid} has not exited: {reason}."));
        log.exits += 1;
        self.on_end(log, pid, !goes_on);
    }
}

/// Where something was said that a log has.
enum Found {
    /// Behind all that it had before, at this place.
    Behind(usize),
    /// Only among what it had before, or has left out.
    Before,
    Nowhere,
}

fn find<T>(said: &[T], behind: usize, same: impl Fn(&T) -> bool) -> Found {
    let (before, after) = said.split_at(behind.min(said.len()));
    match after.iter().position(&same) {
        Some(at) => Found::Behind(behind + at),
        None if before.iter().any(&same) => Found::Before,
        None => Found::Nowhere,
    }
}

fn has_id(what: &Recorded, of: MessageId) -> bool {
    matches!(what, Recorded::Message { id, .. } | Recorded::Request { id, .. } if *id == of)
}
