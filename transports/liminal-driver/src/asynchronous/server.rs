//! The server over any asynchronous streams: one task for each connection, all of them inside the future
//! that runs the server.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_executor::Executor;
use futures_lite::{AsyncWriteExt as _, FutureExt as _};
use liminal_core::participant::AsyncFactory;
use liminal_core::{CrashPolicy, Factory, RegisterError, Subject};
use liminal_proto::Connection;

use super::connect::Halves;
use super::link::{ReadHalf, WriteHalf, write_slices};
use super::sleep::{Alarm, Sleeper};
use crate::client::{link_error, wake_at};
use crate::server::{
    Admitted, Connected, Host, Hub, Kind, Peer, Pool, ServerLink, ServerOptions, Spawn, Task, TryWrite,
    TurnedAway, Waits,
};
use crate::{Address, with_scratch};

/// How long a connection that is over is still read, so that the farewell is not destroyed by a reset.
const LINGER: Duration = Duration::from_millis(500);

/// Reads of one connection before the others get their turn.
const READS_MAX: usize = 8;

/// A future in a box.
pub type Accepting<'a> = Pin<Box<dyn Future<Output = io::Result<Accepted>> + Send + 'a>>;

/// What a transport accepts connections with.
pub trait Accept: Send + Sync + 'static {
    /// The next connection.
    fn accept(&self) -> Accepting<'_>;
}

/// A connection that was accepted.
pub struct Accepted {
    /// Its stream.
    pub halves: Halves,
    /// Who it is.
    pub peer: Peer,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// A server that listens and does not run yet.
pub struct Server {
    hub: Arc<Hub>,
    executor: Arc<Executor<'static>>,
    sleeper: Arc<dyn Sleeper>,
    pool: Arc<Pool>,
    listener: Arc<dyn Accept>,
    address: Address,
    stopping: Arc<Stopping>,
}

/// Stops a server gracefully, from wherever it is.
#[derive(Clone)]
pub struct Stopper {
    stopping: Arc<Stopping>,
}

#[derive(Default)]
struct Stopping {
    asked: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Stopper {
    /// Asks every client to go, waits for them as long as the server's options say, and ends
    /// [`Server::run`].
    pub fn stop(&self) {
        self.stopping.asked.store(true, Ordering::Release);
        if let Some(waker) = self.stopping.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}

impl Stopping {
    async fn asked(&self) {
        poll_fn(|cx| {
            *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            if self.asked.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Server {
    /// A server on a listener of some runtime.
    #[must_use]
    pub fn new(
        listener: Arc<dyn Accept>,
        address: Address,
        sleeper: Arc<dyn Sleeper>,
        options: ServerOptions,
    ) -> Self {
        let executor = Arc::new(Executor::new());
        let pool = Pool::new(options.stop.blocking_seats);
        let spawn = Box::new(OnExecutor(Arc::downgrade(&executor)));
        let hub = Hub::new(options, spawn, Arc::clone(&sleeper), Arc::clone(&pool));
        Self { hub, executor, sleeper, pool, listener, address, stopping: Arc::default() }
    }

    /// Where it listens; the real port when it was asked for port 0.
    #[must_use]
    pub const fn local_address(&self) -> &Address {
        &self.address
    }

    /// Serves a subject with participants that run where their messages are decoded. They must not
    /// block: every connection waits for them.
    ///
    /// # Errors
    ///
    /// The subject is too long, or is registered to be only recorded.
    pub fn register_inline(
        &self,
        subject: impl Into<Subject>,
        factory: impl Factory + 'static,
    ) -> Result<(), RegisterError> {
        self.register(subject, Kind::Inline(Arc::new(factory)))
    }

    /// Serves a subject with participants that may block, on a bounded pool of threads.
    ///
    /// # Errors
    ///
    /// The subject is too long, or is registered to be only recorded.
    pub fn register_blocking(
        &self,
        subject: impl Into<Subject>,
        factory: impl Factory + 'static,
    ) -> Result<(), RegisterError> {
        self.register(subject, Kind::Blocking(Arc::new(factory)))
    }

    /// Serves a subject with participants that await.
    ///
    /// # Errors
    ///
    /// The subject is too long, or is registered to be only recorded.
    pub fn register_async(
        &self,
        subject: impl Into<Subject>,
        factory: impl AsyncFactory + 'static,
    ) -> Result<(), RegisterError> {
        self.register(subject, Kind::Async(Arc::new(factory)))
    }

    /// Serves a subject with participants that `host` calls, because they live outside this program.
    ///
    /// # Errors
    ///
    /// The subject is served already, or too long.
    pub fn register_hosted(&self, subject: impl Into<Subject>, host: impl Host) -> Result<(), RegisterError> {
        self.register(subject, Kind::Hosted(Arc::new(host)))
    }

    /// Serves a subject with nobody: opening succeeds, messages are recorded, requests are refused.
    ///
    /// # Errors
    ///
    /// The subject is served already, or too long.
    pub fn register_trace_only(&self, subject: impl Into<Subject>) -> Result<(), RegisterError> {
        self.register(subject, Kind::TraceOnly)
    }

    /// Sets what becomes of a conversation on a subject when its participant exits; without it the
    /// conversation fails. It is for conversations that are opened from now on.
    ///
    /// A subject may be registered several times: a new conversation gets the participants with the
    /// fewest conversations, and [`CrashPolicy::RouteToNext`] goes on with the next of them.
    ///
    /// # Errors
    ///
    /// The subject is too long, or the one to compensate on.
    pub fn on_crash(&self, subject: impl Into<Subject>, policy: CrashPolicy) -> Result<(), RegisterError> {
        self.hub.on_crash(subject.into(), policy)
    }

    /// Serves a subject with participants of a kind: what the other ways to register are short for.
    ///
    /// # Errors
    ///
    /// The subject is too long, or is registered to be only recorded, or this only records and the subject is
    /// served already.
    pub fn register(&self, subject: impl Into<Subject>, kind: Kind) -> Result<(), RegisterError> {
        self.hub.register(subject.into(), kind).map(drop)
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { stopping: Arc::clone(&self.stopping) }
    }

    /// Accepts and serves until it is stopped. Everything happens inside this future.
    ///
    /// # Errors
    ///
    /// None at present: a failure to accept is logged and tried again.
    pub async fn run(self) -> io::Result<()> {
        let executor = Arc::clone(&self.executor);
        executor.spawn(timer(Arc::clone(&self.hub), Arc::clone(&self.sleeper))).detach();
        executor.run(self.serve()).await;
        Ok(())
    }

    async fn serve(self) {
        let Self { hub, executor, sleeper, pool, listener, stopping, .. } = self;
        // A task of its own, so that only a connection makes it look for one.
        let accepting = executor.spawn(accept(
            listener,
            Arc::clone(&hub),
            Arc::downgrade(&executor),
            Arc::clone(&sleeper),
        ));
        stopping.asked().await;
        accepting.cancel().await;
        hub.stop();
        let late = sleeper.sleep_until(Instant::now() + hub.options().stop.time);
        until(|waker| hub.is_idle(waker)).or(late).await;
        hub.abandon();
        until(|waker| hub.is_unlinked(waker)).await;
        hub.over();
        pool.close();
    }
}

async fn accept(
    listener: Arc<dyn Accept>,
    hub: Arc<Hub>,
    executor: Weak<Executor<'static>>,
    sleeper: Arc<dyn Sleeper>,
) {
    loop {
        while let Some(pause) = hub.accept_pause() {
            sleeper.sleep_until(Instant::now() + pause).await;
        }
        match listener.accept().await {
            Ok(Accepted { halves, peer }) => match hub.admission().admit(peer) {
                Ok(admitted) => {
                    // It runs this, so it is there.
                    let Some(executor) = executor.upgrade() else { return };
                    executor.spawn(serve(halves, admitted, Arc::clone(&hub), Arc::clone(&sleeper))).detach();
                }
                Err(turned_away) => {
                    let Some(executor) = executor.upgrade() else { return };
                    executor.spawn(turn_away(halves, turned_away, Arc::clone(&sleeper))).detach();
                }
            },
            Err(error) => {
                let pause = hub.admission().failed(&error);
                sleeper.sleep_until(Instant::now() + pause).await;
            }
        }
    }
}

/// Tells a client that there is no room for it, if there is time for that.
async fn turn_away((read, mut write): Halves, turned_away: TurnedAway, sleeper: Arc<dyn Sleeper>) {
    let Some(farewell) = turned_away.farewell() else { return };
    let telling = async {
        // Far shorter than what any stream takes at once.
        let told = write.write_all(&farewell).await;
        if told.is_ok() && write.close().await.is_ok() {
            drain(read).await;
        }
    };
    telling.or(sleeper.sleep_until(Instant::now() + LINGER)).await;
}

/// Reads and discards until the peer has no more to say.
async fn drain(mut read: ReadHalf) {
    poll_fn(|cx| {
        with_scratch(|scratch| {
            for _ in 0..READS_MAX {
                match read.as_mut().poll_read(cx, scratch) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
            // However much there is: the other connections get their turn.
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    })
    .await;
}

async fn serve((read, write): Halves, admitted: Admitted, hub: Arc<Hub>, sleeper: Arc<dyn Sleeper>) {
    let connection = Connection::server(hub.clock().now(), hub.options().connection.clone());
    let writer = Box::new(AsyncWriter(write));
    let connected =
        hub.connect(|id| ServerLink::new(id, admitted, hub.memory(), connection, writer, Waker::noop()));
    let alarm = Alarm::new(Arc::clone(&sleeper));
    let mut serving = Serving { connected, read, alarm, waits: None };
    poll_fn(|cx| serving.poll(cx)).await;
    serving.say_goodbye(&*sleeper).await;
}

/// One connection being served.
struct Serving {
    connected: Connected,
    read: ReadHalf,
    alarm: Alarm,
    /// What the connection waited for last.
    waits: Option<Waits>,
}

impl Serving {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (hub, link) = (self.connected.hub(), self.connected.link());
        let look = link.watch(cx.waker());
        let mut waits = match self.waits {
            Some(waits) if !look => waits,
            _ => link.advance(hub, |_, _| ()),
        };
        for _ in 0..READS_MAX {
            if waits.wants.finished {
                return Poll::Ready(());
            }
            match self.step(cx, waits) {
                Poll::Ready(changed) => waits = changed,
                Poll::Pending => {
                    self.waits = Some(waits);
                    return Poll::Pending;
                }
            }
        }
        self.waits = Some(waits);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn step(&mut self, cx: &mut Context<'_>, waits: Waits) -> Poll<Waits> {
        if waits.wants.read
            && let Poll::Ready(waits) = self.read(cx, waits)
        {
            return Poll::Ready(waits);
        }
        // Only now, because what is read is told the time as well.
        let Self { connected, alarm, .. } = self;
        let (hub, link, wants) = (connected.hub(), connected.link(), waits.wants);
        let wake = wake_at(&wants, hub.clock());
        alarm.is_for(wants.wake);
        if wake.is_none() {
            // Nothing is due any more: who idles neither holds a timer nor wakes up.
            alarm.disarm();
        }
        alarm.poll(cx, wake).map(|()| link.advance(hub, |_, _| ()))
    }

    fn read(&mut self, cx: &mut Context<'_>, waits: Waits) -> Poll<Waits> {
        let (hub, link) = (self.connected.hub(), self.connected.link());
        with_scratch(|scratch| {
            let room = waits.room.min(scratch.len());
            let space = scratch.get_mut(..room).unwrap_or_default();
            let Poll::Ready(result) = self.read.as_mut().poll_read(cx, space) else { return Poll::Pending };
            if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                return Poll::Ready(waits);
            }
            Poll::Ready(link.advance(hub, |connection, now| match result {
                Ok(0) => connection.eof(now),
                Ok(n) => {
                    connection.receive(now, scratch.get(..n).unwrap_or_default());
                }
                Err(error) => connection.link_lost(now, link_error(&error)),
            }))
        })
    }

    /// Closes our half, and discards for a moment what the peer still sends: closing a socket with
    /// unread input would reset it, and the peer might lose the farewell.
    async fn say_goodbye(self, sleeper: &dyn Sleeper) {
        let Self { connected, read, .. } = self;
        let link = connected.link();
        if link.is_lost() || poll_fn(|cx| link.poll_close(cx)).await.is_err() {
            return;
        }
        drain(read).or(sleeper.sleep_until(Instant::now() + LINGER)).await;
    }
}

struct AsyncWriter(WriteHalf);

impl TryWrite for AsyncWriter {
    fn try_write(&mut self, slices: &[IoSlice<'_>], waker: &Waker) -> Poll<io::Result<usize>> {
        write_slices(&mut self.0, slices, &mut Context::from_waker(waker))
    }

    fn try_close(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_close(&mut Context::from_waker(waker))
    }
}

/// Async participants, each call as a task.
///
/// Weak, because the tasks of the executor hold the hub, which holds this: the executor, and with it every
/// task, goes with the future that runs the server, or drives the client.
pub(super) struct OnExecutor(pub(super) Weak<Executor<'static>>);

impl Spawn for OnExecutor {
    fn spawn(&self, task: Task) -> Result<(), Task> {
        let Some(executor) = self.0.upgrade() else { return Err(task) };
        executor.spawn(async { task.await.tell() }).detach();
        Ok(())
    }
}

/// Tells the bus the time when it is due.
async fn timer(hub: Arc<Hub>, sleeper: Arc<dyn Sleeper>) {
    let mut alarm = Alarm::new(sleeper);
    poll_fn(|cx| {
        ring(&mut alarm, &hub, cx);
        Poll::<()>::Pending
    })
    .await;
}

/// Tells the bus the time if it is due, and wakes the task when it next is.
pub(super) fn ring(alarm: &mut Alarm, hub: &Arc<Hub>, cx: &mut Context<'_>) {
    while alarm.poll(cx, hub.timer(cx.waker())).is_ready() {
        hub.on_timer();
    }
}

/// Waits until something is so that wakes a waker when it comes about.
async fn until(is_so: impl Fn(&Waker) -> bool) {
    poll_fn(|cx| if is_so(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}
