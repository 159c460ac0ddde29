//! A connection holds a timer only while something is due.

#![allow(clippy::unwrap_used, reason = "a failed test says so")]

use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use liminal_conformance::WAIT;
use liminal_driver::asynchronous::{Accept, Accepted, Accepting, Server, Sleep, Sleeper, Stopper, halves};
use liminal_driver::server::Peer;
use liminal_driver::{Address, ServerOptions};
use liminal_proto::Keepalive;
use liminal_smol::{Config, SmolTimers};

/// The timers of smol, and when those ring that somebody holds.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<Vec<Instant>>>);

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, is_so: impl Fn(&[Instant]) -> bool) {
        let late = Instant::now() + WAIT;
        while !is_so(&self.lock()) {
            assert!(Instant::now() < late, "{:?}, and it is {:?}", self.lock(), Instant::now());
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Sleeper for Watched {
    fn sleep_until(&self, at: Instant) -> Sleep {
        self.lock().push(at);
        let held = Held { watched: self.clone(), at };
        Box::pin(async move {
            SmolTimers.sleep_until(at).await;
            drop(held);
        })
    }
}

struct Held {
    watched: Watched,
    at: Instant,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut timers = self.watched.lock();
        if let Some(place) = timers.iter().position(|at| *at == self.at) {
            timers.remove(place);
        }
    }
}

struct Listener(smol::net::TcpListener);

impl Accept for Listener {
    fn accept(&self) -> Accepting<'_> {
        Box::pin(async {
            let (stream, peer) = self.0.accept().await?;
            Ok(Accepted { halves: halves(stream), peer: Peer::Network(peer) })
        })
    }
}

fn serve(options: ServerOptions) -> (Watched, Address, Stopper, JoinHandle<()>) {
    let watched = Watched::default();
    let listener = block_on(smol::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let server =
        Server::new(Arc::new(Listener(listener)), address.clone(), Arc::new(watched.clone()), options);
    let stopper = server.stopper();
    let running = thread::spawn(move || block_on(server.run()).unwrap());
    (watched, address, stopper, running)
}

#[test]
fn the_timer_of_the_handshake_goes_with_the_handshake() {
    let mut options = ServerOptions::default();
    options.connection.keepalive = None;
    options.connection.limits.handshake_time = Duration::from_secs(3600);
    let (watched, address, stopper, running) = serve(options);

    let silent = TcpStream::connect(address.to_string()).unwrap();
    watched.wait_until(|timers| timers.len() == 1);
    let config = Config { keepalive: None, ..Config::default() };
    let connected = block_on(liminal_smol::connect_with(&address, config)).unwrap();
    watched.wait_until(|timers| timers.len() == 1);
    drop(silent);
    watched.wait_until(<[_]>::is_empty);

    drop(connected);
    stopper.stop();
    running.join().unwrap();
}

/// An early ring would be a wake-up for nothing in every connection.
#[test]
fn a_keepalive_that_is_due_later_than_the_handshake_was_has_a_timer_of_its_own() {
    let mut options = ServerOptions::default();
    options.connection.limits.handshake_time = Duration::from_secs(3600);
    options.connection.keepalive = Some(Keepalive { silence: Duration::from_secs(7200), unanswered_max: 3 });
    let (watched, address, stopper, running) = serve(options);

    let soon = Instant::now() + Duration::from_secs(5000);
    let silent = TcpStream::connect(address.to_string()).unwrap();
    watched.wait_until(|timers| matches!(timers, [at] if *at < soon));
    drop(silent);
    watched.wait_until(<[_]>::is_empty);
    let connected = block_on(liminal_smol::connect(&address)).unwrap();
    watched.wait_until(|timers| matches!(timers, [at] if *at > soon));

    drop(connected);
    stopper.stop();
    running.join().unwrap();
}
