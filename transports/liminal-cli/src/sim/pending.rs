//! What was begun in a run, and has not ended yet.

use std::collections::{BTreeMap, BTreeSet};

use liminal_core::transcript::{BusId, Entry, Noted, OpenerId};
use liminal_core::{Answer, ConversationKey, Recorded, Ticket};
use liminal_proto::{ConversationId, Event, Expects, MessageId};

/// What was begun and has not ended yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    calls: BTreeMap<(BusId, Ticket), ConversationKey>,
    /// Participants that are to be called again.
    sleeping: BTreeSet<(BusId, ConversationKey)>,
    /// What nobody who speaks 1.0 is told of.
    unconfirmed: BTreeSet<OpenerId>,
    openings: BTreeSet<(OpenerId, ConversationId)>,
    messages: BTreeSet<(OpenerId, ConversationId, MessageId)>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
            && self.sleeping.is_empty()
            && self.openings.is_empty()
            && self.messages.is_empty()
    }

    pub(super) fn on_entry(&mut self, entry: &Entry) {
        let bus = entry.bus;
        match &entry.what {
            Noted::Called { ticket, invocation } => {
                self.calls.insert((bus, *ticket), invocation.conversation);
                self.sleeping.remove(&(bus, invocation.conversation));
            }
            Noted::Answered { ticket, answer } if answer.returns() => {
                let conversation = self.calls.remove(&(bus, *ticket));
                if let (Answer::WakeAfter(_) | Answer::Busy, Some(conversation)) = (answer, conversation) {
                    self.sleeping.insert((bus, conversation));
                }
            }
            Noted::Recorded { conversation, record } => {
                if matches!(
                    record.what,
                    Recorded::Left { .. }
                        | Recorded::Exited { .. }
                        | Recorded::JoinRefused { .. }
                        | Recorded::Failed
                ) {
                    self.sleeping.remove(&(bus, *conversation));
                }
            }
            Noted::Said { opener, event } => self.on_said(*opener, event),
            Noted::Told { opener, event } => self.on_told(*opener, event),
            _ => {}
        }
    }

    fn on_said(&mut self, opener: OpenerId, event: &Event) {
        let confirmed = !self.unconfirmed.contains(&opener);
        match event {
            Event::Open { conversation, .. } if confirmed => {
                self.openings.insert((opener, *conversation));
            }
            Event::Message(message) => {
                let awaited = match message.expects {
                    Expects::Reply => true,
                    Expects::Acceptance => confirmed,
                    Expects::Nothing => false,
                };
                if awaited {
                    self.messages.insert((opener, message.conversation, message.id));
                }
            }
            _ => {}
        }
    }

    fn on_told(&mut self, opener: OpenerId, event: &Event) {
        match event {
            Event::Connected { version } if version.major == 1 => {
                self.unconfirmed.insert(opener);
            }
            Event::Opened { conversation, .. }
            | Event::Refused { conversation, .. }
            | Event::Ended { conversation } => {
                self.openings.remove(&(opener, *conversation));
            }
            Event::Reply(reply) if reply.last => {
                self.messages.remove(&(opener, reply.conversation, reply.answers));
            }
            Event::Outcome { conversation, message, .. } => {
                self.messages.remove(&(opener, *conversation, *message));
            }
            Event::Closed(_) => {
                self.openings.retain(|(of, _)| *of != opener);
                self.messages.retain(|(of, ..)| *of != opener);
            }
            _ => {}
        }
    }
}
