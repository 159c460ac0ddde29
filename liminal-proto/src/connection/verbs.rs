//! The commands: what the embedder asks of the connection, between any two polls.

mod acceptor;
mod credit;
mod monitors;
mod offers;
mod opener;

use super::phase::{self, Trigger};
use super::{Connection, Phase};
use crate::wire::{Body, Dialect};
use crate::{CommandError, ConversationId, Instant, ReasonCode, Side, StreamId, Violation};

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

impl Connection {
    pub(super) fn must_be(&self, side: Side) -> Result<(), CommandError> {
        if self.side == side { Ok(()) } else { Err(CommandError::WrongSide(side)) }
    }

    pub(super) fn must_own(&self, conversation: ConversationId) -> Result<(), CommandError> {
        if self.is_own(conversation) { Ok(()) } else { Err(CommandError::WrongSide(self.side.other())) }
    }

    pub(super) fn needs_version_2(&self) -> Result<(), CommandError> {
        match self.sender.dialect {
            Dialect::V1 => Err(CommandError::NeedsVersion2),
            Dialect::V2 => Ok(()),
        }
    }

    /// A peer that wants to close gets no new work.
    pub(super) const fn takes_new_work(&self) -> Result<(), CommandError> {
        match self.phase {
            Phase::Connecting | Phase::Authenticating => Err(CommandError::NotConnected),
            Phase::Active => Ok(()),
            Phase::ClosingPeer | Phase::ClosingLocal | Phase::Closed => Err(CommandError::ConnectionClosed),
        }
    }

    /// Want of room here, or the end of this server, is no fault of the client. Nor is it one of the server if
    /// a participant of a client does not join: whoever opened the conversation brought it about.
    pub(super) fn count_refusal_of_client(&mut self, reason: ReasonCode) {
        if self.side == Side::Server
            && !matches!(reason, ReasonCode::BUSY | ReasonCode::STOPPING)
            && let Err(violation) = self.count_refusal()
        {
            self.fail(violation);
        }
    }

    pub(super) fn end_if_unread(&mut self) {
        if self.sender.is_overrun() {
            self.fail(Violation::Unread { queued: self.sender.output.len() });
        }
    }
}
