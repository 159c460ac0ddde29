//! A client's connection as its handles and its driver share it: state behind a lock that is never held
//! across a system call, and two turns, to read and to write, that whoever needs them takes.

use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use liminal_driver::client::{Client, Linked, Participants, SharedClient, Topic, Waiter, wake_at};
use liminal_driver::{Unsent, with_scratch};
use liminal_proto::{CloseReason, Version, Wants};

use crate::crew::Crew;
use crate::park::{earlier, park_until, waker};
use crate::socket::{Meanwhile, Socket, Wait, Woken};

/// One client's connection, shared.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Socket,
    state: Mutex<State>,
    /// What it shares with the other connections of its handle.
    pub(crate) crew: Crew,
    /// That participants take part here.
    linked: OnceLock<Linked>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) client: Client,
    unsent: Unsent,
    /// Whether the turn to write is taken.
    writing: bool,
    /// Whether the turn to read is taken.
    pub(crate) reading: bool,
    /// Whether whoever reads tells participants what has arrived for them.
    attending: bool,
    /// How often a handle has taken the turn to read.
    pub(crate) turns: u64,
    /// What the driver waits for, while it waits.
    vigil: Option<Vigil>,
}

/// What the driver waits for, apart from the bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vigil {
    /// There is something to read.
    pub(crate) reads: bool,
    /// The socket takes more output.
    pub(crate) writes: bool,
    /// A moment. It only looks after a while whether handles still read, if `lingers`.
    pub(crate) until: Option<Instant>,
    pub(crate) lingers: bool,
}

/// How long somebody waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// What time it was just now. Looking at the clock is not free, so one look has to do for a while.
    pub(crate) since: Instant,
    /// When it is over; never, if there is none.
    pub(crate) until: Option<Instant>,
}

impl Patience {
    pub(crate) fn forever() -> Self {
        Self { since: Instant::now(), until: None }
    }

    fn is_over(self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Link {
    pub(crate) fn new(client: Client, socket: Socket, crew: Crew) -> Self {
        let state = State {
            client,
            unsent: Unsent::default(),
            writing: false,
            reading: false,
            attending: false,
            turns: 0,
            vigil: None,
        };
        Self { socket, state: Mutex::new(state), crew, linked: OnceLock::new() }
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

    /// Has participants take part in conversations of this connection, from now on.
    pub(crate) fn serves(self: &Arc<Self>) -> &Participants {
        let clock = *self.lock().client.clock();
        let participants = &self.crew.serves(clock).participants;
        self.linked.get_or_init(|| {
            let this: Arc<dyn SharedClient> = Arc::<Self>::clone(self);
            participants.link(Arc::downgrade(&this))
        });
        participants
    }

    /// Tells participants what has arrived for them, and says what they could not say before.
    pub(crate) fn attend(&self) {
        if let Some(linked) = self.linked.get() {
            linked.attend(self);
        }
    }

    /// Lets the client do something and sends what came of it, waiting with `patience` for the socket to
    /// take it all. A rest is sent by the driver, or by whoever comes next.
    pub(crate) fn act<R>(&self, patience: &mut Patience, act: impl FnOnce(&mut Client) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state.client);
        if !self.flush_from(state).1 {
            self.wait(Topic::Room, *patience, |_, all_sent| all_sent.then_some(()));
            patience.since = Instant::now();
        }
        result
    }

    /// The same without waiting, for what is dropped or must not wait.
    pub(crate) fn act_at_once<R>(&self, act: impl FnOnce(&mut Client) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state.client);
        let (mut state, _) = self.flush_from(state);
        self.call_driver(&mut state);
        result
    }

    /// Has the client send something as soon as there is room and credit.
    pub(crate) fn send<T, E>(
        &self,
        patience: &mut Patience,
        mut send: impl FnMut(&mut Client) -> Option<Result<T, E>>,
    ) -> Option<Result<T, E>> {
        let mut attempt = |client: &mut Client| send(client).ok_or_else(|| client.wanting());
        let mut tried = self.act(patience, &mut attempt);
        loop {
            let topic = match tried {
                Ok(sent) => return Some(sent),
                Err(topic) => topic,
            };
            // Once it has what it waited for, something else may be wanting.
            let waited = self.wait(topic, *patience, |client, _| {
                let tried = attempt(client);
                (tried.as_ref().err() != Some(&topic)).then_some(tried)
            });
            patience.since = Instant::now();
            self.act(patience, |_| ());
            tried = waited?;
        }
    }

    /// Shakes hands, for whoever dials: nobody else has the link yet. Says what came of it.
    pub(crate) fn shake_hands(&self, meanwhile: Meanwhile<'_>) -> io::Result<Result<Version, CloseReason>> {
        loop {
            let due = meanwhile()?;
            let (mut state, _) = self.flush_from(self.lock());
            let wants = state.client.take_events();
            if let Some(connected) = state.client.connected() {
                return Ok(connected);
            }
            let until = earlier(due, wake_at(&wants, state.client.clock()));
            let vigil = Vigil { reads: wants.read, writes: state.has_rest(), until, lingers: false };
            let (state, woken) = self.keep_vigil(state, vigil);
            drop(state);
            if woken.by_input && wants.read {
                drop(self.read_what_is_there());
            }
        }
    }

    /// Wakes the driver, if it would look too late at what has changed.
    fn call_driver(&self, state: &mut State) {
        // Who reads something looks afterwards at what has come of it.
        if state.vigil.is_some() && !state.attending {
            let wants = state.client.take_events();
            self.call_driver_for(state, &wants, wants.write || state.has_rest());
        }
    }

    /// The same for what the connection wants now. `unsent`: something is to be written, and nobody else is about to.
    fn call_driver_for(&self, state: &State, wants: &Wants, unsent: bool) {
        let Some(vigil) = state.vigil else { return };
        let wake = wake_at(wants, state.client.clock());
        let late = wake.is_some_and(|wake| vigil.until.is_none_or(|until| wake < until));
        let unwritten = unsent && !vigil.writes && !state.writing;
        if late || unwritten || wants.finished || state.client.has_arrived() {
            self.crew.bell.ring();
        }
    }

    /// Takes the turn to write, if it is free, and writes what the socket takes at once.
    pub(crate) fn flush(&self) {
        drop(self.flush_from(self.lock()));
    }

    /// The same by who holds the state, and holds it again afterwards. Says whether that was all.
    pub(crate) fn flush_from<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> (MutexGuard<'a, State>, bool) {
        if state.writing {
            return (state, true);
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
                    if state.client.is_crowded() {
                        self.crew.bell.ring();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.unsent = taken;
                    return (state, false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => state.unsent = taken,
                failed => {
                    let error = failed.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    state.client.link_lost(&error);
                }
            }
        }
        (state, true)
    }

    /// Waits until `check` has an answer, reading while the turn to read is free. `None`: it had none
    /// in time. `check` is told whether everything was sent.
    pub(crate) fn wait<T>(
        &self,
        topic: Topic,
        patience: Patience,
        mut check: impl FnMut(&mut Client, bool) -> Option<T>,
    ) -> Option<T> {
        let mut waiting = Waiting { link: self, waiter: None, reads: false, over: false };
        // The time as far as it is known without another look at the clock.
        let mut known = Some(patience.since);
        let mut read = None;
        loop {
            let (mut state, mut wants) = read.take().unwrap_or_else(|| self.look(known.is_some()));
            if wants.write || !state.unsent.is_empty() {
                (state, _) = self.flush_from(state);
                wants = state.client.take_events();
            }
            let all_sent = state.unsent.is_empty();
            if wants.finished {
                // Whoever waits for this socket, waits in vain.
                self.shutdown();
            }
            if let Some(answer) = check(&mut state.client, all_sent) {
                waiting.end(&mut state);
                return Some(answer);
            }
            let now = known.take().unwrap_or_else(Instant::now);
            if patience.is_over(now) {
                if !all_sent {
                    // Somebody else must send the rest.
                    state.client.wake(Topic::Room);
                    self.call_driver(&mut state);
                }
                return None;
            }
            waiting.prepare(&mut state, topic);
            let until = earlier(patience.until, wake_at(&wants, state.client.clock()));
            drop(state);
            read = self.wait_once(waiting.reads && wants.read, all_sent, until, now);
        }
    }

    /// What the connection wants, as of now, or of the time that it was told last.
    fn look(&self, knows_the_time: bool) -> (MutexGuard<'_, State>, Wants) {
        let mut state = self.lock();
        let wants = if knows_the_time { state.client.deliver() } else { state.client.take_events() };
        (state, wants)
    }

    /// Waits for one thing to happen. Says what the connection wants now, if it was read from.
    fn wait_once(
        &self,
        reads: bool,
        all_sent: bool,
        until: Option<Instant>,
        now: Instant,
    ) -> Option<(MutexGuard<'_, State>, Wants)> {
        match (reads, all_sent) {
            (true, true) => Some(self.read_until(until, now)),
            (reads, false) => {
                // Also for input when it is somebody else's to read: the turn may come meanwhile, and
                // nothing but the socket wakes this thread. What goes wrong shows at the next try.
                let _ = self.socket.wait(Wait { read: true, write: true, bell: None }, until);
                reads.then(|| self.read_what_is_there())
            }
            // Somebody else reads.
            (false, true) => {
                park_until(until);
                None
            }
        }
    }

    /// Reads once, waiting until `until` at the latest, and delivers what came.
    fn read_until(&self, until: Option<Instant>, now: Instant) -> (MutexGuard<'_, State>, Wants) {
        with_scratch(|scratch| {
            let read = self.socket.read(scratch, until.map(|until| until.saturating_duration_since(now)));
            self.deliver(scratch, read)
        })
    }

    /// Reads without waiting.
    pub(crate) fn read_what_is_there(&self) -> (MutexGuard<'_, State>, Wants) {
        with_scratch(|scratch| {
            let read = match self.socket.read_now(scratch) {
                Ok(n) => Ok(Some(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error),
            };
            self.deliver(scratch, read)
        })
    }

    /// Delivers what was read: also to participants, before more is read.
    fn deliver(&self, scratch: &[u8], read: io::Result<Option<usize>>) -> (MutexGuard<'_, State>, Wants) {
        let mut state = self.lock();
        let client = &mut state.client;
        let wants = match read {
            Ok(None) => client.take_events(),
            Ok(Some(0)) => client.eof(),
            Ok(Some(n)) => client.receive(scratch.get(..n).unwrap_or_default()),
            Err(error) => client.link_lost(&error),
        };
        if !state.client.has_arrived() {
            return (state, wants);
        }
        state.attending = true;
        drop(state);
        self.attend();
        let (mut state, wants) = self.look(true);
        state.attending = false;
        self.call_driver_for(&state, &wants, state.has_rest());
        (state, wants)
    }

    /// The driver waits. Nobody rings for what it finds by itself.
    pub(crate) fn keep_vigil<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        vigil: Vigil,
    ) -> (MutexGuard<'a, State>, Woken) {
        state.vigil = Some(vigil);
        drop(state);
        let what = Wait { read: vigil.reads, write: vigil.writes, bell: Some(&self.crew.bell) };
        let waited = self.socket.wait(what, vigil.until);
        let mut state = self.lock();
        state.vigil = None;
        let woken = waited.unwrap_or_else(|error| {
            state.client.link_lost(&error);
            Woken::default()
        });
        (state, woken)
    }

    /// Waits until somebody rings for the driver.
    pub(crate) fn wait_for_bell(&self, until: Option<Instant>) {
        let what = Wait { read: false, write: false, bell: Some(&self.crew.bell) };
        // What can go wrong is that it looks too early.
        let _ = self.socket.wait(what, until);
    }

    /// Closes the socket, under whoever waits for it.
    pub(crate) fn shutdown(&self) {
        self.socket.shutdown(Shutdown::Both);
        self.crew.bell.ring();
    }

    /// Gives the turn to read back, and passes it on.
    pub(crate) fn release(&self, state: &mut State) {
        state.reading = false;
        self.pass_turn(state);
    }

    /// The turn to read is free: somebody who waits takes it, else the driver. A driver that lingers looks
    /// by itself, unless something is served.
    fn pass_turn(&self, state: &State) {
        let rings = |vigil: Vigil| !vigil.reads && (!vigil.lingers || state.client.serves());
        if !state.client.pass_turn() && state.vigil.is_some_and(rings) {
            self.crew.bell.ring();
        }
    }
}

impl SharedClient for Link {
    fn with(&self, act: &mut dyn FnMut(&mut Client)) {
        act(&mut self.lock().client);
    }

    fn act(&self, act: &mut dyn FnMut(&mut Client)) {
        self.act_at_once(act);
    }
}

impl State {
    /// Whether somebody is in the middle of writing.
    pub(crate) const fn is_writing(&self) -> bool {
        self.writing
    }

    /// Whether the socket took less than there was.
    pub(crate) fn has_rest(&self) -> bool {
        !self.unsent.is_empty()
    }

    fn has_unsent(&mut self) -> bool {
        !self.unsent.is_empty() || self.unsent.refill(&mut self.client.connection)
    }
}

/// Somebody who waits, perhaps with the turn to read.
struct Waiting<'a> {
    link: &'a Link,
    waiter: Option<Waiter>,
    reads: bool,
    /// Whether it waits no more.
    over: bool,
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

    /// Waits no more.
    fn end(&mut self, state: &mut State) {
        self.over = true;
        if let Some(waiter) = self.waiter.take() {
            state.client.stop_waiting(waiter);
        }
        if self.reads {
            self.link.release(state);
        } else if !state.reading {
            // The turn may have been passed to this thread, which has no use for it any more.
            self.link.pass_turn(state);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.end(&mut self.link.lock());
        }
    }
}
