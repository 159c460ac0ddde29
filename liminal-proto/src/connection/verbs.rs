//! The commands: what the embedder asks of the connection, between any two polls.

use core::time::Duration;

use bytes::Bytes;

use super::client::{Client, Outgoing};
use super::phase::{self, Trigger};
use super::sender::Sender;
use super::server::Server;
use super::{Connection, Phase, Role};
use crate::wire::Body;
use crate::{
    CommandError, ConversationId, Exit, Expects, Instant, MessageId, Outcome, Pid, ReasonCode, Rejected,
    Reply, Side, StreamId, Violation,
};

/// # Commands of both sides
impl Connection {
    /// Asks the peer for a sign of life; [`Event::Pong`](crate::Event::Pong) is the answer.
    ///
    /// # Errors
    ///
    /// The handshake is not through, the connection is over, or there is no room.
    pub fn ping(&mut self, now: Instant) -> Result<(), CommandError> {
        self.advance_clock(now);
        self.takes_commands()?;
        if self.sender.is_congested() {
            return Err(CommandError::Full);
        }
        self.sender.send(0, StreamId::CONTROL, Body::Ping)?;
        self.pings = self.pings.saturating_add(1);
        Ok(())
    }

    /// Closes gracefully: tells the peer, and ends when it has answered, or after
    /// [`close_time`](crate::Limits::close_time). Before the handshake is through it ends at once.
    pub fn disconnect(&mut self, now: Instant) {
        self.advance_clock(now);
        match phase::next(self.phase, Trigger::DisconnectSent) {
            Some(phase) => {
                // A Disconnect has no fields: there is nothing in it that could be refused.
                let _ = self.sender.send(0, StreamId::CONTROL, Body::Disconnect);
                self.phase = phase;
                self.timers.closing(self.now);
            }
            None if matches!(self.phase, Phase::Connecting | Phase::Authenticating) => {
                self.end(crate::CloseReason::Local);
            }
            None => {}
        }
    }
}

/// # Commands of a client
impl Connection {
    /// Opens a conversation with whoever serves `subject`. Messages may follow at once.
    ///
    /// # Errors
    ///
    /// Not connected, too many conversations, a subject above its limit, or no room.
    pub fn open(&mut self, now: Instant, subject: &str) -> Result<ConversationId, CommandError> {
        self.advance_clock(now);
        self.takes_new_work()?;
        let (client, sender) = client(&mut self.role, &mut self.sender)?;
        client.open(sender, &self.config.limits, subject)
    }

    /// Says something that wants no reply. With [`Expects::Acceptance`] an
    /// [`Event::Outcome`](crate::Event::Outcome) tells that it was accepted.
    ///
    /// # Errors
    ///
    /// The conversation takes no messages, the payload is too large, or there is no room; the payload
    /// comes back.
    pub fn message(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        expects: Expects,
        payload: Bytes,
    ) -> Result<MessageId, Rejected<Bytes>> {
        self.send(now, Outgoing { conversation, expects, timeout: None, payload })
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
        payload: Bytes,
    ) -> Result<MessageId, Rejected<Bytes>> {
        self.send(now, Outgoing { conversation, expects: Expects::Reply, timeout, payload })
    }

    fn send(&mut self, now: Instant, message: Outgoing) -> Result<MessageId, Rejected<Bytes>> {
        self.advance_clock(now);
        let now = self.now;
        let ready = self.takes_new_work().and_then(|()| client(&mut self.role, &mut self.sender));
        match ready {
            Ok((client, sender)) => client.send(now, sender, &self.config.limits, message),
            Err(reason) => Err(Rejected { payload: message.payload, reason }),
        }
    }

    /// Gives up waiting: a reply that still comes concerns nobody.
    ///
    /// # Errors
    ///
    /// The message is not outstanding.
    pub fn abandon(&mut self, conversation: ConversationId, message: MessageId) -> Result<(), CommandError> {
        let (client, sender) = client(&mut self.role, &mut self.sender)?;
        client.abandon(sender.dialect, &mut self.owed, conversation, message)
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
        let (client, sender) = client(&mut self.role, &mut self.sender)?;
        client.close(sender, &mut self.owed, conversation, reason)
    }

    /// A peer that wants to close gets no new work.
    const fn takes_new_work(&self) -> Result<(), CommandError> {
        match self.phase {
            Phase::Connecting | Phase::Authenticating => Err(CommandError::NotConnected),
            Phase::Active => Ok(()),
            Phase::ClosingPeer | Phase::ClosingLocal | Phase::Closed => Err(CommandError::ConnectionClosed),
        }
    }
}

/// # Commands of a server
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
        self.command(now, |server, sender| server.opened(sender, conversation, pid))
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
        self.command(now, |server, sender| server.refuse(sender, conversation, reason, text))?;
        // Want of room here, or the end of this server, is no fault of the client.
        if !matches!(reason, ReasonCode::BUSY | ReasonCode::STOPPING)
            && let Err(violation) = self.count_refusal()
        {
            self.fail(violation);
        }
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
        self.command(now, |server, sender| server.reply(sender, &reply))
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
        self.command(now, |server, sender| server.outcome(sender, conversation, message, outcome))
    }

    /// The participant has exited. Unless the conversation [goes on](Exit::goes_on) with another, its
    /// unanswered requests end with it; if it does, those that do not go on end by an
    /// [`outcome`](Self::outcome) each. On a 1.0 link, which has no word for it, a conversation that goes
    /// on does so in silence.
    ///
    /// # Errors
    ///
    /// There is no such conversation, its participant had exited for good before, or the conversation is
    /// to go on and was never open.
    pub fn exited(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        exit: &Exit,
    ) -> Result<(), CommandError> {
        self.command(now, |server, sender| server.exited(sender, conversation, exit))
    }

    /// Another participant has taken the place of one that exited. Nothing is said on a 1.0 link.
    ///
    /// # Errors
    ///
    /// There is no such conversation, it was never open, or it has failed.
    pub fn joined(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        pid: Pid,
    ) -> Result<(), CommandError> {
        self.command(now, |server, sender| server.joined(sender, conversation, pid))
    }

    /// Nobody takes the place of the participant that exited; unanswered requests end as exited.
    ///
    /// # Errors
    ///
    /// There is no such conversation, or it has failed before.
    pub fn failed(&mut self, now: Instant, conversation: ConversationId) -> Result<(), CommandError> {
        self.command(now, |server, sender| server.failed(sender, conversation))
    }

    /// The conversation is over, and its id forgotten.
    ///
    /// # Errors
    ///
    /// There is no such conversation.
    pub fn ended(&mut self, now: Instant, conversation: ConversationId) -> Result<(), CommandError> {
        self.command(now, |server, sender| server.ended(sender, conversation))
    }

    fn command(
        &mut self,
        now: Instant,
        act: impl FnOnce(&mut Server, &mut Sender) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        self.advance_clock(now);
        self.takes_commands()?;
        match &mut self.role {
            Role::Server(server) => act(server, &mut self.sender)?,
            Role::Client(_) => return Err(CommandError::WrongSide(Side::Server)),
        }
        if self.sender.is_overrun() {
            self.fail(Violation::Unread { queued: self.sender.output.len() });
        }
        Ok(())
    }
}

fn client<'a>(
    role: &'a mut Role,
    sender: &'a mut Sender,
) -> Result<(&'a mut Client, &'a mut Sender), CommandError> {
    match role {
        Role::Client(client) => Ok((client, sender)),
        Role::Server(_) => Err(CommandError::WrongSide(Side::Client)),
    }
}
