//! The asynchronous transports: each server on a thread of its own, each call blocked on. Whatever runs on
//! the pump of `liminal_driver::asynchronous` becomes a [`Transport`] with [`serve`] and [`connected`].

use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::FutureExt as _;
use liminal_core::{Subject, Watched};
use liminal_driver::asynchronous::{self, Driver, Stopper};
use liminal_driver::client::{Connectivity, Reconnect, Standing};
use liminal_driver::error::{
    AskError, AwaitCrashError, BindError, CloseError, ConnectError, Crash, Lost, MessageError, MonitorEnd,
    MonitorError, NeedsVersion2, OpenError, ReceiveError, ReconnectError, ServeError, ServiceEnd,
};
use liminal_driver::server::Kind;
use liminal_driver::{Address, ServerOptions};
use liminal_proto::{CloseReason, Config, Content, MessageId, Notice, Pid, Reply, Terms, Version};

use crate::futures::Pump;
use crate::threads::Threads;
use crate::transport::{
    AsyncBoxed, Boxed, Cast, Conversation, Handle, Monitor, Refusing, Role, Server, Service, Transport, Watch,
};

/// `liminal-smol`.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

/// `liminal-async-std`.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd;

impl Transport for Smol {
    fn serve(&self, at: Address, options: ServerOptions, cast: Cast) -> Result<Box<dyn Server>, BindError> {
        let server = smol::block_on(liminal_smol::bind_with(at, options))?;
        Ok(serve(server, cast, smol::block_on))
    }

    fn connect(&self, to: &Address, config: Config, driven: bool) -> Result<Arc<dyn Handle>, ConnectError> {
        let (handle, driver) = smol::block_on(liminal_smol::connect_with(to, config))?;
        let spawn = |driver: Driver| smol::spawn(driver.run()).detach();
        Ok(connected(handle, driver, driven, spawn))
    }
}

impl Transport for AsyncStd {
    fn serve(&self, at: Address, options: ServerOptions, cast: Cast) -> Result<Box<dyn Server>, BindError> {
        let server = async_std::task::block_on(liminal_async_std::bind_with(at, options))?;
        Ok(serve(server, cast, async_std::task::block_on))
    }

    fn connect(&self, to: &Address, config: Config, driven: bool) -> Result<Arc<dyn Handle>, ConnectError> {
        let (handle, driver) = async_std::task::block_on(liminal_async_std::connect_with(to, config))?;
        let spawn = |driver: Driver| drop(async_std::task::spawn(driver.run()));
        Ok(connected(handle, driver, driven, spawn))
    }
}

impl Pump for Smol {
    fn bind(&self) -> Result<asynchronous::Server, BindError> {
        smol::block_on(liminal_smol::bind("127.0.0.1:0"))
    }

    fn connect(&self, to: Address, config: Config) -> Connecting {
        Box::pin(liminal_smol::connect_with(to, config))
    }

    fn spawn(&self, driver: Driver) -> Receiver<CloseReason> {
        let (report, ended) = channel();
        smol::spawn(async move { drop(report.send(driver.run().await)) }).detach();
        ended
    }

    fn block_on(&self, running: Run) -> io::Result<()> {
        smol::block_on(running)
    }
}

impl Pump for AsyncStd {
    fn bind(&self) -> Result<asynchronous::Server, BindError> {
        async_std::task::block_on(liminal_async_std::bind("127.0.0.1:0"))
    }

    fn connect(&self, to: Address, config: Config) -> Connecting {
        Box::pin(liminal_async_std::connect_with(to, config))
    }

    fn spawn(&self, driver: Driver) -> Receiver<CloseReason> {
        let (report, ended) = channel();
        async_std::task::spawn(async move { drop(report.send(driver.run().await)) });
        ended
    }

    fn block_on(&self, running: Run) -> io::Result<()> {
        async_std::task::block_on(running)
    }
}

type Connecting = futures_lite::future::Boxed<Result<(asynchronous::Handle, Driver), ConnectError>>;

/// A server while it runs.
pub type Run = futures_lite::future::Boxed<io::Result<()>>;

/// Registers the cast and runs a server on a thread of its own, where `block_on` of its runtime drives it.
pub fn serve(
    server: asynchronous::Server,
    cast: Cast,
    block_on: impl FnOnce(Run) -> io::Result<()> + Send + 'static,
) -> Box<dyn Server> {
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
    let (report, ended) = channel();
    let (abandon, abandoned) = smol::channel::bounded::<()>(1);
    thread::spawn(move || {
        let dropped = async move {
            // Also when nobody is left who could abandon it: then the case is over.
            if abandoned.recv().await.is_err() {
                futures_lite::future::pending::<()>().await;
            }
            Ok(())
        };
        let result = block_on(Box::pin(server.run().or(dropped)));
        // The case may be over.
        let _ = report.send(result);
    });
    Box::new(Running { address, stopper, abandon, ended })
}

struct Running {
    address: Address,
    stopper: Stopper,
    abandon: smol::channel::Sender<()>,
    ended: Receiver<io::Result<()>>,
}

impl Server for Running {
    fn address(&self) -> Address {
        self.address.clone()
    }

    fn stop(&self) {
        self.stopper.stop();
    }

    fn ended(self: Box<Self>) {
        self.ended.recv().expect("the server does not panic").expect("the server runs");
    }

    fn abandon(self: Box<Self>) -> bool {
        self.abandon.try_send(()).expect("the server runs");
        self.ended();
        true
    }
}

/// A handle as the suite uses it, and its driver: given to `spawn` if `driven`, and else kept and not run.
pub fn connected(
    handle: asynchronous::Handle,
    driver: Driver,
    driven: bool,
    spawn: impl FnOnce(Driver),
) -> Arc<dyn Handle> {
    let idle = if driven {
        spawn(driver);
        None
    } else {
        Some(Mutex::new(driver))
    };
    Arc::new(Connected { handle, _idle: idle })
}

/// Handles wait on whatever executor they are on.
fn wait<T>(future: impl Future<Output = T>) -> T {
    futures_lite::future::block_on(future)
}

struct Connected {
    handle: asynchronous::Handle,
    /// A driver that does not run.
    _idle: Option<Mutex<Driver>>,
}

impl Handle for Connected {
    fn version(&self) -> Version {
        self.handle.version()
    }

    fn open(&self, subject: &str) -> Result<Arc<dyn Conversation>, OpenError> {
        Ok(Arc::new(Open(wait(self.handle.open(subject))?)))
    }

    fn open_on(&self, subject: &str, terms: Terms) -> Result<Arc<dyn Conversation>, OpenError> {
        Ok(Arc::new(Open(wait(self.handle.open_on(subject, terms))?)))
    }

    fn serve(&self, subject: Subject, role: Role, capacity: u32) -> Result<Arc<dyn Service>, ServeError> {
        let service = match role {
            Role::Inline(factory) => {
                wait(self.handle.serve_inline(subject, Boxed::factory(factory), capacity))
            }
            Role::Blocking(factory) => {
                wait(self.handle.serve_blocking(subject, Boxed::factory(factory), capacity))
            }
            Role::Async(factory) => {
                wait(self.handle.serve_async(subject, AsyncBoxed::factory(factory), capacity))
            }
            Role::Hosted(factory) => wait(self.handle.serve_hosted(subject, Threads::new(factory), capacity)),
            Role::Refusing(reason) => wait(self.handle.serve_hosted(subject, Refusing(reason), capacity)),
            Role::TraceOnly => wait(self.handle.serve(subject, Kind::TraceOnly, capacity)),
        };
        Ok(Arc::new(Offered(service?)))
    }

    fn monitor(&self, participant: Pid) -> Result<Arc<dyn Monitor>, MonitorError> {
        Ok(Arc::new(Monitoring(wait(self.handle.monitor(participant))?)))
    }

    fn watch(&self, subject: Subject) -> Result<Arc<dyn Watch>, MonitorError> {
        Ok(Arc::new(Watching(wait(self.handle.watch(subject))?)))
    }

    fn ping(&self) -> Result<Duration, Lost> {
        wait(self.handle.ping())
    }

    fn reconnect(&self, how: Reconnect) -> Result<(), ReconnectError> {
        self.handle.reconnect(how)
    }

    fn connectivity(&self) -> Connectivity {
        self.handle.connectivity()
    }

    fn connectivity_changed(&self, from: &Connectivity) -> Connectivity {
        wait(self.handle.connectivity_changed(from))
    }

    fn disconnect(&self) {
        wait(self.handle.disconnect());
    }

    fn closed(&self) -> Lost {
        wait(self.handle.closed())
    }
}

struct Offered(asynchronous::Service);

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
        wait(self.0.standing_changed(from))
    }

    fn ended(&self) -> ServiceEnd {
        wait(self.0.ended())
    }
}

struct Monitoring(asynchronous::Monitor);

impl Monitor for Monitoring {
    fn next(&self) -> Result<Notice, MonitorEnd> {
        wait(self.0.next())
    }

    fn next_within(&self, timeout: Duration) -> Result<Option<Notice>, MonitorEnd> {
        wait(self.0.next_within(timeout))
    }
}

struct Watching(asynchronous::Watch);

impl Watch for Watching {
    fn next(&self) -> Result<Watched, MonitorEnd> {
        wait(self.0.next())
    }

    fn next_within(&self, timeout: Duration) -> Result<Option<Watched>, MonitorEnd> {
        wait(self.0.next_within(timeout))
    }
}

struct Open(asynchronous::Conversation);

impl Conversation for Open {
    fn message(&self, content: Content) -> Result<(), MessageError> {
        wait(self.0.message(content))
    }

    fn ask(&self, content: Content, timeout: Duration) -> Result<Bytes, AskError> {
        wait(self.0.ask(content, timeout))
    }

    fn ask_through_exits(
        &self,
        content: Content,
        timeout: Duration,
        exited: &mut dyn FnMut(&Crash),
    ) -> Result<Bytes, AskError> {
        wait(self.0.ask_through_exits(content, timeout, exited))
    }

    fn request(&self, content: Content, timeout: Duration) -> Result<MessageId, AskError> {
        wait(self.0.request(content, timeout))
    }

    fn receive_reply(&self, timeout: Duration) -> Result<Reply, ReceiveError> {
        wait(self.0.receive_reply(timeout))
    }

    fn has_detected_crash(&self) -> bool {
        self.0.has_detected_crash()
    }

    fn await_crash(&self, timeout: Duration) -> Result<Crash, AwaitCrashError> {
        wait(self.0.await_crash(timeout))
    }

    fn exited(&self) -> Result<Crash, AwaitCrashError> {
        wait(self.0.exited())
    }

    fn participant_pids(&self) -> Result<Vec<Pid>, NeedsVersion2> {
        self.0.participant_pids()
    }

    fn close(self: Arc<Self>) -> Result<(), CloseError> {
        let conversation = Arc::into_inner(self).expect("nobody else holds the conversation");
        wait(conversation.0.close())
    }
}
