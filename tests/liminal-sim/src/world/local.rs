//! Openers in the program of a bus: what a connection does for its opener, without a connection.

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use liminal_core::transcript::OpenerId;
use liminal_core::{Command, LinkId, Node};
use liminal_proto::{
    CloseReason, Connection, ConversationId, Event, Expects, Instant, MessageId, Outcome, ReasonCode, Terms,
};

/// An opener's side of a local link. The bus says of many requests at once that they have ended; a connection
/// tells its opener of each, and so does this.
pub(crate) struct LocalLink {
    pub(super) opener: OpenerId,
    pub(super) link: LinkId,
    talks: BTreeMap<ConversationId, Talk>,
    /// The opener has asked for its end.
    pub(super) leaves: bool,
}

/// A conversation that is not over.
#[derive(Default)]
struct Talk {
    /// It was told to close, or has no participant any more.
    is_closed: bool,
    /// Messages of which the end is to be told.
    awaited: Vec<MessageId>,
}

impl LocalLink {
    pub(super) const fn new(opener: OpenerId, link: LinkId) -> Self {
        Self { opener, link, talks: BTreeMap::new(), leaves: false }
    }

    /// What the opener is told when the bus says this.
    pub(super) fn told(&mut self, command: Command) -> Vec<Event> {
        match command {
            Command::Opened { conversation, pid } => vec![Event::Opened { conversation, pid }],
            Command::Joined { conversation, pid } => vec![Event::Joined { conversation, pid }],
            Command::Reply(reply) => {
                if reply.last {
                    self.take_awaited(reply.conversation, reply.answers);
                }
                vec![Event::Reply(reply)]
            }
            Command::Outcome { conversation, message, outcome } => {
                self.take_awaited(conversation, message);
                // The refusal of its conversation was the end of all that was said in it.
                let known = self.talks.contains_key(&conversation);
                known.then_some(Event::Outcome { conversation, message, outcome }).into_iter().collect()
            }
            Command::Refused { conversation, reason, text } => {
                let refused = Outcome::Refused { reason, text: None };
                let ends = self.end(conversation, &refused);
                self.talks.remove(&conversation);
                [vec![Event::Refused { conversation, reason, text }], ends].concat()
            }
            Command::Exited { conversation, exit } => {
                let goes_on = exit.goes_on;
                let ends = if goes_on { Vec::new() } else { self.fail(conversation) };
                [vec![Event::Exited { conversation, exit }], ends].concat()
            }
            Command::Failed { conversation } => {
                [vec![Event::Failed { conversation }], self.fail(conversation)].concat()
            }
            Command::Ended { conversation } => {
                let cancelled = Outcome::Refused { reason: ReasonCode::CANCELLED, text: None };
                let ends = self.end(conversation, &cancelled);
                self.talks.remove(&conversation);
                [ends, vec![Event::Ended { conversation }]].concat()
            }
            _ => Vec::new(),
        }
    }

    /// What it is told when it leaves.
    pub(super) fn ended(mut self) -> Vec<Event> {
        let open: Vec<ConversationId> = self.talks.keys().copied().collect();
        let ends = open.into_iter().flat_map(|id| self.end(id, &Outcome::Unknown));
        ends.collect::<Vec<_>>().into_iter().chain([Event::Closed(CloseReason::Local)]).collect()
    }

    fn fail(&mut self, conversation: ConversationId) -> Vec<Event> {
        if let Some(talk) = self.talks.get_mut(&conversation) {
            talk.is_closed = true;
        }
        self.end(conversation, &Outcome::Exited)
    }

    /// Everything that is awaited in a conversation ends like this.
    fn end(&mut self, conversation: ConversationId, outcome: &Outcome) -> Vec<Event> {
        let talk = self.talks.get_mut(&conversation);
        let awaited = talk.map(|talk| mem::take(&mut talk.awaited)).unwrap_or_default();
        let end = |message| Event::Outcome { conversation, message, outcome: outcome.clone() };
        awaited.into_iter().map(end).collect()
    }

    fn take_awaited(&mut self, conversation: ConversationId, message: MessageId) {
        if let Some(talk) = self.talks.get_mut(&conversation) {
            talk.awaited.retain(|it| *it != message);
        }
    }
}

/// What an opener speaks through.
pub(crate) enum Side<'a> {
    Remote(&'a mut Connection),
    Local(&'a mut Node, &'a mut LocalLink),
}

impl Side<'_> {
    pub(crate) fn open(&mut self, now: Instant, subject: &str, terms: Terms) -> Option<ConversationId> {
        match self {
            Self::Remote(connection) if terms == Terms::default() => connection.open(now, subject).ok(),
            Self::Remote(connection) => connection.open_on(now, subject, terms).ok(),
            Self::Local(node, local) => {
                let id = node.open_on(now, local.link, subject, terms).ok()?;
                local.talks.insert(id, Talk::default());
                Some(id)
            }
        }
    }

    pub(crate) fn say(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        (expects, timeout): (Expects, Option<Duration>),
        payload: Bytes,
    ) -> Option<MessageId> {
        match self {
            Self::Remote(connection) if expects == Expects::Reply => {
                connection.ask(now, conversation, timeout, payload).ok()
            }
            Self::Remote(connection) => connection.message(now, conversation, expects, payload).ok(),
            Self::Local(node, local) => {
                let talk = local.talks.get_mut(&conversation).filter(|talk| !talk.is_closed)?;
                let id = if expects == Expects::Reply {
                    node.ask(now, local.link, conversation, timeout, payload)
                } else {
                    node.message(now, local.link, conversation, expects, payload)
                };
                let id = id.ok()?;
                talk.awaited.extend((expects != Expects::Nothing).then_some(id));
                Some(id)
            }
        }
    }

    /// Says whether the bus will be told.
    pub(crate) fn close(&mut self, now: Instant, conversation: ConversationId) -> bool {
        match self {
            Self::Remote(connection) => connection.close(now, conversation, None).is_ok(),
            Self::Local(node, local) => {
                let Some(talk) = local.talks.get_mut(&conversation) else { return false };
                talk.is_closed = true;
                node.close(now, local.link, conversation).is_ok()
            }
        }
    }

    pub(crate) fn disconnect(&mut self, now: Instant) {
        match self {
            Self::Remote(connection) => connection.disconnect(now),
            Self::Local(_, local) => local.leaves = true,
        }
    }
}
