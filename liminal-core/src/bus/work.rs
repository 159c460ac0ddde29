//! What the bus does by itself: it has calls started, lets time pass, and sees to what follows from a change.

use liminal_proto::Instant;

use super::common::Common;
use super::conversation::Conversation;
use super::{Bus, BusNext};
use crate::{ConversationKey, Invocation, LinkId, Ticket};

impl Bus {
    /// Does what is to be done until something comes of it.
    pub(super) fn work(&mut self) -> BusNext {
        loop {
            let looked = !self.batched;
            self.batched = looked && self.run_batch();
            if !self.batched
                && let Some(run) = self.start_call()
            {
                return run;
            }
            if let Some(output) = self.common.next_output() {
                return output.into();
            }
            if looked && !self.batched {
                return BusNext::Wait(self.common.wake());
            }
        }
    }

    /// The next call to make, behind the records that it caused. Nothing else may stand before it: a call
    /// that waits to be made could outlast its deadline.
    fn start_call(&mut self) -> Option<BusNext> {
        while !self.common.has_output() {
            let call = if let Some((link, key)) = self.next_parked() {
                self.start_parked(link, key)
            } else {
                let key = self.common.next_turn()?;
                self.with(key, |conversation, common| conversation.start(common, false)).flatten()
            };
            if let Some((ticket, invocation)) = call {
                return Some(self.common.behind_output(BusNext::Run(ticket, invocation)));
            }
        }
        None
    }

    /// The same for a conversation that has waited for room on a link. Whoever waits behind it has the next turn,
    /// unless it must go on waiting.
    fn start_parked(&mut self, link: LinkId, key: ConversationKey) -> Option<(Ticket, Invocation)> {
        let owner = self.conversations.get(&key).map(|it| it.link());
        let full = owner.filter(|owner| self.common.links.get(owner).is_some_and(|owner| owner.full));
        let call = if let Some(owner) = full {
            self.common.schedule(owner, key);
            None
        } else {
            self.with(key, |conversation, common| conversation.start(common, true)).flatten()
        };
        if !self.common.waits_first(link, key) {
            self.common.resume(link);
        }
        call
    }

    /// Lets time pass: everything that is due happens before what comes next.
    pub(super) fn advance(&mut self, now: Instant) {
        self.common.now = self.common.now.max(now);
        if self.common.timers.is_due(self.common.now) {
            self.tell_due();
        }
    }

    /// Tells each conversation once, whatever it makes of that: a timer that is due again comes with the next tick.
    #[cold]
    fn tell_due(&mut self) {
        for key in self.common.timers.take_due(self.common.now) {
            self.with(key, Conversation::on_time);
        }
    }

    /// Every change of a conversation goes through here: the loss of those who take part comes first, and what
    /// follows from the change (an end, a timer, a call to make) comes after.
    pub(super) fn with<R>(
        &mut self,
        key: ConversationKey,
        change: impl FnOnce(&mut Conversation, &mut Common) -> R,
    ) -> Option<R> {
        let conversation = self.conversations.get_mut(&key)?;
        if self.common.has_losses() {
            conversation.on_losses(&mut self.common);
        }
        let result = change(conversation, &mut self.common);
        if conversation.settle(&mut self.common) {
            let link = conversation.link();
            conversation.disengage(&mut self.common);
            self.conversations.remove(&key);
            self.common.vacate(link);
        }
        if !self.common.compensations.is_empty() {
            self.compensate();
        }
        Some(result)
    }
}
