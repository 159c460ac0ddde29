//! The conversations of openers, as their connections show them.

use std::collections::{BTreeMap, BTreeSet};

use liminal_core::transcript::{Entry, Noted, OpenerId};
use liminal_proto::{
    ConversationId, ConversationPhase as Phase, ConversationTrigger as Trigger, Event, Outcome,
};

use super::Transition;

#[derive(Default)]
pub(super) struct AtOpener {
    openers: BTreeMap<OpenerId, Opener>,
    reached: BTreeSet<(Phase, Trigger)>,
}

#[derive(Default)]
struct Opener {
    is_v1: bool,
    conversations: BTreeMap<ConversationId, Phase>,
}

impl AtOpener {
    pub(super) fn reached(self) -> impl Iterator<Item = Transition> {
        self.reached.into_iter().map(|(phase, trigger)| Transition::AtOpener(phase, trigger))
    }

    pub(super) fn on_entry(&mut self, entry: &Entry) {
        match &entry.what {
            Noted::Said { opener, event } | Noted::Told { opener, event } => self.on_event(*opener, event),
            Noted::Gone { opener } => {
                self.openers.remove(opener);
            }
            _ => {}
        }
    }

    fn on_event(&mut self, who: OpenerId, event: &Event) {
        let opener = self.openers.entry(who).or_default();
        let (conversation, trigger) = match event {
            Event::Connected { version } => {
                opener.is_v1 = version.major == 1;
                return;
            }
            Event::Open { conversation, .. } => {
                // 1.0 is silent on success: a conversation counts as open until an error comes.
                let phase = if opener.is_v1 { Phase::Open } else { Phase::Opening };
                opener.conversations.insert(*conversation, phase);
                return;
            }
            Event::Close { conversation } => (conversation, Trigger::Close),
            Event::Opened { conversation, .. } => (conversation, Trigger::Opened),
            Event::Refused { conversation, .. } => (conversation, Trigger::Refused),
            Event::Exited { conversation, exit } if exit.goes_on => (conversation, Trigger::Rerouted),
            Event::Exited { conversation, .. } | Event::Failed { conversation } => {
                (conversation, Trigger::Exited)
            }
            // 1.0 tells of an exit only where it ends a message.
            Event::Outcome { conversation, outcome: Outcome::Exited, .. } if opener.is_v1 => {
                (conversation, Trigger::Exited)
            }
            Event::Joined { conversation, .. } => (conversation, Trigger::Joined),
            Event::Ended { conversation } => (conversation, Trigger::Ended),
            _ => return,
        };
        if let Some(phase) = opener.conversations.get_mut(conversation)
            && let Some(next) = phase.next(trigger)
        {
            self.reached.insert((*phase, trigger));
            *phase = next;
        }
    }
}
