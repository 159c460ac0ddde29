//! What takes part in conversations: the trait, its context, and the calls that hosts make.

mod asynchronous;
mod context;

use alloc::boxed::Box;
use core::fmt;

use bytes::Bytes;
use liminal_proto::{Instant, MessageId, Metadata, RecordNumber};

pub use self::asynchronous::{
    AsyncContext, AsyncFactory, AsyncFn, AsyncHost, AsyncParticipant, Pending, async_fn, invoke_async,
};
pub use self::context::{AnswerSink, Context};
use crate::{Answer, Call, Invocation, Leaving};

/// A message, as its participant receives it.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// Its id, as its sender numbered it.
    pub id: MessageId,
    /// Its place in the log of the conversation.
    pub record: RecordNumber,
    /// Whether the sender wants a reply.
    pub expects_reply: bool,
    /// How many participants of this conversation have exited while it waited or was in their hands; 0
    /// unless the policy is [`CrashPolicy::RouteToNext`](crate::CrashPolicy::RouteToNext). From 1 on
    /// another may have done already what it asks for.
    pub redelivered: u8,
    /// What it says.
    pub payload: Bytes,
    /// What is said about that: headers, the schema, and what caused it.
    pub metadata: Metadata,
}

impl Received {
    /// What a call says, if it says anything.
    pub(super) fn of(call: &Call) -> Option<Self> {
        let Call::Message { id, record, expects_reply, redelivered, payload, metadata, .. } = call else {
            return None;
        };
        let (id, record, expects_reply, redelivered) = (*id, *record, *expects_reply, *redelivered);
        let (payload, metadata) = (payload.clone(), metadata.clone());
        Some(Self { id, record, expects_reply, redelivered, payload, metadata })
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("id", &self.id)
            .field("record", &self.record)
            .field("expects_reply", &self.expects_reply)
            .field("redelivered", &self.redelivered)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("metadata", &self.metadata)
            .finish()
    }
}

/// One participant in one conversation. It is called by one at a time, never twice at once.
///
/// A closure that takes a context and a message is one, too: see [`from_fn`].
pub trait Participant: Send {
    /// It has joined. Comes first.
    fn joined(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// The owner of the conversation says something.
    fn message(&mut self, context: &mut Context<'_>, message: Received);

    /// The time that it asked for with [`Context::wake_after`] has come, or the deadline of the
    /// request that it has in hand. It may reply to that request here.
    fn woken(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// The conversation is over. Comes last, and not after an exit.
    fn left(&mut self, context: &mut Context<'_>, why: Leaving) {
        let _ = (context, why);
    }
}

impl<F: FnMut(&mut Context<'_>, Received) + Send> Participant for F {
    fn message(&mut self, context: &mut Context<'_>, message: Received) {
        self(context, message);
    }
}

/// The closure itself, with the types that make it a participant.
///
/// ```
/// use liminal_core::participant::from_fn;
///
/// let echo = || from_fn(|context, message| context.reply(message.payload));
/// # fn is_a_factory(_: &impl liminal_core::Factory) {}
/// # is_a_factory(&echo);
/// ```
pub const fn from_fn<F: FnMut(&mut Context<'_>, Received) + Send>(function: F) -> F {
    function
}

/// Makes the participant of each conversation. A closure that returns one is a factory.
pub trait Factory: Send + Sync {
    /// A new participant.
    fn create(&self) -> Box<dyn Participant>;
}

impl<F, P> Factory for F
where
    F: Fn() -> P + Send + Sync,
    P: Participant + 'static,
{
    fn create(&self) -> Box<dyn Participant> {
        Box::new(self())
    }
}

/// Makes one call, and gives its answers to `sink` in their order; the last one says that it returned.
///
/// A [`Call::Join`] is made on the participant that the host has just created. A panic of the
/// participant is its host's to catch: what was answered before it stands, and the host adds
/// [`Answer::Exited`]. After an `Exited` the host drops the participant, and after a leave too.
pub fn invoke(
    participant: &mut dyn Participant,
    now: Instant,
    invocation: &Invocation,
    sink: &mut dyn AnswerSink,
) {
    let mut context = Context::new(now, invocation, sink);
    let returned = match &invocation.what {
        Call::Join { .. } => {
            participant.joined(&mut context);
            Answer::Joined
        }
        Call::Message { .. } => {
            if let Some(message) = Received::of(&invocation.what) {
                participant.message(&mut context, message);
            }
            Answer::Done
        }
        Call::Wake { .. } => {
            participant.woken(&mut context);
            Answer::Done
        }
        Call::Leave { why } => {
            participant.left(&mut context, *why);
            Answer::Done
        }
    };
    context.finish(returned);
}
