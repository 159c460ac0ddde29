//! What openers may be told.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use liminal_core::transcript::{BusId, OpenerId};
use liminal_core::{ConversationKey, Recorded};
use liminal_proto::{
    ConversationId, Event, Exit, Expects, Instant, Message, MessageId, Outcome, Pid, RecordNumber, Reply,
    StreamId, Terms,
};

use super::log::Log;
use super::{Checker, Promise};

/// One connection of an opener.
#[derive(Default)]
pub(super) struct OpenerState {
    /// The major version that it speaks; 0 before the handshake is through.
    version: u16,
    pub(super) closed: bool,
    /// Something has ended as unknown: the end of the connection must follow.
    unknown: bool,
    /// What it has said, by conversation.
    pub(super) said: BTreeMap<ConversationId, Vec<Said>>,
    pub(super) keys: BTreeMap<ConversationId, (BusId, ConversationKey)>,
    pub(super) conversations: BTreeMap<ConversationId, Conversation>,
    /// What it has offered, and how it is with that.
    offers: BTreeMap<StreamId, Offered>,
}

/// What a client knows of an offer of its own.
#[derive(Default)]
struct Offered {
    /// It was told whether it stands.
    answered: bool,
    /// It has taken it back: for when its conversations have come to their end, or at once.
    drains: bool,
    is_withdrawn: bool,
    gone: bool,
}

/// A message.
pub(super) struct Said {
    pub(super) id: MessageId,
    pub(super) asks: bool,
    expects: Expects,
    pub(super) payload: Bytes,
    /// When it must have ended at the latest, where its opener has said so.
    by: Option<Instant>,
    pub(super) ended: bool,
}

/// What an opener knows of a conversation.
#[derive(Default)]
pub(super) struct Conversation {
    pub(super) terms: Terms,
    pub(super) opened: u32,
    pub(super) refused: bool,
    pub(super) closing: bool,
    pub(super) ended: bool,
    exits: BTreeSet<Pid>,
    pub(super) over: bool,
    last_record: u64,
}

impl OpenerState {
    pub(super) const fn is_v1(&self) -> bool {
        self.version == 1
    }

    pub(super) const fn is_v2(&self) -> bool {
        self.version == 2
    }

    /// What must end and has not.
    pub(super) fn outstanding(&self) -> Option<(&ConversationId, &Said)> {
        let all =
            self.said.iter().flat_map(|(conversation, said)| said.iter().map(move |it| (conversation, it)));
        let awaited = |it: &Said| it.asks || (it.expects == Expects::Acceptance && self.is_v2());
        all.into_iter().find(|(_, it)| awaited(it) && !it.ended)
    }

    fn message(&mut self, conversation: ConversationId, id: MessageId) -> Option<&mut Said> {
        self.said.get_mut(&conversation)?.iter_mut().find(|it| it.id == id)
    }
}

impl Checker {
    pub(super) fn on_said(&mut self, at: Instant, opener: OpenerId, event: &Event) {
        let Some(state) = self.openers.get_mut(&opener) else { return };
        match event {
            Event::Open { conversation, terms, .. } => {
                let it = Conversation { terms: *terms, ..Conversation::default() };
                state.conversations.insert(*conversation, it);
            }
            Event::Close { conversation } => {
                state.conversations.entry(*conversation).or_default().closing = true;
            }
            Event::Serve { offer, .. } => {
                state.offers.insert(*offer, Offered::default());
            }
            Event::Withdraw { offer, drain } => {
                let it = state.offers.entry(*offer).or_default();
                (it.drains, it.is_withdrawn) = (it.drains | drain, it.is_withdrawn | !drain);
            }
            Event::Message(Message {
                conversation,
                id,
                expects,
                timeout,
                redelivered: _,
                payload,
                metadata: _,
            }) => {
                let asks = *expects == Expects::Reply;
                let by = timeout.filter(|_| asks).map(|it| at.after(it.max(Duration::from_millis(1))));
                let (id, expects, payload) = (*id, *expects, payload.clone());
                let dead = state.conversations.get(conversation).is_some_and(|it| it.over);
                let said = Said { id, asks, expects, payload, by, ended: false };
                state.said.entry(*conversation).or_default().push(said);
                self.expect(!dead, Promise::L6, || {
                    format!("Message {id} is taken for a participant that is known to have exited.")
                });
            }
            _ => {}
        }
    }

    pub(super) fn on_told(&mut self, at: Instant, opener: OpenerId, event: &Event) {
        let Some(mut state) = self.openers.get_mut(&opener).map(mem::take) else { return };
        self.expect(!state.closed, Promise::R4, || format!("{opener} is told {event:?} after its end."));
        let ends = matches!(event, Event::Closed(_) | Event::Outcome { .. } | Event::Ended { .. });
        self.expect(!state.unknown || ends, Promise::O6, || {
            format!("{opener} was told that an end is unknown, and its connection goes on.")
        });
        match event {
            Event::Connected { version } => state.version = version.major,
            Event::Opened { conversation, .. } => {
                let it = state.conversations.entry(*conversation).or_default();
                it.opened += 1;
                let once = it.opened == 1 && !it.refused;
                self.expect(once, Promise::O6, || {
                    format!("{opener} is told twice how opening {conversation} ended.")
                });
            }
            Event::Refused { conversation, .. } => {
                let it = state.conversations.entry(*conversation).or_default();
                let once = !mem::replace(&mut it.refused, true) && it.opened == 0;
                self.expect(once, Promise::O6, || {
                    format!("{opener} is told twice how opening {conversation} ended.")
                });
            }
            Event::Reply(reply) => self.on_reply_told(at, &mut state, reply),
            Event::Outcome { conversation, message, outcome } => {
                self.on_outcome(at, &mut state, (*conversation, *message), outcome);
            }
            Event::Exited { conversation, exit } => self.on_exit_told(&mut state, *conversation, exit),
            Event::Failed { conversation } => {
                state.conversations.entry(*conversation).or_default().over = true
            }
            Event::Ended { conversation } => {
                state.conversations.entry(*conversation).or_default().ended = true
            }
            Event::Serving { offer } => self.on_offer_told(opener, &mut state, *offer, false),
            Event::NotServing { offer, .. } => self.on_offer_told(opener, &mut state, *offer, true),
            Event::Withdrawn { offer } => self.on_withdrawn_told(opener, &mut state, *offer),
            Event::Closed(_) => self.on_closed(opener, &mut state),
            _ => {}
        }
        if let Some(place) = self.openers.get_mut(&opener) {
            *place = state;
        }
    }

    /// Whether an offer stands is told once.
    fn on_offer_told(&mut self, opener: OpenerId, state: &mut OpenerState, offer: StreamId, gone: bool) {
        let it = state.offers.entry(offer).or_insert(Offered { answered: true, ..Offered::default() });
        let once = !mem::replace(&mut it.answered, true) && !it.gone;
        it.gone |= gone;
        self.expect(once, Promise::O6, || {
            format!("{opener} is told twice whether its offer {offer} stands, or did not make it.")
        });
    }

    /// An offer is gone, once, and when none of its conversations is under way.
    fn on_withdrawn_told(&mut self, opener: OpenerId, state: &mut OpenerState, offer: StreamId) {
        let it = state.offers.entry(offer).or_insert(Offered { gone: true, ..Offered::default() });
        let once = !mem::replace(&mut it.gone, true);
        self.expect(once, Promise::O6, || format!("{opener} is told twice that its offer {offer} is gone."));
        let left = self.places_of(opener, offer);
        self.expect(left == 0, Promise::O6, || {
            format!("The offer {offer} of {opener} is gone, and {left} of its conversations are under way.")
        });
    }

    /// How many conversations of an offer are under way.
    fn places_of(&self, opener: OpenerId, offer: StreamId) -> u32 {
        let link = self.links.iter().find(|(_, it)| **it == opener).map(|(link, _)| *link);
        let offer = link.and_then(|(bus, link)| self.offers.get(&(bus, link, offer)));
        offer.map_or(0, |offer| offer.taken)
    }

    fn check_offers(&mut self, opener: OpenerId, state: &OpenerState) {
        for (offer, it) in state.offers.iter().filter(|(_, it)| !it.gone) {
            let over = it.is_withdrawn || (it.drains && self.places_of(opener, *offer) == 0);
            self.expect(it.answered && !over, Promise::O6, || {
                format!("{opener} still waits for what becomes of its offer {offer}.")
            });
        }
    }

    fn on_closed(&mut self, opener: OpenerId, state: &mut OpenerState) {
        state.closed = true;
        if let Some((conversation, said)) = state.outstanding() {
            let text = format!("{opener} never learns how message {} of {conversation} ended.", said.id);
            self.breaks(Promise::O6, text);
        }
    }

    fn log_of(&self, state: &OpenerState, conversation: ConversationId) -> Option<&Log> {
        self.logs.get(state.keys.get(&conversation)?)
    }

    fn on_reply_told(&mut self, at: Instant, state: &mut OpenerState, reply: &Reply) {
        let (conversation, id) = (reply.conversation, reply.answers);
        self.end_request(at, state, (conversation, id), reply.last);
        let Some(number) = reply.record else { return };
        self.check_order(state, conversation, number);
        let Some(log) = self.log_of(state, conversation) else { return };
        let asked = match log.record(number.get()).map(|it| &it.what) {
            Some(Recorded::Reply { request, last, payload, metadata: _ }) => {
                let same = *last == reply.last && *payload == reply.payload;
                same.then(|| log.record(request.get()).map(|it| it.what.clone()))
            }
            _ => None,
        };
        let Some(asked) = asked else {
            return self.breaks(Promise::O1, format!("The log has another record {number}."));
        };
        let names = matches!(asked, Some(Recorded::Request { id: of, .. }) if of == id);
        self.expect(names, Promise::Q2, || {
            format!("The reply of record {number} is to another request than {id}.")
        });
    }

    /// A request goes on or ends; it must be one that has not ended.
    fn end_request(
        &mut self,
        at: Instant,
        state: &mut OpenerState,
        (conversation, id): (ConversationId, MessageId),
        ends: bool,
    ) {
        let paused = self.paused;
        let Some(said) = state.message(conversation, id).filter(|it| it.asks) else {
            return self.breaks(Promise::Q2, format!("Message {id} of {conversation} wants no reply."));
        };
        let first = !said.ended;
        let in_time = paused || said.by.is_none_or(|by| at <= by);
        said.ended |= ends;
        self.expect(first, Promise::Q1, || format!("Message {id} of {conversation} had ended before."));
        self.expect(in_time, Promise::Q1, || {
            format!("Message {id} of {conversation} ends after its deadline.")
        });
    }

    fn on_outcome(
        &mut self,
        at: Instant,
        state: &mut OpenerState,
        (conversation, id): (ConversationId, MessageId),
        outcome: &Outcome,
    ) {
        state.unknown |= *outcome == Outcome::Unknown;
        let Some(said) = state.message(conversation, id) else {
            return self.breaks(Promise::O6, format!("Nobody has said message {id} of {conversation}."));
        };
        if said.asks {
            self.end_request(at, state, (conversation, id), true);
        } else {
            let first = !mem::replace(&mut said.ended, true);
            self.expect(first, Promise::O6, || format!("Message {id} of {conversation} had ended before."));
        }
        match outcome {
            Outcome::Accepted { record: Some(number) } => self.on_accepted(state, conversation, id, *number),
            Outcome::Exited => self.check_no_reply(state, conversation, id),
            _ => {}
        }
    }

    fn on_accepted(
        &mut self,
        state: &mut OpenerState,
        conversation: ConversationId,
        id: MessageId,
        number: RecordNumber,
    ) {
        self.check_order(state, conversation, number);
        let Some(log) = self.log_of(state, conversation) else { return };
        let what = log.record(number.get()).map(|it| &it.what);
        let same = matches!(what, Some(Recorded::Message { id: of, .. }) if *of == id);
        self.expect(same, Promise::O1, || format!("The log has another record {number}."));
    }

    /// What ended with an exit has no reply in the log.
    fn check_no_reply(&mut self, state: &OpenerState, conversation: ConversationId, id: MessageId) {
        let Some(log) = self.log_of(state, conversation).filter(|_| state.is_v2()) else { return };
        let is_it = |what: &Recorded| matches!(what, Recorded::Request { id: of, .. } if *of == id);
        let asked = log.records.iter().find(|it| is_it(&it.what)).map(|it| it.number);
        let answers = |what: &Recorded| matches!(what, Recorded::Reply { request, last: true, .. } if Some(*request) == asked);
        let answered = log.records.iter().any(|it| answers(&it.what));
        self.expect(!answered, Promise::Q3, || {
            format!("Message {id} of {conversation} has a reply in the log.")
        });
    }

    fn on_exit_told(&mut self, state: &mut OpenerState, conversation: ConversationId, exit: &Exit) {
        let it = state.conversations.entry(conversation).or_default();
        let first = it.exits.insert(exit.pid);
        it.over |= !exit.goes_on;
        let pid = exit.pid;
        self.expect(first, Promise::L3, || format!("The exit of participant {pid} is told twice."));
        self.check_order(state, conversation, exit.record);
        let Some(log) = self.log_of(state, conversation) else { return };
        let what = log.record(exit.record.get()).map(|it| &it.what);
        let same = matches!(what, Some(Recorded::Exited { pid, reason, goes_on })
            if (pid, reason, goes_on) == (&exit.pid, &exit.reason, &exit.goes_on));
        let open = log.open_at(exit.record);
        self.expect(same, Promise::O1, || format!("The log has another record {}.", exit.record));
        self.check_unanswered(&open, exit);
    }

    /// Records come to their opener in their order.
    fn check_order(&mut self, state: &mut OpenerState, conversation: ConversationId, number: RecordNumber) {
        let it = state.conversations.entry(conversation).or_default();
        let last = mem::replace(&mut it.last_record, number.get());
        self.expect(number.get() > last, Promise::O2, || {
            format!("Record {number} comes behind record {last}.")
        });
    }

    /// What an opener that is still connected should know by now, and does not.
    pub(super) fn check_knowledge(&mut self, opener: OpenerId, state: &OpenerState) {
        self.check_offers(opener, state);
        if let Some((conversation, said)) = state.outstanding() {
            let (asks, id) = (said.asks, said.id);
            let promise = if asks { Promise::Q1 } else { Promise::O6 };
            self.breaks(
                promise,
                format!("{opener} still waits for the end of message {id} of {conversation}."),
            );
        }
        for (id, it) in state.conversations.iter().filter(|_| state.is_v2()) {
            let answered = it.opened > 0 || it.refused || it.ended;
            self.expect(answered, Promise::O6, || {
                format!("{opener} still waits for conversation {id} to open.")
            });
            if it.closing || it.refused {
                continue;
            }
            let exits = self.log_of(state, *id).map_or(0, |log| log.exits);
            let told = it.exits.len();
            self.expect(told >= exits, Promise::L3, || {
                format!("{opener} was not told of an exit in conversation {id}.")
            });
        }
    }
}
