//! The requests of one conversation that the other side opened, and the answers that a 1.0 link holds back.

use alloc::collections::VecDeque;
use alloc::string::String;

use bytes::BytesMut;

use super::super::opener::{cause_len, envelope};
use super::super::poll::position;
use super::super::sender::{FRAME_V1, Sender};
use super::{conversation_error, is_request, refuse_message, stream_of};
use crate::wire::{Body, Dialect, flag};
use crate::{CommandError, Content, ConversationId, MessageId, ReasonCode, Reply, StreamId};

/// Requests that are not yet answered on the wire, by ascending id.
#[derive(Default)]
pub(super) struct Requests {
    pending: VecDeque<Pending>,
    /// Bytes of parts and answers that are held back.
    held: usize,
}

struct Pending {
    id: MessageId,
    /// Its length, when the other side may say as much again as soon as it has ended (2.0).
    len: Option<usize>,
    /// What is held back on a 1.0 link: parts until the reply is whole, and an answer until those
    /// before it are given, because there the order is the correlation.
    parts: BytesMut,
    answer: Option<Answer>,
}

enum Answer {
    Reply(Content),
    Error(ReasonCode, Option<String>),
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// The same, counted afresh.
    pub(super) fn recount(&self) -> usize {
        self.pending.iter().map(Pending::held).sum()
    }

    pub(super) fn add(&mut self, id: MessageId, len: Option<usize>) {
        self.pending.push_back(Pending { id, len, parts: BytesMut::new(), answer: None });
    }

    /// Whether this is a request that is not answered.
    ///
    /// # Errors
    ///
    /// It is not.
    pub(super) fn check(&self, id: MessageId) -> Result<(), CommandError> {
        self.position(id).map(|_| ()).ok_or(CommandError::NotOutstanding)
    }

    /// Forgets a request, if it is one, and gives the length that it was added with.
    pub(super) fn take(&mut self, id: MessageId) -> Option<usize> {
        self.pending.remove(self.position(id)?)?.len
    }

    fn position(&self, id: MessageId) -> Option<usize> {
        let ids = self.pending.front().zip(self.pending.back());
        if ids.is_some_and(|(first, last)| first.id > last.id) {
            // The running numbers of 1.0 have started over in between.
            return self.pending.iter().position(|pending| pending.id == id);
        }
        position(&self.pending, id, |pending| pending.id)
    }

    /// 1.0 has no parts: they are joined, and the reply goes out whole, in the order of the requests.
    /// What cannot go out yet is held back, of `held_room` bytes at most.
    pub(super) fn reply_v1(
        &mut self,
        sender: &mut Sender,
        held_room: usize,
        reply: &Reply,
    ) -> Result<(), CommandError> {
        let at = self.position(reply.answers).ok_or(CommandError::NotOutstanding)?;
        let Some(pending) = self.pending.get_mut(at) else { return Err(CommandError::NotOutstanding) };
        if pending.answer.is_some() {
            return Err(CommandError::NotOutstanding);
        }
        sender.check_payload(pending.parts.len() + reply.payload.len() + cause_len(&reply.metadata))?;
        let cost = reply.payload.len() + if reply.last { FRAME_V1 + reply.metadata.len() } else { 0 };
        // The first answer takes those that wait for it along.
        let has_room =
            if at == 0 && reply.last { sender.has_room(self.held + cost) } else { cost <= held_room };
        if !has_room {
            return Err(no_room(sender, reply));
        }
        self.held += cost;
        pending.keep(reply);
        self.give_answers(sender, reply.conversation);
        Ok(())
    }

    /// A message fails on a 1.0 link: a request in its turn, one that asked for nothing at once.
    pub(super) fn fail_v1(
        &mut self,
        sender: &mut Sender,
        key: ConversationId,
        id: MessageId,
        (reason, text): (ReasonCode, Option<&str>),
    ) -> Result<(), CommandError> {
        let Some(pending) = self.position(id).and_then(|at| self.pending.get_mut(at)) else {
            // One that an exit has ended had its error then, also when it reaches its participant only afterwards.
            if is_request(id) {
                return Err(CommandError::NotOutstanding);
            }
            refuse_message(sender, key, stream_of(id), id, reason);
            return Ok(());
        };
        if pending.answer.is_some() {
            return Err(CommandError::NotOutstanding);
        }
        self.held -= pending.fail(reason, sender.kept_text(text));
        self.give_answers(sender, key);
        Ok(())
    }

    /// All requests have ended. A 2.0 client knows from the frame that says why; a 1.0 client gets an
    /// error for each, behind the answers that were held back. It says `words` as long as there is room for
    /// a reply of that length: many requests end at once, and what the code means is shorter.
    pub(super) fn end(
        &mut self,
        sender: &mut Sender,
        key: ConversationId,
        reason: ReasonCode,
        words: Option<&str>,
    ) {
        if sender.dialect == Dialect::V1 {
            for pending in self.pending.iter_mut().filter(|pending| pending.answer.is_none()) {
                self.held -= pending.fail(reason, None);
            }
            self.give(sender, key, words.map(|words| (reason, words)));
        }
        self.pending.clear();
    }

    /// Gives the answers that no earlier request holds back any more.
    fn give_answers(&mut self, sender: &mut Sender, key: ConversationId) {
        self.give(sender, key, None);
    }

    /// The same, with words for the errors that have this reason and no text.
    fn give(&mut self, sender: &mut Sender, key: ConversationId, words: Option<(ReasonCode, &str)>) {
        while let Some(answer) = self.pending.front_mut().and_then(|first| first.answer.take()) {
            let stream = self.pending.pop_front().map_or(StreamId::CONTROL, |first| stream_of(first.id));
            match answer {
                Answer::Reply(content) => {
                    self.held -= content.len() + FRAME_V1;
                    let envelope = envelope(&content.metadata, content.payload);
                    let body = Body::ConversationMessage { conversation_id: key, envelope };
                    // Its length was checked when it was taken.
                    let _ = sender.send(flag::REPLY, stream, body);
                }
                Answer::Error(reason, text) => {
                    let words = words.filter(|(of, words)| *of == reason && sender.has_room(words.len()));
                    let text = text.as_deref().or(words.map(|(_, words)| words));
                    conversation_error(sender, key, stream, reason, text);
                }
            }
        }
    }
}

/// Whether it is worth waiting: an answer is held back until those before it are given, which each of them
/// will be. Parts may wait for each other for ever, because only the ends of their replies make room.
fn no_room(sender: &Sender, reply: &Reply) -> CommandError {
    if reply.last {
        CommandError::Full
    } else {
        let limit = sender.held_max() as u64;
        CommandError::Limit { what: "bytes of answers held back", limit }
    }
}

impl Pending {
    /// Joins the parts; a reply that came in one piece is shared. What is said about the last part is said about it.
    fn keep(&mut self, reply: &Reply) {
        if !reply.last {
            self.parts.extend_from_slice(&reply.payload);
            return;
        }
        let whole = if self.parts.is_empty() {
            reply.payload.clone()
        } else {
            self.parts.extend_from_slice(&reply.payload);
            core::mem::take(&mut self.parts).freeze()
        };
        self.answer = Some(Answer::Reply(Content::new(whole, reply.metadata.clone())));
    }

    /// What is held back: an answer is charged for its frame, too.
    fn held(&self) -> usize {
        let answer = match &self.answer {
            Some(Answer::Reply(content)) => content.len() + FRAME_V1,
            Some(Answer::Error(..)) | None => 0,
        };
        self.parts.len() + answer
    }

    /// Lets go of the parts and returns how many bytes they were.
    fn fail(&mut self, reason: ReasonCode, text: Option<String>) -> usize {
        self.answer = Some(Answer::Error(reason, text));
        core::mem::take(&mut self.parts).len()
    }
}

#[cfg(test)]
mod tests {
    use super::{MessageId, Requests};

    #[test]
    fn requests_are_found_also_where_their_numbers_start_over() {
        let ids = [u64::MAX - 1, u64::MAX, 3, 5].map(MessageId::new);
        let mut requests = Requests::default();
        ids.iter().for_each(|id| requests.add(*id, Some(1)));
        for id in ids {
            assert!(requests.check(id).is_ok() && requests.check(MessageId::new(4)).is_err());
            assert_eq!(requests.take(id), Some(1), "{id}");
        }
    }
}
