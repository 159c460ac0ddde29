//! Participants that wait for other things while they answer.

use alloc::boxed::Box;
use core::fmt;
use core::future::{self, Future};
use core::pin::Pin;
use core::time::Duration;

use liminal_proto::{Content, ExitReason, Instant, Pid};

use super::Received;
use crate::{Call, ConversationKey, Invocation, Leaving};

/// A future in a box.
pub type Pending<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One participant in one conversation that may wait. It is called by one at a time, never twice at once.
///
/// A function that takes a context and a message and returns a future makes one: see [`async_fn`].
pub trait AsyncParticipant: Send {
    /// It has joined. Comes first.
    fn joined<'a>(&'a mut self, context: AsyncContext) -> Pending<'a> {
        let _ = context;
        Box::pin(future::ready(()))
    }

    /// The owner of the conversation says something.
    fn message<'a>(&'a mut self, context: AsyncContext, message: Received) -> Pending<'a>;

    /// The conversation is over. Comes last, and not after an exit.
    fn left<'a>(&'a mut self, context: AsyncContext, why: Leaving) -> Pending<'a> {
        let _ = (context, why);
        Box::pin(future::ready(()))
    }
}

/// What a host lets an async participant do during a call.
pub trait AsyncHost: Send {
    /// A part of the reply.
    fn part(&mut self, content: Content);
    /// The reply, or its last part.
    fn reply(&mut self, content: Content);
    /// The participant ends when this call returns.
    fn exit(&mut self, reason: ExitReason);
    /// The time.
    fn now(&self) -> Instant;
    /// Is ready when this time has passed.
    fn sleep(&self, time: Duration) -> Pending<'static>;
}

/// What an async participant can do during a call. Its own: it may be kept and moved.
pub struct AsyncContext {
    host: Box<dyn AsyncHost>,
    pid: Pid,
    conversation: ConversationKey,
    deadline: Option<Instant>,
}

impl fmt::Debug for AsyncContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncContext")
            .field("pid", &self.pid)
            .field("conversation", &self.conversation)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl AsyncContext {
    /// For one call.
    #[must_use]
    pub fn new(invocation: &Invocation, host: Box<dyn AsyncHost>) -> Self {
        let deadline = match &invocation.what {
            Call::Message { deadline, .. } | Call::Wake { deadline } => *deadline,
            Call::Join { .. } | Call::Leave { .. } => None,
        };
        Self { host, pid: invocation.pid, conversation: invocation.conversation, deadline }
    }

    /// Replies to the request in hand. A second reply, one after the deadline and one to a message
    /// that asked for none are dropped by the bus.
    pub fn reply(&mut self, content: impl Into<Content>) {
        self.host.reply(content.into());
    }

    /// Replies with a part; a [`reply`](Self::reply) must follow.
    pub fn reply_part(&mut self, content: impl Into<Content>) {
        self.host.part(content.into());
    }

    /// Ends the participant when this call returns.
    pub fn exit(&mut self, reason: ExitReason) {
        self.host.exit(reason);
    }

    /// Waits. Other conversations go on meanwhile.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> Pending<'static> {
        self.host.sleep(time)
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.host.now()
    }

    /// Until when a reply is of use; `None` when none is wanted.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Who the participant is.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// In which conversation.
    #[must_use]
    pub const fn conversation(&self) -> ConversationKey {
        self.conversation
    }
}

/// A participant made of an async function.
pub struct AsyncFn<F>(F);

impl<F> fmt::Debug for AsyncFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncFn")
    }
}

/// Makes a participant of an async function or closure.
///
/// ```
/// use liminal_core::participant::{AsyncContext, async_fn};
/// use liminal_core::Received;
///
/// async fn echo(mut context: AsyncContext, message: Received) {
///     context.reply(message.payload);
/// }
///
/// let participant = async_fn(echo);
/// let another = async_fn(|mut context, message| async move { context.reply(message.payload) });
/// ```
pub const fn async_fn<F, Fut>(function: F) -> AsyncFn<F>
where
    F: FnMut(AsyncContext, Received) -> Fut + Send,
    Fut: Future<Output = ()> + Send + 'static,
{
    AsyncFn(function)
}

impl<F, Fut> AsyncParticipant for AsyncFn<F>
where
    F: FnMut(AsyncContext, Received) -> Fut + Send,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn message<'a>(&'a mut self, context: AsyncContext, message: Received) -> Pending<'a> {
        Box::pin((self.0)(context, message))
    }
}

/// Makes the async participant of each conversation. A closure that returns one is a factory.
pub trait AsyncFactory: Send + Sync {
    /// A new participant.
    fn create(&self) -> Box<dyn AsyncParticipant>;
}

impl<F, P> AsyncFactory for F
where
    F: Fn() -> P + Send + Sync,
    P: AsyncParticipant + 'static,
{
    fn create(&self) -> Box<dyn AsyncParticipant> {
        Box::new(self())
    }
}

/// Makes one call. Its replies go to `host`; that it returned, and whether it wanted to exit, is the
/// host's to say.
pub fn invoke_async<'a>(
    participant: &'a mut dyn AsyncParticipant,
    invocation: &Invocation,
    host: Box<dyn AsyncHost>,
) -> Pending<'a> {
    let context = AsyncContext::new(invocation, host);
    match &invocation.what {
        Call::Join { .. } => participant.joined(context),
        Call::Message { .. } => match Received::of(&invocation.what) {
            Some(message) => participant.message(context, message),
            None => Box::pin(future::ready(())),
        },
        // An async participant sleeps instead of asking to be woken.
        Call::Wake { .. } => Box::pin(future::ready(())),
        Call::Leave { why } => participant.left(context, *why),
    }
}
