//! What a client has offered to serve, as each side of its connection sees it.

use crate::wire::{Body, Dialect};
use crate::{CommandError, Event, Limits, ReasonCode, SmallMap, StreamId};

use super::acceptor::Taken;
use super::sender::Sender;

/// Where an offer is in its life.
///
#[doc = include_str!("offers.md")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OfferPhase {
    /// The client has made it, and the server has not answered.
    Offered,
    /// It stands: participants are invited on it.
    Serving,
    /// The client has taken it back for when its conversations have come to their end.
    Draining,
    /// The client has taken it back at once; the server ends its conversations.
    Withdrawing,
    /// Over; the connection forgets it.
    Gone,
}

impl OfferPhase {
    /// Every phase.
    pub const ALL: [Self; 5] = [Self::Offered, Self::Serving, Self::Draining, Self::Withdrawing, Self::Gone];

    /// The phase after `trigger`; `None` where it is not allowed.
    #[must_use]
    pub const fn next(self, trigger: Trigger) -> Option<Self> {
        next(self, trigger)
    }
}

/// What moves an offer from one [phase](OfferPhase) to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// The server took it.
    Served,
    /// The server did not.
    Refused,
    /// The client takes it back when its conversations have come to their end.
    Drain,
    /// The client takes it back at once, also where it has begun to drain it.
    Withdraw,
    /// The server has seen to its end.
    Withdrawn,
}

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 5] = [Self::Served, Self::Refused, Self::Drain, Self::Withdraw, Self::Withdrawn];
}

/// The table: the phase that `trigger` leads to, or `None` where it is not allowed.
const fn next(phase: OfferPhase, trigger: Trigger) -> Option<OfferPhase> {
    use OfferPhase as P;
    use Trigger as T;
    match (phase, trigger) {
        (P::Offered, T::Served) => Some(P::Serving),
        (P::Offered | P::Serving, T::Drain) | (P::Draining, T::Served) => Some(P::Draining),
        (P::Offered | P::Serving | P::Draining, T::Withdraw) | (P::Withdrawing, T::Served) => {
            Some(P::Withdrawing)
        }
        (P::Offered | P::Draining | P::Withdrawing, T::Refused)
        | (P::Serving | P::Draining | P::Withdrawing, T::Withdrawn) => Some(P::Gone),
        (P::Offered, T::Withdrawn)
        | (P::Serving, T::Served | T::Refused)
        | (P::Draining | P::Withdrawing, T::Drain)
        | (P::Withdrawing, T::Withdraw)
        | (P::Gone, _) => None,
    }
}

/// The offers of one connection: the same on both sides.
#[derive(Default)]
pub(super) struct Offers(SmallMap<StreamId, Offer>);

struct Offer {
    phase: OfferPhase,
    /// The server has said whether it takes it, which it says once, also of one that was taken back.
    answered: bool,
    /// How many conversations it takes at a time.
    capacity: u32,
}

impl Offers {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn phase(&self, offer: StreamId) -> Option<OfferPhase> {
        self.0.get(&offer).map(|offer| offer.phase)
    }

    /// A new offer, on a stream of its own.
    pub(super) fn insert(&mut self, offer: StreamId, capacity: u32) {
        self.0.insert(offer, Offer { phase: OfferPhase::Offered, answered: false, capacity });
    }

    /// How many conversations all of them take at a time.
    pub(super) fn capacity(&self) -> u64 {
        self.0.values().map(|offer| u64::from(offer.capacity)).sum()
    }

    /// Whether there are as many as there may be.
    pub(super) fn check_room(&self, limits: &Limits) -> Result<(), CommandError> {
        if self.0.len() < limits.offers_max {
            return Ok(());
        }
        Err(CommandError::Limit { what: "offers", limit: limits.offers_max as u64 })
    }

    fn step(&mut self, key: StreamId, trigger: Trigger) -> Option<()> {
        let offer = self.0.get_mut(&key)?;
        let answers = matches!(trigger, Trigger::Served | Trigger::Refused);
        if answers && offer.answered {
            return None;
        }
        offer.phase = next(offer.phase, trigger)?;
        offer.answered |= answers;
        if offer.phase == OfferPhase::Gone {
            self.0.remove(&key);
        }
        Some(())
    }

    /// A command that moves an offer on and says so with a frame.
    pub(super) fn tell(
        &mut self,
        sender: &mut Sender,
        offer: StreamId,
        trigger: Trigger,
        (flags, body): (u8, Body<&str, bytes::Bytes>),
    ) -> Result<(), CommandError> {
        if sender.dialect == Dialect::V1 {
            return Err(CommandError::NeedsVersion2);
        }
        self.step(offer, trigger).ok_or(CommandError::NotServing(offer))?;
        sender.send(flags, offer, body)
    }

    // ── frames to a server ──────────────────────────────────────────────────────────────────────

    pub(super) fn on_serve(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        offer: StreamId,
        subject: Option<&str>,
        capacity: u32,
    ) -> Taken {
        let refusal = if subject.is_some_and(|subject| subject.len() > limits.name_max) {
            Some(ReasonCode::INVALID_NAME)
        } else if self.check_room(limits).is_err() {
            Some(ReasonCode::LIMIT)
        } else if sender.refuses_work() {
            Some(ReasonCode::BUSY)
        } else {
            None
        };
        if let Some(reason_code) = refusal {
            // A code without a text: there is nothing in it that could be refused.
            let _ = sender.send(0, offer, Body::Refused { reason_code, message: None });
            return if reason_code == ReasonCode::BUSY { Taken::Nothing } else { Taken::Refused };
        }
        self.insert(offer, capacity);
        Taken::Event(Event::Serve { offer, subject: subject.map(Into::into), capacity })
    }

    pub(super) fn on_withdraw(&mut self, offer: StreamId, drain: bool) -> Option<Taken> {
        self.step(offer, if drain { Trigger::Drain } else { Trigger::Withdraw })?;
        Some(Taken::Event(Event::Withdraw { offer, drain }))
    }

    // ── frames to a client ──────────────────────────────────────────────────────────────────────

    pub(super) fn on_serving(&mut self, offer: StreamId) -> Option<Event> {
        self.step(offer, Trigger::Served).map(|()| Event::Serving { offer })
    }

    pub(super) fn on_refused(
        &mut self,
        sender: &Sender,
        offer: StreamId,
        reason: ReasonCode,
        text: Option<&str>,
    ) -> Option<Event> {
        self.step(offer, Trigger::Refused)?;
        Some(Event::NotServing { offer, reason, text: sender.kept_text(text) })
    }

    pub(super) fn on_withdrawn(&mut self, offer: StreamId) -> Option<Event> {
        self.step(offer, Trigger::Withdrawn).map(|()| Event::Withdrawn { offer })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{OfferPhase, Trigger, next};
    use crate::table;

    #[test]
    fn the_diagram_in_the_docs_is_drawn_from_the_table() {
        let drawn = include_str!("offers.md");
        table::assert_drawn("src/connection/offers.md", drawn, &OfferPhase::ALL, &Trigger::ALL, next);
    }

    #[test]
    fn what_is_gone_stays_gone_and_what_was_taken_back_never_stands_again() {
        for trigger in Trigger::ALL {
            assert_eq!(next(OfferPhase::Gone, trigger), None);
            for back in [OfferPhase::Draining, OfferPhase::Withdrawing] {
                assert_ne!(next(back, trigger), Some(OfferPhase::Serving));
            }
        }
    }

    #[test]
    fn an_offer_is_taken_back_at_most_twice_the_second_time_at_once() {
        let back = [Trigger::Drain, Trigger::Withdraw];
        for first in back {
            let once = next(OfferPhase::Serving, first).unwrap();
            let again: Vec<_> = back.into_iter().filter(|&second| next(once, second).is_some()).collect();
            let expected: &[Trigger] = if first == Trigger::Drain { &[Trigger::Withdraw] } else { &[] };
            assert_eq!(again, expected);
        }
    }
}
