//! The asynchronous transports: each server on a thread of its own, each call blocked on.

use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::FutureExt as _;
use liminal_driver::asynchronous::{self, Driver, Stopper};
use liminal_driver::error::{
    AskError, AwaitCrashError, BindError, CloseError, ConnectError, Crash, Lost, MessageError, NeedsVersion2,
    OpenError, ReceiveError,
};
use liminal_driver::{Address, ServerOptions};
use liminal_proto::{Config, MessageId, Pid, Reply, Version};

use crate::threads::Threads;
use crate::transport::{AsyncBoxed, Boxed, Cast, Conversation, Handle, Role, Server, Transport};

/// `liminal-smol`.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

/// `liminal-async-std`.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd;

impl Transport for Smol {
    fn serve(&self, at: Address, options: ServerOptions, cast: Cast) -> Result<Box<dyn Server>, BindError> {
        let server = smol::block_on(liminal_smol::bind_with(at, options))?;
        Ok(run(server, cast, smol::block_on))
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
        Ok(run(server, cast, async_std::task::block_on))
    }

    fn connect(&self, to: &Address, config: Config, driven: bool) -> Result<Arc<dyn Handle>, ConnectError> {
        let (handle, driver) = async_std::task::block_on(liminal_async_std::connect_with(to, config))?;
        let spawn = |driver: Driver| drop(async_std::task::spawn(driver.run()));
        Ok(connected(handle, driver, driven, spawn))
    }
}

type Run = futures_lite::future::Boxed<io::Result<()>>;

fn run(
    server: asynchronous::Server,
    cast: Cast,
    block_on: impl FnOnce(Run) -> io::Result<()> + Send + 'static,
) -> Box<dyn Server> {
    for (subject, role) in cast {
        let registered = match role {
            Role::Inline(factory) => server.register_inline(subject, Boxed::factory(factory)),
            Role::Blocking(factory) => server.register_blocking(subject, Boxed::factory(factory)),
            Role::Async(factory) => server.register_async(subject, AsyncBoxed::factory(factory)),
            Role::Hosted(factory) => server.register_hosted(subject, Threads::new(factory)),
            Role::TraceOnly => server.register_trace_only(subject),
        };
        registered.expect("the subject is free");
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

fn connected(
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

    fn ping(&self) -> Result<Duration, Lost> {
        wait(self.handle.ping())
    }

    fn disconnect(&self) {
        wait(self.handle.disconnect());
    }

    fn closed(&self) -> Lost {
        wait(self.handle.closed())
    }
}

struct Open(asynchronous::Conversation);

impl Conversation for Open {
    fn message(&self, payload: Bytes) -> Result<(), MessageError> {
        wait(self.0.message(payload))
    }

    fn ask(&self, payload: Bytes, timeout: Duration) -> Result<Bytes, AskError> {
        wait(self.0.ask(payload, timeout))
    }

    fn request(&self, payload: Bytes, timeout: Duration) -> Result<MessageId, AskError> {
        wait(self.0.request(payload, timeout))
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

    fn participant_pids(&self) -> Result<Vec<Pid>, NeedsVersion2> {
        self.0.participant_pids()
    }

    fn close(self: Arc<Self>) -> Result<(), CloseError> {
        let conversation = Arc::into_inner(self).expect("nobody else holds the conversation");
        wait(conversation.0.close())
    }
}
