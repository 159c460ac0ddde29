//! Rare situations with clients that serve.

use std::collections::{BTreeMap, BTreeSet};

use liminal_core::transcript::{BusId, Entry, Noted, OpenerId};
use liminal_core::{Call, ConversationKey, LinkId, Recorded};
use liminal_proto::{ConversationId, Event, ExitReason, Instant, MessageId, Outcome, ReasonCode, StreamId};

use super::Mark;

type Key = (BusId, ConversationKey);
type Place = (BusId, LinkId, ConversationId);
type OfferOf = (BusId, LinkId, StreamId);

#[derive(Default)]
pub(super) struct Clients {
    guests: BTreeMap<Place, Guest>,
    offers: BTreeMap<OfferOf, Offer>,
    links: BTreeMap<(BusId, LinkId), OpenerId>,
    /// The buses of clients, by who they are where they serve.
    buses: BTreeMap<OpenerId, BusId>,
    lost: BTreeSet<BusId>,
    /// Those of which a successor serves.
    succeeded: BTreeSet<BusId>,
    before: BTreeMap<BusId, BusId>,
    /// Requests that were in the hand of a participant on a link that was lost.
    orphaned: BTreeSet<(Key, u64)>,
    /// Conversations of which an invitation was refused.
    refused: BTreeSet<Key>,
    /// When a conversation lost a participant that has one behind it.
    exited: BTreeMap<Key, Instant>,
    /// Whether the last participant of a conversation was on a link.
    on_link: BTreeMap<Key, bool>,
    pub(super) seen: BTreeSet<Mark>,
}

struct Guest {
    key: Key,
    offer: OfferOf,
    /// Requests that it has not answered.
    open: BTreeMap<MessageId, u64>,
    let_go: bool,
    is_free: bool,
}

struct Offer {
    capacity: u32,
    taken: u32,
    /// When there was no room last.
    full_at: Option<Instant>,
    /// It was taken back at once, or drains with conversations under way.
    is_withdrawn: bool,
    drains: bool,
}

impl Clients {
    fn see(&mut self, holds: bool, mark: Mark) {
        if holds {
            self.seen.insert(mark);
        }
    }

    pub(super) fn on_entry(&mut self, entry: &Entry) {
        let (at, bus) = (entry.at, entry.bus);
        match &entry.what {
            Noted::Dialled { opener, link } => {
                self.links.insert((bus, *link), *opener);
            }
            Noted::Serves { opener, .. } => {
                self.buses.insert(*opener, bus);
            }
            Noted::BusLost => {
                self.lost.insert(bus);
            }
            Noted::BusStarted { after } => {
                self.before.insert(bus, *after);
            }
            Noted::Called { invocation, .. } if matches!(invocation.what, Call::Join { .. }) => {
                self.on_invited((bus, invocation.conversation), false);
            }
            Noted::CalledOn { link, id, offer, message, invocation } => {
                let key = (bus, invocation.conversation);
                match &invocation.what {
                    Call::Join { .. } => {
                        self.on_called_to_join(at, (bus, *link, *id), (bus, *link, *offer), key)
                    }
                    Call::Message { record, expects_reply: true, .. } => {
                        if let Some(guest) = self.guests.get_mut(&(bus, *link, *id)) {
                            guest.open.insert(*message, record.get());
                        }
                    }
                    _ => {}
                }
            }
            Noted::LetGo { link, id, cancel } => self.on_let_go((bus, *link, *id), *cancel),
            Noted::Heard { link, event } => self.on_heard(at, (bus, *link), event),
            Noted::LinkClosed { link } => self.on_link_closed(at, bus, *link),
            Noted::Told { opener, event: Event::Withdrawn { offer } } => {
                let of =
                    self.links.iter().find(|(_, it)| **it == *opener).map(|((bus, link), _)| (*bus, *link));
                let drained = of.and_then(|(bus, link)| self.offers.get(&(bus, link, *offer)));
                let drained = drained.is_some_and(|offer| offer.drains && !offer.is_withdrawn);
                self.see(drained, Mark::Drained);
            }
            Noted::Recorded { conversation, record } => {
                self.on_record(at, (bus, *conversation), &record.what)
            }
            _ => {}
        }
    }

    fn on_called_to_join(&mut self, at: Instant, place: Place, offer: OfferOf, key: Key) {
        if let Some(stands) = self.offers.get_mut(&offer) {
            stands.taken += 1;
            let waited =
                self.exited.get(&key).is_some_and(|exited| *exited < at && stands.full_at >= Some(*exited));
            if stands.taken >= stands.capacity {
                stands.full_at = Some(at);
            }
            self.see(waited, Mark::PlaceAwaited);
        }
        self.on_invited(key, true);
        let guest = Guest { key, offer, open: BTreeMap::new(), let_go: false, is_free: false };
        self.guests.insert(place, guest);
    }

    fn on_invited(&mut self, key: Key, on_link: bool) {
        let before = self.on_link.insert(key, on_link);
        self.see(self.exited.contains_key(&key) && before == Some(!on_link), Mark::MovedFromLinkOrTo);
    }

    fn on_let_go(&mut self, place: Place, cancel: bool) {
        let Some(guest) = self.guests.get_mut(&place) else { return };
        guest.let_go = true;
        let at_work = !guest.open.is_empty();
        self.see(cancel && at_work, Mark::CancelledAtClient);
    }

    fn on_heard(&mut self, at: Instant, (bus, link): (BusId, LinkId), event: &Event) {
        self.on_voice_of_dead((bus, link), event);
        match event {
            Event::Serve { offer, capacity, .. } => {
                let (capacity, taken, full_at) = (*capacity, 0, None);
                let stands = Offer { capacity, taken, full_at, is_withdrawn: false, drains: false };
                self.offers.insert((bus, link, *offer), stands);
            }
            Event::Withdraw { offer, drain } => {
                if let Some(stands) = self.offers.get_mut(&(bus, link, *offer)) {
                    stands.is_withdrawn |= !drain;
                    stands.drains |= *drain && stands.taken > 0;
                }
            }
            Event::Reply(reply) => {
                self.on_reply_heard((bus, link, reply.conversation), reply.answers, reply.last);
            }
            // It is lost with its connection.
            Event::Outcome { outcome: Outcome::Unknown, .. } => {}
            Event::Outcome { conversation, message, outcome } => {
                if let Some(guest) = self.guests.get_mut(&(bus, link, *conversation)) {
                    guest.open.remove(message);
                }
                let busy = matches!(outcome, Outcome::Refused { reason: ReasonCode::BUSY, .. });
                self.see(busy, Mark::BusyClient);
            }
            Event::Refused { conversation, .. } => {
                let place = (bus, link, *conversation);
                self.refused.extend(self.guests.get(&place).map(|guest| guest.key));
                self.on_free(at, place);
            }
            Event::Exited { conversation, .. } => {
                let crosses = self.guests.get(&(bus, link, *conversation)).is_some_and(|guest| guest.let_go);
                self.see(crosses, Mark::ExitCrossesEnd);
            }
            Event::Ended { conversation } => self.on_free(at, (bus, link, *conversation)),
            _ => {}
        }
    }

    /// What arrives from a client that is dead while its successor serves.
    fn on_voice_of_dead(&mut self, link: (BusId, LinkId), event: &Event) {
        let Some(client) = self.links.get(&link).and_then(|opener| self.buses.get(opener)).copied() else {
            return;
        };
        if matches!(event, Event::Serve { .. }) {
            self.succeeded.extend(self.before.get(&client));
        }
        let is_late = self.lost.contains(&client) && self.succeeded.contains(&client);
        self.see(is_late && !matches!(event, Event::Serve { .. }), Mark::VoiceOfDead);
    }

    fn on_reply_heard(&mut self, place: Place, answers: MessageId, last: bool) {
        let Some(guest) = self.guests.get_mut(&place) else { return };
        let (offer, let_go) = (guest.offer, guest.let_go);
        if last {
            guest.open.remove(&answers);
        }
        let withdrawn = self.offers.get(&offer).is_some_and(|offer| offer.is_withdrawn);
        self.see(withdrawn, Mark::ReplyRacesWithdrawal);
        self.see(let_go && !withdrawn, Mark::LateReplyOfClient);
    }

    fn on_link_closed(&mut self, at: Instant, bus: BusId, link: LinkId) {
        let (first, last) = (ConversationId::new(0), ConversationId::new(u64::MAX));
        let of_link = self.guests.range((bus, link, first)..=(bus, link, last));
        let lost: Vec<Place> = of_link.map(|(place, _)| *place).collect();
        for place in lost {
            if let Some(guest) = self.guests.get(&place).filter(|guest| !guest.let_go) {
                self.orphaned.extend(guest.open.values().map(|record| (guest.key, *record)));
            }
            self.on_free(at, place);
        }
    }

    fn on_free(&mut self, at: Instant, place: Place) {
        let Some(guest) = self.guests.get_mut(&place).filter(|guest| !guest.is_free) else { return };
        guest.is_free = true;
        if let Some(offer) = self.offers.get_mut(&guest.offer) {
            if offer.taken >= offer.capacity {
                offer.full_at = Some(at);
            }
            offer.taken -= 1;
        }
    }

    fn on_record(&mut self, at: Instant, key: Key, what: &Recorded) {
        match what {
            Recorded::Reply { request, last: true, .. } => {
                self.see(self.orphaned.contains(&(key, request.get())), Mark::NextAnswersForLost);
            }
            Recorded::Joined { .. } => {
                let was_refused = self.refused.remove(&key);
                self.see(was_refused, Mark::NextTakesInvitation);
            }
            Recorded::Exited { reason, goes_on, .. } => {
                self.see(*reason == ExitReason::Hung, Mark::Hung);
                if *goes_on {
                    self.exited.insert(key, at);
                }
            }
            _ => {}
        }
    }
}
