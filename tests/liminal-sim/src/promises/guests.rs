//! Participants on links: what they are given there, and what their links say of them.

use std::collections::BTreeMap;

use liminal_core::transcript::BusId;
use liminal_core::{Call, ConversationKey, Invocation, LinkId};
use liminal_proto::{ConversationId, Event, Instant, MessageId, Outcome, Pid, ReasonCode, Reply, StreamId};

use super::{Checker, Promise};

/// A participant on a link, from its invitation on.
pub(super) struct Guest {
    key: (BusId, ConversationKey),
    pid: Pid,
    offer: StreamId,
    joins: bool,
    /// The records that it was given and has not answered, by what they are called on its link.
    given: BTreeMap<MessageId, u64>,
}

/// On which link of which bus, and what the conversation is called there.
pub(super) type Place = (BusId, LinkId, ConversationId);

impl Checker {
    pub(super) fn on_called_on(
        &mut self,
        at: Instant,
        place: Place,
        (offer, message): (StreamId, MessageId),
        invocation: &Invocation,
    ) {
        let (bus, link, id) = place;
        let key = (bus, invocation.conversation);
        let over = self.closed.contains(&(bus, link));
        self.expect(!over, Promise::R4, || format!("{link} is told something after its end."));
        match &invocation.what {
            Call::Join { .. } => {
                let guest = Guest { key, pid: invocation.pid, offer, joins: true, given: BTreeMap::new() };
                let first = self.guests.insert(place, guest).is_none();
                self.expect(first, Promise::O4, || format!("{link} is invited to conversation {id} twice."));
            }
            Call::Message { record, .. } => {
                self.check_message(at, key, invocation);
                let Some(guest) = self.guests.get_mut(&place) else {
                    return self.breaks(Promise::O4, format!("{link} was not invited to conversation {id}."));
                };
                let last = guest.given.last_key_value().map(|(message, _)| *message);
                guest.given.insert(message, record.get());
                self.expect(last.is_none_or(|last| last < message), Promise::O5, || {
                    format!("Message {message} comes behind a later one on {link}.")
                });
            }
            _ => {}
        }
    }

    pub(super) fn on_heard(&mut self, bus: BusId, link: LinkId, event: &Event) {
        match event {
            Event::Opened { conversation, .. } => {
                if let Some(guest) = self.guests.get_mut(&(bus, link, *conversation)) {
                    guest.joins = false;
                }
            }
            Event::Refused { conversation, .. } => {
                let place = (bus, link, *conversation);
                if self.guests.get(&place).is_some_and(|guest| !guest.joins) {
                    self.on_guest_gone(place);
                }
                self.guests.remove(&place);
            }
            Event::Reply(reply) => self.on_guest_reply((bus, link, reply.conversation), reply),
            Event::Outcome { conversation, message, outcome } => {
                self.on_guest_outcome((bus, link, *conversation), *message, outcome);
            }
            Event::Exited { conversation, .. }
            | Event::Failed { conversation }
            | Event::Ended { conversation } => {
                self.on_guest_gone((bus, link, *conversation));
            }
            Event::Withdraw { offer, drain: false } => {
                self.lose_guests(bus, link, |guest| guest.offer == *offer);
            }
            _ => {}
        }
    }

    /// Its participants are gone with a link.
    pub(super) fn on_guests_lost(&mut self, bus: BusId, link: LinkId) {
        self.lose_guests(bus, link, |_| true);
    }

    /// Whether a participant on a link has something that it does not answer.
    pub(super) fn is_late(&self, key: (BusId, ConversationKey), pid: Pid) -> bool {
        self.guests.values().any(|guest| (guest.key, guest.pid) == (key, pid) && !guest.given.is_empty())
    }

    fn on_guest_reply(&mut self, place: Place, reply: &Reply) {
        let Some(guest) = self.guests.get_mut(&place) else { return };
        let Some(record) = guest.given.get(&reply.answers).copied() else { return };
        if reply.last {
            guest.given.remove(&reply.answers);
        }
        let (key, pid) = (guest.key, guest.pid);
        if let Some(log) = self.logs.get_mut(&key) {
            log.accept(pid, record, reply.last, &reply.payload);
        }
    }

    fn on_guest_outcome(&mut self, place: Place, message: MessageId, outcome: &Outcome) {
        let Some(guest) = self.guests.get_mut(&place) else { return };
        let Some(record) = guest.given.remove(&message) else { return };
        let (key, pid) = (guest.key, guest.pid);
        let busy = matches!(outcome, Outcome::Refused { reason: ReasonCode::BUSY, .. });
        // It was not given at all, and may be given again.
        if let Some(given) = self.logs.get_mut(&key).and_then(|log| log.given.get_mut(&pid)).filter(|_| busy)
        {
            given.remove(&record);
        }
    }

    fn lose_guests(&mut self, bus: BusId, link: LinkId, which: impl Fn(&Guest) -> bool) {
        let first = (bus, link, ConversationId::new(0));
        let last = (bus, link, ConversationId::new(u64::MAX));
        let of_link = self.guests.range(first..=last);
        let lost: Vec<Place> = of_link.filter(|(_, guest)| which(guest)).map(|(place, _)| *place).collect();
        lost.into_iter().for_each(|place| self.on_guest_gone(place));
    }

    /// It takes part no more, and unless it never did, or has left, its exit must follow.
    fn on_guest_gone(&mut self, place: Place) {
        let Some(guest) = self.guests.get(&place) else { return };
        let ((bus, key), pid) = (guest.key, guest.pid);
        self.on_died((bus, key), pid);
    }
}
