//! How requests end, and how conversations move on, each once.

use alloc::collections::VecDeque;
use core::mem;

use super::super::conversation::{Trigger, next};
use super::{Conversation, Opener, Outstanding, Pending};
use crate::wire::Dialect;
use crate::{ConversationId, Event, Instant, MessageId, Outcome};

impl Opener {
    /// Ends the requests whose deadline has passed.
    pub(in crate::connection) fn expire(
        &mut self,
        now: Instant,
        owed: &mut VecDeque<Event>,
        dialect: Dialect,
    ) {
        while let Some(&((deadline, conversation, message), ())) = self.outstanding.deadlines.first()
            && deadline <= now
        {
            self.take_pending(conversation, message);
            self.outstanding.deadlines.remove(&(deadline, conversation, message));
            owed.push_back(Event::Outcome { conversation, message, outcome: Outcome::Deadline });
            self.end_silent_close(dialect, owed, conversation);
        }
    }

    /// The connection is over: what was outstanding has an unknown end.
    pub(in crate::connection) fn end_all(&mut self, owed: &mut VecDeque<Event>) {
        for (conversation, ended) in mem::take(&mut self.conversations).into_entries() {
            owed.extend(ended.pending.into_iter().map(|pending| Event::Outcome {
                conversation,
                message: pending.id,
                outcome: Outcome::Unknown,
            }));
        }
        self.outstanding = Outstanding::default();
    }

    pub(super) fn end_requests(
        &mut self,
        owed: &mut VecDeque<Event>,
        key: ConversationId,
        outcome: &Outcome,
    ) {
        let Some(conversation) = self.conversations.get_mut(&key) else { return };
        for pending in mem::take(&mut conversation.pending) {
            self.outstanding.end(key, &pending);
            let outcome = outcome.clone();
            owed.push_back(Event::Outcome { conversation: key, message: pending.id, outcome });
        }
    }

    pub(super) fn take_pending(&mut self, key: ConversationId, id: MessageId) -> Option<Pending> {
        let conversation = self.conversations.get_mut(&key)?;
        let at = conversation.position(id)?;
        let pending = conversation.pending.remove(at)?;
        self.outstanding.end(key, &pending);
        Some(pending)
    }

    pub(super) fn step(&mut self, key: ConversationId, trigger: Trigger) -> Option<()> {
        let moved = self.conversations.get_mut(&key).and_then(|conversation| {
            conversation.phase = next(conversation.phase, trigger)?;
            Some(())
        });
        if moved.is_none() {
            self.strays += 1;
        }
        moved
    }

    /// The same for what cannot be any more once the last participant has exited.
    pub(super) fn step_while_served(&mut self, key: ConversationId, trigger: Trigger) -> Option<()> {
        if self.conversations.get(&key).is_some_and(|conversation| conversation.exited) {
            self.strays += 1;
            return None;
        }
        self.step(key, trigger)
    }

    /// The same for what a server may say only once, whatever phase it left the conversation in.
    pub(super) fn step_once(
        &mut self,
        key: ConversationId,
        trigger: Trigger,
        said: impl Fn(&mut Conversation) -> &mut bool,
    ) -> Option<()> {
        if self.conversations.get_mut(&key).is_some_and(|conversation| *said(conversation)) {
            self.strays += 1;
            return None;
        }
        self.step(key, trigger)?;
        self.conversations.get_mut(&key).map(|conversation| *said(conversation) = true)
    }
}
