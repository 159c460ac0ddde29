//! What may be much, in batches: cleaning up behind lost links, and telling those who look on.

use liminal_proto::CloseReason;

use super::Bus;
use crate::{ConversationKey, LinkId};

/// Conversations of a lost link that one poll cancels. Between two batches the work of other links
/// goes on, so the loss of a link with many conversations delays nobody by more than this.
pub const CANCELLED_PER_POLL: usize = 64;

/// What is left of a lost link, or waits to be looked after in batches as that does.
enum Orphan {
    Conversation(ConversationKey),
    /// One of its monitors, which is taken back.
    Monitor,
}

impl Bus {
    pub(super) fn on_link_lost(&mut self, id: LinkId, reason: &CloseReason) {
        self.lose_offers(id, reason);
        self.common.hush(id);
        if let Some(link) = self.common.links.get_mut(&id) {
            link.alive = false;
            link.full = false;
            self.common.dying.push_back(id);
            self.common.enter_turn(id);
        }
    }

    /// Does some of what may be much: cleans up behind lost links, and tells those who look on. Between two batches
    /// there is a call, as long as there are any, so that neither keeps the other waiting. Says whether there was
    /// anything to do.
    pub(super) fn run_batch(&mut self) -> bool {
        let cancelled = self.cancel_batch();
        self.tell_observers() || cancelled
    }

    /// Cancels some conversations of lost links. Says whether there were any.
    fn cancel_batch(&mut self) -> bool {
        for done in 0..CANCELLED_PER_POLL {
            match self.next_orphan() {
                Some(Orphan::Conversation(key)) => {
                    self.with(key, |conversation, _| conversation.search_again());
                }
                Some(Orphan::Monitor) => {}
                None => return done > 0,
            }
        }
        true
    }

    fn next_orphan(&mut self) -> Option<Orphan> {
        while let Some(&id) = self.common.dying.front() {
            let orphan = self.common.links.get_mut(&id).and_then(|link| link.ids.pop_first());
            if let Some(key) = orphan.map(|(_, key)| key).or_else(|| self.next_bereft(id)) {
                return Some(Orphan::Conversation(key));
            }
            // Nothing is told to it any more: those who wait for its participants come first.
            if self.drop_monitor(id) {
                return Some(Orphan::Monitor);
            }
            self.common.dying.pop_front();
            self.common.drop_if_over(id);
        }
        self.next_withdrawn().or_else(|| self.next_searching()).map(Orphan::Conversation)
    }
}
