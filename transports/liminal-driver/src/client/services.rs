//! What a client has offered to serve, and what has arrived for its participants.

use std::collections::BTreeMap;

use liminal_core::Subject;
use liminal_proto::{CloseReason, CommandError, Event, ReasonCode, StreamId};
use smallvec::SmallVec;

use super::{Client, Topic};
use crate::error::{Refusal, ServeError, ServiceEnd};

/// What is handed over at once is mostly one message, or an invitation and the message behind it.
pub(super) type Arrived = SmallVec<[Event; 2]>;

/// What a client has offered to serve, and what has arrived for its participants.
#[derive(Debug, Default)]
pub(super) struct Services {
    offers: BTreeMap<StreamId, Offer>,
    /// What has arrived for participants and their hub does not know, in its order. Only who has the turn to
    /// read adds to it, and hands it in before reading more: so it is never more than one read brings.
    arrived: Arrived,
    /// Somebody hands it in, and comes again for more.
    handing: bool,
    /// Something that participants said finds no room in the output.
    pub(super) crowded: bool,
}

/// One offer, until nobody asks about it any more.
#[derive(Debug)]
struct Offer {
    told: Told,
    /// This side has taken it back.
    withdrawn: bool,
}

/// What the server has told of an offer.
#[derive(Clone, Debug)]
enum Told {
    Nothing,
    Serving,
    Refused(Refusal),
    /// It is no more. Who ended it was decided then: whoever takes it back later has not.
    Gone(ServiceEnd),
}

/// How an offer stands on its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// The server has not answered yet.
    Asked,
    /// Its participants are invited.
    Stands,
    /// The server does not take it.
    Refused(Refusal),
    /// It is over, and the connection goes on.
    Ended(ServiceEnd),
    /// The connection is over, and it with that.
    Lost {
        /// How the connection ended.
        reason: CloseReason,
        /// Whether this side had taken it back.
        withdrawn: bool,
    },
}

/// # Serving
impl Client {
    /// Offers participants for a subject, and for up to `capacity` conversations at a time. `Ok(None)`: there is no room now.
    ///
    /// # Errors
    ///
    /// The peer speaks 1.0, or the connection does not take the command.
    pub fn serve(&mut self, subject: &Subject, capacity: u32) -> Result<Option<StreamId>, ServeError> {
        let name = match subject {
            Subject::Exact(name) => Some(name.as_str()),
            Subject::Any => None,
        };
        let offered = self.connection.serve(self.clock.now(), name, capacity);
        let lost = self.lost_by(&offered);
        match (offered, lost) {
            (Ok(offer), _) => {
                let services = self.services.get_or_insert_default();
                services.offers.insert(offer, Offer { told: Told::Nothing, withdrawn: false });
                Ok(Some(offer))
            }
            (Err(_), Some(end)) => Err(ServeError::Lost(end)),
            (Err(reason), None) if super::waits(&reason) => Ok(self.wants(&reason)),
            (Err(CommandError::NeedsVersion2), None) => Err(ServeError::NeedsVersion2),
            (Err(error), None) => Err(ServeError::Rejected(error)),
        }
    }

    /// Whether the offer stands.
    #[must_use]
    pub fn serving(&self, offer: StreamId) -> Option<Result<(), ServeError>> {
        match self.offer(offer).map(|offer| &offer.told) {
            Some(Told::Serving | Told::Gone(_)) => Some(Ok(())),
            Some(Told::Refused(refusal)) => Some(Err(ServeError::Refused(refusal.clone()))),
            Some(Told::Nothing) | None => self.end.clone().map(|end| Err(ServeError::Lost(end))),
        }
    }

    /// Takes an offer back: at once, or with `drain` when its conversations have come to their end.
    pub fn withdraw(&mut self, offer: StreamId, drain: bool) {
        if let Some(entry) = self.services.as_mut().and_then(|services| services.offers.get_mut(&offer)) {
            entry.withdrawn = true;
            // One that is gone is what this wants to bring about.
            let _ = self.connection.withdraw(self.clock.now(), offer, drain);
        }
    }

    /// Takes every offer back at once.
    pub fn withdraw_all(&mut self) {
        let offers = self.services.iter().flat_map(|services| services.offers.keys().copied());
        for offer in offers.collect::<Vec<_>>() {
            self.withdraw(offer, false);
        }
    }

    /// How an offer stands. One that nobody asks about any more was taken back.
    #[must_use]
    pub fn offered(&self, offer: StreamId) -> Offered {
        let Some(Offer { told, withdrawn }) = self.offer(offer) else {
            return Offered::Ended(ServiceEnd::Withdrawn);
        };
        match (told, &self.end) {
            (Told::Gone(end), _) => Offered::Ended(end.clone()),
            (Told::Refused(refusal), _) => Offered::Refused(refusal.clone()),
            (Told::Nothing | Told::Serving, Some(end)) => {
                Offered::Lost { reason: end.clone(), withdrawn: *withdrawn }
            }
            (Told::Nothing, None) => Offered::Asked,
            (Told::Serving, None) => Offered::Stands,
        }
    }

    /// Nobody asks about the offer any more: it is taken back at once.
    pub fn release_service(&mut self, offer: StreamId) {
        self.withdraw(offer, false);
        if let Some(services) = &mut self.services {
            services.offers.remove(&offer);
        }
    }

    /// Whether something may arrive for participants at any time, so that reading must not wait.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.services.as_ref().is_some_and(|services| !services.offers.is_empty())
    }

    fn offer(&self, offer: StreamId) -> Option<&Offer> {
        self.services.as_ref()?.offers.get(&offer)
    }

    // ── what has arrived ────────────────────────────────────────────────────────────────────────

    /// Whether something has arrived for participants that nobody hands to their hub.
    #[must_use]
    pub fn has_arrived(&self) -> bool {
        self.services.as_ref().is_some_and(|services| !services.handing && !services.arrived.is_empty())
    }

    /// What has arrived for participants, for the one who hands it to their hub and comes `again` until there
    /// is no more. `None`: nothing has, or somebody else hands it in.
    pub(super) fn take_arrived(&mut self, again: bool) -> Option<Arrived> {
        let services = self.services.as_mut().filter(|services| again || !services.handing)?;
        services.handing = !services.arrived.is_empty();
        services.handing.then(|| std::mem::take(&mut services.arrived))
    }

    /// Whether something that participants said waits for room in the output.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.services.as_ref().is_some_and(|services| services.crowded)
    }

    /// Keeps what concerns participants and offers, and gives back the rest.
    pub(super) fn on_service_event(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Invite { .. } | Event::Message(_) | Event::Close { .. } | Event::Cancel { .. } => {
                self.on_arrival(event);
            }
            Event::Serving { offer } => self.on_told(offer, Told::Serving),
            Event::NotServing { offer, reason, text } => {
                self.on_told(offer, Told::Refused(Refusal { reason, text }));
            }
            Event::Withdrawn { offer } => {
                let by_us = self.offer(offer).is_some_and(|offer| offer.withdrawn);
                let end = if by_us { ServiceEnd::Withdrawn } else { ServiceEnd::Dismissed };
                self.on_told(offer, Told::Gone(end));
            }
            event => return Some(event),
        }
        None
    }

    /// Something for participants, or the end of the connection, which they must learn of.
    pub(super) fn on_arrival(&mut self, event: Event) {
        match (&mut self.services, event) {
            (Some(services), event) => services.arrived.push(event),
            (None, Event::Invite { conversation, .. }) => {
                let (now, reason) = (self.connection.now(), ReasonCode::NO_PARTICIPANT);
                // Of one that is gone again there is nothing to refuse.
                let _ = self.connection.refuse(now, conversation, reason, None);
            }
            (None, _) => {}
        }
    }

    fn on_told(&mut self, offer: StreamId, told: Told) {
        if let Some(entry) = self.services.as_mut().and_then(|services| services.offers.get_mut(&offer)) {
            entry.told = told;
            self.wake(Topic::Offer(offer));
        }
    }
}

#[cfg(test)]
mod tests {
    use liminal_proto::Config;

    use super::*;

    const OFFER: StreamId = StreamId::new(1);

    /// A client whose offer stands.
    fn serving() -> Client {
        let mut client = Client::new(Config::default());
        let offer = Offer { told: Told::Serving, withdrawn: false };
        client.services.get_or_insert_default().offers.insert(OFFER, offer);
        client
    }

    #[test]
    fn who_ends_an_offer_first_has_ended_it() {
        let gone = |client: &mut Client| {
            assert_eq!(client.on_service_event(Event::Withdrawn { offer: OFFER }), None)
        };
        let mut client = serving();
        client.withdraw(OFFER, true);
        gone(&mut client);
        assert_eq!(client.offered(OFFER), Offered::Ended(ServiceEnd::Withdrawn));

        // A driver that ends takes back whatever there is.
        for take_back in [Client::withdraw_all, |client: &mut Client| client.withdraw(OFFER, false)] {
            let mut client = serving();
            gone(&mut client);
            take_back(&mut client);
            assert_eq!(client.offered(OFFER), Offered::Ended(ServiceEnd::Dismissed));
        }
    }
}
