//! What a participant can do during a call.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use liminal_proto::{Content, ExitReason, Instant, Pid};

use crate::{Answer, Call, ConversationKey, Invocation};

/// Where the answers of a call go: a list, or straight to the bus.
pub trait AnswerSink {
    /// The next answer.
    fn answer(&mut self, answer: Answer);
}

impl AnswerSink for Vec<Answer> {
    fn answer(&mut self, answer: Answer) {
        self.push(answer);
    }
}

/// What a participant can do during a call.
pub struct Context<'a> {
    now: Instant,
    invocation: &'a Invocation,
    sink: &'a mut dyn AnswerSink,
    end: Option<Answer>,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("now", &self.now)
            .field("invocation", &self.invocation)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(now: Instant, invocation: &'a Invocation, sink: &'a mut dyn AnswerSink) -> Self {
        Self { now, invocation, sink, end: None }
    }

    /// Replies to the request in hand. A second reply, one after the deadline and one to a message
    /// that asked for none are dropped by the bus.
    pub fn reply(&mut self, content: impl Into<Content>) {
        self.sink.answer(Answer::Reply(content.into()));
    }

    /// Replies with a part; a [`reply`](Self::reply) must follow.
    pub fn reply_part(&mut self, content: impl Into<Content>) {
        self.sink.answer(Answer::Part(content.into()));
    }

    /// Asks for time without blocking anybody: the message stays in hand, and
    /// [`woken`](super::Participant::woken) is called after this time, at the deadline of the request
    /// at the latest. Until then the conversation stands still.
    pub fn wake_after(&mut self, time: Duration) {
        if !matches!(self.end, Some(Answer::Exited(_))) {
            self.end = Some(Answer::WakeAfter(time));
        }
    }

    /// Ends the participant when this call returns. The first reason counts.
    pub fn exit(&mut self, reason: ExitReason) {
        if !matches!(self.end, Some(Answer::Exited(_))) {
            self.end = Some(Answer::Exited(reason));
        }
    }

    /// When this call began.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Until when a reply is of use; `None` when none is wanted.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        match &self.invocation.what {
            Call::Message { deadline, .. } | Call::Wake { deadline } => *deadline,
            Call::Join { .. } | Call::Leave { .. } => None,
        }
    }

    /// Who the participant is.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.invocation.pid
    }

    /// In which conversation.
    #[must_use]
    pub const fn conversation(&self) -> ConversationKey {
        self.invocation.conversation
    }

    /// What the conversation was opened on. Known while joining.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match &self.invocation.what {
            Call::Join { subject } => Some(subject),
            Call::Message { .. } | Call::Wake { .. } | Call::Leave { .. } => None,
        }
    }

    pub(super) fn finish(self, returned: Answer) {
        self.sink.answer(self.end.unwrap_or(returned));
    }
}
