//! One direction of one connection.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};
use liminal_proto::{Instant, LinkError};

/// How a direction ends, behind everything that travels in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The writer has closed its half.
    Fin,
    /// The transport is gone.
    Lost(LinkError),
}

/// What a direction has for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Some bytes.
    Bytes,
    /// Its end.
    End,
}

/// What travels, in order.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    flight: VecDeque<(Instant, Bytes)>,
    len: usize,
    /// Nothing arrives before.
    stalled_until: Instant,
    end: Option<(Instant, End)>,
}

impl Pipe {
    /// Nothing travels in it, nor its end.
    pub(super) fn is_empty(&self) -> bool {
        self.flight.is_empty() && self.end.is_none()
    }

    /// How much more the buffers take.
    pub(super) const fn room(&self, window: usize) -> usize {
        if self.end.is_some() { 0 } else { window.saturating_sub(self.len) }
    }

    /// These bytes arrive then, and not before those ahead of them. Behind the end nothing arrives: bytes ahead
    /// of these may have been lost with it.
    pub(super) fn push(&mut self, at: Instant, bytes: Bytes) {
        if self.end.is_some() {
            return;
        }
        let at = self.flight.back().map_or(at, |(last, _)| at.max(*last));
        self.len += bytes.len();
        self.flight.push_back((at, bytes));
    }

    /// What its reader finds now.
    pub(super) fn due(&self, now: Instant) -> Option<Due> {
        let (at, due) = match (self.flight.front(), self.end) {
            (Some((at, _)), _) => (*at, Due::Bytes),
            (None, Some((at, _))) => (at, Due::End),
            (None, None) => return None,
        };
        (now >= at && now >= self.stalled_until).then_some(due)
    }

    /// What has arrived.
    pub(super) fn arrived(&self, now: Instant) -> Option<&Bytes> {
        let (_, bytes) = self.flight.front().filter(|_| self.due(now).is_some())?;
        Some(bytes)
    }

    /// The reader has taken this much of it.
    pub(super) fn taken(&mut self, n: usize) {
        self.len = self.len.saturating_sub(n);
        if let Some((_, bytes)) = self.flight.front_mut() {
            bytes.advance(n.min(bytes.len()));
            if bytes.is_empty() {
                self.flight.pop_front();
            }
        }
    }

    /// The end, when it has arrived. It is told once.
    pub(super) fn ended(&mut self, now: Instant) -> Option<End> {
        let is_due = self.is_end_due(now);
        self.end.take_if(|_| is_due).map(|(_, end)| end)
    }

    pub(super) fn is_end_due(&self, now: Instant) -> bool {
        self.due(now) == Some(Due::End)
    }

    /// It ends, but not before this moment. The loss of the transport counts more than a closed half.
    pub(super) fn end(&mut self, at: Instant, end: End) {
        if !matches!(self.end, Some((_, End::Lost(_)))) {
            self.end = Some((at, end));
        }
    }

    pub(super) fn stall(&mut self, until: Instant) {
        self.stalled_until = self.stalled_until.max(until);
    }

    /// Of what travels only the first `n` chunks will arrive.
    pub(super) fn cut(&mut self, n: usize) {
        self.flight.truncate(n);
        self.len = self.flight.iter().map(|(_, bytes)| bytes.len()).sum();
    }

    pub(super) fn chunks(&self) -> usize {
        self.flight.len()
    }

    /// When it has moved on: nothing stands still in it any more.
    pub(super) fn back_at(&self) -> Instant {
        self.next_at().map_or(self.stalled_until, |next| next.max(self.stalled_until))
    }

    /// When something arrives next.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let first = self.flight.front().map(|(at, _)| *at).or_else(|| self.end.map(|(at, _)| at))?;
        Some(first.max(self.stalled_until))
    }
}
