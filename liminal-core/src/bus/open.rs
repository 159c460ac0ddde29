//! Opening and closing conversations.

use alloc::boxed::Box;
use alloc::string::String;

use liminal_proto::{ConversationId, OnExit, Pid, ReasonCode, Terms};

use super::conversation::Conversation;
use super::{Bus, BusNext};
use crate::offer::Pick;
use crate::{Command, ConversationKey, CrashPolicy, LinkId, Offer, OfferId, Phase};

/// What an opener wants of a conversation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) terms: Terms,
    /// Who the participant is, where another bus has said so.
    pub(super) pid: Option<Pid>,
}

impl Bus {
    pub(super) fn on_open(&mut self, link: LinkId, id: ConversationId, subject: String, wanted: Wanted) {
        self.common.counters.opens += 1;
        match self.admit(link, id, &subject) {
            Ok(Pick { offer, kind: Offer::TraceOnly, .. }) => {
                let subject = self.common.offers.name(&subject);
                let mut conversation = Conversation::new(self.next_key(), link, id, offer, subject);
                conversation.limit(&self.common, wanted.terms);
                self.insert(conversation);
            }
            Ok(Pick { offer, kind: Offer::Participant, alone }) => {
                let policy = match wanted.terms.on_exit {
                    // The bus that has invited decides what comes of an exit.
                    _ if wanted.pid.is_some() => CrashPolicy::Fail,
                    OnExit::Fail => CrashPolicy::Fail,
                    OnExit::Next => CrashPolicy::RouteToNext,
                    OnExit::AsServed | _ => self.common.offers.policy(&subject),
                };
                self.create(link, id, (offer, alone), subject, policy, wanted);
            }
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

    /// Nobody wants the conversation any more, on a bus that another one has invited.
    pub(super) fn on_cancel(&mut self, link: LinkId, id: ConversationId) {
        match self.find(link, id) {
            Some(key) => {
                self.with(key, Conversation::on_cancelled);
            }
            None => self.common.tell(link, Command::Ended { conversation: id }),
        }
    }

    pub(super) fn find(&self, link: LinkId, id: ConversationId) -> Option<ConversationKey> {
        self.common.links.get(&link)?.ids.get(&id).copied()
    }

    fn admit(&mut self, link: LinkId, id: ConversationId, subject: &str) -> Result<Pick, ReasonCode> {
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
        let crowded = self.common.offers.serves(subject);
        let reason = if crowded { ReasonCode::BUSY } else { ReasonCode::NO_PARTICIPANT };
        self.common.offers.pick(subject, &[], &[]).ok_or(reason)
    }

    /// The id of a conversation that failed may be used again: the failed one is forgotten for that.
    fn make_way(&mut self, link: LinkId, id: ConversationId) -> Result<(), ReasonCode> {
        let Some(key) = self.find(link, id) else { return Ok(()) };
        let phase = self.conversations.get(&key).map(|it| it.phase());
        if phase.is_some_and(|phase| phase != Phase::Failed) {
            return Err(ReasonCode::ALREADY_OPEN);
        }
        self.with(key, Conversation::forget);
        Ok(())
    }

    /// A conversation with a participant of this offer, which may be alone in serving the subject.
    pub(super) fn create(
        &mut self,
        link: LinkId,
        id: ConversationId,
        (offer, alone): (OfferId, bool),
        subject: String,
        policy: CrashPolicy,
        wanted: Wanted,
    ) -> ConversationKey {
        let name = self.common.offers.name(&subject);
        let conversation = Conversation::new(self.next_key(), link, id, offer, name);
        let mut conversation = conversation.searches(alone, policy);
        conversation.limit(&self.common, wanted.terms);
        conversation.is_named = wanted.pid.is_some();
        let pid = wanted.pid.unwrap_or_else(|| self.common.next_pid());
        conversation.invite(&mut self.common, offer, pid, subject);
        self.insert(conversation)
    }

    const fn next_key(&mut self) -> ConversationKey {
        ConversationKey::new(self.keys.next())
    }

    fn insert(&mut self, conversation: Conversation) -> ConversationKey {
        let (key, link) = (conversation.key(), conversation.link());
        if let Some(entry) = self.common.links.get_mut(&link) {
            entry.ids.insert(conversation.id, key);
            entry.seats += 1;
        }
        if self.is_recording() {
            self.common.push(BusNext::Owned(key, link, conversation.id));
        }
        self.conversations.insert(key, Box::new(conversation));
        self.with(key, Conversation::on_created);
        key
    }
}
