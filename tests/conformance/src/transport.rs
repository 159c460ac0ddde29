//! What the suite needs of a transport: a blocking façade over whatever it is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use liminal_core::participant::{AsyncFactory, AsyncParticipant, Pending};
use liminal_core::{
    Answer, Context, CrashPolicy, Factory, Invocation, Leaving, Participant, Received, Subject, Watched,
};
use liminal_driver::client::{Connectivity, Reconnect, Standing};
use liminal_driver::error::{
    AskError, AwaitCrashError, BindError, CloseError, ConnectError, Crash, Lost, MessageError, MonitorEnd,
    MonitorError, NeedsVersion2, OpenError, ReceiveError, ReconnectError, ServeError, ServiceEnd,
};
use liminal_driver::server::{Answers, Host};
use liminal_driver::{Address, ServerOptions};
use liminal_proto::{Config, Content, MessageId, Notice, Pid, ReasonCode, Reply, Terms, Version};

/// A transport, as the suite sees it.
pub trait Transport: Send + Sync + 'static {
    /// Listens, and runs a server beside the caller.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    fn serve(&self, at: Address, options: ServerOptions, cast: Cast) -> Result<Box<dyn Server>, BindError>;

    /// Connects; runs the driver beside the caller if `driven`, and else keeps it without running it.
    ///
    /// # Errors
    ///
    /// Nobody there, or the handshake failed.
    fn connect(&self, to: &Address, config: Config, driven: bool) -> Result<Arc<dyn Handle>, ConnectError>;

    /// Whether it has the server's part played by a client of it. What bounds each connection of the server then
    /// concerns that one, too, and some cases are about nothing. Default: no.
    fn is_relayed(&self) -> bool {
        false
    }

    /// Whether it has Unix sockets besides TCP. Default: where the platform has them.
    fn has_unix_sockets(&self) -> bool {
        cfg!(unix)
    }
}

/// A server that runs.
pub trait Server: Send {
    /// Where it listens.
    fn address(&self) -> Address;
    /// Asks it to stop.
    fn stop(&self);
    /// Waits until its `run` has returned.
    fn ended(self: Box<Self>);
    /// Takes it down without a word, as if its program had ended, if the transport can do that within
    /// one process. False: it cannot, and the server runs on.
    fn abandon(self: Box<Self>) -> bool;
}

/// A connection to a server. Dropping it drops the handle.
pub trait Handle: Send + Sync {
    /// See the handle of the transport.
    fn version(&self) -> Version;
    /// See the handle of the transport.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    fn open(&self, subject: &str) -> Result<Arc<dyn Conversation>, OpenError>;
    /// See the handle of the transport.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    fn open_on(&self, subject: &str, terms: Terms) -> Result<Arc<dyn Conversation>, OpenError>;
    /// See the handle of the transport.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    fn serve(&self, subject: Subject, role: Role, capacity: u32) -> Result<Arc<dyn Service>, ServeError>;
    /// See the handle of the transport.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    fn monitor(&self, participant: Pid) -> Result<Arc<dyn Monitor>, MonitorError>;
    /// See the handle of the transport.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    fn watch(&self, subject: Subject) -> Result<Arc<dyn Watch>, MonitorError>;
    /// See the handle of the transport.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    fn ping(&self) -> Result<Duration, Lost>;
    /// See the handle of the transport.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    fn reconnect(&self, how: Reconnect) -> Result<(), ReconnectError>;
    /// See the handle of the transport.
    fn connectivity(&self) -> Connectivity;
    /// See the handle of the transport.
    fn connectivity_changed(&self, from: &Connectivity) -> Connectivity;
    /// See the handle of the transport.
    fn disconnect(&self);
    /// See the handle of the transport.
    fn closed(&self) -> Lost;
}

/// A subject that a client serves. Dropping it drops the service.
pub trait Service: Send + Sync {
    /// See the service of the transport.
    fn withdraw(&self);
    /// See the service of the transport.
    fn drain(&self);
    /// See the service of the transport.
    fn standing(&self) -> Standing;
    /// See the service of the transport.
    fn standing_changed(&self, from: &Standing) -> Standing;
    /// See the service of the transport.
    fn ended(&self) -> ServiceEnd;
}

/// A conversation of others whose life is told. Dropping it drops the monitor.
pub trait Monitor: Send + Sync {
    /// See the monitor of the transport.
    ///
    /// # Errors
    ///
    /// Those of the monitor.
    fn next(&self) -> Result<Notice, MonitorEnd>;
    /// See the monitor of the transport.
    ///
    /// # Errors
    ///
    /// Those of the monitor.
    fn next_within(&self, timeout: Duration) -> Result<Option<Notice>, MonitorEnd>;
}

/// The logs of conversations of others. Dropping it drops the watch.
pub trait Watch: Send + Sync {
    /// See the watch of the transport.
    ///
    /// # Errors
    ///
    /// Those of the watch.
    fn next(&self) -> Result<Watched, MonitorEnd>;
    /// See the watch of the transport.
    ///
    /// # Errors
    ///
    /// Those of the watch.
    fn next_within(&self, timeout: Duration) -> Result<Option<Watched>, MonitorEnd>;
}

/// A conversation. Dropping it drops the conversation.
pub trait Conversation: Send + Sync {
    /// See the conversation of the transport.
    ///
    /// # Errors
    ///
    /// Those of the conversation.
    fn message(&self, content: Content) -> Result<(), MessageError>;
    /// See the conversation of the transport.
    ///
    /// # Errors
    ///
    /// Those of the conversation.
    fn ask(&self, content: Content, timeout: Duration) -> Result<Bytes, AskError>;
    /// See the conversation of the transport.
    ///
    /// # Errors
    ///
    /// Those of the conversation.
    fn ask_through_exits(
        &self,
        content: Content,
        timeout: Duration,
        exited: &mut dyn FnMut(&Crash),
    ) -> Result<Bytes, AskError>;
    /// See the conversation of the transport.
    ///
    /// # Errors
    ///
    /// Those of the conversation.
    fn request(&self, content: Content, timeout: Duration) -> Result<MessageId, AskError>;
    /// See the conversation of the transport.
    ///
    /// # Errors
    ///
    /// Those of the conversation.
    fn receive_reply(&self, timeout: Duration) -> Result<Reply, ReceiveError>;
    /// See the conversation of the transport.
    fn has_detected_crash(&self) -> bool;
    /// See the conversation of the transport.
    ///
    /// # Errors
    ///
    /// Those of the conversation.
    fn await_crash(&self, timeout: Duration) -> Result<Crash, AwaitCrashError>;
    /// See the conversation of the transport.
    ///
    /// # Errors
    ///
    /// Those of the conversation.
    fn exited(&self) -> Result<Crash, AwaitCrashError>;
    /// See the conversation of the transport.
    ///
    /// # Errors
    ///
    /// Those of the conversation.
    fn participant_pids(&self) -> Result<Vec<Pid>, NeedsVersion2>;
    /// Closes it; the conversation must be held by the caller alone.
    ///
    /// # Errors
    ///
    /// Those of the conversation.
    fn close(self: Arc<Self>) -> Result<(), CloseError>;
}

/// Who serves what, and what becomes of conversations when they exit.
#[derive(Debug, Default)]
pub struct Cast {
    /// Who serves what.
    pub roles: Vec<(Subject, Role)>,
    /// What the server is told with `on_crash`.
    pub on_crash: Vec<(Subject, CrashPolicy)>,
}

/// How a subject is served.
#[derive(Clone)]
pub enum Role {
    /// Where its messages are decoded.
    Inline(Arc<dyn Factory>),
    /// On a bounded pool of threads.
    Blocking(Arc<dyn Factory>),
    /// As a task.
    Async(Arc<dyn AsyncFactory>),
    /// With a host of its own: here, a thread for each participant.
    Hosted(Arc<dyn Factory>),
    /// With a host that lets nobody join, for this reason.
    Refusing(ReasonCode),
    /// Nobody.
    TraceOnly,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inline(_) => "Inline",
            Self::Blocking(_) => "Blocking",
            Self::Async(_) => "Async",
            Self::Hosted(_) => "Hosted",
            Self::Refusing(_) => "Refusing",
            Self::TraceOnly => "TraceOnly",
        })
    }
}

/// A host that lets nobody join, for this reason.
#[derive(Clone, Copy, Debug)]
pub struct Refusing(pub ReasonCode);

impl Host for Refusing {
    fn call(&self, _invocation: Invocation, mut answers: Answers) {
        answers.answer(Answer::Refused { reason: self.0, text: None });
    }
}

/// A participant behind a box, which a factory can return.
pub struct Boxed(Box<dyn Participant>);

impl Boxed {
    /// What `register_inline` and `register_blocking` take.
    pub fn factory(factory: Arc<dyn Factory>) -> impl Fn() -> Self + Send + Sync {
        move || Self(factory.create())
    }
}

impl Participant for Boxed {
    fn joined(&mut self, context: &mut Context<'_>) {
        self.0.joined(context);
    }

    fn message(&mut self, context: &mut Context<'_>, message: Received) {
        self.0.message(context, message);
    }

    fn woken(&mut self, context: &mut Context<'_>) {
        self.0.woken(context);
    }

    fn left(&mut self, context: &mut Context<'_>, why: Leaving) {
        self.0.left(context, why);
    }
}

/// The same for one that waits.
pub struct AsyncBoxed(Box<dyn AsyncParticipant>);

impl AsyncBoxed {
    /// What `register_async` takes.
    pub fn factory(factory: Arc<dyn AsyncFactory>) -> impl Fn() -> Self + Send + Sync {
        move || Self(factory.create())
    }
}

impl AsyncParticipant for AsyncBoxed {
    fn joined<'a>(&'a mut self, context: liminal_core::participant::AsyncContext) -> Pending<'a> {
        self.0.joined(context)
    }

    fn message<'a>(
        &'a mut self,
        context: liminal_core::participant::AsyncContext,
        message: Received,
    ) -> Pending<'a> {
        self.0.message(context, message)
    }

    fn left<'a>(&'a mut self, context: liminal_core::participant::AsyncContext, why: Leaving) -> Pending<'a> {
        self.0.left(context, why)
    }
}

impl fmt::Debug for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Boxed")
    }
}

impl fmt::Debug for AsyncBoxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncBoxed")
    }
}
