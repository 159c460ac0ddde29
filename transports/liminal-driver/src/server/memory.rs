//! What all connections of a server hold together, and who is not read from when little is left.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use liminal_core::{LinkId, Settings};
use liminal_proto::Limits;

/// What a connection holds is charged when it has changed by so much: a connection with small messages
/// never touches what all of them share.
const STEP: usize = Settings::HELD_STEP;

/// A connection may hold an equal of so many parts of what nobody holds. With a few that hold as much as
/// they may there is room for as many others; with many each may hold less, and there is always some left.
const PARTS: usize = 8;

/// Frames of the largest size that there is room for at least.
const FRAMES_MIN: usize = 16;

/// The log says at most this often that memory is short.
const LOG_PERIOD: Duration = Duration::from_secs(1);

/// The memory that all connections of a server draw on: input that was not decoded yet, accepted messages
/// that participants are not through with, replies that wait, output that was not written yet.
///
/// A connection that holds more than an eighth of what is left is not read from until it holds less, or more
/// is left. The less there is, the smaller are those that wait, and the largest wait first; one that holds
/// under 64 KiB always goes on. What is held by those who wait comes back without being read from: by
/// output that their peers read or let [stall](Limits::write_stall_time), by requests that are answered or
/// late, by frames that are [not finished](Limits::unfinished_frame_time) in time.
///
/// So the connections together hold at most this much, and each 64 KiB that is not charged, one read, and
/// what its participants still say to what was accepted before.
pub struct MemoryBudget {
    bytes_max: usize,
    charged: AtomicUsize,
    /// How many wait: those who give something back look here first.
    waiting: AtomicUsize,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    /// Who waits, by what it holds: the smallest go on first.
    by_size: BTreeMap<(usize, LinkId), Waker>,
    logged: Option<Instant>,
}

impl MemoryBudget {
    pub(super) fn new(bytes_max: usize, limits: &Limits) -> Arc<Self> {
        let frame = limits.frame_payload_max.min(Limits::FRAME_HARD_MAX) as usize;
        Arc::new(Self {
            bytes_max: bytes_max.max(frame.saturating_mul(FRAMES_MIN)),
            charged: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::default(),
        })
    }

    /// How much there is, in bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// How much of it connections hold, in bytes. Each is charged within 64 KiB of what it holds.
    #[must_use]
    pub fn charged(&self) -> usize {
        self.charged.load(Ordering::SeqCst)
    }

    /// How many connections are not read from because they hold too much of it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// The account of one connection.
    pub(super) fn account(self: &Arc<Self>, link: LinkId) -> MemoryAccount {
        let part = || AtomicUsize::new(0);
        MemoryAccount { budget: Arc::clone(self), link, connection: part(), bus: part(), waits: part() }
    }

    /// The most that a connection may hold and still be read from.
    fn part(&self) -> usize {
        self.bytes_max.saturating_sub(self.charged()) / PARTS
    }

    fn replace(&self, before: usize, after: usize) {
        if before < after {
            self.charged.fetch_add(after - before, Ordering::SeqCst);
        } else {
            self.charged.fetch_sub(before - after, Ordering::SeqCst);
            self.wake();
        }
    }

    /// Wakes those who hold no more than their part now.
    fn wake(&self) {
        if self.waiting() == 0 {
            return;
        }
        let mut waiters = self.lock();
        let large = waiters.by_size.split_off(&(self.part().saturating_add(1), LinkId::BUS));
        let small = std::mem::replace(&mut waiters.by_size, large);
        self.count(&waiters);
        drop(waiters);
        small.into_values().for_each(Waker::wake);
    }

    fn enter(&self, size: usize, link: LinkId, waker: &Waker) {
        let mut waiters = self.lock();
        waiters.by_size.insert((size, link), waker.clone());
        self.count(&waiters);
    }

    /// Tells the log that memory is short, unless it was told a moment ago.
    fn log(&self) {
        let mut waiters = self.lock();
        let now = Instant::now();
        if waiters.logged.is_some_and(|logged| now.duration_since(logged) < LOG_PERIOD) {
            return;
        }
        waiters.logged = Some(now);
        drop(waiters);
        let (charged, max, count) = (self.charged(), self.bytes_max, self.waiting());
        tracing::warn!(
            "memory is short: {charged} of {max} bytes are held; connections that hold much wait: {count}"
        );
    }

    fn leave(&self, size: usize, link: LinkId) -> Option<Waker> {
        let mut waiters = self.lock();
        let waker = waiters.by_size.remove(&(size, link));
        self.count(&waiters);
        waker
    }

    fn count(&self, waiters: &Waiters) {
        self.waiting.store(waiters.by_size.len(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("bytes_max", &self.bytes_max)
            .field("charged", &self.charged())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// What one connection is charged, until this is dropped.
#[derive(Debug)]
pub(super) struct MemoryAccount {
    budget: Arc<MemoryBudget>,
    link: LinkId,
    /// What the connection and its outbox hold. Written by whoever has the connection.
    connection: AtomicUsize,
    /// What the bus holds for it. Written by whoever has the bus.
    bus: AtomicUsize,
    /// What it held when it began to wait; 0: it does not wait.
    waits: AtomicUsize,
}

impl MemoryAccount {
    /// The connection and its outbox hold this much now.
    pub(super) fn hold_in_connection(&self, bytes: usize) {
        self.hold(&self.connection, bytes);
    }

    /// The bus holds this much for it now.
    pub(super) fn hold_on_bus(&self, bytes: usize) {
        self.hold(&self.bus, bytes);
    }

    fn hold(&self, part: &AtomicUsize, bytes: usize) {
        let charged = part.load(Ordering::Relaxed);
        if charged.abs_diff(bytes) < STEP {
            return;
        }
        part.store(bytes, Ordering::SeqCst);
        self.budget.replace(charged, bytes);
        if bytes < charged {
            self.look_again();
        }
    }

    /// It holds less than when it began to wait.
    fn look_again(&self) {
        let waits = self.waits.load(Ordering::SeqCst);
        if waits > 0
            && let Some(waker) = self.budget.leave(waits, self.link)
        {
            waker.wake();
        }
    }

    /// Whether it may read more in; if not, `waker` is woken when it may be different. Called by the one who
    /// reads.
    pub(super) fn may_read(&self, waker: &Waker) -> bool {
        let waits = self.waits.load(Ordering::Relaxed);
        let mut size = self.charged(Ordering::Relaxed);
        if waits == 0 && size == 0 {
            return true;
        }
        if waits > 0 {
            self.budget.leave(waits, self.link);
        }
        while size > self.budget.part() {
            self.waits.store(size, Ordering::SeqCst);
            self.budget.enter(size, self.link, waker);
            // Whoever gave something back before it stood there saw nobody to wake.
            let now = self.charged(Ordering::SeqCst);
            if now >= size && size > self.budget.part() {
                return false;
            }
            self.budget.leave(size, self.link);
            size = now;
        }
        self.waits.store(0, Ordering::Relaxed);
        true
    }

    /// It may not read more in: tells the log. Not while the connection is locked, because a log is a file.
    pub(super) fn log(&self) {
        self.budget.log();
    }

    fn charged(&self, ordering: Ordering) -> usize {
        self.connection.load(ordering) + self.bus.load(ordering)
    }
}

impl Drop for MemoryAccount {
    fn drop(&mut self) {
        let waits = *self.waits.get_mut();
        if waits > 0 {
            self.budget.leave(waits, self.link);
        }
        let charged = self.charged(Ordering::Relaxed);
        if charged > 0 {
            self.budget.replace(charged, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use liminal_core::{Bus, Settings};
    use liminal_proto::{Instant, Limits};

    use super::{MemoryAccount, MemoryBudget, PARTS, STEP};

    const MAX: usize = 64 << 20;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    impl Woken {
        fn take(&self) -> bool {
            self.0.swap(false, Ordering::SeqCst)
        }
    }

    fn budget() -> Arc<MemoryBudget> {
        MemoryBudget::new(MAX, &Limits::default())
    }

    fn waker() -> (Arc<Woken>, Waker) {
        let woken = Arc::new(Woken::default());
        (Arc::clone(&woken), woken.into())
    }

    fn accounts(budget: &Arc<MemoryBudget>, count: usize) -> Vec<MemoryAccount> {
        let mut bus = Bus::new(Settings::default());
        (0..count).map(|_| budget.account(bus.connect(Instant::ORIGIN))).collect()
    }

    #[test]
    fn it_is_never_less_than_some_of_the_largest_frames() {
        assert_eq!(MemoryBudget::new(0, &Limits::default()).bytes_max(), 16 << 20);
        assert_eq!(budget().bytes_max(), MAX);
    }

    #[test]
    fn what_is_charged_equals_a_recount_within_a_step_for_each_part_and_comes_back_whole() {
        let budget = budget();
        let mut accounts = accounts(&budget, 3);
        // Any sequence that goes up and down in small and in large steps.
        let sizes = (0..2000usize).map(|n| (n * 7919 % 61) * (n % 23) * 1021);
        for (n, bytes) in sizes.enumerate() {
            let account = &accounts[n % 3];
            let part = if n % 2 == 0 { &account.connection } else { &account.bus };
            account.hold(part, bytes);
            assert!(part.load(Ordering::SeqCst).abs_diff(bytes) < STEP);
            let recount: usize = accounts.iter().map(|account| account.charged(Ordering::SeqCst)).sum();
            assert_eq!(budget.charged(), recount);
        }
        assert!(budget.charged() > 0);
        accounts[0].hold_in_connection(0);
        accounts[0].hold_on_bus(0);
        assert_eq!(accounts[0].charged(Ordering::SeqCst), 0);
        accounts.clear();
        assert_eq!(budget.charged(), 0);
    }

    #[test]
    fn a_connection_with_little_is_never_charged_and_always_read_from() {
        let budget = budget();
        let accounts = accounts(&budget, 2);
        accounts[0].hold_in_connection(MAX);
        accounts[1].hold_in_connection(STEP - 1);
        assert_eq!(budget.charged(), MAX);
        assert!(accounts[1].may_read(Waker::noop()));
        assert!(!accounts[0].may_read(Waker::noop()));
    }

    #[test]
    fn the_largest_wait_first_and_go_on_last() {
        let budget = budget();
        let accounts = accounts(&budget, 3);
        let (large, waker_of_large) = waker();
        let (small, waker_of_small) = waker();
        accounts[0].hold_in_connection(6 << 20);
        accounts[1].hold_in_connection(1 << 20);
        assert!(accounts[0].may_read(&waker_of_large) && accounts[1].may_read(&waker_of_small));
        // What is left is eight times the small one, then less, then that again, then eight times the large.
        accounts[2].hold_in_connection(MAX - (7 << 20) - (8 << 20));
        assert!(!accounts[0].may_read(&waker_of_large) && accounts[1].may_read(&waker_of_small));
        accounts[2].hold_in_connection(MAX - (7 << 20) - (7 << 20));
        assert!(!accounts[1].may_read(&waker_of_small));
        assert_eq!(budget.waiting(), 2);
        accounts[2].hold_in_connection(MAX - (7 << 20) - (9 << 20));
        assert!(small.take() && !large.take());
        assert!(accounts[1].may_read(&waker_of_small) && !accounts[0].may_read(&waker_of_large));
        accounts[2].hold_in_connection(MAX - (7 << 20) - (PARTS * (6 << 20)));
        assert!(large.take() && accounts[0].may_read(&waker_of_large));
        assert_eq!(budget.waiting(), 0);
    }

    #[test]
    fn who_waits_is_woken_when_it_holds_less_itself_whatever_is_left() {
        let budget = budget();
        let accounts = accounts(&budget, 2);
        let (woken, waker) = waker();
        accounts[1].hold_in_connection(2 * MAX);
        accounts[0].hold_in_connection(1 << 20);
        accounts[0].hold_on_bus(1 << 20);
        assert!(!accounts[0].may_read(&waker));
        accounts[0].hold_on_bus(0);
        assert!(woken.take() && !accounts[0].may_read(&waker));
        accounts[0].hold_in_connection(0);
        assert!(woken.take() && accounts[0].may_read(&waker));
        assert_eq!(budget.waiting(), 0);
    }

    #[test]
    fn who_is_gone_gives_everything_back_and_waits_no_more() {
        let budget = budget();
        let mut accounts = accounts(&budget, 2);
        let (woken, waker) = waker();
        accounts[0].hold_in_connection(1 << 20);
        accounts[1].hold_in_connection(MAX);
        assert!(!accounts[0].may_read(&waker) && !accounts[1].may_read(Waker::noop()));
        accounts.pop();
        assert!(woken.take());
        assert_eq!(budget.charged(), 1 << 20);
        assert!(accounts[0].may_read(&waker));
        assert_eq!(budget.waiting(), 0);
    }

    /// Those who give back and those who begin to wait do so at once: nobody is left waiting.
    #[test]
    fn nobody_misses_what_is_given_back_while_it_begins_to_wait() {
        let budget = budget();
        let accounts = accounts(&budget, 2);
        let [large, small] = &accounts[..] else { unreachable!("there are two") };
        small.hold_in_connection(1 << 20);
        for _ in 0..2000 {
            let (woken, waker) = waker();
            large.hold_in_connection(MAX);
            std::thread::scope(|scope| {
                scope.spawn(|| large.hold_in_connection(0));
                let may = small.may_read(&waker);
                scope.spawn(move || {
                    while !may && !woken.take() {
                        std::thread::yield_now();
                    }
                });
            });
            assert!(small.may_read(Waker::noop()));
        }
    }
}
