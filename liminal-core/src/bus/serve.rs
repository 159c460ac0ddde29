//! Links that serve: offers, their participants, and what becomes of both when the link is lost.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use liminal_proto::{
    CloseReason, ConversationId, Event, ExitReason, MessageId, ReasonCode, Reply, StreamId, TimerReason,
    Violation,
};

use super::Bus;
use super::common::Common;
use super::conversation::Conversation;
use super::serving::{GuestSeat, Serving};
use crate::offer::{OfLink, Withdrawal};
use crate::transcript::Noted;
use crate::{Command, ConversationKey, LinkId, OfferId, Subject};

impl Bus {
    /// Which call of a participant on this link the bus has just made with this command, or that it has let go of
    /// one, as it is to be noted ([`Noted::CalledOn`], [`Noted::LetGo`]). `None`: it does neither, or is not the
    /// last thing that [`poll`](Self::poll) has said.
    #[must_use]
    pub fn called_on(&self, link: LinkId, command: &Command) -> Option<Noted> {
        let id = command.conversation()?;
        if let Command::Close { cancel, .. } = command {
            return Some(Noted::LetGo { link, id, cancel: *cancel });
        }
        let guest = self.common.serving(link)?.guests.get(&id)?;
        let invocation = self.conversations.get(&guest.conversation?)?.invoked_by(command)?;
        let offer = self.common.offers.of_link(guest.offer)?.stream;
        let message = if let Command::Deliver(message) = command { message.id } else { MessageId::default() };
        Some(Noted::CalledOn { link, id, offer, message, invocation })
    }

    // What a link that serves says.

    pub(super) fn on_serve(&mut self, link: LinkId, offer: StreamId, subject: Option<String>, capacity: u32) {
        let command = match self.take_offer(link, offer, subject, capacity) {
            Ok(()) => Command::Serving { offer },
            Err((reason, text)) => Command::NotServing { offer, reason, text },
        };
        let stands = matches!(command, Command::Serving { .. });
        self.common.tell(link, command);
        if stands {
            self.search_later();
        }
    }

    fn take_offer(
        &mut self,
        link: LinkId,
        stream: StreamId,
        subject: Option<String>,
        capacity: u32,
    ) -> Result<(), (ReasonCode, Option<String>)> {
        let subject = subject.map_or(Subject::Any, Subject::Exact);
        let max = self.common.settings.offers_per_link_max;
        let standing = self.common.serving(link).map_or(0, |serving| serving.offers.len());
        let refused = match () {
            () if self.stopping => ReasonCode::STOPPING,
            () if max == 0 => ReasonCode::NOT_ALLOWED,
            () if standing >= max => ReasonCode::LIMIT,
            () if self.check_name(&subject).is_err() => ReasonCode::INVALID_NAME,
            () => {
                let offer = self.common.offers.register_of_link(subject, link, stream, capacity);
                let offer = offer.map_err(|taken| (ReasonCode::NOT_ALLOWED, Some(taken.to_string())))?;
                if let Some(entry) = self.common.links.get_mut(&link) {
                    let serving = entry.serving.get_or_insert_with(|| Box::new(Serving::new()));
                    serving.offers.insert(stream, offer);
                }
                return Ok(());
            }
        };
        Err((refused, None))
    }

    /// Nobody is invited for the offer any more; without `drain` those who were are no more, either.
    pub(super) fn on_withdraw(&mut self, link: LinkId, stream: StreamId, drain: bool) {
        let offer = self.common.serving(link).and_then(|serving| serving.offers.get(&stream).copied());
        let Some(offer) = offer else { return };
        self.common.offers.withdraw(offer, if drain { Withdrawal::Drain } else { Withdrawal::AtOnce });
        if !drain {
            self.common.withdrawing.push_back((link, offer, ConversationId::default()));
        }
        self.common.tell_if_withdrawn(offer);
    }

    /// A participant on a link has replied in a conversation that it is, or was, invited to.
    pub(super) fn on_guest_reply(&mut self, link: LinkId, key: Option<ConversationKey>, reply: Reply) {
        let (conversation, len) = (reply.conversation, reply.len());
        let is_heard =
            self.with_seated(link, conversation, key, |it, common| it.on_guest_reply(common, reply));
        // Behind what it has no credit for it could not even say that the conversation has ended.
        if !is_heard {
            self.common.tell(link, Command::Consumed { conversation, len });
        }
    }

    /// What else a link says of a conversation that a participant of its takes part in.
    pub(super) fn on_guest_event(&mut self, link: LinkId, event: Event) {
        match event {
            Event::Opened { conversation, .. } => {
                self.with_guest(link, conversation, Conversation::on_guest_opened);
            }
            Event::Refused { conversation, reason, text } => {
                let key = self.common.forget_guest(link, conversation);
                self.with_seated(link, conversation, key, |it, common| {
                    it.on_guest_refused(common, reason, text);
                });
            }
            Event::Outcome { conversation, message, outcome } => {
                self.with_guest(link, conversation, |it, common| {
                    it.on_guest_outcome(common, message, outcome);
                });
            }
            Event::Exited { conversation, exit } => {
                self.with_guest(link, conversation, |it, common| it.on_guest_exited(common, exit.reason));
            }
            Event::Failed { conversation } => {
                self.with_guest(link, conversation, |it, common| {
                    it.on_guest_exited(common, ExitReason::Normal);
                });
            }
            Event::Ended { conversation } => {
                let key = self.common.forget_guest(link, conversation);
                self.with_seated(link, conversation, key, |it, common| {
                    it.on_guest_exited(common, ExitReason::Normal);
                });
            }
            Event::Connected { .. }
            | Event::Pong
            | Event::Room { .. }
            | Event::Open { .. }
            | Event::Invite { .. }
            | Event::Message(_)
            | Event::Reply(_)
            | Event::Close { .. }
            | Event::Cancel { .. }
            | Event::Joined { .. }
            | Event::Serve { .. }
            | Event::Withdraw { .. }
            | Event::Serving { .. }
            | Event::NotServing { .. }
            | Event::Withdrawn { .. }
            | Event::Closed(_)
            | _ => {}
        }
    }

    fn with_guest(
        &mut self,
        link: LinkId,
        id: ConversationId,
        change: impl FnOnce(&mut Conversation, &mut Common),
    ) -> bool {
        let key = self.common.links.get(&link).and_then(|link| link.invited_to(id));
        self.with_seated(link, id, key, change)
    }

    /// What comes from somebody who takes part no more has no effect. Says whether it had one.
    fn with_seated(
        &mut self,
        link: LinkId,
        id: ConversationId,
        key: Option<ConversationKey>,
        change: impl FnOnce(&mut Conversation, &mut Common),
    ) -> bool {
        let Some(key) = key else {
            self.common.counters.ignored_answers += 1;
            return false;
        };
        let changed = self.with(key, |it, common| {
            let takes_part = it.is_seated(link, id);
            if takes_part {
                change(it, common);
            }
            takes_part
        });
        changed == Some(true)
    }

    // What becomes of participants whose link or offer is gone.

    /// Takes back what a lost link has offered: nobody is invited for it from this moment on.
    pub(super) fn lose_offers(&mut self, link: LinkId, reason: &CloseReason) {
        let Some(serving) = self.common.serving_mut(link) else { return };
        serving.lost = exit_by(reason);
        let offers: Vec<OfferId> = serving.offers.values().copied().collect();
        for offer in offers {
            self.common.offers.withdraw(offer, Withdrawal::AtOnce);
            self.common.tell_if_withdrawn(offer);
        }
    }

    /// The next conversation whose participant is gone with its link, or that waits for room there in vain.
    pub(super) fn next_bereft(&mut self, link: LinkId) -> Option<ConversationKey> {
        loop {
            let serving = self.common.serving_mut(link)?;
            if let Some(key) = serving.parked.pop_front() {
                if let Some(conversation) = self.conversations.get_mut(&key) {
                    conversation.scheduled = false;
                }
                return Some(key);
            }
            let guest = serving.guests.pop_first()?;
            self.common.release_offer(guest.offer);
            if let Some(key) = guest.conversation {
                return Some(key);
            }
        }
    }

    /// The next conversation whose participant was taken back with the offer that it takes part for.
    pub(super) fn next_withdrawn(&mut self) -> Option<ConversationKey> {
        let Common { links, withdrawing, .. } = &mut self.common;
        while let Some((link, offer, from)) = withdrawing.front_mut() {
            let serving = links.get(link).and_then(|link| link.serving.as_deref());
            let guests = serving.map(|serving| serving.guests.iter_from(*from));
            let of_offer = guests.into_iter().flatten().filter(|(_, guest)| guest.offer == *offer);
            let next = of_offer.filter_map(|(id, guest)| Some((id, guest.conversation?))).next();
            if let Some((id, key)) = next {
                *from = id;
                return Some(key);
            }
            withdrawing.pop_front();
        }
        None
    }

    /// The next conversation that waits for room on a link where there may be some.
    pub(super) fn next_parked(&mut self) -> Option<(LinkId, ConversationKey)> {
        while let Some(link) = self.common.openings.pop_front() {
            let Some(serving) = self.common.serving_mut(link) else { continue };
            serving.in_turn = false;
            if let Some(key) = serving.parked.pop_front() {
                return Some((link, key));
            }
        }
        None
    }
}

impl Common {
    pub(super) fn serving(&self, link: LinkId) -> Option<&Serving> {
        self.links.get(&link)?.serving.as_deref()
    }

    fn serving_mut(&mut self, link: LinkId) -> Option<&mut Serving> {
        self.links.get_mut(&link)?.serving.as_deref_mut()
    }

    /// How the participant of a conversation is gone with its link or its offer, if it is.
    pub(super) fn loss_of(&self, guest: GuestSeat, offer: OfferId) -> Option<ExitReason> {
        if !self.is_alive(guest.link) {
            return Some(self.serving(guest.link).map_or(ExitReason::ConnectionLost, |it| it.lost.clone()));
        }
        let withdrawn = self.offers.of_link(offer).and_then(|it| it.withdrawn);
        (withdrawn == Some(Withdrawal::AtOnce)).then_some(ExitReason::Withdrawn)
    }

    pub(super) fn seat_guest(
        &mut self,
        link: LinkId,
        offer: OfferId,
        key: ConversationKey,
    ) -> Option<ConversationId> {
        let max = self.settings.conversations_per_link_max;
        self.serving_mut(link).filter(|serving| serving.guests.len() < max)?.seat(offer, key)
    }

    /// A conversation is over for its participant on a link. Its place is free when the link has said so, too.
    pub(super) fn let_go(&mut self, link: LinkId, id: ConversationId, cancel: bool) {
        if let Some(guest) = self.serving_mut(link).and_then(|serving| serving.guests.get_mut(&id)) {
            guest.conversation = None;
            self.tell(link, Command::Close { conversation: id, cancel });
        }
    }

    /// The link has said it: the place is free.
    fn forget_guest(&mut self, link: LinkId, id: ConversationId) -> Option<ConversationKey> {
        let guest = self.serving_mut(link)?.guests.remove(&id)?;
        self.release_offer(guest.offer);
        guest.conversation
    }

    /// One conversation fewer that an offer takes part in.
    pub(super) fn release_offer(&mut self, offer: OfferId) {
        self.offers.release(offer);
        self.tell_if_withdrawn(offer);
    }

    /// The last conversation of an offer that was taken back is over.
    fn tell_if_withdrawn(&mut self, offer: OfferId) {
        let Some(OfLink { link, stream, .. }) = self.offers.take_withdrawn(offer) else { return };
        if let Some(serving) = self.serving_mut(link) {
            serving.offers.remove(&stream);
        }
        self.tell(link, Command::Withdrawn { offer: stream });
    }

    // Room.

    /// Whether the output of a link is full.
    pub(super) fn is_full(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|link| link.full)
    }

    /// Whether a link takes something without a payload for one of its participants.
    pub(super) fn has_room_on(&self, link: LinkId) -> bool {
        let max = self.settings.delivered_bytes_per_link_max;
        !self.is_full(link) && self.serving(link).is_none_or(|serving| serving.has_room(0, max))
    }

    /// Gives a link a message with this charge for one of its participants. False: it has no room for that.
    pub(super) fn give(&mut self, link: LinkId, charge: usize) -> bool {
        let max = self.settings.delivered_bytes_per_link_max;
        let Some(link) = self.links.get_mut(&link).filter(|link| !link.full) else { return false };
        link.serving.as_deref_mut().is_some_and(|serving| serving.give(charge, max))
    }

    /// A conversation owes credit to its participant until there is room on the link of its owner.
    pub(super) fn withhold(&mut self, owner: LinkId, key: ConversationKey) {
        if let Some(owner) = self.links.get_mut(&owner) {
            owner.withholding.insert(key);
        }
    }

    /// A link takes more.
    pub(super) fn make_room(&mut self, link: LinkId) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        entry.full = false;
        entry.enter_turn(link, &mut self.turns);
        if let Some(serving) = &mut entry.serving {
            serving.make_room();
            self.crowded.remove(&link);
            serving.enter_turn(link, &mut self.openings);
        }
    }

    /// The next conversation that need not owe credit to its participant any more.
    pub(super) fn next_withheld(&mut self, owner: LinkId) -> Option<ConversationKey> {
        self.links.get_mut(&owner)?.withholding.pop_first()
    }

    /// A conversation waits for room on a link.
    pub(super) fn park(&mut self, link: LinkId, key: ConversationKey, first: bool) {
        let Some(serving) = self.serving_mut(link) else { return };
        if first {
            serving.parked.push_front(key);
        } else {
            serving.parked.push_back(key);
        }
        self.crowded.insert(link);
    }

    /// There may be room on a link for what waits for it.
    pub(super) fn resume(&mut self, link: LinkId) {
        let serving = self.links.get_mut(&link).and_then(|entry| entry.serving.as_deref_mut());
        if let Some(serving) = serving {
            serving.enter_turn(link, &mut self.openings);
        }
    }

    /// Whether this conversation is the first that waits for room on a link.
    pub(super) fn waits_first(&self, link: LinkId, key: ConversationKey) -> bool {
        self.serving(link).is_some_and(|serving| serving.parked.front() == Some(&key))
    }
}

/// What the end of a connection says of those who took part on it.
fn exit_by(reason: &CloseReason) -> ExitReason {
    match reason {
        CloseReason::Peer => ExitReason::Withdrawn,
        CloseReason::Local => ExitReason::Stopping,
        CloseReason::Violation(Violation::Unread { .. }) => ExitReason::TooSlow,
        // Who sends no sign of life is not slow but gone.
        CloseReason::Violation(Violation::TooSlow { what, .. }) if *what != TimerReason::Keepalive => {
            ExitReason::TooSlow
        }
        CloseReason::Violation(Violation::TooSlow { .. }) => ExitReason::ConnectionLost,
        CloseReason::Violation(violation) => ExitReason::Violated { text: violation.to_string() },
        CloseReason::PeerEof
        | CloseReason::Refused { .. }
        | CloseReason::UnspokenVersion { .. }
        | CloseReason::Link(_)
        | _ => ExitReason::ConnectionLost,
    }
}
