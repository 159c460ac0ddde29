//! What only futures can do, on every transport that has them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]
#![allow(unreachable_pub, dead_code, reason = "what is tested is a module here")]

#[path = "support/tokio.rs"]
mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::FutureExt as _;
use liminal_conformance::adapters::{AsyncStd, Smol};
use liminal_conformance::futures::{echo, is_sound};
use liminal_conformance::{WAIT, in_time};
use liminal_driver::asynchronous::{Accept, Accepted, Accepting, Server, split};
use liminal_driver::server::Peer;
use liminal_driver::{Address, ServerOptions};
use liminal_proto::Config;
use liminal_smol::SmolTimers;

mod smol_futures {
    liminal_conformance::futures!(super::Smol);
}

mod async_std_futures {
    liminal_conformance::futures!(super::AsyncStd);
}

mod tokio_futures {
    liminal_conformance::futures!(super::support::Tokio);
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
