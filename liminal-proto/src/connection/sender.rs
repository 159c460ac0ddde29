//! How frames leave: encoding into the output queue, within its bounds.

use alloc::string::String;
use core::borrow::Borrow;

use bytes::Bytes;

use super::credit::{Credit, Flow, Said};
use super::output::Output;
use crate::wire::{Body, Dialect, Frame, HEADER_LEN, Measured};
use crate::{CommandError, Config, ConversationId, Limits, ReasonCode, StreamId};

/// What a 1.0 message takes on the wire besides its payload: header, conversation id, and an
/// envelope with its length that states no schema and no cause.
pub(super) const FRAME_V1: usize = HEADER_LEN + 8 + 4 + 42;

/// The output queue, the dialect that frames are encoded in, and the bounds on both.
pub(super) struct Sender {
    pub(super) output: Output,
    pub(super) dialect: Dialect,
    pub(super) credit: Credit,
    payload_max: usize,
    soft_max: usize,
    /// The length of the reply that found no room last; 0 when the last one did.
    held_back: usize,
    hard_max: usize,
    text_max: usize,
    name_max: usize,
    /// Pings not yet answered: owed, not queued, so that a flood of them is a number.
    pongs_owed: u32,
}

impl Sender {
    pub(super) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        let payload_max = limits.frame_payload_max.min(Limits::FRAME_HARD_MAX) as usize;
        Self {
            output: Output::default(),
            dialect: Dialect::V1,
            credit: Credit::new(limits, config.credit),
            payload_max,
            soft_max: limits.output_soft_max,
            held_back: 0,
            hard_max: limits.output_hard_max.max(limits.output_soft_max.saturating_add(2 * payload_max)),
            text_max: limits.text_max,
            name_max: limits.name_max,
            pongs_owed: 0,
        }
    }

    /// Queues a frame that must not wait: control, refusals, exits. They may use the reserve above
    /// the soft bound; past it [`Sender::is_overrun`] becomes true and the connection ends. Their
    /// texts were cut to a limit of their own, so that of payloads does not concern them.
    pub(super) fn send(
        &mut self,
        flags: u8,
        stream: StreamId,
        body: Body<&str, Bytes>,
    ) -> Result<(), CommandError> {
        self.queue(&Measured::new(&Frame { flags, stream, body }))
    }

    /// Queues a frame that carries a payload, if it is not too large and there is room for it.
    pub(super) fn send_payload(
        &mut self,
        flags: u8,
        stream: StreamId,
        body: Body<&str, &Bytes>,
    ) -> Result<(), CommandError> {
        let frame = Frame { flags, stream, body };
        let frame = Measured::new(&frame);
        self.check_room(frame.len())?;
        self.queue(&frame)
    }

    /// The same for a message or a reply in 2.0, of this length, if there is credit for it, too.
    pub(super) fn send_on_credit(
        &mut self,
        said: Said,
        (key, flow): (ConversationId, &mut Flow),
        frame: &Frame<&str, &Bytes>,
        len: usize,
    ) -> Result<(), CommandError> {
        let frame = Measured::new(frame);
        self.check_room(frame.len())?;
        let costs = self.credit.check(said, flow, key, len)?;
        self.queue(&frame)?;
        self.credit.spend(said, flow, costs);
        Ok(())
    }

    fn queue<B: AsRef<[u8]> + Borrow<Bytes>>(
        &mut self,
        frame: &Measured<'_, &str, B>,
    ) -> Result<(), CommandError> {
        self.output.push(self.dialect, frame).map_err(CommandError::Unencodable)
    }

    /// Neither side takes frames that are longer than its bound. `len` is that of a whole frame.
    fn check_room(&self, len: usize) -> Result<(), CommandError> {
        let limit = self.payload_max.min(usize::try_from(self.credit.payload_max()).unwrap_or(usize::MAX));
        let payload = len.saturating_sub(HEADER_LEN);
        if payload > limit {
            return Err(CommandError::TooLarge { len: payload, limit });
        }
        if !self.has_room(len) {
            return Err(CommandError::Full);
        }
        Ok(())
    }

    /// Says what this side takes (2.0).
    pub(super) fn send_windows(&mut self) {
        let own = self.credit.own();
        let (payload_max, conversation, connection) =
            (own.payload_max, own.conversation.bytes(), own.connection.bytes());
        // Numbers that are not 0: there is nothing in it that could be refused.
        let _ = self.send(0, StreamId::CONTROL, Body::Windows { payload_max, conversation, connection });
    }

    /// This side is through with something of this length. What is worth telling is told, as soon as there is room.
    pub(super) fn give_back(&mut self, said: Said, stream: StreamId, flow: &mut Flow, len: usize) {
        self.credit.give_back(said, flow, len);
        if self.credit.is_due(flow) {
            self.pay_conversation(stream, flow);
        }
        self.pay_connection();
    }

    /// Nothing that was said in a conversation is of any use any more.
    pub(super) fn give_all_back(&mut self, said: Said, flow: &mut Flow) {
        self.credit.give_all_back(said, flow);
        self.pay_connection();
    }

    /// Tells a conversation what it is owed, as soon as there is room.
    pub(super) fn pay_conversation(&mut self, stream: StreamId, flow: &mut Flow) {
        if self.is_congested() {
            self.credit.due.insert(stream, ());
            return;
        }
        let bytes = self.credit.tell(flow);
        // A number: there is nothing in it that could be refused.
        let _ = self.send(0, stream, Body::Credit { bytes });
    }

    /// Whether anything is owed that is worth a frame.
    pub(super) fn is_owing(&self) -> bool {
        self.pongs_owed > 0 || self.credit.is_any_due()
    }

    /// Tells what is owed for all conversations together, if that is worth it and there is room.
    pub(super) fn pay_connection(&mut self) {
        if self.dialect == Dialect::V2
            && !self.is_congested()
            && let Some((messages, replies)) = self.credit.tell_in_all()
        {
            // Numbers: there is nothing in them that could be refused.
            let _ = self.send(0, StreamId::CONTROL, Body::ConnectionCredit { messages, replies });
        }
    }

    /// Queues a frame that can wait, if there is room for it. Its texts were cut to a limit of their own, so that
    /// that of payloads does not concern it.
    pub(super) fn send_if_room(
        &mut self,
        flags: u8,
        stream: StreamId,
        body: Body<&str, Bytes>,
    ) -> Result<(), CommandError> {
        let frame = Frame { flags, stream, body };
        let frame = Measured::new(&frame);
        if !self.has_room(frame.len()) {
            return Err(CommandError::Full);
        }
        self.queue(&frame)
    }

    /// How many bytes of answers a 1.0 link may hold back: as many as may be queued, and always
    /// enough for one whole frame.
    pub(super) fn held_max(&self) -> usize {
        self.soft_max.max(self.payload_max)
    }

    /// Whether a 1.0 message with a payload of this length fits a frame.
    ///
    /// # Errors
    ///
    /// It does not.
    pub(super) const fn check_payload(&self, len: usize) -> Result<(), CommandError> {
        const OVERHEAD: usize = FRAME_V1 - HEADER_LEN;
        if len.saturating_add(OVERHEAD) > self.payload_max {
            return Err(CommandError::TooLarge { len, limit: self.payload_max.saturating_sub(OVERHEAD) });
        }
        Ok(())
    }

    /// An almost empty queue has room for any payload, a fuller one only up to the soft bound.
    pub(super) fn has_room(&self, len: usize) -> bool {
        let queued = self.output.len();
        queued <= self.soft_max / 4 || queued.saturating_add(len) <= self.soft_max
    }

    /// Whether so much is queued that no more should be read in to make more of it.
    pub(super) fn is_congested(&self) -> bool {
        self.output.len() > self.soft_max || (self.held_back > 0 && !self.has_room(self.held_back))
    }

    /// Whether so much is queued that new work must be refused, where reading goes on. One of the
    /// largest frames above the soft bound, because an almost empty queue takes one of any length, and
    /// that is no reason to refuse anybody.
    pub(super) const fn refuses_work(&self) -> bool {
        self.output.len() > self.soft_max.saturating_add(self.payload_max)
    }

    /// Notes that a reply of this length found no room and waits with its host: taking in more work
    /// meanwhile would only make more of them.
    pub(super) const fn hold_back(&mut self, len: usize) {
        self.held_back = len.saturating_add(FRAME_V1);
    }

    /// A reply found room.
    pub(super) const fn hold_back_none(&mut self) {
        self.held_back = 0;
    }

    /// Whether even the reserve is used up.
    pub(super) const fn is_overrun(&self) -> bool {
        self.output.len() > self.hard_max
    }

    /// Notes that a ping is to be answered, and answers those for which there is room.
    pub(super) fn owe_pong(&mut self) {
        self.pongs_owed = self.pongs_owed.saturating_add(1);
        self.pay_pongs();
    }

    pub(super) fn pay_pongs(&mut self) {
        while self.pongs_owed > 0 && !self.is_congested() {
            self.pongs_owed -= 1;
            // A Pong has no fields: there is nothing in it that could be refused.
            let _ = self.send(0, StreamId::CONTROL, Body::Pong);
        }
    }

    /// A reason text as it may stand in a frame: cut to its limit.
    pub(super) fn text<'a>(&self, text: Option<&'a str>) -> Option<&'a str> {
        text.map(|text| cut(text, self.text_max))
    }

    /// A reason text that a peer sent, kept within the same limit.
    pub(super) fn kept_text(&self, text: Option<&str>) -> Option<String> {
        self.text(text).map(String::from)
    }

    /// A subject that a peer sent. One above the limit of names is none that anybody could have opened a conversation on,
    /// and is not kept.
    pub(super) fn kept_name(&self, name: Option<&str>) -> Option<String> {
        name.filter(|name| name.len() <= self.name_max).map(String::from)
    }

    /// The error frame of a whole connection.
    pub(super) fn connect_error(&mut self, reason_code: ReasonCode, text: &str) {
        let message = self.text(Some(text));
        // The text was cut to its limit, which leaves nothing to refuse.
        let _ = self.send(0, StreamId::CONTROL, Body::ConnectError { reason_code, message });
    }
}

/// The longest prefix of `text` of at most `max` bytes that ends between two characters.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_text_is_cut_between_characters() {
        let cases = [("abc", 3, "abc"), ("abc", 2, "ab"), ("äb", 1, ""), ("äb", 2, "ä"), ("", 0, "")];
        for (text, max, expected) in cases {
            assert_eq!(cut(text, max), expected);
        }
    }
}
