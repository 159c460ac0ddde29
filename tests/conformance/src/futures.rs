//! What only futures can do: be dropped at any await, and be kept without being polled.

use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::FutureExt as _;
use futures_lite::future::{Boxed, block_on};
use liminal_core::Context as Call;
use liminal_core::Received;
use liminal_core::participant::{AsyncContext, async_fn};
use liminal_driver::Address;
use liminal_driver::asynchronous::{Conversation, Driver, Handle, Server, Stopper};
use liminal_driver::client::{Connectivity, Reconnect, Standing};
use liminal_driver::error::{BindError, ConnectError, OpenError};
use liminal_proto::wire::Dialect;
use liminal_proto::{CloseReason, Config, ExitReason};

use crate::adapters::Run;
use crate::cases::reconnect::{LATER, SOON};
use crate::wire::Wire;
use crate::{WAIT, in_time};

/// A transport on the pump of `liminal_driver::asynchronous`, with its futures as they are.
pub trait Pump: Send + Sync + 'static {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    ///
    /// It cannot.
    fn bind(&self) -> Result<Server, BindError>;

    /// Connects. The future may be polled on any thread.
    fn connect(&self, to: Address, config: Config) -> Boxed<Result<(Handle, Driver), ConnectError>>;

    /// Runs a driver beside, and tells how it ended.
    fn spawn(&self, driver: Driver) -> Receiver<CloseReason>;

    /// Runs a server on this thread.
    ///
    /// # Errors
    ///
    /// Those of the server.
    fn block_on(&self, running: Run) -> io::Result<()>;
}

/// Makes a test of every case, for one transport.
#[macro_export]
macro_rules! futures {
    ($pump:expr) => {
        $crate::futures_tests! {
            $pump;
            every_future_may_be_dropped_at_every_await
            the_same_without_a_driver
            a_connecting_client_may_be_dropped_at_every_await
            a_driver_may_be_dropped_and_callers_go_on
            a_future_that_is_kept_delays_nobody_in_its_task
            a_future_that_is_kept_delays_other_tasks_for_a_moment_at_most
            a_thousand_tasks_ask_at_once_on_one_connection
            asks_that_are_given_up_confuse_nobody
            serving_may_be_dropped_at_every_await
            what_is_served_ends_with_its_driver
            a_driver_that_dials_may_be_dropped_at_every_await
            who_waits_for_a_connection_may_be_dropped_at_every_await
            a_driver_that_dials_ends_with_the_last_handle
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! futures_tests {
    ($pump:expr; $($case:ident)*) => {
        $(#[test]
        fn $case() {
            $crate::futures::$case(&$pump);
        })*
    };
}

/// A server, and clients of it.
struct World {
    pump: &'static dyn Pump,
    address: Address,
    stopper: Stopper,
}

/// Says it back, and panics when it is told to.
pub fn echo(call: &mut Call<'_>, message: Received) {
    assert!(message.payload != "panic", "{}", crate::puppet::PLANNED);
    call.reply(message.payload);
}

impl World {
    fn new(pump: &'static dyn Pump) -> Self {
        let server = pump.bind().unwrap();
        server.register_inline("echo", || echo).unwrap();
        server.register_blocking("blocking", || echo).unwrap();
        let (address, stopper) = (server.local_address().clone(), server.stopper());
        thread::spawn(move || pump.block_on(Box::pin(server.run())));
        Self { pump, address, stopper }
    }

    fn connect(&self, dialect: Dialect) -> (Handle, Driver) {
        let config = Config { max_dialect: dialect, ..Config::default() };
        block_on(self.pump.connect(self.address.clone(), config)).unwrap()
    }

    fn connect_driven(&self) -> Handle {
        let (handle, driver) = self.connect(Dialect::V2);
        self.pump.spawn(driver);
        handle
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

/// Polls at most so many times, each time when woken, and gives up; also when nothing wakes it for long.
async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    let polled = poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let long = async {
        smol::Timer::after(Duration::from_millis(20)).await;
        None
    };
    polled.or(long).await
}

/// The connection is as good as new.
pub async fn is_sound(handle: &Handle, conversation: &Conversation) {
    assert_eq!(conversation.ask("sound", WAIT).await.unwrap(), "sound");
    assert_eq!(handle.open("echo").await.unwrap().ask("new", WAIT).await.unwrap(), "new");
    handle.ping().await.unwrap();
}

async fn dropped_at_every_await(handle: &Handle) {
    let large = vec![7; 700_000];
    for times in 0..12 {
        let conversation = handle.open("blocking").await.unwrap();
        polled(times, conversation.ask("dropped", WAIT)).await;
        polled(times, conversation.ask(large.clone(), WAIT)).await;
        is_sound(handle, &conversation).await;
        polled(times, conversation.message(large.clone())).await;
        polled(times, conversation.request(large.clone(), WAIT)).await;
        polled(times, conversation.receive_reply(WAIT)).await;
        is_sound(handle, &conversation).await;
        polled(times, conversation.await_crash(WAIT)).await;
        polled(times, handle.ping()).await;
        polled(times, handle.closed()).await;
        drop(polled(times, handle.open("blocking")).await);
        is_sound(handle, &conversation).await;
        polled(times, conversation.close()).await;
    }
}

/// Every future of a handle and of a conversation may be given up wherever it awaits, and the connection is
/// as good as new.
pub fn every_future_may_be_dropped_at_every_await(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        for dialect in [Dialect::V2, Dialect::V1] {
            let (handle, driver) = world.connect(dialect);
            let driver = pump.spawn(driver);
            block_on(dropped_at_every_await(&handle));
            drop(handle);
            driver.recv_timeout(WAIT).unwrap();
        }
    });
}

/// Also when nobody drives the connection.
pub fn the_same_without_a_driver(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        for dialect in [Dialect::V2, Dialect::V1] {
            let (handle, _driver) = world.connect(dialect);
            block_on(dropped_at_every_await(&handle));
        }
    });
}

/// A client may be given up while it connects.
pub fn a_connecting_client_may_be_dropped_at_every_await(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        block_on(async {
            for times in 0..8 {
                drop(polled(times, pump.connect(world.address.clone(), Config::default())).await);
            }
            let (handle, _driver) = pump.connect(world.address.clone(), Config::default()).await.unwrap();
            let conversation = handle.open("echo").await.unwrap();
            is_sound(&handle, &conversation).await;
        });
    });
}

/// When the driver is dropped, callers do what it did.
pub fn a_driver_may_be_dropped_and_callers_go_on(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        for times in 0..8 {
            let (handle, driver) = world.connect(Dialect::V2);
            block_on(async {
                let conversation = handle.open("echo").await.unwrap();
                let large = vec![7; 900_000];
                let asking = async {
                    for _ in 0..5 {
                        assert!(conversation.ask(large.clone(), WAIT).await.unwrap() == large);
                    }
                };
                let driving = async {
                    polled(times, driver.run()).await;
                };
                smol::future::zip(asking, driving).await;
                is_sound(&handle, &conversation).await;
            });
        }
    });
}

/// A future that was polled and is kept, while its task does something else.
pub fn a_future_that_is_kept_delays_nobody_in_its_task(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        for driven in [true, false] {
            let (handle, driver) = world.connect(Dialect::V2);
            let mut idle = None;
            if driven {
                pump.spawn(driver);
            } else {
                idle = Some(driver);
            }
            block_on(async {
                let conversation = handle.open("echo").await.unwrap();
                let mut closed = pin!(handle.closed());
                let mut crashed = pin!(conversation.await_crash(WAIT));
                for _ in 0..10 {
                    poll_once(closed.as_mut()).await;
                    assert_eq!(conversation.ask("hello", WAIT).await.unwrap(), "hello");
                    poll_once(crashed.as_mut()).await;
                    assert_eq!(conversation.ask("hello", WAIT).await.unwrap(), "hello");
                }
                conversation.message("panic").await.unwrap();
                crashed.await.unwrap();
                handle.disconnect().await;
                closed.await;
            });
            drop(idle);
        }
    });
}

/// The same in another task: the driver takes over.
pub fn a_future_that_is_kept_delays_other_tasks_for_a_moment_at_most(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        let handle = world.connect_driven();
        let conversation = block_on(handle.open("blocking")).unwrap();
        let asking = |number: usize| {
            let begun = Instant::now();
            let mut closed = pin!(handle.closed());
            // A task of another thread has the turn to read, and sits on it.
            let mut cx = Context::from_waker(Waker::noop());
            let mut ask = pin!(conversation.ask("hello", WAIT));
            if number.is_multiple_of(2) {
                assert!(closed.as_mut().poll(&mut cx).is_pending());
            } else {
                if let Some(answered) = block_on(poll_once(ask.as_mut())) {
                    return assert_eq!(answered.unwrap(), "hello");
                }
                assert!(closed.as_mut().poll(&mut cx).is_pending());
            }
            assert_eq!(block_on(ask).unwrap(), "hello");
            assert!(begun.elapsed() < WAIT / 4);
        };
        (0..10).for_each(asking);
    });
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A thousand tasks on four threads share one conversation: each has its own reply.
pub fn a_thousand_tasks_ask_at_once_on_one_connection(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        for driven in [true, false] {
            let (handle, driver) = world.connect(Dialect::V2);
            let driver = Mutex::new(Some(driver));
            if driven {
                pump.spawn(driver.lock().unwrap().take().unwrap());
            }
            let answered = Arc::new(AtomicUsize::new(0));
            let executor = smol::Executor::new();
            let conversation = Arc::new(block_on(handle.open("blocking")).unwrap());
            let tasks: Vec<_> = (0..1000)
                .map(|number: u32| {
                    let (conversation, answered) = (Arc::clone(&conversation), Arc::clone(&answered));
                    executor.spawn(async move {
                        let said = number.to_string();
                        assert_eq!(conversation.ask(said.clone(), WAIT).await.unwrap(), said);
                        answered.fetch_add(1, Ordering::Relaxed);
                    })
                })
                .collect();
            let (signal, over) = smol::channel::unbounded::<()>();
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| block_on(executor.run(over.recv())));
                }
                block_on(async {
                    for task in tasks {
                        task.await;
                    }
                });
                drop(signal);
            });
            assert_eq!(answered.load(Ordering::Relaxed), 1000);
        }
    });
}

/// An ask that is given up leaves nothing behind that a later one could be confused by.
pub fn asks_that_are_given_up_confuse_nobody(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        let handle = world.connect_driven();
        block_on(async {
            let conversation = handle.open("blocking").await.unwrap();
            for number in 0..300u32 {
                let given_up = conversation.ask(format!("given up {number}"), Duration::from_micros(50));
                let given_up = given_up.await;
                assert!(given_up.is_err() || given_up.unwrap() == format!("given up {number}"));
                let said = number.to_string();
                assert_eq!(conversation.ask(said.clone(), WAIT).await.unwrap(), said);
            }
        });
    });
}

/// Who gives up serving, wherever it awaits, serves nothing; the connection is as good as new.
pub fn serving_may_be_dropped_at_every_await(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        let (responder, asker) = (world.connect_driven(), world.connect_driven());
        block_on(async {
            for times in 0..8 {
                drop(polled(times, responder.serve_inline("work", || echo, 10)).await);
                drop(polled(times, responder.serve_async("work", || async_fn(slowly), 10)).await);
                let service = responder.serve_async("work", || async_fn(slowly), 10).await.unwrap();
                let conversation = asker.open("work").await.unwrap();
                assert_eq!(conversation.ask("hello", WAIT).await.unwrap(), "hello");
                polled(times, service.ended()).await;
                polled(times, conversation.exited()).await;
                drop(service);
                assert_eq!(conversation.exited().await.unwrap().reason, ExitReason::Withdrawn);
                assert!(asker.open("work").await.is_err());
            }
            is_sound(&responder, &responder.open("echo").await.unwrap()).await;
        });
    });
}

async fn slowly(mut context: AsyncContext, message: Received) {
    context.sleep(Duration::from_millis(1)).await;
    context.reply(message.payload);
}

/// Nobody waits for a client whose driver was given up.
pub fn what_is_served_ends_with_its_driver(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        let asker = world.connect_driven();
        let (responder, driver) = world.connect(Dialect::V2);
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        let driving = async move {
            let stopped = async {
                // Told, or nobody is left to tell it.
                let _ = stopped.recv().await;
            };
            smol::future::or(async { drop(driver.run().await) }, stopped).await;
        };
        let driving = thread::spawn(|| block_on(driving));
        block_on(async {
            let service = responder.serve_async("work", || async_fn(slowly), 10).await.unwrap();
            let conversation = asker.open("work").await.unwrap();
            assert_eq!(conversation.ask("hello", WAIT).await.unwrap(), "hello");
            drop(stop);
            assert_eq!(conversation.exited().await.unwrap().reason, ExitReason::Withdrawn);
            assert!(asker.open("work").await.is_err());
            drop(service);
        });
        driving.join().unwrap();
    });
}

/// A client on a wire that leads nowhere, which has lost its connection or is about to find that out.
fn away(world: &World, how: Reconnect) -> (Wire, Handle, Driver) {
    let wire = Wire::to(&world.address, 64 << 10);
    let (handle, driver) = block_on(world.pump.connect(wire.address(), Config::default())).unwrap();
    handle.reconnect(how).unwrap();
    wire.lead_to(None);
    wire.cut();
    (wire, handle, driver)
}

/// When a driver is dropped while it pauses, dials or shakes hands, nobody waits for a connection any more; when it
/// had one, it is as good as new.
pub fn a_driver_that_dials_may_be_dropped_at_every_await(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        for leads in [false, true] {
            for times in 0..20 {
                let (wire, handle, driver) = away(&world, SOON);
                wire.lead_to(Some(&world.address).filter(|_| leads));
                block_on(async {
                    assert!(polled(times, driver.run()).await.is_none());
                    match handle.open("echo").await {
                        Ok(conversation) => is_sound(&handle, &conversation).await,
                        Err(error) => {
                            let closed = handle.closed().await;
                            assert_eq!(error, OpenError::Lost(closed.0.clone()));
                            assert_eq!(handle.connectivity(), Connectivity::Closed(closed.0));
                        }
                    }
                });
            }
        }
    });
}

/// Calls that wait for a connection may be given up wherever they await, and when there is one it is as good as new.
pub fn who_waits_for_a_connection_may_be_dropped_at_every_await(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        let (wire, handle, driver) = away(&world, SOON);
        wire.lead_to(Some(&world.address));
        pump.spawn(driver);
        block_on(async {
            // Until it is known that there is no connection, what is sent is lost with it.
            handle.connectivity_changed(&Connectivity::Connected { connection: 1 }).await;
            let service = handle.serve_inline("work", || echo, 10).await.unwrap();
            for _ in 0..3 {
                wire.lead_to(None);
                wire.cut();
                for times in 0..6 {
                    assert!(polled(times, handle.open("echo")).await.is_none_or(|opened| opened.is_err()));
                    polled(times, handle.ping()).await;
                    polled(times, handle.serve_inline("more work", || echo, 10)).await;
                    polled(times, handle.connectivity_changed(&handle.connectivity())).await;
                    polled(times, handle.closed()).await;
                    polled(times, service.standing_changed(&service.standing())).await;
                    polled(times, service.ended()).await;
                }
                wire.lead_to(Some(&world.address));
                is_sound(&handle, &handle.open("echo").await.unwrap()).await;
                let mut standing = service.standing();
                while !matches!(standing, Standing::Serving { .. }) {
                    standing = service.standing_changed(&standing).await;
                }
                assert_eq!(handle.open("work").await.unwrap().ask("hello", WAIT).await.unwrap(), "hello");
            }
        });
    });
}

/// Whether it pauses or dials.
pub fn a_driver_that_dials_ends_with_the_last_handle(pump: &'static dyn Pump) {
    in_time(move || {
        let world = World::new(pump);
        // Somebody who takes connections and never shakes hands.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = Address::from(listener.local_addr().unwrap());
        for (how, to) in [(LATER, None), (SOON, Some(&silent))] {
            let (wire, handle, driver) = away(&world, how);
            wire.lead_to(to);
            let ended = pump.spawn(driver);
            block_on(async {
                let first = Connectivity::Connected { connection: 1 };
                assert!(matches!(handle.connectivity_changed(&first).await, Connectivity::Reconnecting(_)));
                // Until it has had time to dial.
                smol::Timer::after(Duration::from_millis(50)).await;
            });
            drop(handle);
            assert_eq!(ended.recv_timeout(WAIT).unwrap(), CloseReason::Local);
        }
    });
}

#[cfg(test)]
mod tests {
    /// A case that is on no list would never be run.
    #[test]
    fn every_case_is_on_the_list() {
        let text = include_str!("futures.rs");
        let cases = text.lines().filter_map(|line| line.strip_prefix("pub fn ")?.split_once("(pump: "));
        for (case, _) in cases {
            assert!(text.lines().any(|line| line.trim() == case), "{case} is on no list");
        }
    }
}
