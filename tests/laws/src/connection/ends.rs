//! Promises Q1 and Q2, on the side that opens conversations.

use std::collections::{BTreeMap, BTreeSet};

use liminal_proto::{ConversationId, Event, MessageId};

type Key = (ConversationId, MessageId);

/// What became of everything that was sent, under a peer that sends whatever it likes.
#[derive(Debug, Default)]
pub struct Ends {
    awaited: BTreeSet<Key>,
    requests: BTreeSet<Key>,
    ended: BTreeMap<Key, u32>,
    /// Whose last participant is gone.
    failed: BTreeSet<ConversationId>,
    opened: BTreeSet<ConversationId>,
    gone: BTreeSet<ConversationId>,
}

impl Ends {
    /// A request was sent.
    pub fn asks(&mut self, conversation: ConversationId, message: MessageId) {
        self.requests.insert((conversation, message));
        self.awaits(conversation, message);
    }

    /// A message was sent whose end will be told.
    pub fn awaits(&mut self, conversation: ConversationId, message: MessageId) {
        assert!(self.awaited.insert((conversation, message)), "{message} was used before");
    }

    /// The nth of all that was ever awaited.
    #[must_use]
    pub fn nth(&self, nth: usize) -> Option<(ConversationId, MessageId)> {
        self.awaited.iter().nth(nth).copied()
    }

    /// Whoever sent it was told something.
    pub fn on_event(&mut self, event: &Event) {
        match event {
            Event::Reply(reply) => {
                let at = (reply.conversation, reply.answers);
                assert!(self.requests.contains(&at), "Q2: a reply to what was no request: {reply:?}");
                assert!(!self.ended.contains_key(&at), "Q1: a reply after the end: {reply:?}");
                if reply.last {
                    self.ends(reply.conversation, reply.answers);
                }
            }
            Event::Outcome { conversation, message, .. } => {
                let is_invited = conversation.get() % 2 == 0;
                let at = (*conversation, *message);
                assert!(!is_invited || self.awaited.contains(&at), "Q2: nobody awaits {at:?}");
                self.ends(*conversation, *message);
            }
            Event::Exited { conversation, exit } if exit.goes_on => self.is_served(*conversation),
            Event::Joined { conversation, .. } => self.is_served(*conversation),
            Event::Exited { conversation, .. } | Event::Failed { conversation } => {
                assert!(self.failed.insert(*conversation), "{conversation} fails twice");
            }
            Event::Opened { conversation, .. } => assert!(self.opened.insert(*conversation)),
            Event::Ended { conversation } | Event::Refused { conversation, .. } => {
                assert!(self.gone.insert(*conversation), "{conversation} is over twice");
            }
            _ => {}
        }
    }

    /// A message has ended, or is not waited for any more.
    pub fn ends(&mut self, conversation: ConversationId, message: MessageId) {
        let at = (conversation, message);
        // Of a message that nobody awaits nothing is remembered, so a server may make up its failure to a client.
        if self.awaited.contains(&at) {
            let times = self.ended.entry(at).or_default();
            *times += 1;
            assert_eq!(*times, 1, "Q1: a second end of {at:?}");
        }
    }

    /// All that was awaited has ended.
    pub fn assert_complete(&self) {
        for at in &self.awaited {
            assert_eq!(self.ended.get(at), Some(&1), "Q1: {at:?} has no end");
        }
    }

    fn is_served(&self, conversation: ConversationId) {
        assert!(!self.failed.contains(&conversation), "{conversation} goes on after its end");
        assert_eq!(conversation.get() % 2, 1, "a participant of a client has none to take its place");
    }
}
