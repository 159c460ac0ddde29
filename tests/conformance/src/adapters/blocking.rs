//! `liminal-blocking`: the façade is what it is anyway.

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use liminal_blocking::error::{
    AskError, AwaitCrashError, BindError, CloseError, ConnectError, Crash, Lost, MessageError, MonitorEnd,
    MonitorError, NeedsVersion2, OpenError, ReceiveError, ReconnectError, ServeError, ServiceEnd,
};
use liminal_blocking::{
    Address, Config, Connectivity, Driver, Kind, Reconnect, ServerOptions, Standing, Stopper, Subject,
    Watched,
};
use liminal_proto::{Content, MessageId, Notice, Pid, Reply, Terms, Version};

use crate::threads::Threads;
use crate::transport::{
    AsyncBoxed, Boxed, Cast, Conversation, Handle, Monitor, Refusing, Role, Server, Service, Transport, Watch,
};

/// `liminal-blocking`.
#[derive(Clone, Copy, Debug)]
pub struct Blocking;

impl Transport for Blocking {
    fn serve(&self, at: Address, options: ServerOptions, cast: Cast) -> Result<Box<dyn Server>, BindError> {
        let server = liminal_blocking::bind_with(at, options)?;
        for (subject, role) in cast.roles {
            let registered = match role {
                Role::Inline(factory) => server.register_inline(subject, Boxed::factory(factory)),
                Role::Blocking(factory) => server.register_blocking(subject, Boxed::factory(factory)),
                Role::Async(factory) => server.register_async(subject, AsyncBoxed::factory(factory)),
                Role::Hosted(factory) => server.register_hosted(subject, Threads::new(factory)),
                Role::Refusing(reason) => server.register_hosted(subject, Refusing(reason)),
                Role::TraceOnly => server.register_trace_only(subject),
            };
            registered.expect("the subject is free");
        }
        for (subject, policy) in cast.on_crash {
            server.on_crash(subject, policy).expect("the subject is short enough");
        }
        let (address, stopper) = (server.local_address().clone(), server.stopper());
        let thread = thread::spawn(move || server.run().expect("the server runs"));
        Ok(Box::new(Running { address, stopper, thread }))
    }

    fn connect(&self, to: &Address, config: Config, driven: bool) -> Result<Arc<dyn Handle>, ConnectError> {
        let (handle, driver) = liminal_blocking::connect_with(to, config)?;
        let idle = if driven {
            thread::spawn(|| driver.run());
            None
        } else {
            Some(Mutex::new(driver))
        };
        Ok(Arc::new(Connected { handle, _idle: idle }))
    }
}

struct Running {
    address: Address,
    stopper: Stopper,
    thread: JoinHandle<()>,
}

impl Server for Running {
    fn address(&self) -> Address {
        self.address.clone()
    }

    fn stop(&self) {
        self.stopper.stop();
    }

    fn ended(self: Box<Self>) {
        self.thread.join().expect("the server does not panic");
    }

    fn abandon(self: Box<Self>) -> bool {
        self.stopper.stop();
        false
    }
}

struct Connected {
    handle: liminal_blocking::Handle,
    /// A driver that does not run.
    _idle: Option<Mutex<Driver>>,
}

impl Handle for Connected {
    fn version(&self) -> Version {
        self.handle.version()
    }

    fn open(&self, subject: &str) -> Result<Arc<dyn Conversation>, OpenError> {
        Ok(Arc::new(Open(self.handle.open(subject)?)))
    }

    fn open_on(&self, subject: &str, terms: Terms) -> Result<Arc<dyn Conversation>, OpenError> {
        Ok(Arc::new(Open(self.handle.open_on(subject, terms)?)))
    }

    fn serve(&self, subject: Subject, role: Role, capacity: u32) -> Result<Arc<dyn Service>, ServeError> {
        let service = match role {
            Role::Inline(factory) => self.handle.serve_inline(subject, Boxed::factory(factory), capacity),
            Role::Blocking(factory) => self.handle.serve_blocking(subject, Boxed::factory(factory), capacity),
            Role::Async(factory) => self.handle.serve_async(subject, AsyncBoxed::factory(factory), capacity),
            Role::Hosted(factory) => self.handle.serve_hosted(subject, Threads::new(factory), capacity),
            Role::Refusing(reason) => self.handle.serve_hosted(subject, Refusing(reason), capacity),
            Role::TraceOnly => self.handle.serve(subject, Kind::TraceOnly, capacity),
        };
        Ok(Arc::new(Offered(service?)))
    }

    fn monitor(&self, participant: Pid) -> Result<Arc<dyn Monitor>, MonitorError> {
        Ok(Arc::new(Monitoring(self.handle.monitor(participant)?)))
    }

    fn watch(&self, subject: Subject) -> Result<Arc<dyn Watch>, MonitorError> {
        Ok(Arc::new(Watching(self.handle.watch(subject)?)))
    }

    fn ping(&self) -> Result<Duration, Lost> {
        self.handle.ping()
    }

    fn reconnect(&self, how: Reconnect) -> Result<(), ReconnectError> {
        self.handle.reconnect(how)
    }

    fn connectivity(&self) -> Connectivity {
        self.handle.connectivity()
    }

    fn connectivity_changed(&self, from: &Connectivity) -> Connectivity {
        self.handle.connectivity_changed(from)
    }

    fn disconnect(&self) {
        self.handle.disconnect();
    }

    fn closed(&self) -> Lost {
        self.handle.closed()
    }
}

struct Offered(liminal_blocking::Service);

impl Service for Offered {
    fn withdraw(&self) {
        self.0.withdraw();
    }

    fn drain(&self) {
        self.0.drain();
    }

    fn standing(&self) -> Standing {
        self.0.standing()
    }

    fn standing_changed(&self, from: &Standing) -> Standing {
        self.0.standing_changed(from)
    }

    fn ended(&self) -> ServiceEnd {
        self.0.ended()
    }
}

struct Monitoring(liminal_blocking::Monitor);

impl Monitor for Monitoring {
    fn next(&self) -> Result<Notice, MonitorEnd> {
        self.0.next()
    }

    fn next_within(&self, timeout: Duration) -> Result<Option<Notice>, MonitorEnd> {
        self.0.next_within(timeout)
    }
}

struct Watching(liminal_blocking::Watch);

impl Watch for Watching {
    fn next(&self) -> Result<Watched, MonitorEnd> {
        self.0.next()
    }

    fn next_within(&self, timeout: Duration) -> Result<Option<Watched>, MonitorEnd> {
        self.0.next_within(timeout)
    }
}

struct Open(liminal_blocking::Conversation);

impl Conversation for Open {
    fn message(&self, content: Content) -> Result<(), MessageError> {
        self.0.message(content)
    }

    fn ask(&self, content: Content, timeout: Duration) -> Result<Bytes, AskError> {
        self.0.ask(content, timeout)
    }

    fn ask_through_exits(
        &self,
        content: Content,
        timeout: Duration,
        exited: &mut dyn FnMut(&Crash),
    ) -> Result<Bytes, AskError> {
        self.0.ask_through_exits(content, timeout, exited)
    }

    fn request(&self, content: Content, timeout: Duration) -> Result<MessageId, AskError> {
        self.0.request(content, timeout)
    }

    fn receive_reply(&self, timeout: Duration) -> Result<Reply, ReceiveError> {
        self.0.receive_reply(timeout)
    }

    fn has_detected_crash(&self) -> bool {
        self.0.has_detected_crash()
    }

    fn await_crash(&self, timeout: Duration) -> Result<Crash, AwaitCrashError> {
        self.0.await_crash(timeout)
    }

    fn exited(&self) -> Result<Crash, AwaitCrashError> {
        self.0.exited()
    }

    fn participant_pids(&self) -> Result<Vec<Pid>, NeedsVersion2> {
        self.0.participant_pids()
    }

    fn close(self: Arc<Self>) -> Result<(), CloseError> {
        let conversation = Arc::into_inner(self).expect("nobody else holds the conversation");
        conversation.0.close()
    }
}
