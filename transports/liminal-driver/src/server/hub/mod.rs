//! The bus behind its lock, and what happens around it: calls are made outside, commands enter the
//! outboxes of their links before the lock is released, and links are flushed after it.

mod calls;
mod core;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test says so")]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{self, Duration};

use liminal_core::{
    Answer, Bus, CrashPolicy, LinkId, OfferId, RegisterError, Subject, Ticket, Uncompensated,
};
use liminal_proto::{CloseReason, CreditGiven, Event, ExitReason, Instant, LinkError};
use smallvec::SmallVec;

use self::core::{Core, Run};
pub(super) use self::core::{Instance, Whom, whom};
use super::brief::Brief;
use super::recording::Recording;
use super::sync_host::discard;
use super::{Admission, Kind, MemoryBudget, Outlet, Pool, ServerLink, ServerOptions};
use crate::Clock;
use crate::asynchronous::{Sleep, Sleeper};

/// Calls that one thread makes before it writes what came of them: enough to write many replies at once,
/// and few enough that the first does not wait long for the last.
const CALLS_PER_WRITE: usize = 64;

/// How often one thread tells a link more that looks on, as soon as what it was told is written. A link that reads
/// as fast as others speak would never let go of whoever spoke: the rest is for its own thread or task.
const TOLD_PER_ROUND: usize = 4;

/// A call of an async participant.
pub type Task = Pin<Box<dyn Future<Output = Returned> + Send>>;

/// A call has returned, and the bus does not know yet. What the call took (a seat, a thread) is given back
/// before the bus is told, or the next call would find it taken.
#[must_use = "until the bus is told, its conversation stands still"]
pub struct Returned(Option<Box<dyn FnOnce() + Send>>);

impl Returned {
    pub(super) fn new(tell: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Nothing returned, because nothing was called.
    const fn nothing() -> Self {
        Self(None)
    }

    /// Tells the bus.
    pub fn tell(self) {
        if let Some(tell) = self.0 {
            tell();
        }
    }
}

impl fmt::Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Returned")
    }
}

/// Where async participants run.
pub trait Spawn: Send + Sync + 'static {
    /// Runs a task to its end, and [tells](Returned::tell) the bus.
    ///
    /// # Errors
    ///
    /// There is no room for it now.
    fn spawn(&self, task: Task) -> Result<(), Task>;
}

/// The bus, its links and its hosts.
pub struct Hub {
    core: Mutex<Core>,
    clock: Clock,
    admission: Arc<Admission>,
    memory: Arc<MemoryBudget>,
    pool: Arc<Pool>,
    spawn: Box<dyn Spawn>,
    sleeper: Arc<dyn Sleeper>,
    options: ServerOptions,
}

/// What is to be done once the lock is released.
struct Round {
    /// The time, as of the last thing that may have taken some.
    now: Instant,
    /// The next call. Those behind it stay with the bus, for whoever comes first.
    run: Option<Run>,
    /// Calls made since links were last written to.
    made: usize,
    /// How often each link that looks on was let have more. Mostly none is.
    told: Vec<(LinkId, usize)>,
    touched: SmallVec<[Arc<dyn Outlet>; 2]>,
    /// Mostly none.
    uncompensated: Vec<Uncompensated>,
}

impl Round {
    fn new(now: Instant) -> Self {
        Self {
            now,
            run: None,
            made: 0,
            told: Vec::new(),
            touched: SmallVec::new(),
            uncompensated: Vec::new(),
        }
    }

    /// Whether a link that looks on is told more now. If not, it will be later.
    fn lets_have_more(&mut self, link: &dyn Outlet) -> bool {
        let id = link.id();
        let Some((_, times)) = self.told.iter_mut().find(|(of, _)| *of == id) else {
            self.told.push((id, 1));
            return true;
        };
        *times += 1;
        let now = *times <= TOLD_PER_ROUND;
        if !now {
            link.put_off();
        }
        now
    }
}

impl Hub {
    /// A hub without links and participants.
    #[must_use]
    pub fn new(
        options: ServerOptions,
        spawn: Box<dyn Spawn>,
        sleeper: Arc<dyn Sleeper>,
        pool: Arc<Pool>,
    ) -> Arc<Self> {
        let clock = options.recorder.as_ref().map_or_else(Clock::new, |recorder| *recorder.clock());
        Self::with_clock(clock, options, spawn, sleeper, pool)
    }

    /// The same, told the time by this clock.
    pub(crate) fn with_clock(
        clock: Clock,
        mut options: ServerOptions,
        spawn: Box<dyn Spawn>,
        sleeper: Arc<dyn Sleeper>,
        pool: Arc<Pool>,
    ) -> Arc<Self> {
        // The bus says what it is through with.
        options.connection.credit = CreditGiven::Consumed;
        let recording = options.recorder.as_ref().map(Recording::new);
        let mut settings = options.bus.clone();
        settings.recording = recording.is_some();
        let core = Core {
            bus: Bus::new(settings),
            kinds: BTreeMap::new(),
            seats: BTreeMap::new(),
            links: BTreeMap::new(),
            cancels: BTreeMap::new(),
            crowded: BTreeMap::new(),
            due: None,
            armed: None,
            timer: None,
            idle: None,
            vacant: None,
            recording,
        };
        let admission = Admission::new(options.admission);
        let memory = MemoryBudget::new(options.memory_bytes_max, &options.connection.limits);
        Arc::new(Self { core: Mutex::new(core), clock, admission, memory, pool, spawn, sleeper, options })
    }

    /// How it treats its connections.
    #[must_use]
    pub const fn options(&self) -> &ServerOptions {
        &self.options
    }

    /// Who may connect.
    #[must_use]
    pub const fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// The memory that all connections draw on.
    #[must_use]
    pub const fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// The clock that everything here is told the time by.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Registers who serves a subject, beside those who serve it already.
    ///
    /// # Errors
    ///
    /// The subject is too long, or is served already and one of the two only records.
    pub fn register(&self, subject: Subject, kind: Kind) -> Result<OfferId, RegisterError> {
        let mut core = self.lock();
        let offer = core.bus.register(subject, kind.offer())?;
        core.kinds.insert(offer, kind);
        Ok(offer)
    }

    /// Takes back what was registered. Conversations that are open go on.
    pub(crate) fn unregister(&self, offer: OfferId) {
        let mut core = self.lock();
        core.bus.unregister(offer);
        let kind = core.kinds.remove(&offer);
        drop(core);
        discard(kind);
    }

    /// Sets what becomes of a conversation on a subject when its participant exits.
    ///
    /// # Errors
    ///
    /// The subject is too long, or the one to compensate on.
    pub fn on_crash(&self, subject: Subject, policy: CrashPolicy) -> Result<(), RegisterError> {
        self.lock().bus.on_crash(subject, policy)
    }

    /// A new connection of a server. `make` is told its id. The link counts as there until what is returned is
    /// dropped.
    pub fn connect(self: &Arc<Self>, make: impl FnOnce(LinkId) -> Arc<ServerLink>) -> Connected {
        let connected = self.attach(make);
        let rights = self.options.monitoring.rights(connected.link.peer());
        self.lock().bus.grant(connected.id, rights);
        connected
    }

    /// The same for any link.
    pub(crate) fn attach<L: Outlet + 'static>(
        self: &Arc<Self>,
        make: impl FnOnce(LinkId) -> Arc<L>,
    ) -> Connected<L> {
        let mut core = self.lock();
        let now = self.clock.now();
        let id = core.bus.connect(now);
        if let Some(recording) = &mut core.recording {
            recording.linked(now, id);
        }
        let link = make(id);
        core.links.insert(id, Arc::<L>::clone(&link));
        Connected { hub: Arc::clone(self), id, link }
    }

    /// What the connection of a link has told. Says what time it is afterwards.
    pub(crate) fn events(
        self: &Arc<Self>,
        now: Instant,
        link: LinkId,
        events: impl IntoIterator<Item = Event>,
    ) -> Instant {
        self.drive_at(now, |core, round| {
            for event in events {
                core.event(link, event, round);
            }
        })
    }

    /// Writes what a link has to say, as far as it goes.
    pub fn flush(self: &Arc<Self>, link: &Arc<ServerLink>) {
        self.flush_at(self.clock.now(), link);
    }

    pub(crate) fn flush_at<L: Outlet + 'static>(self: &Arc<Self>, now: Instant, link: &Arc<L>) {
        let mut round = Round::new(now);
        round.touched.push(Arc::<L>::clone(link));
        self.settle(round);
    }

    /// Stops gracefully: every client is asked to go.
    pub fn stop(self: &Arc<Self>) {
        self.drive(|core, round| core.bus.stop(round.now));
    }

    /// Whether every link has ended and every compensation; wakes `waker` when the last one does.
    #[must_use]
    pub fn is_idle(&self, waker: &Waker) -> bool {
        let mut core = self.lock();
        core.idle = Some(waker.clone());
        core.is_idle()
    }

    /// Whether every link has ended; wakes `waker` when the last one does.
    #[must_use]
    pub fn is_unlinked(&self, waker: &Waker) -> bool {
        let mut core = self.lock();
        core.idle = Some(waker.clone());
        core.links.is_empty()
    }

    /// Whether no conversation is left, and no call; wakes `waker` when that comes about.
    #[must_use]
    pub fn is_vacant(&self, waker: &Waker) -> bool {
        let mut core = self.lock();
        core.vacant = Some(waker.clone());
        core.is_vacant()
    }

    /// The time of a graceful stop is over. Takes the transports of links that are still there away, and
    /// says so if something is left undone.
    pub fn abandon(&self) {
        let compensating = self.lock().bus.compensating();
        if compensating > 0 {
            tracing::warn!("stopped while compensations were under way: {compensating}");
        }
        for link in self.links() {
            link.drop_transport(self.clock.now());
        }
    }

    /// Every link has ended, and no other will come: if somebody writes down what happens, this was all.
    pub fn over(&self) {
        let core = self.lock();
        if let Some(recording) = &core.recording {
            recording.over(&core.bus);
        }
    }

    /// Every link that is still there.
    pub(super) fn links(&self) -> Vec<Arc<dyn Outlet>> {
        self.lock().links.values().cloned().collect()
    }

    /// When [`on_timer`](Self::on_timer) is due. `waker` is woken when it must be earlier.
    #[must_use]
    pub fn timer(&self, waker: &Waker) -> Option<time::Instant> {
        let mut core = self.lock();
        core.timer = Some(waker.clone());
        // An alarm that was set and is not needed any more stays: the next request would only set another, and
        // whoever asks for this after each of them would be woken for each.
        let set = core.armed.filter(|armed| *armed > self.clock.now());
        core.armed = set.into_iter().chain(core.due).min();
        core.armed.and_then(|armed| self.clock.std(armed))
    }

    /// Time has passed.
    pub fn on_timer(self: &Arc<Self>) {
        self.drive(|core, round| core.bus.tick(round.now));
    }

    pub(super) fn answer(self: &Arc<Self>, ticket: Ticket, answer: Answer) {
        self.drive(|core, round| core.answers(ticket, [answer], round));
    }

    /// A call has returned.
    pub(super) fn returned(
        self: &Arc<Self>,
        ticket: Ticket,
        whom: Whom,
        answer: Answer,
        instance: Option<Instance>,
    ) {
        log(&answer);
        let mut gone = None;
        self.drive(|core, round| {
            core.cancels.remove(&ticket);
            core.crowded.remove(&ticket);
            gone = core.keep(whom, instance);
            core.answers(ticket, [answer], round);
        });
        discard(gone);
    }

    /// Whether a reply to this call would find room; wakes `waker` when that may have changed.
    pub(super) fn has_room(&self, ticket: Ticket, waker: &Waker) -> bool {
        let mut core = self.lock();
        let has_room = core.bus.has_room(ticket);
        if !has_room {
            core.crowded.insert(ticket, waker.clone());
        }
        has_room
    }

    /// A participant is no more, whatever it was doing.
    pub(super) fn exited(self: &Arc<Self>, whom: Whom, reason: ExitReason) {
        log_exit(&reason);
        let mut gone = None;
        self.drive(|core, round| {
            gone = core.seats.remove(&whom);
            let (conversation, pid) = whom;
            core.exited(conversation, pid, reason, round);
        });
        discard(gone);
    }

    pub(super) fn sleep(&self, time: Duration) -> Sleep {
        self.sleeper.sleep_until(crate::asynchronous::after(time))
    }

    fn drive(self: &Arc<Self>, change: impl FnOnce(&mut Core, &mut Round)) {
        self.drive_at(self.clock.now(), change);
    }

    fn drive_at(self: &Arc<Self>, now: Instant, change: impl FnOnce(&mut Core, &mut Round)) -> Instant {
        let mut round = Round::new(now);
        let mut core = self.lock();
        change(&mut core, &mut round);
        core.collect(&mut round);
        drop(core);
        self.settle(round)
    }

    /// Makes calls and flushes links until nothing is left to do. Says what time it is then.
    ///
    /// What it calls is kept out of its frame: the stack is most of the memory that a blocking connection
    /// takes, and no two of them are ever under way at once.
    fn settle(self: &Arc<Self>, mut round: Round) -> Instant {
        loop {
            for failed in round.uncompensated.drain(..) {
                tracing::warn!("{failed}");
            }
            if round.made < CALLS_PER_WRITE
                && let Some(run) = round.run.take()
            {
                round.made += 1;
                self.make(run, &mut round);
            } else if let Some(link) = round.touched.pop() {
                self.write(&*link, &mut round);
            } else if round.made > 0 {
                round.made = 0;
            } else {
                return round.now;
            }
        }
    }

    #[inline(never)]
    fn write(&self, link: &dyn Outlet, round: &mut Round) {
        let flushed = link.flush(round.now, self.options.held_reply_bytes_max);
        let drained = flushed.drained && round.lets_have_more(link);
        if flushed.taken || drained || flushed.changed {
            let mut core = self.lock();
            if drained {
                core.bus.link_drained(link.id());
            }
            // As it is now: somebody else may have written meanwhile, and said so already.
            let mut room = !link.is_full();
            if room {
                core.bus.link_ready(link.id());
            } else {
                core.bus.link_full(link.id());
            }
            for (conversation, full) in link.take_changes() {
                if full {
                    core.bus.conversation_full(link.id(), conversation);
                } else {
                    core.bus.conversation_ready(link.id(), conversation);
                    room = true;
                }
            }
            if room {
                // Each looks for itself whether it is for it.
                std::mem::take(&mut core.crowded).into_values().for_each(Waker::wake);
            }
            core.collect(round);
        }
    }

    /// A panic under this lock could only be a fault of ours; the state is a machine that takes any call.
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A link that is connected. When this is dropped the link is no more, whatever became of it.
#[derive(Debug)]
pub struct Connected<L = ServerLink> {
    hub: Arc<Hub>,
    id: LinkId,
    link: Arc<L>,
}

impl<L> Connected<L> {
    /// The link.
    #[must_use]
    pub const fn link(&self) -> &Arc<L> {
        &self.link
    }

    /// The hub.
    #[must_use]
    pub const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

impl<L> Drop for Connected<L> {
    fn drop(&mut self) {
        self.hub.drive(|core, round| {
            // The bus knows, unless whoever served the link was dropped itself.
            core.event(self.id, Event::Closed(CloseReason::Link(LinkError::Dropped)), round);
            core.forget(self.id);
        });
    }
}

/// Says that a participant did not end well. Not while the bus is locked: a log is a file.
fn log(answer: &Answer) {
    if let Answer::Exited(reason) = answer {
        log_exit(reason);
    }
}

fn log_exit(reason: &ExitReason) {
    if *reason != ExitReason::Normal {
        tracing::warn!("a participant {}", Brief::of(reason));
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = self.lock();
        f.debug_struct("Hub")
            .field("links", &core.links.len())
            .field("participants", &core.seats.len())
            .finish_non_exhaustive()
    }
}
