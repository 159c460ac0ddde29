//! What must happen by when, apart from the requests: those belong to their conversations.

use core::time::Duration;

use crate::{Config, Instant, Keepalive, TimerReason, Violation, Wake};

/// The moments from which the limits of a connection are counted.
pub(super) struct Timers {
    born: Instant,
    /// When the graceful close began.
    closing_since: Option<Instant>,
    /// When the first byte of the unfinished frame was seen.
    frame_since: Option<Instant>,
    /// When output began to stand without one byte of it being taken.
    stalled_since: Option<Instant>,
    /// Some output was taken since the last look at the clock.
    progressed: bool,
    keepalive_due: Instant,
    unanswered: u32,
}

/// What a timer asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before this.
    Later(Wake),
    Ping,
    Close,
    Late(Violation),
}

/// What the timers depend on and do not own.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) config: &'a Config,
    /// The handshake has been through.
    pub(super) negotiated: bool,
    /// Whether the peer is asked for signs of life now.
    pub(super) keepalive: Option<Keepalive>,
    /// Bytes of the unfinished frame, when input is being read.
    pub(super) unfinished: usize,
    pub(super) has_output: bool,
}

impl Situation<'_> {
    const fn frame_time(&self) -> Duration {
        if self.negotiated {
            self.config.limits.unfinished_frame_time
        } else {
            self.config.limits.handshake_unfinished_frame_time
        }
    }
}

impl Timers {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            born: now,
            closing_since: None,
            frame_since: None,
            stalled_since: None,
            progressed: false,
            keepalive_due: now,
            unanswered: 0,
        }
    }

    /// Bytes arrived: the peer is alive.
    pub(super) fn heard(&mut self, now: Instant, config: &Config) {
        self.unanswered = 0;
        if let Some(keepalive) = config.keepalive {
            self.keepalive_due = now.after(silence(keepalive));
        }
    }

    /// A whole frame was taken out of the input.
    pub(super) const fn frame_finished(&mut self) {
        self.frame_since = None;
    }

    /// Some output was taken.
    pub(super) const fn wrote(&mut self) {
        self.progressed = true;
    }

    pub(super) fn closing(&mut self, now: Instant) {
        self.closing_since.get_or_insert(now);
    }

    /// Starts and stops what depends on the situation rather than on an event.
    pub(super) fn observe(&mut self, now: Instant, at: &Situation<'_>) {
        if at.unfinished == 0 {
            self.frame_since = None;
        } else {
            self.frame_since.get_or_insert(now);
        }
        self.observe_farewell(now, at.has_output);
    }

    /// The same for a connection that is over and only has output left.
    pub(super) fn observe_farewell(&mut self, now: Instant, has_output: bool) {
        if !has_output {
            self.stalled_since = None;
        } else if self.progressed {
            self.stalled_since = Some(now);
        } else {
            self.stalled_since.get_or_insert(now);
        }
        self.progressed = false;
    }

    /// What is due now, the most final first.
    pub(super) fn due(&mut self, now: Instant, at: &Situation<'_>) -> Due {
        let wake = self.wake(at);
        match wake {
            Wake::At(moment, reason) if moment <= now => self.on_due(now, reason, at),
            wake @ (Wake::At(..) | Wake::Never) => Due::Later(wake),
        }
    }

    fn on_due(&mut self, now: Instant, reason: TimerReason, at: &Situation<'_>) -> Due {
        let limit = match reason {
            TimerReason::Close | TimerReason::Deadline => return Due::Close,
            TimerReason::Handshake => at.config.limits.handshake_time,
            TimerReason::UnfinishedFrame => at.frame_time(),
            TimerReason::WriteStall => stall_time(at.config, at.negotiated),
            TimerReason::Keepalive => {
                let Some(keepalive) = at.keepalive else { return Due::Later(Wake::Never) };
                if self.unanswered < keepalive.unanswered_max {
                    self.unanswered += 1;
                    self.keepalive_due = now.after(silence(keepalive));
                    return Due::Ping;
                }
                silence(keepalive).saturating_mul(keepalive.unanswered_max.saturating_add(1))
            }
        };
        Due::Late(Violation::TooSlow { what: reason, limit })
    }

    /// The next moment at which something is due.
    pub(super) fn wake(&self, at: &Situation<'_>) -> Wake {
        let mut wake = Wake::Never;
        let mut due = |moment, reason| wake = wake.or_earlier(Wake::At(moment, reason));
        if !at.negotiated {
            due(self.born.after(at.config.limits.handshake_time), TimerReason::Handshake);
        }
        if let Some(since) = self.closing_since {
            due(since.after(at.config.limits.close_time), TimerReason::Close);
        }
        if let Some(since) = self.frame_since {
            due(frame_due(since, at), TimerReason::UnfinishedFrame);
        }
        if let Some(moment) = self.stall_due(at.config, at.negotiated) {
            due(moment, TimerReason::WriteStall);
        }
        if at.keepalive.is_some() {
            due(self.keepalive_due, TimerReason::Keepalive);
        }
        wake
    }

    /// When output that stands still counts as unread; also for the farewell of a closed connection.
    pub(super) fn stall_due(&self, config: &Config, negotiated: bool) -> Option<Instant> {
        self.stalled_since.map(|since| since.after(stall_time(config, negotiated)))
    }
}

const fn stall_time(config: &Config, negotiated: bool) -> Duration {
    if negotiated { config.limits.write_stall_time } else { config.limits.handshake_write_stall_time }
}

/// The silence before a ping, long enough for time to move between two of them.
fn silence(keepalive: Keepalive) -> Duration {
    keepalive.silence.max(Duration::from_millis(1))
}

/// An unfinished frame has its time in all, and from its first second on must keep up a rate.
fn frame_due(since: Instant, at: &Situation<'_>) -> Instant {
    const SECOND: u64 = 1_000_000_000;
    let rate = u64::from(at.config.limits.unfinished_frame_rate_min.max(1));
    let earned = (at.unfinished as u64).saturating_mul(SECOND) / rate;
    let kept_up = since.after(Duration::from_nanos(SECOND.saturating_add(earned)));
    kept_up.min(since.after(at.frame_time()))
}
