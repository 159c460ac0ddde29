//! A client's connection as its handles and its driver share it: state behind a lock that is never held
//! across a system call, and two turns, to read and to write, that whoever needs them takes.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};
use liminal_proto::{Version, Wants};

use super::connect::Halves;
use super::crew::Crew;
use super::sleep::{Alarm, Sleeper};
use super::waiting::Waiting;
use crate::client::{Client, Linked, Participants, SharedClient, Topic, wake_at};
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
    /// Who serves, once somebody does.
    crew: Crew,
    /// That they take part here.
    linked: OnceLock<Linked>,
}

pub(crate) struct State {
    pub(crate) client: Client,
    /// The half that is read; away only while somebody is in the middle of reading.
    reader: Option<Reader>,
    /// Whose turn it is to read.
    turn: Turn,
    /// When the alarm of whoever reads will ring, and how to wake it: for input, and when the alarm is
    /// too late.
    reading: Option<(Option<Instant>, Waker)>,
    /// Whether whoever reads has read something, and looks again before it waits.
    looks: bool,
    /// Whether reading waits for output to be written.
    paused: bool,
    /// The turn to write: whoever has something to send takes it.
    writer: Option<WriteHalf>,
    /// Somebody else wanted the turn to write: whoever has it tries once more. The stream may have taken
    /// more since the last try, and said so to nobody but the one who found the turn taken.
    again: bool,
    unsent: Unsent,
    driver: Option<Waker>,
    pub(crate) watch: Watch,
    /// How often a caller has read.
    pub(crate) turns: u64,
    callers: u64,
}

/// Whose turn it is to read: whoever waits for a reply takes it, else the driver has it.
///
/// It is a claim and not the possession of the half. A future that has it may be kept and not polled, and
/// then another takes it over: one of the same task at once, the driver after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Free,
    Driver,
    Caller(u64),
}

/// What the driver is doing about the turn to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// It reads: nobody else has read for a while.
    Reading,
    /// It leaves the turn to callers until none has read for a while; where something is served, until none
    /// waits.
    Lingering,
}

/// Who has it, reads.
pub(crate) struct Reader {
    half: ReadHalf,
    alarm: Alarm,
}

/// What reading came to.
pub(crate) enum Found {
    /// Something changed: look again.
    Moved,
    /// Nothing now; the waker is registered.
    Idle,
    /// The connection has ended, and everything was written.
    Finished,
}

/// Reads in a row before the other tasks of the executor get their turn.
pub(crate) const READS_MAX: usize = 16;

impl Link {
    pub(crate) fn new(client: Client, (read, write): Halves, sleeper: Arc<dyn Sleeper>, crew: Crew) -> Self {
        let reader = Reader { half: read, alarm: Alarm::new(Arc::clone(&sleeper)) };
        let state = State {
            client,
            reader: Some(reader),
            turn: Turn::Free,
            reading: None,
            looks: false,
            paused: false,
            writer: Some(write),
            again: false,
            unsent: Unsent::default(),
            driver: None,
            watch: Watch::Lingering,
            turns: 0,
            callers: 0,
        };
        Self { state: Mutex::new(state), sleeper, crew, linked: OnceLock::new() }
    }

    /// The state. A panic while it was held leaves nothing half done that the next call could not bear:
    /// the connection is a state machine that takes any call at any time.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that was negotiated.
    pub(crate) fn version(&self) -> Version {
        match self.lock().client.connected() {
            Some(Ok(version)) => version,
            _ => Version::V1_0,
        }
    }

    /// Who serves, if somebody does.
    pub(crate) fn participants(&self) -> Option<&Participants> {
        self.crew.participants()
    }

    /// The same, from now on: they take part in conversations of this connection.
    pub(crate) fn serves(self: &Arc<Self>) -> &Participants {
        let clock = *self.lock().client.clock();
        let participants = self.crew.serves(clock, &self.sleeper);
        self.linked.get_or_init(|| {
            let this: Arc<dyn SharedClient> = Arc::<Self>::clone(self);
            participants.link(Arc::downgrade(&this))
        });
        participants
    }

    /// Whose connection it is.
    pub(crate) const fn crew(&self) -> &Crew {
        &self.crew
    }

    /// Tells participants what has arrived for them, and says what they could not say before.
    pub(crate) fn attend(&self) {
        if let Some(linked) = self.linked.get() {
            linked.attend(self);
        }
    }

    /// Wakes the driver, if there is one: something has changed that it minds.
    pub(crate) fn wake_driver(&self) {
        if let Some(driver) = &self.lock().driver {
            driver.wake_by_ref();
        }
    }

    /// Lets the client do something and sends what came of it.
    pub(crate) fn act<R>(&self, waker: Option<&Waker>, act: impl FnOnce(&mut Client) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state.client);
        state.hasten();
        drop(self.flush_from(state, waker));
        result
    }

    /// Has the client send something as soon as there is room and credit.
    pub(crate) async fn send<T, E>(
        &self,
        mut send: impl FnMut(&mut Client) -> Option<Result<T, E>> + Unpin,
    ) -> Result<T, E> {
        let mut attempt = |client: &mut Client| send(client).ok_or_else(|| client.wanting());
        let mut tried = self.act(None, &mut attempt);
        loop {
            let topic = match tried {
                Ok(sent) => return sent,
                Err(topic) => topic,
            };
            // Once it has what it waited for, something else may be wanting.
            tried = Waiting::new(self, topic, |client| {
                let tried = attempt(client);
                (tried.as_ref().err() != Some(&topic)).then_some(tried)
            })
            .await;
            self.flush(None);
        }
    }

    /// Takes the turn to write, if it is free, and writes what the transport takes without waiting.
    /// When that is not all, the driver goes on, or without one the caller, or else whoever reads.
    pub(crate) fn flush(&self, caller: Option<&Waker>) {
        drop(self.flush_from(self.lock(), caller));
    }

    /// The same by who holds the state, and holds it again afterwards.
    fn flush_from<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        caller: Option<&Waker>,
    ) -> MutexGuard<'a, State> {
        loop {
            let Some(mut half) = state.take_writer() else { return state };
            let mut taken = std::mem::take(&mut state.unsent);
            let waker = state.writes_on(caller).clone();
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
                    return state;
                }
                Poll::Pending if std::mem::take(&mut state.again) => state.unsent = taken,
                Poll::Pending => {
                    state.unsent = taken;
                    return state;
                }
            }
        }
    }

    /// What the connection wants, as of the time that it was told last, for the one who waits with this waker. Writes
    /// first, if that is for this one to do: for the driver, or without one for whoever reads.
    pub(crate) fn look(&self, waker: &Waker) -> (MutexGuard<'_, State>, Wants) {
        let mut state = self.lock();
        let wants = state.client.deliver();
        let writes = state.driver.as_ref().is_none_or(|driver| driver.will_wake(waker));
        if !writes || !(wants.write || state.has_unsent()) {
            return (state, wants);
        }
        let mut state = self.flush_from(state, Some(waker));
        let wants = state.client.deliver();
        (state, wants)
    }

    /// Reads once, and delivers what came: also to participants, before it is read again.
    pub(crate) fn read(&self, reader: &mut Reader, cx: &mut Context<'_>) -> Found {
        let (mut state, wants) = self.look(cx.waker());
        if wants.finished {
            return Found::Finished;
        }
        let wake = wake_at(&wants, state.client.clock());
        state.read_by(cx.waker(), wake);
        state.paused = !wants.read;
        drop(state);
        if wants.read && self.read_what_is_there(&mut reader.half, cx) {
            return Found::Moved;
        }
        // Only now, because what is read is told the time as well.
        reader.alarm.is_for(wants.wake);
        if reader.alarm.poll(cx, wake).is_pending() {
            return Found::Idle;
        }
        self.lock().client.take_events();
        self.flush(Some(cx.waker()));
        self.attend();
        Found::Moved
    }

    /// Says whether there was anything.
    fn read_what_is_there(&self, half: &mut ReadHalf, cx: &mut Context<'_>) -> bool {
        let read = with_scratch(|scratch| {
            let read = half.as_mut().poll_read(cx, scratch);
            read.map(|read| self.deliver(scratch, read))
        });
        let Poll::Ready(wants) = read else { return false };
        if wants.write {
            self.flush(Some(cx.waker()));
        }
        self.attend();
        true
    }

    fn deliver(&self, scratch: &[u8], read: io::Result<usize>) -> Wants {
        let mut state = self.lock();
        state.looks = true;
        let client = &mut state.client;
        match read {
            Ok(0) => client.eof(),
            Ok(n) => client.receive(scratch.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => client.take_events(),
            Err(error) => client.link_lost(&error),
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
        if self.writer.is_none() {
            self.again = true;
            return None;
        }
        if self.unsent.is_empty() && !self.unsent.refill(&mut self.client.connection) {
            return None;
        }
        self.writer.take()
    }

    /// There is room again, for those who wait for it and perhaps for reading.
    fn wrote(&self) {
        self.client.wake(Topic::Room);
        if self.client.is_crowded()
            && let Some(driver) = &self.driver
        {
            driver.wake_by_ref();
        }
        if self.paused
            && let Some((_, waker)) = &self.reading
        {
            waker.wake_by_ref();
        }
    }

    /// Whether something is on its way out, and nobody is writing it.
    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Who goes on writing when the transport takes more.
    fn writes_on<'a>(&'a self, caller: Option<&'a Waker>) -> &'a Waker {
        let reads = self.reading.as_ref().map(|(_, waker)| waker);
        self.driver.as_ref().or(caller).or(reads).unwrap_or(Waker::noop())
    }

    /// The half that is read, for a caller that has the turn or may take it. `number` is its own, once it
    /// has had the turn.
    pub(super) fn read_as_caller(&mut self, number: &mut u64, waker: &Waker) -> Option<Reader> {
        let mine = self.turn == Turn::Caller(*number);
        if !mine && matches!(self.turn, Turn::Caller(_)) && !self.is_read_by(waker) {
            return None;
        }
        let reader = self.reader.take()?;
        if !mine {
            self.callers += 1;
            *number = self.callers;
            self.turn = Turn::Caller(*number);
        }
        self.turns += 1;
        if self.watch == Watch::Reading {
            self.watch = Watch::Lingering;
            if let Some(driver) = &self.driver {
                driver.wake_by_ref();
            }
        }
        Some(reader)
    }

    /// Whether the task that has the turn is the one of this waker: then what it waits with now is not
    /// what it waited with when it took the turn.
    fn is_read_by(&self, waker: &Waker) -> bool {
        self.reading.as_ref().is_some_and(|(_, reader)| reader.will_wake(waker))
    }

    /// The half that is read, for the driver, whoever had the turn.
    pub(crate) const fn read_as_driver(&mut self) -> Option<Reader> {
        let reader = self.reader.take();
        if reader.is_some() {
            self.turn = Turn::Driver;
        }
        reader
    }

    /// Somebody is not in the middle of reading any more, and keeps the turn.
    pub(crate) fn put_back(&mut self, reader: Reader) {
        self.reader = Some(reader);
    }

    /// A caller goes away. Passes the turn on if the caller had it, or was the one that it was passed to:
    /// to somebody who waits; else the driver finds it.
    pub(super) fn leave(&mut self, number: u64) {
        if matches!(self.turn, Turn::Free) || self.turn == Turn::Caller(number) {
            self.free_turn();
        }
    }

    fn free_turn(&mut self) {
        self.turn = Turn::Free;
        (self.reading, self.looks) = (None, false);
        if !self.client.pass_turn()
            && self.client.serves()
            && let Some(driver) = &self.driver
        {
            self.watch = Watch::Reading;
            driver.wake_by_ref();
        }
    }

    /// The driver waits with this waker.
    pub(crate) fn driven_by(&mut self, waker: &Waker) {
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(waker)) {
            self.driver = Some(waker.clone());
        }
    }

    /// The driver goes away: what it did is for callers to do.
    pub(crate) fn lose_driver(&mut self) {
        self.driver = None;
        self.watch = Watch::Lingering;
        match &self.reading {
            Some((_, waker)) if self.turn != Turn::Driver => waker.wake_by_ref(),
            _ => self.free_turn(),
        }
    }

    /// Notes who reads, and when its alarm will ring.
    fn read_by(&mut self, waker: &Waker, wake: Option<Instant>) {
        self.looks = false;
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
        if self.looks || self.reading.is_none() {
            return;
        }
        let wants = self.client.deliver();
        let wake = wake_at(&wants, self.client.clock());
        if let (Some(wake), Some((alarm, waker))) = (wake, &self.reading)
            && alarm.is_none_or(|alarm| wake < alarm)
        {
            waker.wake_by_ref();
        }
    }
}

impl SharedClient for Link {
    fn with(&self, act: &mut dyn FnMut(&mut Client)) {
        act(&mut self.lock().client);
    }

    fn act(&self, act: &mut dyn FnMut(&mut Client)) {
        let mut state = self.lock();
        act(&mut state.client);
        let mut state = self.flush_from(state, None);
        state.hasten();
        if state.client.has_arrived()
            && let Some(driver) = &state.driver
        {
            driver.wake_by_ref();
        }
    }
}

/// Writes once, as far as the transport takes it without waiting.
fn write(half: &mut WriteHalf, unsent: &Unsent, waker: &Waker) -> Poll<io::Result<usize>> {
    let mut cx = Context::from_waker(waker);
    loop {
        match unsent.write_with(|slices| write_slices(half, slices, &mut cx)) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}

/// Writes once.
pub(super) fn write_slices(
    half: &mut WriteHalf,
    slices: &[IoSlice<'_>],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    match slices {
        // The common case, which has a cheaper system call.
        [slice] => half.as_mut().poll_write(cx, slice),
        slices => half.as_mut().poll_write_vectored(cx, slices),
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
