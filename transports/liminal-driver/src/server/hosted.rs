//! Participants that live elsewhere: a host of their own calls them, and says when they are no more.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use liminal_core::{Answer, Call, Invocation, Ticket};
use liminal_proto::{ExitReason, Instant};

use super::Hub;
use super::hub::{Instance, Whom, whom};
use super::task_host::Cancel;

/// Calls participants that live outside this program, or in it but by rules of their own.
///
/// A host keeps its participants by [`Invocation::conversation`] and [`Invocation::pid`]: it begins one at a
/// [`Call::Join`] and gives it up at a [`Call::Leave`], which is answered when nothing is left of it. The pid alone
/// names one of one server, and a client that reconnects may find another there.
/// A call of one that has [exited](Hosted::exited) may still be on its way then; it is answered like any other.
pub trait Host: Send + Sync + 'static {
    /// Makes a call. It must not block: whoever has something to say to any participant comes by here. A
    /// message should not be answered before this returns: its answer makes the next call, and so on.
    fn call(&self, invocation: Invocation, answers: Answers);
}

/// Takes the answers to one call, over any time and from any thread.
///
/// Dropped before the call has returned, it says that the participant crashed: its conversation would stand
/// still otherwise.
pub struct Answers {
    hub: Arc<Hub>,
    ticket: Ticket,
    participant: Whom,
    /// Whether this is its first call, and whether its last.
    joins: bool,
    leaves: bool,
    cancel: Arc<Cancel>,
    returned: bool,
}

impl Answers {
    pub(super) fn new(hub: Arc<Hub>, ticket: Ticket, invocation: &Invocation, cancel: Arc<Cancel>) -> Self {
        let participant = whom(invocation);
        let joins = matches!(invocation.what, Call::Join { .. });
        let leaves = matches!(invocation.what, Call::Leave { .. });
        Self { hub, ticket, participant, joins, leaves, cancel, returned: false }
    }

    /// The next answer. What comes after the one that [returns](Answer::returns) is ignored.
    pub fn answer(&mut self, answer: Answer) {
        if self.returned {
            return;
        }
        if !answer.returns() {
            return self.hub.answer(self.ticket, answer);
        }
        self.returned = true;
        let gone = match answer {
            Answer::Exited(_) => true,
            Answer::Refused { .. } | Answer::Busy => self.joins || self.leaves,
            _ => self.leaves,
        };
        self.hub.returned(self.ticket, self.participant, answer, (!gone).then_some(Instance::Hosted));
    }

    /// Whether nobody needs the answers any more; wakes the one who asked last when that comes about. The
    /// call must return nevertheless, and soon: until then its conversation stands still.
    pub fn poll_cancelled(&self, cx: &Context<'_>) -> Poll<()> {
        self.cancel.poll(cx)
    }

    /// Whether a reply would find room in the output of its connection; wakes the one who asked last when it
    /// may. Replies are taken without, and pile up there, until the connection is given up as one that
    /// nobody reads from: a host that could say much keeps its replies until there is room.
    pub fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.hub.has_room(self.ticket, cx.waker()) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The time, by the clock that deadlines are named in.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.hub.clock().now()
    }

    /// The participant that was called, for the time between two calls.
    #[must_use]
    pub fn participant(&self) -> Hosted {
        Hosted { hub: Arc::clone(&self.hub), participant: self.participant }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.answer(Answer::Exited(ExitReason::Crashed { text: "its host gave up the call".into() }));
    }
}

/// A participant that lives elsewhere.
#[derive(Clone)]
pub struct Hosted {
    hub: Arc<Hub>,
    participant: Whom,
}

impl Hosted {
    /// It is no more, whether or not it is being called. It is dead at once for everyone; a call that is
    /// out is cancelled and must still return. Of one that has left or exited already this does nothing.
    pub fn exited(&self, reason: ExitReason) {
        self.hub.exited(self.participant, reason);
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted").field("participant", &self.participant).finish_non_exhaustive()
    }
}
