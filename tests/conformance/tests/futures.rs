//! What only futures can do: be dropped at any await, and be kept without being polled.

#![expect(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests fail by panicking")]

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::FutureExt as _;
use futures_lite::future::block_on;
use liminal_conformance::WAIT;
use liminal_core::Context as Call;
use liminal_core::Received;
use liminal_driver::asynchronous::{
    Accept, Accepted, Accepting, Conversation, Driver, Handle, Server, split,
};
use liminal_driver::server::Peer;
use liminal_driver::{Address, ServerOptions};
use liminal_proto::Config;
use liminal_proto::wire::Dialect;
use liminal_smol::SmolTimers;

/// A server, and clients of it.
struct World {
    address: Address,
    stopper: liminal_driver::asynchronous::Stopper,
}

fn echo(call: &mut Call<'_>, message: Received) {
    if message.payload == "panic" {
        panic!("planned");
    }
    call.reply(message.payload);
}

impl World {
    fn new() -> Self {
        let server = block_on(liminal_smol::bind("127.0.0.1:0")).unwrap();
        server.register_inline("echo", || echo).unwrap();
        server.register_blocking("blocking", || echo).unwrap();
        let (address, stopper) = (server.local_address().clone(), server.stopper());
        thread::spawn(move || smol::block_on(server.run()));
        Self { address, stopper }
    }

    fn connect(&self, dialect: Dialect) -> (Handle, Driver) {
        let config = Config { max_dialect: dialect, ..Config::default() };
        block_on(liminal_smol::connect_with(&self.address, config)).unwrap()
    }

    fn connect_driven(&self) -> Handle {
        let (handle, driver) = self.connect(Dialect::V2);
        smol::spawn(driver.run()).detach();
        handle
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

/// Runs a test, and fails it when it hangs.
fn in_time(test: impl FnOnce() + Send + 'static) {
    let (report, ended) = mpsc::channel();
    thread::spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        report.send(result).unwrap();
    });
    match ended.recv_timeout(2 * WAIT).expect("the test hangs") {
        Ok(()) => {}
        Err(panic) => std::panic::resume_unwind(panic),
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
async fn is_sound(handle: &Handle, conversation: &Conversation) {
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

#[test]
fn every_future_may_be_dropped_at_every_await() {
    in_time(|| {
        let world = World::new();
        for dialect in [Dialect::V2, Dialect::V1] {
            let (handle, driver) = world.connect(dialect);
            let driver = smol::spawn(driver.run());
            block_on(dropped_at_every_await(&handle));
            drop(handle);
            block_on(driver);
        }
    });
}

#[test]
fn the_same_without_a_driver() {
    in_time(|| {
        let world = World::new();
        for dialect in [Dialect::V2, Dialect::V1] {
            let (handle, _driver) = world.connect(dialect);
            block_on(dropped_at_every_await(&handle));
        }
    });
}

#[test]
fn a_connecting_client_may_be_dropped_at_every_await() {
    in_time(|| {
        let world = World::new();
        block_on(async {
            for times in 0..8 {
                drop(polled(times, liminal_smol::connect(&world.address)).await);
            }
            let (handle, _driver) = liminal_smol::connect(&world.address).await.unwrap();
            let conversation = handle.open("echo").await.unwrap();
            is_sound(&handle, &conversation).await;
        });
    });
}

#[test]
fn a_driver_may_be_dropped_and_callers_go_on() {
    in_time(|| {
        let world = World::new();
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
#[test]
fn a_future_that_is_kept_delays_nobody_in_its_task() {
    in_time(|| {
        let world = World::new();
        for driven in [true, false] {
            let (handle, driver) = world.connect(Dialect::V2);
            let mut idle = None;
            if driven {
                smol::spawn(driver.run()).detach();
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
#[test]
fn a_future_that_is_kept_delays_other_tasks_for_a_moment_at_most() {
    in_time(|| {
        let world = World::new();
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

#[test]
fn a_thousand_tasks_ask_at_once_on_one_connection() {
    in_time(|| {
        let world = World::new();
        for driven in [true, false] {
            let (handle, driver) = world.connect(Dialect::V2);
            let driver = Mutex::new(Some(driver));
            if driven {
                smol::spawn(driver.lock().unwrap().take().unwrap().run()).detach();
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

/// A pipe in memory that hands over few bytes at a time, and is Pending in between.
struct Drip<S> {
    stream: S,
    read_pause: bool,
    write_pause: bool,
}

impl<S> Drip<S> {
    const fn new(stream: S) -> Self {
        Self { stream, read_pause: false, write_pause: false }
    }
}

/// Every other call finds nothing, and wakes at once.
fn pauses(pause: &mut bool, cx: &Context<'_>) -> bool {
    *pause = !*pause;
    if *pause {
        cx.waker().wake_by_ref();
    }
    *pause
}

impl<S: AsyncRead + Unpin> AsyncRead for Drip<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        if pauses(&mut self.read_pause, cx) {
            return Poll::Pending;
        }
        let few = into.len().min(3);
        Pin::new(&mut self.stream).poll_read(cx, &mut into[..few])
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Drip<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if pauses(&mut self.write_pause, cx) {
            return Poll::Pending;
        }
        let few = bytes.len().min(5);
        Pin::new(&mut self.stream).poll_write(cx, &bytes[..few])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Accepts what it is given.
struct Given(smol::channel::Receiver<Drip<Pipe>>);

impl Accept for Given {
    fn accept(&self) -> Accepting<'_> {
        Box::pin(async {
            match self.0.recv().await {
                Ok(stream) => Ok(Accepted { halves: split(stream), peer: Peer::Local("a pipe".into()) }),
                Err(_) => futures_lite::future::pending().await,
            }
        })
    }
}

type Pipe = smol::Async<std::os::unix::net::UnixStream>;

/// Any stream will do, also one that is never ready at the first try and takes five bytes at a time.
#[test]
fn any_stream_will_do_however_slow_it_is() {
    in_time(|| {
        let (give, given) = smol::channel::unbounded();
        let listener = Arc::new(Given(given));
        let address = Address::from("in memory");
        let server = Server::new(listener, address, Arc::new(SmolTimers), ServerOptions::default());
        server.register_inline("echo", || echo).unwrap();
        server.register_blocking("blocking", || echo).unwrap();
        let stopper = server.stopper();
        let running = thread::spawn(move || smol::block_on(server.run()));
        smol::block_on(async {
            let (ours, theirs) = Pipe::pair().unwrap();
            give.send(Drip::new(theirs)).await.unwrap();
            let halves = split(Drip::new(ours));
            let connecting =
                liminal_driver::asynchronous::connect_over(halves, Config::default(), Arc::new(SmolTimers));
            let (handle, driver) = connecting.await.unwrap();
            let using = async {
                let conversation = handle.open("blocking").await.unwrap();
                let some = vec![7; 20_000];
                assert!(conversation.ask(some.clone(), WAIT).await.unwrap() == some);
                is_sound(&handle, &conversation).await;
                conversation.message("panic").await.unwrap();
                conversation.await_crash(WAIT).await.unwrap();
                handle.disconnect().await;
                futures_lite::future::pending::<()>().await;
            };
            using.or(async { drop(driver.run().await) }).await;
        });
        stopper.stop();
        running.join().unwrap().unwrap();
    });
}

/// An ask that is given up leaves nothing behind that a later one could be confused by.
#[test]
fn asks_that_are_given_up_confuse_nobody() {
    in_time(|| {
        let world = World::new();
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
