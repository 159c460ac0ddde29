//! A client's connection as its handles and its driver share it: state behind a lock that is never held
//! across a system call, and two turns, to read and to write, that whoever needs them takes.

use std::io;
use std::net::Shutdown;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use liminal_driver::client::{Client, Topic, Waiter, wake_at};
use liminal_driver::{Unsent, with_scratch};
use liminal_proto::Wants;

use crate::park::{park_until, waker};
use crate::socket::Socket;

/// One client's connection, shared.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Socket,
    state: Mutex<State>,
    /// Tells the driver that the turn to read is free, or that the connection is over.
    free: Condvar,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) client: Client,
    unsent: Unsent,
    /// Whether the turn to write is taken.
    writing: bool,
    /// Whether the turn to read is taken.
    pub(crate) reading: bool,
    /// How often a handle has taken the turn to read.
    pub(crate) turns: u64,
    /// Whether the driver waits for the turn to read to be free.
    pub(crate) driver_waits: bool,
}

impl Link {
    pub(crate) fn new(client: Client, socket: Socket) -> Self {
        let state = State {
            client,
            unsent: Unsent::default(),
            writing: false,
            reading: false,
            turns: 0,
            driver_waits: false,
        };
        Self { socket, state: Mutex::new(state), free: Condvar::new() }
    }

    /// The state. A panic while it was held leaves nothing half done that the next call could not bear:
    /// the connection is a state machine that takes any call at any time.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the client do something and sends what came of it, waiting until `deadline` at the latest for
    /// the socket to take it all. A rest is sent by whoever comes next.
    pub(crate) fn act<R>(&self, deadline: Option<Instant>, act: impl FnOnce(&mut Client) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state.client);
        drop(state);
        if !self.flush() {
            self.wait(Topic::Room, deadline, |_, all_sent| all_sent.then_some(()));
        }
        result
    }

    /// Takes the turn to write, if it is free, and writes what the socket takes at once. Says whether
    /// that was all.
    pub(crate) fn flush(&self) -> bool {
        let mut state = self.lock();
        if state.writing {
            return true;
        }
        while state.has_unsent() {
            let mut taken = std::mem::take(&mut state.unsent);
            state.writing = true;
            drop(state);
            let written = taken.write_with(|slices| self.socket.write_now(slices));
            state = self.lock();
            state.writing = false;
            match written {
                Ok(n) if n > 0 => {
                    taken.wrote(&mut state.client.connection, n);
                    state.unsent = taken;
                    state.client.wake(Topic::Room);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.unsent = taken;
                    return false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => state.unsent = taken,
                failed => {
                    let error = failed.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    state.client.link_lost(&error);
                }
            }
        }
        true
    }

    /// Waits until `check` has an answer, reading while the turn to read is free. `None`: it had none
    /// until `deadline`. `check` is told whether everything was sent.
    pub(crate) fn wait<T>(
        &self,
        topic: Topic,
        deadline: Option<Instant>,
        mut check: impl FnMut(&mut Client, bool) -> Option<T>,
    ) -> Option<T> {
        let mut waiting = Waiting { link: self, waiter: None, reads: false };
        let mut read = None;
        loop {
            let mut state = self.lock();
            let mut wants = read.take().unwrap_or_else(|| state.client.take_events());
            if wants.write || !state.unsent.is_empty() {
                drop(state);
                self.flush();
                state = self.lock();
                wants = state.client.take_events();
            }
            let all_sent = state.unsent.is_empty();
            if let Some(answer) = check(&mut state.client, all_sent) {
                return Some(answer);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return None;
            }
            waiting.prepare(&mut state, topic);
            let until = earlier(deadline, wake_at(&wants, state.client.clock()));
            drop(state);
            read = self.wait_once(waiting.reads && wants.read, all_sent, until, deadline);
        }
    }

    /// Waits for one thing to happen. Says what the connection wants now, if it was read from.
    fn wait_once(
        &self,
        reads: bool,
        all_sent: bool,
        until: Option<Instant>,
        deadline: Option<Instant>,
    ) -> Option<Wants> {
        match (reads, all_sent) {
            (true, true) => Some(self.read_until(until)),
            (reads, false) => {
                // What goes wrong here shows at the next read or write.
                let _ = self.socket.wait_writable(reads, until);
                reads.then(|| self.read_what_is_there())
            }
            // Somebody else reads, and minds the clock of the connection; this thread minds its own.
            (false, true) => {
                park_until(deadline.or(until));
                None
            }
        }
    }

    /// Reads once, waiting until `until` at the latest, and delivers what came.
    pub(crate) fn read_until(&self, until: Option<Instant>) -> Wants {
        with_scratch(|scratch| {
            let read = self.socket.read(scratch, until);
            self.deliver(scratch, read)
        })
    }

    /// Reads without waiting.
    pub(crate) fn read_what_is_there(&self) -> Wants {
        with_scratch(|scratch| {
            let read = match self.socket.read_now(scratch) {
                Ok(n) => Ok(Some(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error),
            };
            self.deliver(scratch, read)
        })
    }

    fn deliver(&self, scratch: &[u8], read: io::Result<Option<usize>>) -> Wants {
        let client = &mut self.lock().client;
        match read {
            Ok(None) => client.take_events(),
            Ok(Some(0)) => client.eof(),
            Ok(Some(n)) => client.receive(scratch.get(..n).unwrap_or_default()),
            Err(error) => client.link_lost(&error),
        }
    }

    /// Waits until there is something to read, without taking the turn to read it.
    pub(crate) fn wait_readable(&self, until: Option<Instant>) {
        if let Err(error) = self.socket.wait_readable(until) {
            self.lock().client.link_lost(&error);
        }
    }

    /// Waits until somebody tells the driver something, until `until` at the latest.
    pub(crate) fn wait_free<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        match until {
            None => self.free.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let time = until.saturating_duration_since(Instant::now());
                self.free.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Closes the socket, under whoever waits for it.
    pub(crate) fn shutdown(&self) {
        self.socket.shutdown(Shutdown::Both);
        self.free.notify_all();
    }

    /// Gives the turn to read back, and passes it on: to somebody who waits, else to the driver.
    pub(crate) fn release(&self, state: &mut State) {
        state.reading = false;
        if !state.client.pass_turn() && state.driver_waits {
            self.free.notify_all();
        }
    }
}

impl State {
    fn has_unsent(&mut self) -> bool {
        !self.unsent.is_empty() || self.unsent.refill(&mut self.client.connection)
    }
}

/// Somebody who waits, perhaps with the turn to read.
struct Waiting<'a> {
    link: &'a Link,
    waiter: Option<Waiter>,
    reads: bool,
}

impl Waiting<'_> {
    /// Takes the turn to read. Who has it learns of everything by reading; who has not must be woken.
    fn prepare(&mut self, state: &mut State, topic: Topic) {
        if !self.reads && !state.reading {
            self.reads = true;
            state.reading = true;
            state.turns += 1;
        }
        if !self.reads {
            self.waiter = Some(state.client.wait(self.waiter, topic, &waker()));
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        if let Some(waiter) = self.waiter.take() {
            state.client.stop_waiting(waiter);
        }
        if self.reads {
            self.link.release(&mut state);
        }
    }
}

/// The earlier of two moments, where there are two.
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
