//! The writing half of a connection of the server. Whoever has something to say writes it; a thread is
//! started only while the socket takes no more.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Poll, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use liminal_driver::server::{Hub, ServerLink, TryWrite};

use crate::socket::{Socket, Wait};

/// What the writer of one connection and its thread share.
pub(crate) struct Writer {
    socket: Arc<Socket>,
    hub: Arc<Hub>,
    /// The link, once it is made, and the thread that reads.
    link: OnceLock<(Weak<ServerLink>, Thread)>,
    /// The socket took no more at the last try.
    blocked: AtomicBool,
    /// The thread is there.
    running: AtomicBool,
}

/// The same, as the link holds it.
pub(crate) struct Handed(pub(crate) Arc<Writer>);

impl Writer {
    pub(crate) fn new(socket: Arc<Socket>, hub: Arc<Hub>) -> Arc<Self> {
        let (blocked, running) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { socket, hub, link: OnceLock::new(), blocked, running })
    }

    /// Tells it whose it is.
    pub(crate) fn serve(&self, link: &Arc<ServerLink>, reader: Thread) {
        let _ = self.link.set((Arc::downgrade(link), reader));
    }

    fn start(self: &Arc<Self>) {
        if self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::clone(self);
        let started = thread::Builder::new().name("liminal-writer".into()).spawn(move || this.work());
        if started.is_err() {
            // Without a thread nobody would ever finish the output.
            self.socket.shutdown(Shutdown::Both);
        }
    }

    fn work(self: &Arc<Self>) {
        loop {
            while self.blocked.load(Ordering::Acquire) {
                if !self.go_on() {
                    self.socket.shutdown(Shutdown::Both);
                    return;
                }
            }
            self.running.store(false, Ordering::Release);
            // Somebody may have found the socket full after the last look and this thread still there.
            if !self.blocked.load(Ordering::Acquire) || self.running.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }

    /// Waits for the socket and writes on. False: the peer has read nothing for too long.
    fn go_on(&self) -> bool {
        let limit = self.hub.options().connection.limits.write_stall_time;
        let late = Instant::now() + limit;
        let Some((link, reader)) = self.link.get() else { return false };
        if self.socket.wait(Wait { read: false, write: true, bell: None }, Some(late)).is_err()
            || Instant::now() >= late
        {
            return false;
        }
        let Some(link) = link.upgrade() else { return false };
        self.blocked.store(false, Ordering::Release);
        self.hub.flush(&link);
        // Reading may have been paused until some of the output was written.
        reader.unpark();
        true
    }
}

impl TryWrite for Handed {
    fn try_write(&mut self, slices: &[IoSlice<'_>], _waker: &Waker) -> Poll<io::Result<usize>> {
        match self.0.socket.write_now(slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.0.blocked.store(true, Ordering::Release);
                self.0.start();
                Poll::Pending
            }
            written => Poll::Ready(written),
        }
    }

    fn put_off(&mut self, _reader: &Waker) {
        self.0.blocked.store(true, Ordering::Release);
        self.0.start();
    }

    /// The thread that waits for the socket minds how long that lasts.
    fn blocked(&mut self, _reader: &Waker) {}

    fn interrupt(&mut self) {
        self.0.socket.shutdown(Shutdown::Read);
    }

    fn try_close(&mut self, _waker: &Waker) -> Poll<io::Result<()>> {
        self.0.socket.shutdown(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
