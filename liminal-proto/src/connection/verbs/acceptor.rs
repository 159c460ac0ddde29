//! Commands of the side with which a conversation was opened.

use super::super::Connection;
use super::super::acceptor::Acceptor;
use super::super::sender::Sender;
use crate::{
    CommandError, ConversationId, Exit, Instant, MessageId, Outcome, Pid, ReasonCode, Rejected, Reply, Side,
};

/// # Commands of whoever a conversation was opened with
///
/// A server; and a client in conversations that its participants were invited to.
impl Connection {
    /// The conversation is open, with this participant, or with none that only records.
    ///
    /// # Errors
    ///
    /// Nobody asked to open it.
    pub fn opened(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        pid: Option<Pid>,
    ) -> Result<(), CommandError> {
        self.command(now, conversation, |acceptor, sender| acceptor.opened(sender, conversation, pid))
    }

    /// The conversation is not opened.
    ///
    /// # Errors
    ///
    /// Nobody asked to open it.
    pub fn refuse(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        reason: ReasonCode,
        text: Option<&str>,
    ) -> Result<(), CommandError> {
        self.command(now, conversation, |acceptor, sender| {
            acceptor.refuse(sender, conversation, reason, text)
        })?;
        self.count_refusal_of_client(reason);
        Ok(())
    }

    /// A reply, or a part of one, to an outstanding request.
    ///
    /// # Errors
    ///
    /// There is no such request, the payload is too large, or the output queue is full; the reply
    /// comes back. On a 1.0 link, where parts are joined here, too much may be held back already
    /// ([`CommandError::Limit`]): waiting would not help then, so its request should be refused.
    pub fn reply(&mut self, now: Instant, reply: Reply) -> Result<(), Rejected<Reply>> {
        self.command(now, reply.conversation, |acceptor, sender| acceptor.reply(sender, &reply))
            .map_err(|reason| Rejected { payload: reply, reason })
    }

    /// How a message ended that no reply will end, or that it was accepted. [`Outcome::Exited`] says that
    /// it ended with its participant while the conversation goes on with another.
    ///
    /// # Errors
    ///
    /// There is no such conversation, or the request has ended already.
    pub fn outcome(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        message: MessageId,
        outcome: &Outcome,
    ) -> Result<(), CommandError> {
        self.command(now, conversation, |acceptor, sender| {
            acceptor.outcome(sender, conversation, message, outcome)
        })
    }

    /// The participant has exited. Unless the conversation [goes on](Exit::goes_on) with another, its
    /// unanswered requests end with it; if it does, those that do not go on end by an
    /// [`outcome`](Self::outcome) each. On a 1.0 link, which has no word for it, a conversation that goes
    /// on does so in silence.
    ///
    /// # Errors
    ///
    /// There is no such conversation, its participant had exited for good before, or the conversation is
    /// to go on and was never open, or not with a server.
    pub fn exited(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        exit: &Exit,
    ) -> Result<(), CommandError> {
        if exit.goes_on {
            self.must_be(Side::Server)?;
        }
        self.command(now, conversation, |acceptor, sender| acceptor.exited(sender, conversation, exit))
    }

    /// Another participant has taken the place of one that exited. Nothing is said on a 1.0 link.
    ///
    /// # Errors
    ///
    /// There is no such conversation, it was never open, or it has failed, or this is a client's side.
    pub fn joined(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        pid: Pid,
    ) -> Result<(), CommandError> {
        self.must_be(Side::Server)?;
        self.command(now, conversation, |acceptor, sender| acceptor.joined(sender, conversation, pid))
    }

    /// Nobody takes the place of the participant that exited; unanswered requests end as exited.
    ///
    /// # Errors
    ///
    /// There is no such conversation, or it has failed before, or this is a client's side.
    pub fn failed(&mut self, now: Instant, conversation: ConversationId) -> Result<(), CommandError> {
        self.must_be(Side::Server)?;
        self.command(now, conversation, |acceptor, sender| acceptor.failed(sender, conversation))
    }

    /// The conversation is over, and its id forgotten.
    ///
    /// # Errors
    ///
    /// There is no such conversation.
    pub fn ended(&mut self, now: Instant, conversation: ConversationId) -> Result<(), CommandError> {
        self.command(now, conversation, |acceptor, sender| acceptor.ended(sender, conversation))
    }

    fn command(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        act: impl FnOnce(&mut Acceptor, &mut Sender) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        self.advance_clock(now);
        self.takes_commands()?;
        if self.is_own(conversation) {
            return Err(CommandError::WrongSide(self.side.other()));
        }
        act(&mut self.acceptor, &mut self.sender)?;
        self.end_if_unread();
        Ok(())
    }
}
