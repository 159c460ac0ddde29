//! A client's connection as its handles and its driver share it: state behind a lock that is never held
//! across a system call, and two turns, to read and to write, that whoever needs them takes.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};
use liminal_proto::Wants;

use super::sleep::{Alarm, Sleeper};
use crate::client::{Client, Topic, Waiter, wake_at};
use crate::unsent::Unsent;
use crate::with_scratch;

/// The half of a stream that is read.
pub type ReadHalf = Pin<Box<dyn AsyncRead + Send>>;
/// The half of a stream that is written.
pub type WriteHalf = Pin<Box<dyn AsyncWrite + Send>>;

/// One client's connection, shared.
pub(crate) struct Link {
    state: Mutex<State>,
    pub(crate) sleeper: Arc<dyn Sleeper>,
}

pub(crate) struct State {
    pub(crate) client: Client,
    /// The turn to read: whoever waits for a reply takes it, else the driver has it.
    reader: Option<Reader>,
    /// When the alarm of whoever reads will ring, and how to wake it when that is too late.
    reading: Option<(Option<Instant>, Waker)>,
    /// Whether reading waits for output to be written.
    paused: bool,
    /// The turn to write: whoever has something to send takes it.
    writer: Option<WriteHalf>,
    unsent: Unsent,
    pub(crate) driver: Option<Waker>,
    pub(crate) watch: Watch,
    /// How often a handle has taken the turn to read.
    pub(crate) turns: u64,
}

/// What the driver is doing about the turn to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// It reads: nobody else waits.
    Reading,
    /// A handle took the turn from it; it must be woken when the turn is free.
    Displaced,
    /// It leaves the turn to handles until they have not taken it for a while; it looks by itself.
    Lingering,
}

/// Who has it, reads.
pub(crate) struct Reader {
    half: ReadHalf,
    alarm: Alarm,
}

/// What reading came to.
pub(crate) enum Turn {
    /// Something changed: look again.
    Moved,
    /// Nothing now; the waker is registered.
    Idle,
}

impl Link {
    pub(crate) fn new(client: Client, read: ReadHalf, write: WriteHalf, sleeper: Arc<dyn Sleeper>) -> Self {
        let reader = Reader { half: read, alarm: Alarm::new(Arc::clone(&sleeper)) };
        let state = State {
            client,
            reader: Some(reader),
            reading: None,
            paused: false,
            writer: Some(write),
            unsent: Unsent::default(),
            driver: None,
            watch: Watch::Lingering,
            turns: 0,
        };
        Self { state: Mutex::new(state), sleeper }
    }

    /// The state. A panic while it was held leaves nothing half done that the next call could not bear:
    /// the connection is a state machine that takes any call at any time.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the client do something and sends what came of it.
    pub(crate) fn act<R>(&self, waker: Option<&Waker>, act: impl FnOnce(&mut Client) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state.client);
        state.hasten();
        drop(state);
        self.flush(waker);
        result
    }

    /// Takes the turn to write, if it is free, and writes what the transport takes without waiting.
    /// When that is not all, the driver goes on, or without one the caller.
    pub(crate) fn flush(&self, caller: Option<&Waker>) {
        let mut state = self.lock();
        loop {
            let Some(mut half) = state.take_writer() else { return };
            let mut taken = std::mem::take(&mut state.unsent);
            let waker = state.driver.as_ref().or(caller).unwrap_or(Waker::noop()).clone();
            drop(state);
            let written = write(&mut half, &taken, &waker);
            state = self.lock();
            state.writer = Some(half);
            match written {
                Poll::Ready(Ok(n)) => {
                    taken.wrote(&mut state.client.connection, n);
                    state.unsent = taken;
                    state.wrote();
                }
                Poll::Ready(Err(error)) => {
                    state.client.link_lost(&error);
                    state.unsent.clear();
                    return;
                }
                Poll::Pending => {
                    state.unsent = taken;
                    return;
                }
            }
        }
    }

    /// Reads once, and delivers what came.
    pub(crate) fn read(&self, reader: &mut Reader, cx: &mut Context<'_>) -> Turn {
        let (wants, wake) = {
            let mut state = self.lock();
            let wants = state.client.take_events();
            let wake = wake_at(&wants, state.client.clock());
            state.read_by(cx.waker(), wake);
            state.paused = !wants.read;
            (wants, wake)
        };
        if reader.alarm.poll(cx, wake).is_ready() {
            self.lock().client.take_events();
            self.flush(Some(cx.waker()));
            return Turn::Moved;
        }
        if !wants.read {
            return Turn::Idle;
        }
        let read = with_scratch(|scratch| {
            let read = reader.half.as_mut().poll_read(cx, scratch);
            read.map(|read| self.deliver(scratch, read))
        });
        match read {
            Poll::Pending => Turn::Idle,
            Poll::Ready(wants) => {
                if wants.write {
                    self.flush(Some(cx.waker()));
                }
                Turn::Moved
            }
        }
    }

    fn deliver(&self, scratch: &[u8], read: io::Result<usize>) -> Wants {
        let client = &mut self.lock().client;
        match read {
            Ok(0) => client.eof(),
            Ok(n) => client.receive(scratch.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => client.take_events(),
            Err(error) => client.link_lost(&error),
        }
    }

    /// Gives the turn to read back, and passes it on: to somebody who waits, else to the driver.
    pub(crate) fn release(&self, state: &mut State, reader: Reader) {
        state.reader = Some(reader);
        state.reading = None;
        if state.client.pass_turn() || state.watch == Watch::Lingering {
            return;
        }
        if let Some(driver) = &state.driver {
            driver.wake_by_ref();
        }
    }

    /// Closes the stream, when everything was written.
    pub(crate) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut half) = self.lock().writer.take() else { return Poll::Ready(()) };
        let closed = half.as_mut().poll_close(cx);
        self.lock().writer = Some(half);
        closed.map(drop)
    }
}

impl State {
    /// The turn to write, when it is free and there is something to write.
    fn take_writer(&mut self) -> Option<WriteHalf> {
        let half = self.writer.take()?;
        if self.unsent.is_empty() && !self.unsent.refill(&mut self.client.connection) {
            self.writer = Some(half);
            return None;
        }
        Some(half)
    }

    /// There is room again, for those who wait for it and perhaps for reading.
    fn wrote(&self) {
        self.client.wake(Topic::Room);
        if self.paused
            && let Some((_, waker)) = &self.reading
        {
            waker.wake_by_ref();
        }
    }

    /// Whether something is on its way out, and nobody is writing it.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Gives the turn to read back without passing it on.
    pub(crate) fn put_back(&mut self, reader: Reader) {
        self.reader = Some(reader);
    }

    pub(crate) const fn take_reader(&mut self) -> Option<Reader> {
        self.reader.take()
    }

    /// Notes who reads, and when its alarm will ring.
    fn read_by(&mut self, waker: &Waker, wake: Option<Instant>) {
        match &mut self.reading {
            Some((alarm, reader)) => {
                *alarm = wake;
                reader.clone_from(waker);
            }
            None => self.reading = Some((wake, waker.clone())),
        }
    }

    /// A new request may have to be ended earlier than whoever reads would wake up.
    fn hasten(&mut self) {
        if self.reading.is_none() {
            return;
        }
        let wants = self.client.take_events();
        let wake = wake_at(&wants, self.client.clock());
        if let (Some(wake), Some((alarm, waker))) = (wake, &self.reading)
            && alarm.is_none_or(|alarm| wake < alarm)
        {
            waker.wake_by_ref();
        }
    }
}

/// Writes once, as far as the transport takes it without waiting.
fn write(half: &mut WriteHalf, unsent: &Unsent, waker: &Waker) -> Poll<io::Result<usize>> {
    let mut cx = Context::from_waker(waker);
    loop {
        let written = unsent.write_with(|slices| half.as_mut().poll_write_vectored(&mut cx, slices));
        match written {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}

/// Waits until `check` has an answer, reading while the turn to read is free.
pub(crate) struct Waiting<'a, F> {
    link: &'a Link,
    topic: Topic,
    check: F,
    waiter: Option<Waiter>,
    reader: Option<Reader>,
}

impl<'a, F> Waiting<'a, F> {
    pub(crate) const fn new<T>(link: &'a Link, topic: Topic, check: F) -> Self
    where
        F: FnMut(&mut Client) -> Option<T>,
    {
        Self { link, topic, check, waiter: None, reader: None }
    }

    fn take_turn(&mut self, state: &mut State) -> Option<Reader> {
        if let Some(reader) = self.reader.take() {
            return Some(reader);
        }
        let reader = state.take_reader()?;
        state.turns += 1;
        if state.watch == Watch::Reading {
            state.watch = Watch::Displaced;
        }
        Some(reader)
    }
}

impl<T, F: FnMut(&mut Client) -> Option<T> + Unpin> Future for Waiting<'_, F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let link = this.link;
        loop {
            let mut state = link.lock();
            if let Some(waiter) = this.waiter.take() {
                state.client.stop_waiting(waiter);
            }
            if let Some(answer) = (this.check)(&mut state.client) {
                return Poll::Ready(answer);
            }
            let Some(mut reader) = this.take_turn(&mut state) else {
                this.waiter = Some(state.client.wait(None, this.topic, cx.waker()));
                return Poll::Pending;
            };
            drop(state);
            let turn = link.read(&mut reader, cx);
            this.reader = Some(reader);
            if matches!(turn, Turn::Idle) {
                // Only now, because who reads would wake itself with everything that it reads, and its
                // executor would poll it again for nothing.
                let mut state = link.lock();
                let answer = (this.check)(&mut state.client);
                if answer.is_none() {
                    this.waiter = Some(state.client.wait(None, this.topic, cx.waker()));
                }
                return answer.map_or(Poll::Pending, Poll::Ready);
            }
        }
    }
}

impl<F> Drop for Waiting<'_, F> {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        if let Some(waiter) = self.waiter.take() {
            state.client.stop_waiting(waiter);
        }
        if let Some(reader) = self.reader.take() {
            self.link.release(&mut state, reader);
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
