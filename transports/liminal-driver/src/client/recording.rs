//! What a client writes down for a [`Recorder`].

use liminal_core::transcript::OpenerId;
use liminal_proto::{Event, Wake};

use crate::Recorder;
use crate::recorder::Opener;

/// A client that is recorded.
#[derive(Debug)]
pub(super) struct Recording {
    opener: Opener,
    /// When the connection wanted to be told the time.
    wake: Wake,
}

impl Recording {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self { opener: recorder.opener(), wake: Wake::Never }
    }

    pub(super) const fn opener(&self) -> OpenerId {
        self.opener.id()
    }

    pub(super) fn said(&self, event: Event) {
        self.opener.said(self.opener.clock().now(), event);
    }

    /// The connection tells something. A process is always a little late when its time has come; that is in the
    /// transcript, because what ends at a deadline is then told after it.
    pub(super) fn told(&mut self, event: &Event) {
        let now = self.opener.clock().now();
        if self.wake.at().is_some_and(|at| at < now) {
            self.wake = Wake::Never;
            self.opener.stood_still(now);
        }
        self.opener.told(now, event.clone());
    }

    pub(super) const fn waits(&mut self, wake: Wake) {
        self.wake = wake;
    }
}
