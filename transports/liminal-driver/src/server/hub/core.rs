//! What is behind the lock of the hub: the bus, and what the hub keeps of its links and participants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use liminal_core::participant::AsyncParticipant;
use liminal_core::transcript::Noted;
use liminal_core::{
    Answer, Bus, BusNext, Call, Command, ConversationKey, Invocation, LinkId, OfferId, Participant, Ticket,
};
use liminal_proto::{Event, ExitReason, Instant, Pid, Wake};

use super::Round;
use crate::server::recording::Recording;
use crate::server::task_host::Cancel;
use crate::server::{Kind, Outlet};

/// One participant, by its conversation and its pid. The pid alone would not do: a client that serves meets the same
/// again when it reconnects to a server that was started anew.
pub(in crate::server) type Whom = (ConversationKey, Pid);

/// What is behind the lock.
pub(super) struct Core {
    pub(super) bus: Bus,
    pub(super) kinds: BTreeMap<OfferId, Kind>,
    pub(super) seats: BTreeMap<Whom, Seat>,
    pub(super) links: BTreeMap<LinkId, Arc<dyn Outlet>>,
    pub(super) cancels: BTreeMap<Ticket, Arc<Cancel>>,
    /// Calls whose replies would find no room.
    pub(super) crowded: BTreeMap<Ticket, Waker>,
    /// When the bus is due, and when the timer will look.
    pub(super) due: Option<Instant>,
    pub(super) armed: Option<Instant>,
    pub(super) timer: Option<Waker>,
    /// Who waits for the last link to end.
    pub(super) idle: Option<Waker>,
    /// Who waits for the last conversation to end.
    pub(super) vacant: Option<Waker>,
    /// What happens here is written down.
    pub(super) recording: Option<Recording>,
}

/// A participant; while it is called, its instance is where it is called.
pub(super) struct Seat {
    pub(super) kind: Kind,
    pub(super) instance: Option<Instance>,
}

pub(in crate::server) enum Instance {
    Sync(Box<dyn Participant>),
    Async(Box<dyn AsyncParticipant>),
    /// Its host has it.
    Hosted,
}

/// A call to be made.
pub(super) struct Run {
    pub(super) ticket: Ticket,
    pub(super) invocation: Invocation,
    pub(super) kind: Option<Kind>,
    pub(super) instance: Option<Instance>,
}

impl Core {
    /// The connection of a link has told something.
    pub(super) fn event(&mut self, link: LinkId, event: Event, round: &mut Round) {
        if self.recording.is_some() {
            return self.record_event(link, event, round);
        }
        self.bus.event(round.now, link, event);
    }

    /// A call has been answered.
    pub(super) fn answers(
        &mut self,
        ticket: Ticket,
        answers: impl IntoIterator<Item = Answer>,
        round: &mut Round,
    ) {
        if self.recording.is_some() {
            return self.record_answers(ticket, answers, round);
        }
        self.bus.answers(round.now, ticket, answers);
    }

    /// A participant is no more.
    pub(super) fn exited(
        &mut self,
        conversation: ConversationKey,
        pid: Pid,
        reason: ExitReason,
        round: &mut Round,
    ) {
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
            } else if let Some(heard) = Noted::heard(link, &event) {
                recording.note(heard);
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
    pub(super) fn collect(&mut self, round: &mut Round) {
        if let Some(recording) = &mut self.recording {
            recording.advance(round.now);
        }
        let wake = loop {
            if round.run.is_some() {
                break self.bus.wake();
            }
            let next = self.bus.poll();
            if let Some(wake) = self.on_next(next, round)
                && !self.make_room()
            {
                break wake;
            }
        };
        while let Some((link, bytes)) = self.bus.poll_held() {
            if let Some(entry) = self.links.get(&link) {
                entry.hold_on_bus(bytes);
            }
        }
        self.arm(wake);
    }

    /// Links that calls wait for have room if they have taken what they were given. Says whether one has.
    fn make_room(&mut self) -> bool {
        let mut any = false;
        while let Some(link) = self.bus.poll_crowded() {
            if self.links.get(&link).is_some_and(|entry| !entry.is_full() && entry.has_taken_all()) {
                self.bus.link_ready(link);
                any = true;
            }
        }
        any
    }

    /// Does what the bus wants done. Says until when it waits, if it does.
    fn on_next(&mut self, next: BusNext, round: &mut Round) -> Option<Wake> {
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
            BusNext::Owned(..) | BusNext::Record(..) => {}
            BusNext::Uncompensated(it) => round.uncompensated.push(it),
            BusNext::Wait(wake) => {
                self.tell_if_idle();
                self.tell_if_vacant();
                return Some(wake);
            }
        }
        None
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
            self.seats.insert(whom(&invocation), Seat { kind: kind.clone(), instance: None });
        }
        let seat = self.seats.get_mut(&whom(&invocation));
        let (kind, instance) =
            seat.map_or((None, None), |seat| (Some(seat.kind.clone()), seat.instance.take()));
        Run { ticket, invocation, kind, instance }
    }

    /// A participant is back from a call, or is no more. Gives back what is left of one that is no more.
    #[must_use = "it is to be dropped once the bus is unlocked: what is a user's may do anything then"]
    pub(super) fn keep(&mut self, whom: Whom, instance: Option<Instance>) -> Option<Seat> {
        match (instance, self.seats.get_mut(&whom)) {
            (Some(instance), Some(seat)) => {
                seat.instance = Some(instance);
                None
            }
            (Some(_), None) | (None, _) => self.seats.remove(&whom),
        }
    }

    pub(super) fn forget(&mut self, link: LinkId) {
        self.links.remove(&link);
        if self.links.is_empty()
            && let Some(waker) = self.idle.take()
        {
            waker.wake();
        }
    }

    /// Nothing is under way any more.
    pub(super) fn is_idle(&self) -> bool {
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

    /// No conversation is left, and no call.
    pub(super) fn is_vacant(&self) -> bool {
        self.bus.load().conversations == 0
    }

    fn tell_if_vacant(&mut self) {
        if self.vacant.is_some()
            && self.is_vacant()
            && let Some(waker) = self.vacant.take()
        {
            waker.wake();
        }
    }

    /// The timer is woken only when it would look too late.
    fn arm(&mut self, wake: Wake) {
        self.due = wake.at();
        let late = match (self.due, self.armed) {
            (Some(due), Some(armed)) => due < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if late && let Some(timer) = &self.timer {
            self.armed = self.due;
            timer.wake_by_ref();
        }
    }
}

/// Whom a call is for.
pub(in crate::server) const fn whom(invocation: &Invocation) -> Whom {
    (invocation.conversation, invocation.pid)
}

impl Instance {
    pub(super) fn sync(self) -> Option<Box<dyn Participant>> {
        match self {
            Self::Sync(participant) => Some(participant),
            Self::Async(_) | Self::Hosted => None,
        }
    }

    pub(super) fn asynchronous(self) -> Option<Box<dyn AsyncParticipant>> {
        match self {
            Self::Async(participant) => Some(participant),
            Self::Sync(_) | Self::Hosted => None,
        }
    }
}
