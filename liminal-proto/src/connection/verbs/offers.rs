//! Commands about offers.

use bytes::Bytes;

use super::super::Connection;
use super::super::offers::Trigger;
use super::super::sender::cut;
use crate::wire::{Body, flag};
use crate::{CommandError, Instant, ReasonCode, Side, StreamId};

/// # Commands about offers
impl Connection {
    /// Offers participants for `subject`, or with `None` for every subject that nobody serves by name, and for
    /// up to `capacity` conversations at a time. The offer is named by the stream that it has to itself.
    ///
    /// # Errors
    ///
    /// Not connected, a 1.0 link, a server's side, a capacity of 0, too many offers, a subject above its
    /// limit, or no room.
    pub fn serve(
        &mut self,
        now: Instant,
        subject: Option<&str>,
        capacity: u32,
    ) -> Result<StreamId, CommandError> {
        self.advance_clock(now);
        self.takes_new_work()?;
        self.must_be(Side::Client)?;
        self.needs_version_2()?;
        let (len, limit) = (subject.map_or(0, str::len), self.config.limits.name_max);
        if len > limit {
            return Err(CommandError::TooLarge { len, limit });
        }
        self.offers.check_room(&self.config.limits)?;
        let offer = self.opener.take_stream(&mut self.sender, Body::Serve { capacity, subject })?;
        self.offers.insert(offer, capacity);
        Ok(offer)
    }

    /// Takes an offer back: at once, or with `drain` when its conversations have come to their end. After a
    /// withdrawal that drains, one at once may follow.
    ///
    /// # Errors
    ///
    /// There is no such offer, it was taken back before, or this is a server's side.
    pub fn withdraw(&mut self, now: Instant, offer: StreamId, drain: bool) -> Result<(), CommandError> {
        let (trigger, flags) = if drain { (Trigger::Drain, flag::DRAIN) } else { (Trigger::Withdraw, 0) };
        self.offer_command(now, Side::Client, offer, trigger, (flags, Body::Withdraw))
    }

    /// An offer of the client stands.
    ///
    /// # Errors
    ///
    /// There is no such offer that waits for this, or this is a client's side.
    pub fn serving(&mut self, now: Instant, offer: StreamId) -> Result<(), CommandError> {
        self.offer_command(now, Side::Server, offer, Trigger::Served, (0, Body::Serving))
    }

    /// An offer of the client is not taken.
    ///
    /// # Errors
    ///
    /// There is no such offer that waits for this, or this is a client's side.
    pub fn refuse_offer(
        &mut self,
        now: Instant,
        offer: StreamId,
        reason_code: ReasonCode,
        text: Option<&str>,
    ) -> Result<(), CommandError> {
        let body =
            Body::Refused { reason_code, message: text.map(|text| cut(text, self.config.limits.text_max)) };
        self.offer_command(now, Side::Server, offer, Trigger::Refused, (0, body))?;
        self.count_refusal_of_client(reason_code);
        Ok(())
    }

    /// An offer of the client is no more, and neither are its conversations.
    ///
    /// # Errors
    ///
    /// There is no such offer, or none that was taken, or this is a client's side.
    pub fn withdrawn(&mut self, now: Instant, offer: StreamId) -> Result<(), CommandError> {
        self.offer_command(now, Side::Server, offer, Trigger::Withdrawn, (0, Body::Withdrawn))
    }

    fn offer_command(
        &mut self,
        now: Instant,
        side: Side,
        offer: StreamId,
        trigger: Trigger,
        frame: (u8, Body<&str, Bytes>),
    ) -> Result<(), CommandError> {
        self.advance_clock(now);
        self.takes_commands()?;
        self.must_be(side)?;
        self.offers.tell(&mut self.sender, offer, trigger, frame)?;
        self.end_if_unread();
        Ok(())
    }
}
