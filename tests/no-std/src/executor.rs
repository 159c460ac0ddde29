//! An executor that has nothing but a loop, and the time that a device counts.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use liminal_proto::Instant;

/// The time, as the main loop reads it from the device, and when the programs need it next.
#[derive(Debug, Default)]
pub struct Ticks {
    now: Cell<Instant>,
    wake: Cell<Option<Instant>>,
    moved: Cell<bool>,
}

impl Ticks {
    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now.get()
    }

    /// The device has counted on.
    pub fn set(&self, now: Instant) {
        self.now.set(now);
    }

    /// Until when a device may sleep if no interrupt comes: `None` for ever, and not at all while
    /// [something moves](Self::moved).
    #[must_use]
    pub const fn wake_at(&self) -> Option<Instant> {
        self.wake.get()
    }

    /// Whether anything moved in the last round.
    #[must_use]
    pub const fn moved(&self) -> bool {
        self.moved.get()
    }

    /// A program has moved something, or waits until then.
    pub(crate) fn note(&self, moved: bool, wake: Option<Instant>) {
        self.moved.set(self.moved.get() || moved);
        let earlier = match (self.wake.get(), wake) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.wake.set(earlier);
    }

    fn begin_round(&self) {
        self.moved.set(false);
        self.wake.set(None);
    }
}

/// Polls its programs in turn, whether or not anything has happened to them.
#[derive(Default)]
pub struct Executor<'a> {
    programs: Vec<Pin<Box<dyn Future<Output = ()> + 'a>>>,
}

impl<'a> Executor<'a> {
    /// An executor without programs.
    #[must_use]
    pub const fn new() -> Self {
        Self { programs: Vec::new() }
    }

    /// One more program.
    pub fn spawn(&mut self, program: impl Future<Output = ()> + 'a) {
        self.programs.push(Box::pin(program));
    }

    /// Polls each program once, and says whether any is left.
    pub fn round(&mut self, ticks: &Ticks) -> bool {
        ticks.begin_round();
        let mut cx = Context::from_waker(Waker::noop());
        self.programs.retain_mut(|program| program.as_mut().poll(&mut cx).is_pending());
        !self.programs.is_empty()
    }
}

impl core::fmt::Debug for Executor<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Executor").field("programs", &self.programs.len()).finish()
    }
}

/// Lets the other programs have their turn.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|_| if core::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}
