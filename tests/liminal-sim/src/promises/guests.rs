//! Participants on links: what they are given there, and what their links say of them.

use std::collections::BTreeMap;

use liminal_core::transcript::BusId;
use liminal_core::{Call, ConversationKey, Invocation, LinkId};
use liminal_proto::{ConversationId, Event, Instant, MessageId, Outcome, Pid, ReasonCode, Reply, StreamId};

use super::clients::Given;
use super::{Checker, Promise};

/// A participant on a link, from its invitation on.
pub(super) struct Guest {
    pub(super) key: (BusId, ConversationKey),
    pub(super) pid: Pid,
    pub(super) offer: StreamId,
    pub(super) joins: bool,
    /// All that it was given, in its order.
    pub(super) given: Vec<Given>,
    /// The records of that which it has not answered, by what they are called on its link.
    open: BTreeMap<MessageId, u64>,
    /// The bus has let go of it; and whether nobody wanted what it was doing.
    pub(super) let_go: Option<bool>,
    /// Its link has said that the conversation is over there, or is over itself.
    pub(super) is_free: bool,
}

/// On which link of which bus, and what the conversation is called there.
pub(super) type Place = (BusId, LinkId, ConversationId);

/// What a link has offered.
pub(super) struct Offer {
    capacity: u32,
    /// How many of its conversations are under way.
    pub(super) taken: u32,
    is_withdrawn: bool,
}

impl Guest {
    /// Whether the conversation is under way on its link, as far as its bus knows.
    pub(super) const fn takes_part(&self) -> bool {
        !self.is_free && self.let_go.is_none()
    }
}

impl Checker {
    pub(super) fn on_called_on(
        &mut self,
        at: Instant,
        place: Place,
        (offer, message): (StreamId, MessageId),
        invocation: &Invocation,
    ) {
        let (bus, link, _) = place;
        let key = (bus, invocation.conversation);
        let over = self.closed.contains(&(bus, link));
        self.expect(!over, Promise::R4, || format!("{link} is told something after its end."));
        match &invocation.what {
            Call::Join { .. } => self.on_invited(place, key, invocation.pid, offer),
            Call::Message { .. } => {
                self.check_message(at, key, invocation);
                self.on_given(place, message, &invocation.what);
            }
            _ => {}
        }
    }

    fn on_invited(&mut self, place: Place, key: (BusId, ConversationKey), pid: Pid, offer: StreamId) {
        let (bus, link, id) = place;
        let (given, open) = (Vec::new(), BTreeMap::new());
        let guest = Guest { key, pid, offer, joins: true, given, open, let_go: None, is_free: false };
        let first = self.guests.insert(place, guest).is_none();
        self.expect(first, Promise::O4, || format!("{link} is invited to conversation {id} twice."));
        let Some(stands) = self.offers.get_mut(&(bus, link, offer)) else {
            return self.breaks(Promise::O4, format!("{link} has offered nothing on stream {offer}."));
        };
        stands.taken += 1;
        let (taken, capacity, is_withdrawn) = (stands.taken, stands.capacity, stands.is_withdrawn);
        self.expect(!is_withdrawn, Promise::O4, || {
            format!("{link} is invited for what it has taken back, on stream {offer}.")
        });
        self.expect(taken <= capacity, Promise::R2, || {
            format!("{taken} conversations are under way on stream {offer} of {link}, and {capacity} may be.")
        });
    }

    fn on_given(&mut self, (bus, link, id): Place, message: MessageId, what: &Call) {
        let Call::Message { record, expects_reply, redelivered, payload, .. } = what else { return };
        let Some(guest) = self.guests.get_mut(&(bus, link, id)) else {
            return self.breaks(Promise::O4, format!("{link} was not invited to conversation {id}."));
        };
        let log = self.logs.get(&guest.key);
        let in_hand = guest.open.values().copied().find(|it| log.is_some_and(|log| log.is_unanswered(*it)));
        let (asks, redelivered, payload) = (*expects_reply, *redelivered, payload.clone());
        let last = guest.given.last().map(|given| given.message);
        guest.given.push(Given { message, asks, redelivered, payload });
        guest.open.insert(message, record.get());
        let takes_part = guest.takes_part();
        self.expect(last.is_none_or(|last| last < message), Promise::O5, || {
            format!("Message {message} comes behind a later one on {link}.")
        });
        if let Some(in_hand) = in_hand {
            self.breaks(
                Promise::O5,
                format!("Message {message} is given on {link} before record {in_hand} is answered."),
            );
        }
        self.expect(takes_part, Promise::L2, || {
            format!("Message {message} is given on {link}, where conversation {id} is over.")
        });
    }

    /// The bus tells a link that a conversation is over there: once, and of one that is under way.
    pub(super) fn on_let_go(&mut self, (bus, link, id): Place, cancel: bool) {
        let Some(guest) = self.guests.get_mut(&(bus, link, id)) else {
            return self.breaks(Promise::O4, format!("{link} was not invited to conversation {id}."));
        };
        let takes_part = guest.takes_part();
        guest.let_go = Some(cancel);
        self.expect(takes_part, Promise::O6, || format!("{link} is told twice that {id} is over."));
    }

    pub(super) fn on_heard(&mut self, bus: BusId, link: LinkId, event: &Event) {
        let over = self.closed.contains(&(bus, link));
        self.expect(!over, Promise::R4, || format!("{link} says something after its end."));
        match event {
            Event::Serve { offer, capacity, .. } => {
                let offered = Offer { capacity: *capacity, taken: 0, is_withdrawn: false };
                self.offers.insert((bus, link, *offer), offered);
            }
            Event::Withdraw { offer, drain } => self.on_withdraw_heard((bus, link, *offer), *drain),
            Event::Reply(reply) => self.on_guest_reply((bus, link, reply.conversation), reply),
            Event::Outcome { conversation, message, outcome } => {
                self.on_guest_outcome((bus, link, *conversation), *message, outcome);
            }
            Event::Opened { conversation, .. } => {
                let place = (bus, link, *conversation);
                self.check_opened(place);
                self.on_guest_joined(place);
            }
            Event::Refused { conversation, .. } => {
                let place = (bus, link, *conversation);
                self.check_refused(place);
                if self.guests.get(&place).is_some_and(|guest| !guest.joins) {
                    self.on_guest_gone(place);
                }
                self.on_free(place);
            }
            Event::Exited { conversation, exit } => {
                let place = (bus, link, *conversation);
                self.check_exited(place, exit);
                self.on_guest_joined(place);
                self.on_guest_gone(place);
            }
            Event::Failed { conversation } | Event::Ended { conversation } => {
                let place = (bus, link, *conversation);
                self.check_ended(place);
                self.on_guest_joined(place);
                self.on_guest_gone(place);
                self.on_free(place);
            }
            _ => {}
        }
    }

    fn on_withdraw_heard(&mut self, (bus, link, offer): (BusId, LinkId, StreamId), drain: bool) {
        if let Some(stands) = self.offers.get_mut(&(bus, link, offer)) {
            stands.is_withdrawn = true;
        }
        if !drain {
            self.lose_guests(bus, link, |guest| guest.offer == offer);
        }
    }

    /// Its participants are gone with a link.
    pub(super) fn on_guests_lost(&mut self, bus: BusId, link: LinkId) {
        for place in self.lose_guests(bus, link, |_| true) {
            self.on_free(place);
        }
    }

    /// Whether a participant on a link has something that it does not answer.
    pub(super) fn is_late(&self, key: (BusId, ConversationKey), pid: Pid) -> bool {
        self.guests.values().any(|guest| (guest.key, guest.pid) == (key, pid) && !guest.open.is_empty())
    }

    /// Of a bus: how many conversations are under way on links.
    pub(super) fn places_taken(&self, bus: BusId) -> usize {
        self.guests.iter().filter(|((of, ..), guest)| *of == bus && !guest.is_free).count()
    }

    /// It has answered its invitation: it joins.
    fn on_guest_joined(&mut self, place: Place) {
        if let Some(guest) = self.guests.get_mut(&place).filter(|guest| guest.joins) {
            guest.joins = false;
            let ((bus, key), pid) = (guest.key, guest.pid);
            self.willing.insert((bus, key, pid));
        }
    }

    fn on_guest_reply(&mut self, place: Place, reply: &Reply) {
        self.check_reply_heard(place, reply);
        let Some(guest) = self.guests.get_mut(&place) else { return };
        let Some(record) = guest.open.get(&reply.answers).copied() else { return };
        if reply.last {
            guest.open.remove(&reply.answers);
        }
        let (key, pid) = (guest.key, guest.pid);
        if let Some(log) = self.logs.get_mut(&key) {
            log.accept(pid, record, reply.last, &reply.payload);
        }
    }

    fn on_guest_outcome(&mut self, place: Place, message: MessageId, outcome: &Outcome) {
        self.check_outcome_heard(place, message, outcome);
        let Some(guest) = self.guests.get_mut(&place) else { return };
        let Some(record) = guest.open.remove(&message) else { return };
        let (key, pid) = (guest.key, guest.pid);
        let busy = matches!(outcome, Outcome::Refused { reason: ReasonCode::BUSY, .. });
        // It was not given at all, and may be given again.
        if let Some(given) = self.logs.get_mut(&key).and_then(|log| log.given.get_mut(&pid)).filter(|_| busy)
        {
            given.remove(&record);
        }
    }

    fn lose_guests(&mut self, bus: BusId, link: LinkId, which: impl Fn(&Guest) -> bool) -> Vec<Place> {
        let first = (bus, link, ConversationId::new(0));
        let last = (bus, link, ConversationId::new(u64::MAX));
        let of_link = self.guests.range(first..=last);
        let lost: Vec<Place> = of_link.filter(|(_, guest)| which(guest)).map(|(place, _)| *place).collect();
        lost.iter().for_each(|place| self.on_guest_gone(*place));
        lost
    }

    /// It takes part no more, and unless it never did, or has left, its exit must follow.
    fn on_guest_gone(&mut self, place: Place) {
        let Some(guest) = self.guests.get(&place) else { return };
        let ((bus, key), pid) = (guest.key, guest.pid);
        self.on_died((bus, key), pid);
    }

    /// Its place is free.
    fn on_free(&mut self, place: Place) {
        let Some(guest) = self.guests.get_mut(&place).filter(|guest| !guest.is_free) else { return };
        guest.is_free = true;
        let (bus, link, _) = place;
        if let Some(offer) = self.offers.get_mut(&(bus, link, guest.offer)) {
            offer.taken -= 1;
        }
    }
}
