//! What the ways to talk to a child that lives as long as its conversation have in common. No I/O: bytes go in and
//! out.

use bytes::Bytes;
use liminal_core::Answer;
use liminal_proto::{ExitReason, ReasonCode};
use thiserror::Error;

use crate::frames::Frames;
use crate::lines::Lines;
use crate::{Options, Protocol};

/// A message for the child.
#[derive(Debug)]
pub(crate) struct Given {
    /// Its number in the log of the conversation.
    pub(crate) record: u64,
    pub(crate) expects_reply: bool,
    pub(crate) payload: Bytes,
}

/// What the child said to the message in hand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Part(Bytes),
    /// The end of the message.
    Reply(Bytes),
    /// The end of the message: it gives no reply, for this reason.
    Refusal(String),
    /// The end of a message that wanted no reply.
    Through,
}

/// Why a message cannot be given to the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the payload has a newline, and this participant takes one line for each message")]
pub(crate) struct Newline;

/// How a child broke the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Fault {
    #[error("it wrote a line that answers nothing")]
    Unasked,
    #[error("it wrote a line of more than {0} bytes")]
    LineTooLong(usize),
    #[error("it wrote a frame of {len} bytes, and {limit} is the limit")]
    FrameTooLong { len: usize, limit: usize },
    #[error("it wrote a frame of type 0x{0:02x}, which does not exist")]
    UnknownType(u8),
    #[error("it answered message {0}, which it was never given")]
    UnknownMessage(u64),
    #[error("it closed its {0} and went on")]
    Closed(&'static str),
    #[error("it wrote more than {0} bytes")]
    OutputTooLong(usize),
}

/// One side of the talk with one child: at most one message is in hand.
pub(crate) trait Dialogue: Send {
    /// A message. The one before it has come to its end or was given up.
    fn message(&mut self, message: Given) -> Result<(), Newline>;

    /// Nobody needs what the child may say to the message in hand. If none of it was written it never
    /// will be.
    fn give_up(&mut self);

    /// What is to be written.
    fn to_write(&self) -> &[u8];

    /// So much of it was.
    fn wrote(&mut self, n: usize) -> Option<Said>;

    /// The child wrote this. What it said before a fault stands in `said`.
    fn receive(&mut self, bytes: &[u8], said: &mut Vec<Said>) -> Result<(), Fault>;
}

/// How such a child is talked to; `None`: it lives no longer than a message.
pub(crate) fn begin(protocol: Protocol, options: &Options) -> Option<Box<dyn Dialogue>> {
    match protocol {
        Protocol::Lines => Some(Box::new(Lines::new(options.line_bytes_max))),
        Protocol::Frames => Some(Box::new(Frames::new(options.frame_bytes_max))),
        Protocol::PerMessage => None,
    }
}

impl Said {
    /// What the bus is told, in its order.
    pub(crate) fn answers(self) -> impl Iterator<Item = Answer> {
        let (first, second) = match self {
            Self::Part(payload) => (Answer::Part(payload.into()), None),
            Self::Reply(payload) => (Answer::Reply(payload.into()), Some(Answer::Done)),
            Self::Refusal(text) => (Answer::Refused { reason: ReasonCode::NO_REPLY, text: Some(text) }, None),
            Self::Through => (Answer::Done, None),
        };
        std::iter::once(first).chain(second)
    }
}

impl From<Newline> for Answer {
    fn from(newline: Newline) -> Self {
        Self::Refused { reason: ReasonCode::INVALID_PAYLOAD, text: Some(newline.to_string()) }
    }
}

impl From<Fault> for ExitReason {
    fn from(fault: Fault) -> Self {
        Self::Violated { text: fault.to_string() }
    }
}
