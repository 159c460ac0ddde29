//! Calls of async participants: polled in virtual time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use liminal_core::participant::{AsyncHost, AsyncParticipant, Pending, invoke_async};
use liminal_core::{Answer, Invocation};
use liminal_proto::{Content, ExitReason, Instant};

/// An async participant. A call borrows it, and gives it back when it ends or is dropped.
#[derive(Clone)]
pub(super) struct Kept(Arc<Mutex<Option<Box<dyn AsyncParticipant>>>>);

impl Kept {
    pub(super) fn new(participant: Box<dyn AsyncParticipant>) -> Self {
        Self(Arc::new(Mutex::new(Some(participant))))
    }
}

struct Lent {
    kept: Kept,
    participant: Option<Box<dyn AsyncParticipant>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        *lock(&self.kept.0) = self.participant.take();
    }
}

/// A call of an async participant that has not returned.
pub(super) struct Waiting {
    call: Option<Pending<'static>>,
    shared: Arc<Mutex<Shared>>,
    woken: Arc<Woken>,
    /// It does not go on before: its host hangs.
    not_before: Instant,
    returned: Option<Answer>,
}

/// What the call and the world share.
#[derive(Default)]
struct Shared {
    now: Instant,
    timers: Vec<Instant>,
    answers: Vec<Answer>,
    exit: Option<ExitReason>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Waiting {
    pub(super) fn new(now: Instant, not_before: Instant, invocation: &Invocation, kept: &Kept) -> Self {
        let shared = Arc::new(Mutex::new(Shared { now, ..Shared::default() }));
        let host = VirtualHost(Arc::clone(&shared));
        let (kept, invocation) = (kept.clone(), invocation.clone());
        let call = async move {
            let participant = lock(&kept.0).take();
            let mut lent = Lent { kept, participant };
            if let Some(participant) = &mut lent.participant {
                invoke_async(&mut **participant, &invocation, Box::new(host)).await;
            }
        };
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self { call: Some(Box::pin(call)), shared, woken, not_before, returned: None }
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        let timer = || self.next_timer().is_some_and(|at| at <= now);
        now >= self.not_before && (self.has_work() || timer())
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        let at = if self.has_work() { Some(self.not_before) } else { self.next_timer() };
        at.map(|at| at.max(self.not_before))
    }

    /// Whether it was woken, or has answered something that the bus does not know yet.
    fn has_work(&self) -> bool {
        self.woken.0.load(Ordering::Acquire) || !lock(&self.shared).answers.is_empty()
    }

    fn next_timer(&self) -> Option<Instant> {
        lock(&self.shared).timers.iter().copied().min()
    }

    pub(super) fn poll(&mut self, now: Instant) {
        self.woken.0.store(false, Ordering::Release);
        {
            let mut shared = lock(&self.shared);
            shared.now = now;
            shared.timers.retain(|at| *at > now);
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut context = Context::from_waker(&waker);
        let Some(call) = &mut self.call else { return };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::as_mut(call).poll(&mut context)));
        self.returned = match polled {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(())) => lock(&self.shared)
                .exit
                .take()
                .map_or(Some(Answer::Done), |reason| Some(Answer::Exited(reason))),
            Err(panic) => Some(Answer::Exited(ExitReason::Crashed { text: super::words(&*panic) })),
        };
        self.call = None;
    }

    /// All that it has answered, if it has returned.
    pub(super) fn result(&mut self) -> Option<Vec<Answer>> {
        let returned = self.returned.take()?;
        let mut answers = std::mem::take(&mut lock(&self.shared).answers);
        answers.push(returned);
        Some(answers)
    }

    /// The next that it has answered while it goes on.
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        let mut shared = lock(&self.shared);
        if shared.answers.is_empty() { None } else { Some(shared.answers.remove(0)) }
    }
}

struct VirtualHost(Arc<Mutex<Shared>>);

impl AsyncHost for VirtualHost {
    fn part(&mut self, content: Content) {
        lock(&self.0).answers.push(Answer::Part(content));
    }

    fn reply(&mut self, content: Content) {
        lock(&self.0).answers.push(Answer::Reply(content));
    }

    fn exit(&mut self, reason: ExitReason) {
        lock(&self.0).exit.get_or_insert(reason);
    }

    fn now(&self) -> Instant {
        lock(&self.0).now
    }

    fn sleep(&self, time: Duration) -> Pending<'static> {
        let shared = Arc::clone(&self.0);
        let until = lock(&shared).now.after(time);
        Box::pin(std::future::poll_fn(move |_| {
            let mut shared = lock(&shared);
            if shared.now >= until {
                return Poll::Ready(());
            }
            if !shared.timers.contains(&until) {
                shared.timers.push(until);
            }
            Poll::Pending
        }))
    }
}

/// There is one thread: nothing can have been left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
