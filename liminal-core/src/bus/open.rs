//! Opening and closing conversations.

use alloc::string::String;

use liminal_proto::{ConversationId, ReasonCode};

use super::Bus;
use super::conversation::Conversation;
use crate::{Command, ConversationKey, LinkId, Offer, OfferId, Phase};

impl Bus {
    pub(super) fn on_open(&mut self, link: LinkId, id: ConversationId, subject: String) {
        self.common.counters.opens += 1;
        match self.admit(link, id, &subject) {
            Ok((offer, kind)) => self.create(link, id, offer, kind, subject),
            Err(reason) => {
                self.common.counters.opens_refused += 1;
                self.common.tell(link, Command::Refused { conversation: id, reason, text: None });
            }
        }
    }

    /// Closing what is not open, or not any more, ends at once: nobody waits for an end in vain.
    pub(super) fn on_close(&mut self, link: LinkId, id: ConversationId) {
        match self.find(link, id) {
            Some(key) => {
                self.with(key, Conversation::on_close);
            }
            None => self.common.tell(link, Command::Ended { conversation: id }),
        }
    }

    pub(super) fn find(&self, link: LinkId, id: ConversationId) -> Option<ConversationKey> {
        self.common.links.get(&link)?.ids.get(&id).copied()
    }

    fn admit(
        &mut self,
        link: LinkId,
        id: ConversationId,
        subject: &str,
    ) -> Result<(OfferId, Offer), ReasonCode> {
        self.make_way(link, id)?;
        if self.stopping {
            return Err(ReasonCode::STOPPING);
        }
        if subject.len() > self.common.settings.name_max {
            return Err(ReasonCode::INVALID_NAME);
        }
        let seats = self.common.links.get(&link).map_or(0, |link| link.seats);
        if seats >= self.common.settings.conversations_per_link_max {
            return Err(ReasonCode::LIMIT);
        }
        self.offers.find(subject).ok_or(ReasonCode::NO_PARTICIPANT)
    }

    /// The id of a conversation that failed may be used again: the failed one is forgotten for that.
    fn make_way(&mut self, link: LinkId, id: ConversationId) -> Result<(), ReasonCode> {
        let Some(key) = self.find(link, id) else { return Ok(()) };
        let phase = self.conversations.get(&key).map(Conversation::phase);
        if phase.is_some_and(|phase| phase != Phase::Failed) {
            return Err(ReasonCode::ALREADY_OPEN);
        }
        self.with(key, Conversation::forget);
        Ok(())
    }

    fn create(&mut self, link: LinkId, id: ConversationId, offer: OfferId, kind: Offer, subject: String) {
        let key = ConversationKey::new(self.keys.next());
        if let Some(entry) = self.common.links.get_mut(&link) {
            entry.ids.insert(id, key);
            entry.seats += 1;
        }
        let conversation = match kind {
            Offer::Participant => {
                let pid = liminal_proto::Pid::new(self.common.pids.next());
                Conversation::with_participant(key, link, id, offer, pid, subject)
            }
            Offer::TraceOnly => Conversation::trace_only(key, link, id, offer),
        };
        self.conversations.insert(key, conversation);
        self.with(key, Conversation::on_created);
    }
}
