//! What a hub writes down for a [`Recorder`].

use std::collections::BTreeSet;

use liminal_core::transcript::{BusId, Noted};
use liminal_core::{Bus, BusNext, LinkId};
use liminal_proto::Instant;

use crate::Recorder;

/// A bus that is recorded.
#[derive(Debug)]
pub(super) struct Recording {
    recorder: Recorder,
    id: BusId,
    /// The time of the bus: the latest that it was told.
    now: Instant,
    /// Links that are not over yet.
    links: BTreeSet<LinkId>,
}

impl Recording {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self { recorder: recorder.clone(), id: recorder.bus(), now: Instant::ORIGIN, links: BTreeSet::new() }
    }

    /// The bus is about to be told that it is this late.
    pub(super) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn note(&self, what: Noted) {
        self.recorder.note(self.now, self.id, what);
    }

    pub(super) fn linked(&mut self, now: Instant, link: LinkId) {
        self.advance(now);
        self.links.insert(link);
        self.recorder.linked(self.now, self.id, link);
    }

    /// A link is over; that may be told more than once.
    pub(super) fn unlinked(&mut self, link: LinkId) {
        if self.links.remove(&link) {
            self.note(Noted::LinkClosed { link });
        }
    }

    /// The bus wants this done, or tells it.
    pub(super) fn next(&self, bus: &Bus, next: &BusNext) {
        match next {
            BusNext::Run(ticket, invocation) => {
                self.note(Noted::Called { ticket: *ticket, invocation: invocation.clone() });
            }
            BusNext::Cancel(ticket) => self.note(Noted::Cancelled { ticket: *ticket }),
            BusNext::Owned(conversation, link, id) => {
                self.note(Noted::Owned { conversation: *conversation, link: *link, id: *id });
            }
            BusNext::Record(conversation, record) => {
                self.note(Noted::Recorded { conversation: *conversation, record: record.clone() });
            }
            BusNext::Uncompensated(it) => self.note(Noted::Uncompensated(it.clone())),
            // It may be the call of a participant there, or the end of its conversation.
            BusNext::Command(link, command) => {
                if let Some(called) = bus.called_on(*link, command) {
                    self.note(called);
                }
            }
            BusNext::Wait(_) => {}
        }
    }

    /// The server has stopped. While a call is out, or waits for a seat, its conversation is not over, and nothing
    /// is said of that.
    pub(super) fn over(&self, bus: &Bus) {
        let load = bus.load();
        if load.running == 0 && load.timers == 0 {
            self.note(Noted::Over);
            self.note(Noted::Measured { load, recount: bus.recount() });
        }
    }
}
