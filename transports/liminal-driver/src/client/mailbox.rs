//! What has arrived for one conversation and was not yet asked for.

use std::collections::{BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use liminal_proto::{MessageId, Outcome, Pid, ReasonCode, Reply, SmallMap};

use crate::error::{Crash, Exited, ReceiveError, Refusal};

/// What one conversation has in store for whoever asks.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) opening: Opening,
    pub(super) crash: Option<Crash>,
    /// Whether the participant is known to have exited for good, also where nobody says who and why.
    pub(super) exited: bool,
    /// What a 1.0 server said of that.
    pub(super) exit_words: Option<String>,
    pub(super) ended: bool,
    /// Messages whose own end is awaited.
    slots: SmallMap<MessageId, Slot>,
    /// Requests whose replies are for [`Mailbox::receive`].
    requests: BTreeSet<MessageId>,
    unclaimed: VecDeque<Result<Reply, ReceiveError>>,
    unclaimed_bytes: usize,
    /// Replies give their credit when they come, and not when they are received: the conversation is to end, whether
    /// anybody reads them or not.
    gives_credit: bool,
    /// A failure that nobody was waiting for: it surfaces on the next call.
    unreported: Option<Ended>,
}

/// How far the opening has come.
#[derive(Clone, Debug, Default)]
pub(super) enum Opening {
    #[default]
    Asked,
    Open(Option<Pid>),
    Refused(Refusal),
}

#[derive(Debug)]
enum Slot {
    Waiting(BytesMut),
    Ended(Result<Bytes, Ended>),
}

/// How a message ended without a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Exited,
    Deadline,
    Refused(Refusal),
    Unknown,
}

impl Ended {
    /// `None`: it was accepted.
    fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Accepted { .. } => None,
            Outcome::Exited => Some(Self::Exited),
            Outcome::Deadline => Some(Self::Deadline),
            Outcome::Refused { reason, text } => Some(Self::Refused(Refusal { reason, text })),
            _ => Some(Self::Unknown),
        }
    }
}

/// What a message asks of its mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// One caller waits for it by its id.
    Alone,
    /// Its replies are for whoever receives next.
    Received,
}

impl Mailbox {
    pub(super) fn new(opening: Opening) -> Self {
        Self { opening, ..Self::default() }
    }

    pub(super) fn expect(&mut self, message: MessageId, awaited: Awaited) {
        match awaited {
            Awaited::Alone => {
                self.slots.insert(message, Slot::Waiting(BytesMut::new()));
            }
            Awaited::Received => {
                self.requests.insert(message);
            }
        }
    }

    /// A reply has come. Says whether it is kept until it is [received](Self::receive), and its credit with it.
    pub(super) fn on_reply(&mut self, reply: Reply, bytes_max: usize) -> bool {
        if let Some(slot) = self.slots.get_mut(&reply.answers) {
            slot.on_reply(reply, bytes_max);
            false
        } else if self.requests.contains(&reply.answers) {
            if reply.last {
                self.requests.remove(&reply.answers);
            }
            self.keep(reply, bytes_max)
        } else {
            false
        }
    }

    /// Keeps a reply until it is received. One that finds no room ends its request as refused, so that
    /// a reader that stops costs a bounded number of bytes and is told what it missed.
    fn keep(&mut self, reply: Reply, bytes_max: usize) -> bool {
        let len = reply.len();
        let fits = self.unclaimed_bytes + len <= bytes_max;
        if fits {
            self.unclaimed_bytes += len;
            self.unclaimed.push_back(Ok(reply));
        } else {
            self.requests.remove(&reply.answers);
            let refusal = unclaimed(len);
            self.unclaimed.push_back(Err(ReceiveError::Refused { request: reply.answers, refusal }));
        }
        fits && !self.gives_credit
    }

    /// Nothing that nobody has received keeps its credit any more. Says how long those replies are that had.
    pub(super) fn give_credit(&mut self) -> Vec<usize> {
        if std::mem::replace(&mut self.gives_credit, true) {
            return Vec::new();
        }
        self.unclaimed.iter().flatten().map(Reply::len).collect()
    }

    /// A message has ended. `failed`: so has its conversation, with the participant.
    pub(super) fn on_outcome(&mut self, message: MessageId, outcome: Outcome, failed: bool) {
        let ended = Ended::of(outcome);
        self.exited |= failed;
        if let Some(slot) = self.slots.get_mut(&message) {
            *slot = Slot::Ended(ended.map_or(Ok(Bytes::new()), Err));
        } else if self.requests.remove(&message) {
            let error = match ended {
                // These end the whole conversation: receiving says so when nothing is left to receive.
                None | Some(Ended::Unknown) => return,
                Some(Ended::Exited) if failed => return,
                Some(Ended::Exited) => {
                    ReceiveError::Unanswered { request: message, crash: self.crash.clone() }
                }
                Some(Ended::Deadline) => ReceiveError::Deadline(message),
                Some(Ended::Refused(refusal)) => ReceiveError::Refused { request: message, refusal },
            };
            self.unclaimed.push_back(Err(error));
        } else if let Some(ended) = ended {
            self.unreported.get_or_insert(ended);
        }
    }

    /// The participant has exited.
    pub(super) fn on_exited(&mut self, crash: Crash) {
        self.exited |= !crash.goes_on;
        self.crash = Some(crash);
        self.on_served_by(None);
    }

    /// What is known of its exit.
    pub(super) fn exit(&self) -> Exited {
        match &self.crash {
            Some(crash) => Exited::Crash(crash.clone()),
            None => Exited::Words(self.exit_words.clone()),
        }
    }

    /// Who serves the conversation now.
    pub(super) fn on_served_by(&mut self, pid: Option<Pid>) {
        if let Opening::Open(served_by) = &mut self.opening {
            *served_by = pid;
        }
    }

    /// Whether so much is unclaimed that no further request should be sent.
    pub(super) const fn is_full(&self, bytes_max: usize) -> bool {
        self.unclaimed_bytes >= bytes_max
    }

    pub(super) const fn take_unreported(&mut self) -> Option<Ended> {
        self.unreported.take()
    }

    /// The end of a message that one caller waits for; `None` while it has none.
    pub(super) fn claim(&mut self, message: MessageId) -> Option<Result<Bytes, Ended>> {
        match self.slots.get(&message) {
            Some(Slot::Waiting(_)) => None,
            Some(Slot::Ended(_)) => match self.slots.remove(&message) {
                Some(Slot::Ended(result)) => Some(result),
                _ => None,
            },
            None => Some(Err(Ended::Unknown)),
        }
    }

    /// The caller does not wait any more.
    pub(super) fn forget(&mut self, message: MessageId) {
        self.slots.remove(&message);
    }

    /// The next reply, or that a request ended without one; and what of it is to be given credit for.
    pub(super) fn receive(&mut self) -> Option<(Result<Reply, ReceiveError>, Option<usize>)> {
        let next = self.unclaimed.pop_front()?;
        let len = next.as_ref().ok().map(Reply::len);
        self.unclaimed_bytes -= len.unwrap_or(0);
        Some((next, len.filter(|_| !self.gives_credit)))
    }
}

impl Slot {
    fn on_reply(&mut self, reply: Reply, bytes_max: usize) {
        let Self::Waiting(parts) = self else { return };
        let len = parts.len() + reply.payload.len();
        if !parts.is_empty() && len > bytes_max {
            *self = Self::Ended(Err(Ended::Refused(unclaimed(len))));
        } else if !reply.last {
            parts.extend_from_slice(&reply.payload);
        } else if parts.is_empty() {
            *self = Self::Ended(Ok(reply.payload));
        } else {
            parts.extend_from_slice(&reply.payload);
            *self = Self::Ended(Ok(parts.split().freeze()));
        }
    }
}

fn unclaimed(len: usize) -> Refusal {
    let text = format!("{len} bytes of reply found no room on this side");
    Refusal { reason: ReasonCode::BUSY, text: Some(text) }
}
