//! The bus behind its lock, and what happens around it: calls are made outside, commands enter the
//! outboxes of their links before the lock is released, and links are flushed after it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{self, Duration};

use liminal_core::participant::{AnswerSink, AsyncFactory, AsyncParticipant};
use liminal_core::transcript::Noted;
use liminal_core::{
    Answer, Bus, BusNext, Call, Command, ConversationKey, CrashPolicy, Factory, Invocation, LinkId, OfferId,
    Participant, RegisterError, Subject, Ticket, Uncompensated,
};
use liminal_proto::{CloseReason, Event, ExitReason, Instant, LinkError, Pid, ReasonCode};
use smallvec::SmallVec;

use super::brief::Brief;
use super::recording::Recording;
use super::task_host::Cancel;
use super::{
    Admission, Answers, Host, Kind, MemoryBudget, Pool, ServerLink, ServerOptions, sync_host, task_host,
};
use crate::Clock;
use crate::asynchronous::{Sleep, Sleeper};

/// Calls that one thread makes before it writes what came of them: enough to write many replies at once,
/// and few enough that the first does not wait long for the last.
const CALLS_PER_WRITE: usize = 64;

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

struct Core {
    bus: Bus,
    kinds: BTreeMap<OfferId, Kind>,
    seats: BTreeMap<Pid, Seat>,
    links: BTreeMap<LinkId, Arc<ServerLink>>,
    cancels: BTreeMap<Ticket, Arc<Cancel>>,
    /// Calls whose replies would find no room.
    crowded: BTreeMap<Ticket, Waker>,
    /// When the bus is due, and when the timer will look.
    due: Option<Instant>,
    armed: Option<Instant>,
    timer: Option<Waker>,
    /// Who waits for the last link to end.
    idle: Option<Waker>,
    /// What happens here is written down.
    recording: Option<Recording>,
}

/// A participant; while it is called, its instance is where it is called.
struct Seat {
    kind: Kind,
    instance: Option<Instance>,
}

pub(super) enum Instance {
    Sync(Box<dyn Participant>),
    Async(Box<dyn AsyncParticipant>),
    /// Its host has it.
    Hosted,
}

/// A call to be made.
struct Run {
    ticket: Ticket,
    invocation: Invocation,
    kind: Option<Kind>,
    instance: Option<Instance>,
}

/// The answers of one call: mostly a reply, and that it returned.
#[derive(Default)]
struct InlineAnswers(SmallVec<[Answer; 2]>);

impl AnswerSink for InlineAnswers {
    fn answer(&mut self, answer: Answer) {
        self.0.push(answer);
    }
}

/// What is to be done once the lock is released.
struct Round {
    /// The time, as of the last thing that may have taken some.
    now: Instant,
    /// The next call. Those behind it stay with the bus, for whoever comes first.
    run: Option<Run>,
    /// Calls made since links were last written to.
    made: usize,
    touched: SmallVec<[Arc<ServerLink>; 2]>,
    /// Mostly none.
    uncompensated: Vec<Uncompensated>,
}

impl Round {
    fn new(now: Instant) -> Self {
        Self { now, run: None, made: 0, touched: SmallVec::new(), uncompensated: Vec::new() }
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
            recording,
        };
        let clock = options.recorder.as_ref().map_or_else(Clock::new, |recorder| *recorder.clock());
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

    /// Sets what becomes of a conversation on a subject when its participant exits.
    ///
    /// # Errors
    ///
    /// The subject is too long, or the one to compensate on.
    pub fn on_crash(&self, subject: Subject, policy: CrashPolicy) -> Result<(), RegisterError> {
        self.lock().bus.on_crash(subject, policy)
    }

    /// A new link. `make` is told its id. The link counts as there until what is returned is dropped.
    pub fn connect(self: &Arc<Self>, make: impl FnOnce(LinkId) -> Arc<ServerLink>) -> Connected {
        let mut core = self.lock();
        let now = self.clock.now();
        let id = core.bus.connect(now);
        if let Some(recording) = &mut core.recording {
            recording.linked(now, id);
        }
        let link = make(id);
        core.links.insert(id, Arc::clone(&link));
        Connected { hub: Arc::clone(self), link }
    }

    /// What the connection of a link has told. Says what time it is afterwards.
    pub(super) fn events(
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

    pub(super) fn flush_at(self: &Arc<Self>, now: Instant, link: &Arc<ServerLink>) {
        let mut round = Round::new(now);
        round.touched.push(Arc::clone(link));
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
    #[must_use]
    pub fn links(&self) -> Vec<Arc<ServerLink>> {
        self.lock().links.values().cloned().collect()
    }

    /// When [`on_timer`](Self::on_timer) is due. `waker` is woken when it must be earlier.
    #[must_use]
    pub fn timer(&self, waker: &Waker) -> Option<time::Instant> {
        let mut core = self.lock();
        core.timer = Some(waker.clone());
        core.armed = core.due;
        core.due.and_then(|due| self.clock.std(due))
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
        pid: Pid,
        answer: Answer,
        instance: Option<Instance>,
    ) {
        log(&answer);
        self.drive(|core, round| {
            core.cancels.remove(&ticket);
            core.crowded.remove(&ticket);
            core.keep(pid, instance);
            core.answers(ticket, [answer], round);
        });
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
    pub(super) fn exited(self: &Arc<Self>, conversation: ConversationKey, pid: Pid, reason: ExitReason) {
        log_exit(&reason);
        self.drive(|core, round| {
            core.seats.remove(&pid);
            core.exited(conversation, pid, reason, round);
        });
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
                self.write(&link, &mut round);
            } else if round.made > 0 {
                round.made = 0;
            } else {
                return round.now;
            }
        }
    }

    #[inline(never)]
    fn write(&self, link: &ServerLink, round: &mut Round) {
        if link.flush(round.now, self.options.held_reply_bytes_max) {
            let mut core = self.lock();
            // As it is now: somebody else may have written meanwhile, and said so already.
            if link.is_full() {
                core.bus.link_full(link.id());
            } else {
                core.bus.link_ready(link.id());
                // Each looks for itself whether the room is for it.
                std::mem::take(&mut core.crowded).into_values().for_each(Waker::wake);
            }
            core.collect(round);
        }
    }

    fn make(self: &Arc<Self>, mut run: Run, round: &mut Round) {
        match run.kind.take() {
            Some(Kind::Inline(factory)) => self.make_inline(run, &*factory, round),
            Some(Kind::Blocking(factory)) => self.make_blocking(run, factory, round),
            Some(Kind::Async(factory)) => self.make_async(run, factory, round),
            Some(Kind::Hosted(host)) => self.make_hosted(run, &*host, round),
            Some(Kind::TraceOnly) | None => {
                let refused = Answer::Refused { reason: ReasonCode::NO_PARTICIPANT, text: None };
                self.give_back(&run, None, refused, round);
            }
        }
    }

    #[inline(never)]
    fn make_inline(&self, mut run: Run, factory: &dyn Factory, round: &mut Round) {
        let mut answers = InlineAnswers::default();
        let participant = run.instance.take().and_then(Instance::sync);
        let participant = sync_host::call(round.now, &run.invocation, participant, factory, &mut answers);
        round.now = self.clock.now();
        answers.0.iter().for_each(log);
        let mut core = self.lock();
        core.keep(run.invocation.pid, participant.map(Instance::Sync));
        core.answers(run.ticket, answers.0, round);
        core.collect(round);
    }

    #[inline(never)]
    fn make_blocking(self: &Arc<Self>, run: Run, factory: Arc<dyn Factory>, round: &mut Round) {
        let hub = Arc::clone(self);
        let seat = Arc::new(Mutex::new(Some(run)));
        let taken = Arc::clone(&seat);
        let job = Box::new(move |pool_seat| {
            let Some(Run { ticket, invocation, instance, .. }) = take(&taken) else { return };
            let mut sink = Direct { hub: &hub, ticket, end: None };
            let (now, participant) = (hub.clock.now(), instance.and_then(Instance::sync));
            let participant = sync_host::call(now, &invocation, participant, &*factory, &mut sink);
            let end = sink.end.unwrap_or(Answer::Done);
            // Before the bus is told: the next call may need it.
            drop(pool_seat);
            hub.returned(ticket, invocation.pid, end, participant.map(Instance::Sync));
        });
        if self.pool.run(job).is_err()
            && let Some(mut run) = take(&seat)
        {
            let instance = run.instance.take();
            self.give_back(&run, instance, Answer::Busy, round);
        }
        self.lock().collect(round);
    }

    #[inline(never)]
    fn make_async(self: &Arc<Self>, run: Run, factory: Arc<dyn AsyncFactory>, round: &mut Round) {
        let cancel = self.cancel_of(run.ticket);
        let hub = Arc::clone(self);
        let seat = Arc::new(Mutex::new(Some(run)));
        let taken = Arc::clone(&seat);
        let task = Box::pin(async move {
            let Some(Run { ticket, invocation, instance, .. }) = take(&taken) else {
                return Returned::nothing();
            };
            let participant = instance.and_then(Instance::asynchronous);
            task_host::call(hub, ticket, invocation, participant, factory, cancel).await
        });
        if self.spawn.spawn(task).is_err()
            && let Some(mut run) = take(&seat)
        {
            let instance = run.instance.take();
            self.give_back(&run, instance, Answer::Busy, round);
        }
        self.lock().collect(round);
    }

    #[inline(never)]
    fn make_hosted(self: &Arc<Self>, run: Run, host: &dyn Host, round: &mut Round) {
        let cancel = self.cancel_of(run.ticket);
        let answers = Answers::new(Arc::clone(self), run.ticket, &run.invocation, cancel);
        // Dropping the answers ends the call, whatever the host did.
        let _ = catch_unwind(AssertUnwindSafe(|| host.call(run.invocation, answers)));
        self.lock().collect(round);
    }

    /// What tells a call that nobody needs it any more.
    fn cancel_of(&self, ticket: Ticket) -> Arc<Cancel> {
        let cancel = Arc::new(Cancel::default());
        self.lock().cancels.insert(ticket, Arc::clone(&cancel));
        cancel
    }

    /// A call was not made.
    fn give_back(&self, run: &Run, instance: Option<Instance>, answer: Answer, round: &mut Round) {
        let mut core = self.lock();
        core.cancels.remove(&run.ticket);
        core.keep(run.invocation.pid, instance);
        round.now = self.clock.now();
        core.answers(run.ticket, [answer], round);
        core.collect(round);
    }

    /// A panic under this lock could only be a fault of ours; the state is a machine that takes any call.
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// The connection of a link has told something.
    fn event(&mut self, link: LinkId, event: Event, round: &mut Round) {
        if self.recording.is_some() {
            return self.record_event(link, event, round);
        }
        self.bus.event(round.now, link, event);
    }

    /// A call has been answered.
    fn answers(&mut self, ticket: Ticket, answers: impl IntoIterator<Item = Answer>, round: &mut Round) {
        if self.recording.is_some() {
            return self.record_answers(ticket, answers, round);
        }
        self.bus.answers(round.now, ticket, answers);
    }

    /// A participant is no more.
    fn exited(&mut self, conversation: ConversationKey, pid: Pid, reason: ExitReason, round: &mut Round) {
        if self.recording.is_some() {
            let died = Noted::Died { conversation, pid, reason: reason.clone() };
            self.record(round, |recording| recording.note(died));
        }
        self.bus.exited(round.now, conversation, pid, reason);
    }

    #[cold]
    #[inline(never)]
    fn record_event(&mut self, link: LinkId, event: Event, round: &mut Round) {
        let closes = matches!(event, Event::Closed(_));
        self.record(round, |recording| {
            if closes {
                recording.unlinked(link);
            }
        });
        self.bus.event(round.now, link, event);
    }

    #[cold]
    #[inline(never)]
    fn record_answers(
        &mut self,
        ticket: Ticket,
        answers: impl IntoIterator<Item = Answer>,
        round: &mut Round,
    ) {
        for answer in answers {
            let answered = Noted::Answered { ticket, answer: answer.clone() };
            self.record(round, |recording| recording.note(answered));
            self.bus.answer(round.now, ticket, answer);
        }
    }

    /// Writes down what the bus is about to be told, behind all that came of what it was told before and of the
    /// time that has passed.
    #[cold]
    fn record(&mut self, round: &mut Round, note: impl FnOnce(&mut Recording)) {
        if let Some(recording) = &mut self.recording {
            recording.advance(round.now);
        }
        self.bus.tick(round.now);
        while let Some(next) = self.bus.poll_output() {
            self.on_next(next, round);
        }
        if let Some(recording) = &mut self.recording {
            note(recording);
        }
    }

    /// Takes everything out of the bus that it wants done, up to the next call.
    fn collect(&mut self, round: &mut Round) {
        if let Some(recording) = &mut self.recording {
            recording.advance(round.now);
        }
        while round.run.is_none() {
            let next = self.bus.poll();
            if self.on_next(next, round) {
                break;
            }
        }
        while let Some((link, bytes)) = self.bus.poll_held() {
            if let Some(entry) = self.links.get(&link) {
                entry.hold_on_bus(bytes);
            }
        }
        self.arm();
    }

    /// Does what the bus wants done. Says whether it waits.
    fn on_next(&mut self, next: BusNext, round: &mut Round) -> bool {
        if let Some(recording) = &self.recording {
            recording.next(&self.bus, &next);
        }
        match next {
            BusNext::Command(link, command) => self.tell(link, command, round),
            BusNext::Run(ticket, invocation) => round.run = Some(self.seat(ticket, invocation)),
            BusNext::Cancel(ticket) => {
                if let Some(cancel) = self.cancels.get(&ticket) {
                    cancel.cancel();
                }
            }
            BusNext::Record(..) => {}
            BusNext::Uncompensated(it) => round.uncompensated.push(it),
            BusNext::Wait(_) => {
                self.tell_if_idle();
                return true;
            }
        }
        false
    }

    fn tell(&self, link: LinkId, command: Command, round: &mut Round) {
        if let Some(entry) = self.links.get(&link)
            && entry.push(command)
        {
            round.touched.push(Arc::clone(entry));
        }
    }

    fn seat(&mut self, ticket: Ticket, invocation: Invocation) -> Run {
        if matches!(invocation.what, Call::Join { .. })
            && let Some(kind) = self.kinds.get(&invocation.offer)
        {
            self.seats.insert(invocation.pid, Seat { kind: kind.clone(), instance: None });
        }
        let seat = self.seats.get_mut(&invocation.pid);
        let (kind, instance) =
            seat.map_or((None, None), |seat| (Some(seat.kind.clone()), seat.instance.take()));
        Run { ticket, invocation, kind, instance }
    }

    /// A participant is back from a call, or is no more.
    fn keep(&mut self, pid: Pid, instance: Option<Instance>) {
        match (instance, self.seats.get_mut(&pid)) {
            (Some(instance), Some(seat)) => seat.instance = Some(instance),
            (Some(_), None) | (None, _) => {
                self.seats.remove(&pid);
            }
        }
    }

    fn forget(&mut self, link: LinkId) {
        self.links.remove(&link);
        if self.links.is_empty()
            && let Some(waker) = self.idle.take()
        {
            waker.wake();
        }
    }

    /// Nothing is under way any more.
    fn is_idle(&self) -> bool {
        self.links.is_empty() && self.bus.compensating() == 0
    }

    /// The last compensation may have ended after the last link.
    fn tell_if_idle(&mut self) {
        if self.idle.is_some()
            && self.is_idle()
            && let Some(waker) = self.idle.take()
        {
            waker.wake();
        }
    }

    /// The timer is woken only when it would look too late.
    fn arm(&mut self) {
        self.due = self.bus.wake().at();
        let late = match (self.due, self.armed) {
            (Some(due), Some(armed)) => due < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if late && let Some(timer) = &self.timer {
            timer.wake_by_ref();
        }
    }
}

impl Instance {
    fn sync(self) -> Option<Box<dyn Participant>> {
        match self {
            Self::Sync(participant) => Some(participant),
            Self::Async(_) | Self::Hosted => None,
        }
    }

    fn asynchronous(self) -> Option<Box<dyn AsyncParticipant>> {
        match self {
            Self::Async(participant) => Some(participant),
            Self::Sync(_) | Self::Hosted => None,
        }
    }
}

/// A link that is connected. When this is dropped the link is no more, whatever became of it.
#[derive(Debug)]
pub struct Connected {
    hub: Arc<Hub>,
    link: Arc<ServerLink>,
}

impl Connected {
    /// The link.
    #[must_use]
    pub const fn link(&self) -> &Arc<ServerLink> {
        &self.link
    }

    /// The hub.
    #[must_use]
    pub const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let id = self.link.id();
        self.hub.drive(|core, round| {
            // The bus knows, unless whoever served the link was dropped itself.
            core.event(id, Event::Closed(CloseReason::Link(LinkError::Dropped)), round);
            core.forget(id);
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

/// Gives replies to the bus as they are made, and keeps the answer that ends the call.
struct Direct<'a> {
    hub: &'a Arc<Hub>,
    ticket: Ticket,
    end: Option<Answer>,
}

impl AnswerSink for Direct<'_> {
    fn answer(&mut self, answer: Answer) {
        if answer.returns() {
            self.end = Some(answer);
        } else {
            self.hub.answer(self.ticket, answer);
        }
    }
}

fn take<T>(seat: &Mutex<Option<T>>) -> Option<T> {
    seat.lock().unwrap_or_else(PoisonError::into_inner).take()
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
