//! A connection holds a timer only while something is due.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use liminal_conformance::WAIT;
use liminal_driver::asynchronous::{Accept, Accepted, Accepting, Server, Sleep, Sleeper, halves};
use liminal_driver::server::Peer;
use liminal_driver::{Address, ServerOptions};
use liminal_smol::{Config, SmolTimers};

/// The timers of smol. Each that somebody holds, holds this.
struct Counting(Arc<()>);

impl Sleeper for Counting {
    fn sleep_until(&self, at: Instant) -> Sleep {
        let (held, sleep) = (Arc::clone(&self.0), SmolTimers.sleep_until(at));
        Box::pin(async move {
            sleep.await;
            drop(held);
        })
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

/// Waits until so many timers are held.
fn wait_for(held: &Arc<()>, timers: usize) {
    let late = Instant::now() + WAIT;
    // One is the server's, to make more of, and one is ours.
    while Arc::strong_count(held) - 2 != timers {
        assert!(Instant::now() < late, "{} timers instead of {timers}", Arc::strong_count(held) - 2);
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_timer_of_the_handshake_goes_with_the_handshake() {
    let held = Arc::new(());
    let listener = block_on(smol::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let mut options = ServerOptions::default();
    options.connection.keepalive = None;
    options.connection.limits.handshake_time = Duration::from_secs(3600);
    let sleeper = Arc::new(Counting(Arc::clone(&held)));
    let server = Server::new(Arc::new(Listener(listener)), address.clone(), sleeper, options);
    let stopper = server.stopper();
    let running = thread::spawn(move || block_on(server.run()).unwrap());

    let silent = TcpStream::connect(address.to_string()).unwrap();
    wait_for(&held, 1);
    let config = Config { keepalive: None, ..Config::default() };
    let connected = block_on(liminal_smol::connect_with(&address, config)).unwrap();
    wait_for(&held, 1);
    drop(silent);
    wait_for(&held, 0);

    drop(connected);
    stopper.stop();
    running.join().unwrap();
}
