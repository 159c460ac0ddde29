//! How a transport waits for a moment.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use liminal_proto::{TimerReason, Wake};

/// A future that is ready at some moment.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The timers of a runtime: the only thing of it that the pump needs beside the stream itself.
pub trait Sleeper: Send + Sync + 'static {
    /// Is ready at this moment.
    fn sleep_until(&self, at: Instant) -> Sleep;
}

/// One timer that is armed anew only when it must ring earlier: an early ring costs one look, arming
/// costs a call into the runtime for each request.
pub(crate) struct Alarm {
    sleeper: Arc<dyn Sleeper>,
    armed: Option<(Instant, Sleep)>,
    for_handshake: bool,
}

impl Alarm {
    pub(crate) const fn new(sleeper: Arc<dyn Sleeper>) -> Self {
        Self { sleeper, armed: None, for_handshake: false }
    }

    /// Whether the moment has come; rings at `at` at the latest, perhaps earlier.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        if let Some(at) = at
            && self.armed.as_ref().is_none_or(|(armed, _)| at < *armed)
        {
            self.armed = Some((at, self.sleeper.sleep_until(at)));
        }
        let Some((_, sleep)) = &mut self.armed else { return Poll::Pending };
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.armed = None;
        Poll::Ready(())
    }

    /// What it is for from now on. When the handshake is through its alarm goes with it, instead of ringing
    /// once in every connection for nothing.
    pub(crate) fn is_for(&mut self, wake: Wake) {
        let for_handshake = matches!(wake, Wake::At(_, TimerReason::Handshake));
        let is_over = self.for_handshake && !for_handshake;
        self.for_handshake = for_handshake;
        if is_over {
            self.armed = None;
        }
    }

    /// Does not ring any more.
    pub(crate) fn disarm(&mut self) {
        self.armed = None;
    }

    /// When it will ring.
    pub(crate) fn armed(&self) -> Option<Instant> {
        self.armed.as_ref().map(|(at, _)| *at)
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("armed", &self.armed()).finish_non_exhaustive()
    }
}
