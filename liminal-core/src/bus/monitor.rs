//! Monitors: links that are told how the participants of a conversation live and die.

use alloc::boxed::Box;
use alloc::vec::Vec;

use liminal_proto::{Notice, Pid, ReasonCode, StreamId};

use super::Bus;
use super::common::Common;
use super::conversation::Conversation;
use super::observer::{Observed, Observer, Word};
use crate::phase::Phase;
use crate::{Command, Leaving, LinkId, Rights};

impl Bus {
    /// What a link may do from now on. To be said before it says anything; without it, nothing that needs a right. What it
    /// was let do before stands.
    pub fn grant(&mut self, link: LinkId, rights: Rights) {
        if let Some(entry) = self.common.links.get_mut(&link) {
            entry.rights = rights;
        }
    }

    /// What was told to a link has been written, or nearly all of it. Its monitors and watches are told only so much
    /// more ([`delivered_bytes_per_link_max`](crate::Settings::delivered_bytes_per_link_max)) until this is said
    /// again: what they are told stands in nobody's way, and least of all in that of the conversations of the link.
    pub fn link_drained(&mut self, link: LinkId) {
        if let Some(observer) = self.common.observer_mut(link) {
            observer.drain();
            self.common.observe(link);
        }
    }

    // What a link says.

    pub(super) fn on_monitor(&mut self, link: LinkId, monitor: StreamId, pid: Pid) {
        match self.link_monitor(link, monitor, pid) {
            Ok(observed) => self.common.take_monitor(link, monitor, observed),
            // The one that there is may not have been told yet that this is its conversation.
            Err(ReasonCode::ALREADY_OPEN) => {
                self.common.refuse_in_turn(link, monitor, ReasonCode::ALREADY_OPEN)
            }
            Err(reason) => self.common.refuse_monitor(link, monitor, reason),
        }
    }

    /// Whether a link may have one more, where it may have so many.
    pub(super) fn may_monitor(
        &self,
        link: LinkId,
        count: impl Fn(&Observer) -> usize,
        max: usize,
    ) -> Result<(), ReasonCode> {
        let Some(entry) = self.common.links.get(&link) else { return Err(ReasonCode::NOT_ALLOWED) };
        match () {
            () if self.stopping => Err(ReasonCode::STOPPING),
            () if !entry.rights.monitor => Err(ReasonCode::NOT_ALLOWED),
            () if entry.observer.as_deref().map_or(0, count) >= max => Err(ReasonCode::LIMIT),
            () => Ok(()),
        }
    }

    fn link_monitor(&mut self, link: LinkId, monitor: StreamId, pid: Pid) -> Result<Observed, ReasonCode> {
        let max = self.common.settings.monitors_per_link_max;
        self.may_monitor(link, |observer| observer.monitors.len(), max)?;
        let key = self.common.participants.get(&pid).copied().ok_or(ReasonCode::EXITED)?;
        // Its link may be gone, and then so is it.
        let linked = self.with(key, |it, common| it.link_monitor(common, link, monitor, pid));
        linked.unwrap_or(Err(ReasonCode::EXITED)).map(|()| Observed::Life(key))
    }

    pub(super) fn on_unmonitor(&mut self, link: LinkId, monitor: StreamId) {
        let observer = self.common.observer_mut(link);
        let Some(observed) = observer.and_then(|observer| observer.monitors.remove(&monitor)) else { return };
        self.unlink(link, monitor, observed);
        self.common.tell(link, Command::Unmonitored { monitor });
    }

    fn unlink(&mut self, link: LinkId, monitor: StreamId, observed: Observed) {
        match observed {
            Observed::Life(key) => {
                if let Some(conversation) = self.conversations.get_mut(&key) {
                    conversation.monitors.retain(|(of, _)| *of != link);
                }
            }
            Observed::Logs => self.common.end_watch(link, monitor),
            Observed::Over => {}
        }
    }

    /// Takes back one monitor of a lost link. Says whether there was one.
    pub(super) fn drop_monitor(&mut self, link: LinkId) -> bool {
        let observer = self.common.observer_mut(link);
        let Some((monitor, observed)) = observer.and_then(|observer| observer.monitors.pop_first()) else {
            return false;
        };
        self.unlink(link, monitor, observed);
        true
    }

    // What is told.

    /// Tells the next link some of what waits for it, as far as it takes it. Says whether there was anything.
    pub(super) fn tell_observers(&mut self) -> bool {
        let Some(link) = self.common.observing.pop_front() else { return false };
        let Some(observer) = self.common.observer_mut(link) else { return true };
        observer.in_turn = false;
        for _ in 0..TOLD_PER_TURN {
            if !self.common.tell_next(link) {
                break;
            }
        }
        self.walk(link);
        self.common.observe(link);
        true
    }
}

/// What one link is told in a row, and how many conversations are looked through for it. Between two of them the
/// work of others goes on.
pub(super) const TOLD_PER_TURN: usize = 64;

impl Conversation {
    /// Who takes part in it, where this bus has said who that is: from the record of its joining on to that of the
    /// end of its life.
    pub(super) fn participant(&self) -> Option<Pid> {
        let lives = self.present
            && self.joined
            && !self.is_named
            && matches!(self.phase(), Phase::Active | Phase::Completing);
        self.pid.filter(|_| lives)
    }

    /// Its participant takes part no more.
    pub(super) fn is_gone(&self, common: &mut Common, pid: Pid) {
        if !self.is_named {
            common.participants.remove(&pid);
        }
    }

    fn link_monitor(
        &mut self,
        common: &Common,
        link: LinkId,
        monitor: StreamId,
        pid: Pid,
    ) -> Result<(), ReasonCode> {
        if self.participant() != Some(pid) {
            return Err(ReasonCode::EXITED);
        }
        if self.monitors.iter().any(|(of, _)| *of == link) {
            return Err(ReasonCode::ALREADY_OPEN);
        }
        if self.monitors.len() >= common.settings.monitors_per_conversation_max {
            return Err(ReasonCode::LIMIT);
        }
        self.monitors.push((link, monitor));
        Ok(())
    }

    /// Tells those who monitor it. Who is given up is told no more.
    pub(super) fn notify(&mut self, common: &mut Common, notice: impl Fn() -> Notice) {
        self.monitors.retain(|(link, monitor)| common.notify(*link, *monitor, notice()));
    }

    /// It is over for its owner, and so it is for those who monitor it.
    pub(super) fn end_monitors(&mut self, common: &mut Common) {
        let cancelled = self.why_left == Leaving::OwnerLost || !common.is_alive(self.link());
        for (link, monitor) in core::mem::take(&mut self.monitors) {
            common.notify(link, monitor, Notice::Ended { cancelled });
        }
    }
}

impl Common {
    /// A link is lost: nothing is told to it any more, and what waits is forgotten at once.
    pub(super) fn hush(&mut self, link: LinkId) {
        let logs = |observer: &Observer| {
            let logs = observer.monitors.iter().filter(|(_, observed)| **observed == Observed::Logs);
            logs.map(|(monitor, _)| *monitor).collect::<Vec<_>>()
        };
        for monitor in self.observer_mut(link).map(|it| logs(it)).unwrap_or_default() {
            self.end_watch(link, monitor);
            if let Some(observer) = self.observer_mut(link) {
                observer.monitors.remove(&monitor);
            }
        }
        if let Some(observer) = self.observer_mut(link) {
            let before = observer.notice_bytes();
            observer.hush();
            self.reweigh_waiting(link, before, 0);
        }
    }

    pub(super) fn observer_mut(&mut self, link: LinkId) -> Option<&mut Observer> {
        self.links.get_mut(&link)?.observer.as_deref_mut()
    }

    pub(super) fn take_monitor(&mut self, link: LinkId, monitor: StreamId, observed: Observed) {
        if let Some(entry) = self.links.get_mut(&link) {
            let observer = entry.observer.get_or_insert_with(|| Box::new(Observer::default()));
            observer.monitors.insert(monitor, observed);
        }
        self.counters.monitors += 1;
        self.tell(link, Command::Monitoring { monitor });
    }

    pub(super) fn refuse_monitor(&mut self, link: LinkId, monitor: StreamId, reason: ReasonCode) {
        self.counters.monitors_refused += 1;
        self.tell(link, Command::NotMonitoring { monitor, reason, text: None });
    }

    /// The same, behind what waits; at once and for that reason, where so much waits that it has no place there.
    fn refuse_in_turn(&mut self, link: LinkId, monitor: StreamId, reason: ReasonCode) {
        let queued = self.wait(link, monitor, Word::Refused(reason));
        if !queued {
            return self.refuse_monitor(link, monitor, ReasonCode::BUSY);
        }
        self.counters.monitors_refused += 1;
    }

    /// Tells a monitor. False: so much waits already that it is given up.
    fn notify(&mut self, link: LinkId, monitor: StreamId, notice: Notice) -> bool {
        let (is_alive, is_last) = (self.is_alive(link), matches!(notice, Notice::Ended { .. }));
        if is_last && let Some(observer) = self.observer_mut(link) {
            if is_alive {
                observer.monitors.insert(monitor, Observed::Over);
            } else {
                observer.monitors.remove(&monitor);
            }
        }
        if !is_alive {
            return true;
        }
        let queued = self.wait(link, monitor, Word::Notice(notice));
        if !queued {
            self.give_up(link, monitor);
        }
        queued
    }

    /// Has something wait for its turn. False: there is no room.
    fn wait(&mut self, link: LinkId, monitor: StreamId, word: Word) -> bool {
        let max = self.settings.notice_bytes_per_link_max;
        let Some(observer) = self.observer_mut(link) else { return false };
        let before = observer.notice_bytes();
        let queued = observer.put(monitor, word, max);
        let after = observer.notice_bytes();
        self.reweigh_waiting(link, before, after);
        self.observe(link);
        queued
    }

    /// A monitor does not keep up, and what waits for it cannot be left out.
    pub(super) fn give_up(&mut self, link: LinkId, monitor: StreamId) {
        if let Some(observer) = self.observer_mut(link)
            && observer.monitors.remove(&monitor).is_some()
        {
            self.counters.monitors_given_up += 1;
            let reason = ReasonCode::TOO_SLOW;
            self.tell(link, Command::NotMonitoring { monitor, reason, text: None });
        }
    }

    /// Lets a link be told what waits for it, if something does and there is room.
    pub(super) fn observe(&mut self, link: LinkId) {
        let max = self.settings.delivered_bytes_per_link_max;
        let may_be_told = |observer: &Observer| !observer.in_turn && observer.has_room(max);
        let Some(observer) = self.observer_mut(link).filter(|it| may_be_told(it)) else { return };
        if !observer.has_notices() && !self.watches.has_something_for(link) {
            return;
        }
        if let Some(observer) = self.observer_mut(link) {
            observer.in_turn = true;
            self.observing.push_back(link);
        }
    }

    /// Tells a link the next thing that waits for it. False: nothing does, or there is no room.
    fn tell_next(&mut self, link: LinkId) -> bool {
        let max = self.settings.delivered_bytes_per_link_max;
        if !self.is_alive(link) {
            return false;
        }
        let Some(observer) = self.observer_mut(link).filter(|observer| observer.has_room(max)) else {
            return false;
        };
        let before = observer.notice_bytes();
        let command = observer.take();
        let after = observer.notice_bytes();
        self.reweigh_waiting(link, before, after);
        let Some(command) = command else { return self.tell_watch(link) };
        self.tell(link, command);
        true
    }
}
