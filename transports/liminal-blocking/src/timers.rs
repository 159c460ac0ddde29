//! The clock of a server with threads: one thread rings for the bus and for participants that sleep.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use liminal_driver::asynchronous::{Sleep, Sleeper};
use liminal_driver::server::Hub;

use crate::park::{earlier, park_until, waker};

/// Sleeping participants, by when they are to be woken.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    sleeping: Mutex<Sleeping>,
}

#[derive(Debug, Default)]
struct Sleeping {
    wakers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
    thread: Option<Waker>,
}

impl Timers {
    /// Rings until the server has ended.
    pub(crate) fn run(&self, hub: &Arc<Hub>, ended: &AtomicBool) {
        let waker = waker();
        while !ended.load(Ordering::Acquire) {
            park_until(self.ring(hub, &waker));
        }
    }

    /// Rings for whom it is time, and says when it must ring next. `waker` is woken when that is to be earlier.
    pub(crate) fn ring(&self, hub: &Arc<Hub>, waker: &Waker) -> Option<Instant> {
        self.lock().thread = Some(waker.clone());
        loop {
            let due = hub.timer(waker);
            if due.is_none_or(|due| due > Instant::now()) {
                return earlier(due, self.wake_those_due());
            }
            hub.on_timer();
        }
    }

    /// Wakes the thread, so that it sees that the server has ended.
    pub(crate) fn wake(&self) {
        if let Some(thread) = &self.lock().thread {
            thread.wake_by_ref();
        }
    }

    /// Wakes the sleepers whose moment has come, and says when the next one's does.
    fn wake_those_due(&self) -> Option<Instant> {
        let mut sleeping = self.lock();
        while let Some(entry) = sleeping.wakers.first_entry() {
            let (at, _) = *entry.key();
            if at > Instant::now() {
                return Some(at);
            }
            entry.remove().wake();
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Sleeping> {
        self.sleeping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The timers as participants use them.
#[derive(Debug)]
pub(crate) struct ThreadSleeper(pub(crate) Arc<Timers>);

impl Sleeper for ThreadSleeper {
    fn sleep_until(&self, at: Instant) -> Sleep {
        Box::pin(Nap { timers: Arc::clone(&self.0), at, number: None })
    }
}

/// One sleep of one participant.
struct Nap {
    timers: Arc<Timers>,
    at: Instant,
    number: Option<u64>,
}

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.at <= Instant::now() {
            return Poll::Ready(());
        }
        let timers = Arc::clone(&self.timers);
        let mut sleeping = timers.lock();
        let number = *self.number.get_or_insert_with(|| {
            sleeping.next += 1;
            sleeping.next
        });
        sleeping.wakers.insert((self.at, number), cx.waker().clone());
        let is_first = sleeping.wakers.keys().next() == Some(&(self.at, number));
        if is_first && let Some(thread) = &sleeping.thread {
            thread.wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.timers.lock().wakers.remove(&(self.at, number));
        }
    }
}
