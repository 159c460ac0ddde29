//! Commands of the side that opened a conversation.

use core::time::Duration;

use super::super::Connection;
use super::super::opener::Outgoing;
use crate::{
    CommandError, Content, ConversationId, Event, Expects, Instant, Message, MessageId, Outcome, Pid,
    ReasonCode, Rejected, Side, Terms,
};

/// # Commands of whoever opens a conversation
///
/// A client; and a server in conversations with participants that its clients serve with.
impl Connection {
    /// Opens a conversation with whoever serves `subject`. Messages may follow at once.
    ///
    /// # Errors
    ///
    /// Not connected, too many conversations, a subject above its limit, or no room.
    pub fn open(&mut self, now: Instant, subject: &str) -> Result<ConversationId, CommandError> {
        self.advance_clock(now);
        self.takes_new_work()?;
        self.must_be(Side::Client)?;
        self.opener.open(&mut self.sender, &self.config.limits, subject)
    }

    /// Opens a conversation on terms of one's own. Messages may follow at once.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and a 1.0 link, where nobody can say so.
    pub fn open_on(
        &mut self,
        now: Instant,
        subject: &str,
        terms: Terms,
    ) -> Result<ConversationId, CommandError> {
        self.advance_clock(now);
        self.takes_new_work()?;
        self.must_be(Side::Client)?;
        self.needs_version_2()?;
        self.opener.open_on(&mut self.sender, &self.config.limits, subject, terms)
    }

    /// Opens a conversation with a participant of the client, under an id that no conversation had before on
    /// this connection: an even number that fits a [`StreamId`](crate::StreamId), and not 0. Messages may be
    /// [delivered](Self::deliver) at once.
    ///
    /// # Errors
    ///
    /// Not connected, a 1.0 link, a client's side, an id that is none of a server's or is open, a subject
    /// above its limit, too many conversations, or no room.
    pub fn invite(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        pid: Pid,
        subject: &str,
    ) -> Result<(), CommandError> {
        self.advance_clock(now);
        self.takes_new_work()?;
        self.must_be(Side::Server)?;
        self.needs_version_2()?;
        self.must_own(conversation)?;
        if !(2..=u64::from(u32::MAX)).contains(&conversation.get()) {
            return Err(CommandError::NotOpen(conversation));
        }
        self.opener.invite(&mut self.sender, &self.config.limits, conversation, pid, subject)
    }

    /// Says something that wants no reply. With [`Expects::Acceptance`] an
    /// [`Event::Outcome`](crate::Event::Outcome) tells that it was accepted.
    ///
    /// # Errors
    ///
    /// The conversation takes no messages, it is too large, it has headers and this is a 1.0 link, which knows none, or
    /// there is no room; what was to be said comes back.
    pub fn message(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        expects: Expects,
        content: impl Into<Content>,
    ) -> Result<MessageId, Rejected<Content>> {
        let content = content.into();
        self.send(now, Outgoing { conversation, expects, timeout: None, content, delivery: None })
    }

    /// Says something that wants a reply, within `timeout` if there is one. Exactly one last
    /// [`Event::Reply`](crate::Event::Reply) or [`Event::Outcome`](crate::Event::Outcome) ends it.
    ///
    /// # Errors
    ///
    /// Those of [`message`](Self::message), and too many outstanding requests.
    pub fn ask(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        timeout: Option<Duration>,
        content: impl Into<Content>,
    ) -> Result<MessageId, Rejected<Content>> {
        let content = content.into();
        self.send(now, Outgoing { conversation, expects: Expects::Reply, timeout, content, delivery: None })
    }

    /// Says to a participant of the client what somebody else said, under the number that it has for this
    /// side: it must be above all before it in its conversation. The time for a reply is told, and minded by
    /// whoever calls this: one that comes later is given as any other, until it is
    /// [abandoned](Self::abandon). Of a message that expects nothing nothing is heard, not even that it was
    /// refused.
    ///
    /// # Errors
    ///
    /// The conversation takes no messages, a client's side, a number that does not come after the last one, too
    /// many outstanding requests, or no room; the message comes back. One that this connection can never carry
    /// is answered instead: an [`Event::Outcome`](crate::Event::Outcome) refuses it.
    pub fn deliver(&mut self, now: Instant, message: Message) -> Result<(), Rejected<Message>> {
        let Message { conversation, id, expects, timeout, redelivered, ref payload, ref metadata } = message;
        let content = Content::new(payload.clone(), metadata.clone());
        let delivery = Some((id, redelivered));
        let may = self.must_be(Side::Server).and_then(|()| self.takes_new_work());
        let sent = match may.and_then(|()| self.needs_version_2()) {
            Ok(()) => self
                .send(now, Outgoing { conversation, expects, timeout, content, delivery })
                .map_err(|rejected| rejected.reason),
            Err(reason) => Err(reason),
        };
        match sent {
            Ok(_) => Ok(()),
            Err(CommandError::TooLarge { .. } | CommandError::Unencodable(_)) => {
                self.opener.skip(conversation, id);
                if expects != Expects::Nothing {
                    let outcome = Outcome::Refused { reason: ReasonCode::TOO_LARGE, text: None };
                    self.owed.push_back(Event::Outcome { conversation, message: id, outcome });
                }
                Ok(())
            }
            Err(reason) => Err(Rejected { payload: message, reason }),
        }
    }

    fn send(&mut self, now: Instant, message: Outgoing) -> Result<MessageId, Rejected<Content>> {
        self.advance_clock(now);
        let now = self.now;
        match self.takes_new_work().and_then(|()| self.must_own(message.conversation)) {
            Ok(()) => self.opener.send(now, &mut self.sender, &self.config.limits, message),
            Err(reason) => Err(Rejected { payload: message.content, reason }),
        }
    }

    /// Gives up waiting: a reply that still comes concerns nobody.
    ///
    /// # Errors
    ///
    /// The message is not outstanding.
    pub fn abandon(&mut self, conversation: ConversationId, message: MessageId) -> Result<(), CommandError> {
        self.must_own(conversation)?;
        self.opener.abandon(self.sender.dialect, &mut self.owed, conversation, message)
    }

    /// Closes a conversation. Outstanding requests run to their end, then comes
    /// [`Event::Ended`](crate::Event::Ended). Closing a failed conversation releases it.
    ///
    /// # Errors
    ///
    /// It is not open, or closing already.
    pub fn close(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        reason: Option<ReasonCode>,
    ) -> Result<(), CommandError> {
        self.advance_clock(now);
        self.takes_commands()?;
        self.must_own(conversation)?;
        self.opener.close(&mut self.sender, &mut self.owed, conversation, reason)?;
        self.end_if_unread();
        Ok(())
    }
}
