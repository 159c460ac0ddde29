//! Openers in the same program: links without a connection.

use core::time::Duration;

use liminal_proto::{
    Content, ConversationId, Event, Expects, Instant, Message, MessageId, Pid, StreamId, Terms,
};

use thiserror::Error;

use super::{Node, Peer};
use crate::LinkId;
use crate::id::Sequence;

/// A verb of a local link was called for a link that is a connection, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} is no local link")]
pub struct NotLocal(pub LinkId);

/// Gives out the ids that a client's connection would.
#[derive(Debug, Default)]
pub(super) struct Local {
    conversations: Sequence,
    messages: Sequence,
    monitors: Sequence,
}

impl Local {
    fn next_monitor(&mut self) -> StreamId {
        StreamId::new(u32::try_from(self.monitors.next()).unwrap_or(u32::MAX))
    }
}

/// # Openers in the same program
///
/// What they are told comes out of [`poll`](Node::poll) as [`NodeNext::Local`](super::NodeNext::Local).
impl Node {
    /// A new local link.
    pub fn local(&mut self, now: Instant) -> LinkId {
        self.see(now);
        let id = self.bus.connect(self.now);
        self.peers.insert(id, Peer::Local(Local::default()));
        id
    }

    /// Opens a conversation with whoever serves `subject`. Messages may follow at once.
    ///
    /// # Errors
    ///
    /// The link is not a local one.
    pub fn open(&mut self, now: Instant, link: LinkId, subject: &str) -> Result<ConversationId, NotLocal> {
        self.open_on(now, link, subject, Terms::default())
    }

    /// The same on terms of one's own.
    ///
    /// # Errors
    ///
    /// The link is not a local one.
    pub fn open_on(
        &mut self,
        now: Instant,
        link: LinkId,
        subject: &str,
        terms: Terms,
    ) -> Result<ConversationId, NotLocal> {
        let conversation = ConversationId::new(self.local_mut(link)?.conversations.next());
        self.local_event(now, link, Event::Open { conversation, subject: subject.into(), terms });
        Ok(conversation)
    }

    /// Says something that wants no reply.
    ///
    /// # Errors
    ///
    /// The link is not a local one.
    pub fn message(
        &mut self,
        now: Instant,
        link: LinkId,
        conversation: ConversationId,
        expects: Expects,
        content: impl Into<Content>,
    ) -> Result<MessageId, NotLocal> {
        self.send(now, link, conversation, expects, None, content.into())
    }

    /// Says something that wants a reply, within `timeout` if there is one.
    ///
    /// # Errors
    ///
    /// The link is not a local one.
    pub fn ask(
        &mut self,
        now: Instant,
        link: LinkId,
        conversation: ConversationId,
        timeout: Option<Duration>,
        content: impl Into<Content>,
    ) -> Result<MessageId, NotLocal> {
        self.send(now, link, conversation, Expects::Reply, timeout, content.into())
    }

    /// Closes a conversation. [`Command::Ended`](crate::Command::Ended) says when it is over.
    ///
    /// # Errors
    ///
    /// The link is not a local one.
    pub fn close(
        &mut self,
        now: Instant,
        link: LinkId,
        conversation: ConversationId,
    ) -> Result<(), NotLocal> {
        self.local_mut(link)?;
        self.local_event(now, link, Event::Close { conversation });
        Ok(())
    }

    /// Asks to be told of the life of the conversation that a participant takes part in, for which the link needs the
    /// [right](Self::grant). [`Command::Monitoring`](crate::Command::Monitoring) or
    /// [`Command::NotMonitoring`](crate::Command::NotMonitoring) is the answer.
    ///
    /// # Errors
    ///
    /// The link is not a local one.
    pub fn monitor(&mut self, now: Instant, link: LinkId, pid: Pid) -> Result<StreamId, NotLocal> {
        let monitor = self.local_mut(link)?.next_monitor();
        self.local_event(now, link, Event::Monitor { monitor, pid });
        Ok(monitor)
    }

    /// Asks to be told every record of the conversations on a subject, or with `None` of all.
    ///
    /// # Errors
    ///
    /// The link is not a local one.
    pub fn watch(&mut self, now: Instant, link: LinkId, subject: Option<&str>) -> Result<StreamId, NotLocal> {
        let monitor = self.local_mut(link)?.next_monitor();
        self.local_event(now, link, Event::Watch { monitor, subject: subject.map(Into::into) });
        Ok(monitor)
    }

    /// Takes a monitor or watch back. [`Command::Unmonitored`](crate::Command::Unmonitored) says when nothing comes
    /// any more; of one that is no more nothing is said.
    ///
    /// # Errors
    ///
    /// The link is not a local one.
    pub fn unmonitor(&mut self, now: Instant, link: LinkId, monitor: StreamId) -> Result<(), NotLocal> {
        self.local_mut(link)?;
        self.local_event(now, link, Event::Unmonitor { monitor });
        Ok(())
    }

    fn send(
        &mut self,
        now: Instant,
        link: LinkId,
        conversation: ConversationId,
        expects: Expects,
        timeout: Option<Duration>,
        content: Content,
    ) -> Result<MessageId, NotLocal> {
        let id = MessageId::new(self.local_mut(link)?.messages.next());
        let Content { payload, metadata } = content;
        let message = Message { conversation, id, expects, timeout, redelivered: 0, payload, metadata };
        self.local_event(now, link, Event::Message(message));
        Ok(id)
    }

    fn local_event(&mut self, now: Instant, link: LinkId, event: Event) {
        self.see(now);
        self.bus.event(self.now, link, event);
    }

    fn local_mut(&mut self, link: LinkId) -> Result<&mut Local, NotLocal> {
        match self.peers.get_mut(&link) {
            Some(Peer::Local(local)) => Ok(local),
            Some(Peer::Remote(_)) | None => Err(NotLocal(link)),
        }
    }
}
