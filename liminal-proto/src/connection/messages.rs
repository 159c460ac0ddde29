//! Messages and replies of 2.0: what conversations are for, and so most of what arrives.

use core::time::Duration;

use bytes::Bytes;

use super::Connection;
use super::acceptor::Incoming;
use super::opener::of_stream;
use crate::wire::{Body, FrameRef, flag};
use crate::{Content, Event, Expects, MessageId, Metadata, RecordNumber, Reply, StreamId, Violation};

/// A message but for its payload, taken out of its frame.
pub(super) struct Said {
    stream: StreamId,
    flags: u8,
    id: MessageId,
    answers: Option<MessageId>,
    timeout_ms: Option<u32>,
    redelivered: Option<u8>,
    metadata: Metadata,
    /// The length of its payload, which is the end of the frame.
    payload_len: usize,
}

impl Connection {
    /// What a frame says, if it is a message; `bytes` begin with the frame, or are it.
    pub(super) fn said_by(&mut self, bytes: &Bytes, frame: &FrameRef<'_>) -> Option<Said> {
        let Body::Message { message_id: id, answers, timeout_ms, redelivered, metadata, payload } =
            frame.body
        else {
            return None;
        };
        let metadata = metadata.map(|it| self.kept_metadata(bytes, &it)).unwrap_or_default();
        let (stream, flags, payload_len) = (frame.stream, frame.flags, payload.len());
        Some(Said { stream, flags, id, answers, timeout_ms, redelivered, metadata, payload_len })
    }

    /// A message goes to the half of this side that its stream belongs to. It came with the frame in `bytes`.
    pub(super) fn on_said(&mut self, bytes: Bytes, said: Said) -> Result<Option<Event>, Violation> {
        if !self.sender.credit.knows_peer() {
            return Err(Violation::WrongState { frame: "Message", state: "before Windows" });
        }
        let payload = self.input.keep_end(bytes, said.payload_len);
        match (self.is_own(of_stream(said.stream)), said.answers) {
            (true, Some(answers)) => {
                let reply = said.into_reply(answers, payload);
                self.opener.on_reply(&mut self.sender, reply)
            }
            (true, None) => {
                self.opener.strays += 1;
                Ok(None)
            }
            (false, None) => {
                let incoming = self.incoming(said, payload);
                let taken = self.acceptor.on_message(&mut self.sender, &self.config.limits, incoming)?;
                self.on_taken(taken)
            }
            (false, Some(_)) => {
                self.acceptor.strays += 1;
                Ok(None)
            }
        }
    }

    fn incoming(&self, said: Said, payload: Bytes) -> Incoming {
        let Said { stream, flags, id, timeout_ms, redelivered, metadata, .. } = said;
        let limits = &self.config.limits;
        // Not `clamp`, which panics where the bounds contradict each other.
        let clamp = |ms| Duration::from_millis(u64::from(ms)).min(limits.timeout_max).max(limits.timeout_min);
        Incoming {
            conversation: of_stream(stream),
            stream,
            id,
            expects: expects(flags),
            timeout: timeout_ms.map(clamp),
            redelivered: redelivered.unwrap_or(0),
            content: Content { payload, metadata },
        }
    }

    pub(super) fn kept_metadata(&mut self, bytes: &Bytes, metadata: &Metadata<&[u8]>) -> Metadata {
        metadata.convert(|block| self.input.keep(bytes, block))
    }
}

impl Said {
    fn into_reply(self, answers: MessageId, payload: Bytes) -> Reply {
        let record = Some(self.id.get()).filter(|&record| record > 0).map(RecordNumber::new);
        let (conversation, last) = (of_stream(self.stream), self.flags & flag::MORE == 0);
        Reply { conversation, answers, record, last, payload, metadata: self.metadata }
    }
}

const fn expects(flags: u8) -> Expects {
    if flags & flag::WANTS_REPLY != 0 {
        Expects::Reply
    } else if flags & flag::CONFIRM != 0 {
        Expects::Acceptance
    } else {
        Expects::Nothing
    }
}
