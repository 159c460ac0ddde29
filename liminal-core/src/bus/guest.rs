//! One conversation: its participant, when that is on a link. It is called with commands of that link instead
//! of calls of a host, and answers with the events of that link.

use alloc::string::String;
use core::mem;
use core::time::Duration;

use liminal_proto::{
    Content, ConversationId, ExitReason, Expects, Message, MessageId, Outcome, ReasonCode, Reply,
};

use super::call::{CallKind, Hand, Seat, cut};
use super::common::Common;
use super::conversation::Conversation;
use super::serving::GuestSeat;
use crate::phase::Phase;
use crate::{Call, Command, Invocation, Leaving, LinkId};

/// How often the pause may become twice as long after which a client that was too busy is given the same again:
/// with the default of [`busy_time`](crate::Settings::busy_time) to 640 ms.
const BUSY_DOUBLINGS_MAX: u8 = 5;

impl Conversation {
    // Calls.

    /// The link that a call must be made on; `None`: a host makes it.
    pub(super) fn called_on(&self, common: &Common, call: CallKind) -> Option<LinkId> {
        match (&self.guest, call) {
            (Some(guest), _) => Some(guest.link),
            (None, CallKind::Join) => common.offers.of_link(self.offer).map(|it| it.link),
            (None, CallKind::Message | CallKind::Wake | CallKind::Leave) => None,
        }
    }

    /// Makes a call on a link, or waits for room there: in front of all others if it has `waited` already.
    pub(super) fn call_guest(&mut self, common: &mut Common, link: LinkId, call: CallKind, waited: bool) {
        match call {
            CallKind::Join => self.invite_guest(common, link, waited),
            CallKind::Message => self.deliver(common, link, waited),
            CallKind::Leave => {
                self.present = false;
                self.dismiss(common);
            }
            CallKind::Wake => self.seat = Seat::Idle,
        }
    }

    fn invite_guest(&mut self, common: &mut Common, link: LinkId, waited: bool) {
        let stands = common.offers.of_link(self.offer).is_some_and(|it| it.withdrawn.is_none());
        if !common.is_alive(link) || !stands {
            self.to_join = None;
            return self.on_join_refused(common, ReasonCode::BUSY, None);
        }
        if !common.has_room_on(link) {
            return self.park(common, link, waited);
        }
        let (Some(pid), Some(subject)) = (self.pid, self.to_join.take()) else { return };
        let Some(id) = common.seat_guest(link, self.offer, self.key()) else {
            return self.on_join_refused(common, ReasonCode::LIMIT, None);
        };
        // From now on it is the guest that counts among the conversations of its offer.
        self.engaged = false;
        self.guest = Some(GuestSeat { link, id, cancel: false, busy: 0 });
        let until = common.now.after(common.settings.reply_time);
        self.seat = Seat::Elsewhere { call: CallKind::Join, message: MessageId::default(), until };
        common.tell(link, Command::Invite { conversation: id, pid, subject });
    }

    fn deliver(&mut self, common: &mut Common, link: LinkId, waited: bool) {
        let (Some((_, next)), Some(guest)) = (self.queue.first(), self.guest) else { return };
        if !common.give(link, next.charge()) {
            return self.park(common, link, waited);
        }
        let Some(Content { payload, metadata }) = self.take_message() else { return };
        let Some(Hand { request: deadline, moves: redelivered, .. }) = self.hand else { return };
        let id = MessageId::new(common.deliveries.next());
        let until = deadline.unwrap_or(common.now).after(common.settings.reply_time);
        self.seat = Seat::Elsewhere { call: CallKind::Message, message: id, until };
        let expects = if deadline.is_some() { Expects::Reply } else { Expects::Acceptance };
        let timeout = deadline.map(|deadline| deadline.since(common.now));
        let conversation = guest.id;
        let message = Message { conversation, id, expects, timeout, redelivered, payload, metadata };
        common.tell(link, Command::Deliver(message));
    }

    /// The call that a command makes of its participant on a link.
    pub(super) fn invoked_by(&self, command: &Command) -> Option<Invocation> {
        let what = if let Command::Invite { subject, .. } = command {
            Call::Join { subject: subject.clone() }
        } else if let (Command::Deliver(message), Some(hand)) = (command, &self.hand) {
            hand.call(Content { payload: message.payload.clone(), metadata: message.metadata.clone() })
        } else {
            return None;
        };
        Some(Invocation { pid: self.pid?, offer: self.offer, conversation: self.key(), what })
    }

    fn park(&mut self, common: &mut Common, link: LinkId, waited: bool) {
        self.scheduled = true;
        common.park(link, self.key(), waited);
    }

    // Answers.

    pub(super) fn on_guest_opened(&mut self, common: &mut Common) {
        if self.seat.is_joining() {
            self.seat = Seat::Idle;
            self.on_joined(common);
        }
    }

    pub(super) fn on_guest_refused(&mut self, common: &mut Common, reason: ReasonCode, text: Option<String>) {
        if !self.seat.is_joining() {
            let text = "its host refused a conversation that it had opened".into();
            return self.on_guest_gone(common, ExitReason::Violated { text });
        }
        self.seat = Seat::Idle;
        self.guest = None;
        self.withheld.clear();
        self.on_join_refused(common, reason, text);
    }

    pub(super) fn on_guest_reply(&mut self, common: &mut Common, reply: Reply) {
        self.withheld.push(reply.len());
        if self.seat.is_at(reply.answers) {
            self.on_reply(common, Content { payload: reply.payload, metadata: reply.metadata }, reply.last);
            if reply.last {
                self.seat = Seat::Idle;
                self.is_not_busy();
                self.drop_hand(common);
            }
        } else {
            common.counters.ignored_answers += 1;
        }
        self.give_credit(common);
    }

    /// Lets the link of its participant say as much again as the owner has taken. While the owner does not read, so
    /// does nobody here: what a participant may say ahead is bounded by its credit.
    pub(super) fn give_credit(&mut self, common: &mut Common) {
        let Some(GuestSeat { link, id: conversation, .. }) = self.guest else { return };
        if self.unread {
            return;
        }
        if common.is_full(self.link()) {
            return common.withhold(self.link(), self.key());
        }
        self.give_all_credit(common, link, conversation);
    }

    fn give_all_credit(&mut self, common: &mut Common, link: LinkId, conversation: ConversationId) {
        for len in self.withheld.drain(..) {
            common.tell(link, Command::Consumed { conversation, len });
        }
    }

    pub(super) fn on_guest_outcome(&mut self, common: &mut Common, message: MessageId, outcome: Outcome) {
        let asked = self.hand.as_ref().is_some_and(|hand| hand.asked);
        if !self.seat.is_at(message) || matches!((&outcome, asked), (Outcome::Accepted { .. }, true)) {
            common.counters.ignored_answers += 1;
            return;
        }
        let (reason, text) = match outcome {
            // It is through with a message that wanted no reply.
            Outcome::Accepted { .. } => (ReasonCode::NO_REPLY, None),
            Outcome::Refused { reason, text } => (reason, text),
            Outcome::Deadline => (ReasonCode::DEADLINE, None),
            // The link is lost, and that says more.
            Outcome::Unknown => return,
            Outcome::Exited | _ => (ReasonCode::NO_REPLY, None),
        };
        self.seat = Seat::Idle;
        if reason == ReasonCode::BUSY {
            let after = self.busy_time(common);
            return self.on_busy(common, CallKind::Message, after);
        }
        self.is_not_busy();
        let text = text.map(|text| cut(text, common.settings.text_max));
        self.end_hand(common, reason, text);
    }

    /// The link says that its participant is no more, or has ended the conversation by itself.
    pub(super) fn on_guest_exited(&mut self, common: &mut Common, reason: ExitReason) {
        if self.seat.is_joining() {
            self.seat = Seat::Idle;
            self.on_joined(common);
        }
        self.on_guest_gone(common, reason);
    }

    /// What was to be answered by a while ago was not.
    pub(super) fn on_overdue(&mut self, common: &mut Common) {
        match self.seat {
            Seat::Elsewhere { until, .. } if until > common.now => {}
            Seat::Elsewhere { call: CallKind::Join, .. } => {
                self.seat = Seat::Idle;
                self.let_go(common);
                self.on_join_refused(common, ReasonCode::BUSY, None);
            }
            Seat::Elsewhere { .. } => self.on_guest_gone(common, ExitReason::Hung),
            Seat::Idle | Seat::Running { .. } | Seat::Returning { .. } | Seat::Waiting { .. } => {}
        }
    }

    /// Lets it know if its owner is lost, or its participant on a link.
    #[cold]
    pub(super) fn on_losses(&mut self, common: &mut Common) {
        if !common.is_alive(self.link()) {
            self.on_owner_lost(common);
        }
        if let Some(guest) = self.guest
            && let Some(reason) = common.loss_of(guest, self.offer)
        {
            self.on_guest_lost(common, reason);
        }
    }

    /// Its link is gone, or has taken back the offer that it takes part for. Who had not joined yet never will;
    /// somebody else may.
    fn on_guest_lost(&mut self, common: &mut Common, reason: ExitReason) {
        if self.seat.is_joining() {
            self.seat = Seat::Idle;
            self.let_go(common);
            self.wait_no_more();
            return self.on_join_refused(common, ReasonCode::BUSY, None);
        }
        self.on_guest_gone(common, reason);
    }

    /// It takes part no more, whatever it was doing.
    fn on_guest_gone(&mut self, common: &mut Common, reason: ExitReason) {
        self.seat = Seat::Idle;
        self.let_go(common);
        self.wait_no_more();
        if self.phase() == Phase::Closed {
            self.present = false;
            self.drop_hand(common);
        } else {
            self.on_exited(common, reason);
        }
    }

    // Small parts.

    /// For how long a client is left alone that was too busy for what it was given. To give it again costs all of
    /// its bytes: each time in a row the pause is twice as long.
    fn busy_time(&mut self, common: &Common) -> Duration {
        let busy = self.guest.as_mut().map(|guest| &mut guest.busy);
        let before = busy.map_or(0, |busy| mem::replace(busy, (*busy + 1).min(BUSY_DOUBLINGS_MAX)));
        common.settings.busy_time.saturating_mul(1 << before)
    }

    const fn is_not_busy(&mut self) {
        if let Some(guest) = &mut self.guest {
            guest.busy = 0;
        }
    }

    /// The conversation is over, whatever its participant on a link is doing: it is only to be told.
    pub(super) fn recall_guest(&mut self, common: &mut Common) {
        if let Some(guest) = &mut self.guest {
            guest.cancel = !self.seat.is_idle();
            self.seat = Seat::Idle;
            self.drop_hand(common);
            self.present = true;
            self.wait_no_more();
        }
    }

    /// Should it wait for room on a link, it need not do so any more: what it finds to do when its turn comes
    /// there is done then.
    const fn wait_no_more(&mut self) {
        self.scheduled = false;
    }

    /// Tells the link that the conversation is over there. What it still says of it concerns nobody, and for what it
    /// has said it has its credit back: it may have more to say in front of the end.
    fn let_go(&mut self, common: &mut Common) {
        self.part(common, |_| true);
    }

    /// The same at the end of the conversation, which it need not hurry to see if it is at nothing.
    fn dismiss(&mut self, common: &mut Common) {
        let is_lost = self.why_left == Leaving::OwnerLost;
        self.part(common, |guest| guest.cancel || is_lost);
    }

    fn part(&mut self, common: &mut Common, cancels: impl FnOnce(&GuestSeat) -> bool) {
        if let Some(guest) = self.guest.take() {
            self.give_all_credit(common, guest.link, guest.id);
            common.let_go(guest.link, guest.id, cancels(&guest));
        }
    }

    /// Whether its participant is this one on a link.
    pub(super) fn is_seated(&self, link: LinkId, id: ConversationId) -> bool {
        self.guest.is_some_and(|guest| (guest.link, guest.id) == (link, id))
    }
}
