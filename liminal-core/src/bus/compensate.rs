//! The conversations that the bus itself opens, so that somebody sees to what was left undone.

use core::fmt;

use alloc::boxed::Box;
use alloc::string::String;

use bytes::Bytes;
use liminal_proto::{
    ConversationId, ExitReason, MessageId, Metadata, Outcome, Pid, ReasonCode, RecordNumber,
};

use super::common::Common;
use super::conversation::{Conversation, Queued};
use super::link::Link;
use super::open::Wanted;
use super::{Bus, BusNext};
use crate::notice::{Notice, Unanswered};
use crate::phase::Trigger;
use crate::{Command, ConversationKey, CrashPolicy, LinkId, Offer, OfferId, Recorded};

/// The bus's own conversations say one thing.
const NOTICE: MessageId = MessageId::new(1);

/// What is to be compensated, and by whom.
#[derive(Debug)]
pub(super) struct Compensation {
    conversation: ConversationKey,
    subject: String,
    notice: Bytes,
}

/// That nobody has handled a notice: a compensation has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uncompensated {
    /// Whose participant had exited.
    pub conversation: ConversationKey,
    /// The subject that the notice was sent on.
    pub subject: String,
    /// Why: nobody serves it, it was refused, the participant exited, or there was no reply in time.
    pub why: Outcome,
}

impl fmt::Display for Uncompensated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not compensated on {:?}: ", self.conversation, self.subject)?;
        match &self.why {
            Outcome::Refused { reason, text: None } => write!(f, "{reason}"),
            Outcome::Refused { reason, text: Some(text) } => write!(f, "{reason}: {}", text.escape_debug()),
            Outcome::Exited => f.write_str("the participant has exited"),
            Outcome::Deadline => f.write_str("no reply in time"),
            Outcome::Unknown | Outcome::Accepted { .. } | _ => f.write_str("its end is not known"),
        }
    }
}

impl Bus {
    /// Opens what exits have asked for. Also while stopping: what was begun before is seen to.
    pub(super) fn compensate(&mut self) {
        for compensation in core::mem::take(&mut self.common.compensations) {
            let id = ConversationId::new(self.common.own_ids.next());
            let Compensation { conversation, subject, notice } = compensation;
            let found = self.find_compensator(&subject);
            let pending = Uncompensated { conversation, subject: subject.clone(), why: Outcome::Unknown };
            self.common.notices.insert(id, pending);
            self.common.counters.compensations += 1;
            match found {
                Ok(offer) => {
                    if self.common.links.get(&LinkId::BUS).is_none() {
                        self.common.links.insert(LinkId::BUS, Box::new(Link::new()));
                    }
                    let key =
                        self.create(LinkId::BUS, id, offer, subject, CrashPolicy::Fail, Wanted::default());
                    self.with(key, |conversation, common| conversation.send_notice(common, notice));
                }
                Err(reason) => self.common.uncompensated(id, Outcome::Refused { reason, text: None }),
            }
        }
    }

    fn find_compensator(&mut self, subject: &str) -> Result<(OfferId, bool), ReasonCode> {
        if self.compensating() >= self.common.settings.conversations_per_link_max {
            return Err(ReasonCode::LIMIT);
        }
        let pick = self.common.offers.pick(subject, &[], &[]);
        let pick = pick.filter(|pick| pick.kind == Offer::Participant).ok_or(ReasonCode::NO_PARTICIPANT)?;
        Ok((pick.offer, pick.alone))
    }

    /// How many compensations are not over. A graceful stop waits for them as it does for links.
    #[must_use]
    pub fn compensating(&self) -> usize {
        self.common.links.get(&LinkId::BUS).map_or(0, |link| link.seats)
    }
}

impl Common {
    /// What the bus is told as the owner of a conversation. It ends by itself: what matters is whether
    /// somebody has replied to its notice.
    pub(super) fn on_own(&mut self, command: &Command) {
        match command {
            Command::Reply(reply) if reply.last => {
                self.notices.remove(&reply.conversation);
            }
            Command::Outcome { conversation, outcome, .. } => {
                self.uncompensated(*conversation, outcome.clone());
            }
            Command::Exited { conversation, .. } => self.uncompensated(*conversation, Outcome::Exited),
            Command::Reply(_)
            | Command::Opened { .. }
            | Command::Refused { .. }
            | Command::Joined { .. }
            | Command::Failed { .. }
            | Command::Ended { .. }
            | _ => {}
        }
    }

    fn uncompensated(&mut self, id: ConversationId, why: Outcome) {
        if let Some(pending) = self.notices.remove(&id) {
            self.counters.compensations_failed += 1;
            self.push(BusNext::Uncompensated(Uncompensated { why, ..pending }));
        }
    }

    /// How long a notice may be: all that wait together stay within the bound of one link.
    fn notice_room(&self) -> usize {
        let held = self.links.get(&LinkId::BUS).map_or(0, |link| link.held_bytes);
        self.settings.held_bytes_per_link_max.saturating_sub(held).min(self.settings.notice_bytes_max)
    }
}

impl Conversation {
    /// What is to be done about its exit, if anything. Before what it held is released.
    pub(super) fn compensation(
        &self,
        common: &Common,
        pid: Pid,
        reason: &ExitReason,
        record: RecordNumber,
    ) -> Option<Compensation> {
        let CrashPolicy::Compensate(subject) = &self.policy else { return None };
        let notice = Notice { conversation: self.key(), subject: &self.subject, pid, reason, record };
        let notice = notice.line(self.unanswered(), common.notice_room());
        Some(Compensation { conversation: self.key(), subject: subject.clone(), notice })
    }

    /// What the participant was not through with, in its order.
    fn unanswered(&self) -> impl Iterator<Item = Unanswered<'_>> {
        let in_hand = self.hand.as_ref().filter(|hand| hand.request.is_some() || !hand.asked);
        let in_hand = in_hand.and_then(|hand| {
            let content = hand.content.as_ref()?;
            let (record, id, asked) = (hand.record, hand.id, hand.asked);
            Some(Unanswered { record, id, asked, delivered: true, content })
        });
        let waiting = self.queue.iter().map(|(record, queued)| Unanswered {
            record: *record,
            id: queued.id,
            asked: queued.deadline.is_some(),
            delivered: false,
            content: &queued.content,
        });
        in_hand.into_iter().chain(waiting)
    }

    /// Says the one thing that it is for, and closes behind it: it ends with the reply.
    fn send_notice(&mut self, common: &mut Common, payload: Bytes) {
        let deadline = common.now.after(common.settings.clamp(common.settings.compensation_time));
        common.counters.messages += 1;
        let number = self.record(common, || {
            let (payload, metadata) = (payload.clone(), Metadata::default());
            Recorded::Request { id: NOTICE, deadline, payload, metadata }
        });
        let content = payload.into();
        let queued = Queued { id: NOTICE, deadline: Some(deadline), moves: 0, content };
        self.charge(common, queued.charge());
        self.enqueue(common, number, queued);
        self.step(Trigger::Close);
        self.close_by = Some(deadline);
    }
}
