//! What both sides say of what they were told.

use super::super::credit::Said;
use super::super::{Connection, Phase};
use crate::{ConversationId, Instant};

/// # Commands of both sides
impl Connection {
    /// This side is through with something that the other one has said in a conversation, and that
    /// had this length, its payload and its metadata ([`Message::len`](crate::Message::len), [`Reply::len`](crate::Reply::len)): a reply, or a message that wanted none. (A request is dealt with when it has ended.) Nothing
    /// is to be said of the rest of a conversation that is over, or whose participant has exited for good, nor after the
    /// end of the connection.
    ///
    /// A conversation that was only [closed](Connection::close) is not over before its end has come, and that comes
    /// behind everything that waits for credit: what nobody will read is dealt with, too.
    ///
    /// For an embedder that queues what it polls and is configured to [say so](crate::CreditGiven::Consumed); of any
    /// other this is ignored.
    pub fn consumed(&mut self, now: Instant, conversation: ConversationId, len: usize) {
        self.advance_clock(now);
        if self.sender.credit.is_given_when_polled() || self.phase == Phase::Closed {
            return;
        }
        let (said, flow) = if self.is_own(conversation) {
            (Said::Reply, self.opener.flow_mut(conversation))
        } else {
            (Said::Message, self.acceptor.flow_mut(conversation))
        };
        if let Some((stream, flow)) = flow {
            self.sender.give_back(said, stream, flow, len);
        }
    }
}
