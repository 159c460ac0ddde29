//! What a client has asked to be told of conversations, as each side of its connection sees it. A watch is a
//! monitor, too: the one is told the life of a conversation, the other whole logs.

mod told;

use bytes::Bytes;

use crate::wire::{Body, Dialect};
use crate::{CommandError, Event, Gap, Limits, LogRecord, Notice, Pid, ReasonCode, SmallMap, StreamId};

use super::acceptor::Taken;
use super::sender::Sender;

pub(super) use told::{exit_of, exited, gap_of, record_of};

/// Where a monitor, or a watch, is in its life.
///
#[doc = include_str!("monitors.md")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MonitorPhase {
    /// The client has asked for it, and the server has not answered.
    Asked,
    /// It stands: what it is for is told.
    Standing,
    /// The client has taken it back before it was answered.
    Revoked,
    /// The client has taken it back. What was under way may still come.
    Ending,
    /// Over: nothing comes any more, and the connection forgets it.
    Gone,
}

impl MonitorPhase {
    /// Every phase.
    pub const ALL: [Self; 5] = [Self::Asked, Self::Standing, Self::Revoked, Self::Ending, Self::Gone];

    /// The phase after `trigger`; `None` where it is not allowed.
    #[must_use]
    pub const fn next(self, trigger: Trigger) -> Option<Self> {
        next(self, trigger)
    }

    /// Whether something may be told in this phase.
    const fn is_told(self) -> bool {
        matches!(self, Self::Standing | Self::Ending)
    }
}

/// What moves a monitor from one [phase](MonitorPhase) to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// The server took it.
    Taken,
    /// The server did not, or gives it up.
    Refused,
    /// The client takes it back.
    Unmonitor,
    /// The server has seen to its end: it was taken back, or what it is for is over.
    Ended,
}

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 4] = [Self::Taken, Self::Refused, Self::Unmonitor, Self::Ended];
}

/// The table: the phase that `trigger` leads to, or `None` where it is not allowed.
const fn next(phase: MonitorPhase, trigger: Trigger) -> Option<MonitorPhase> {
    use MonitorPhase as P;
    use Trigger as T;
    match (phase, trigger) {
        (P::Asked, T::Taken) => Some(P::Standing),
        (P::Asked, T::Unmonitor) => Some(P::Revoked),
        (P::Standing, T::Unmonitor) | (P::Revoked, T::Taken) => Some(P::Ending),
        (P::Asked | P::Standing | P::Revoked | P::Ending, T::Refused)
        | (P::Standing | P::Revoked | P::Ending, T::Ended) => Some(P::Gone),
        (P::Asked, T::Ended)
        | (P::Standing | P::Ending, T::Taken)
        | (P::Revoked | P::Ending, T::Unmonitor)
        | (P::Gone, _) => None,
    }
}

/// What a monitor is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The life of one conversation.
    Life,
    /// The log of each conversation that it is for.
    Log,
}

/// The monitors of one connection: the same on both sides.
#[derive(Default)]
pub(super) struct Monitors(SmallMap<StreamId, Monitor>);

struct Monitor {
    phase: MonitorPhase,
    kind: Kind,
}

impl Monitors {
    pub(super) fn phase(&self, monitor: StreamId) -> Option<MonitorPhase> {
        self.0.get(&monitor).map(|monitor| monitor.phase)
    }

    pub(super) fn has(&self, monitor: StreamId) -> bool {
        self.0.get(&monitor).is_some()
    }

    /// A new monitor, on a stream of its own.
    pub(super) fn insert(&mut self, monitor: StreamId, kind: Kind) {
        self.0.insert(monitor, Monitor { phase: MonitorPhase::Asked, kind });
    }

    /// Whether there are as many as there may be.
    pub(super) fn check_room(&self, limits: &Limits) -> Result<(), CommandError> {
        if self.0.len() < limits.monitors_max {
            return Ok(());
        }
        Err(CommandError::Limit { what: "monitors", limit: limits.monitors_max as u64 })
    }

    fn step(&mut self, key: StreamId, trigger: Trigger) -> Option<()> {
        let monitor = self.0.get_mut(&key)?;
        monitor.phase = next(monitor.phase, trigger)?;
        if monitor.phase == MonitorPhase::Gone {
            self.0.remove(&key);
        }
        Some(())
    }

    // ── commands ────────────────────────────────────────────────────────────────────────────────

    /// A command that moves a monitor on and says so with a frame.
    pub(super) fn tell(
        &mut self,
        sender: &mut Sender,
        monitor: StreamId,
        trigger: Trigger,
        body: Body<&str, Bytes>,
    ) -> Result<(), CommandError> {
        check_dialect(sender)?;
        self.step(monitor, trigger).ok_or(CommandError::NotMonitoring(monitor))?;
        sender.send(0, monitor, body)
    }

    pub(super) fn notice(
        &mut self,
        sender: &mut Sender,
        monitor: StreamId,
        notice: &Notice,
    ) -> Result<(), CommandError> {
        let is_last = matches!(notice, Notice::Ended { .. });
        if is_last && self.phase(monitor) == Some(MonitorPhase::Ending) {
            // It was taken back while this was on its way: whoever tells it had ended it before it could hear of that.
            return self.tell(sender, monitor, Trigger::Ended, Body::Unmonitored);
        }
        self.check_standing(sender, monitor, Kind::Life)?;
        let (flags, body) = told::notice(sender, monitor, notice);
        sender.send_if_room(flags, monitor, body)?;
        if is_last {
            self.step(monitor, Trigger::Ended);
        }
        Ok(())
    }

    pub(super) fn record(
        &self,
        sender: &mut Sender,
        monitor: StreamId,
        record: &LogRecord,
    ) -> Result<(), CommandError> {
        self.check_standing(sender, monitor, Kind::Log)?;
        let (flags, body) = told::record(sender, record);
        sender.send_payload(flags, monitor, body)
    }

    pub(super) fn gap(&self, sender: &mut Sender, monitor: StreamId, gap: &Gap) -> Result<(), CommandError> {
        self.check_standing(sender, monitor, Kind::Log)?;
        sender.send_if_room(0, monitor, told::gap(gap))
    }

    /// Once the client has taken it back, nothing is told any more.
    fn check_standing(&self, sender: &Sender, key: StreamId, kind: Kind) -> Result<(), CommandError> {
        check_dialect(sender)?;
        let stands = |it: &Monitor| it.phase == MonitorPhase::Standing && it.kind == kind;
        match self.0.get(&key) {
            Some(monitor) if stands(monitor) => Ok(()),
            _ => Err(CommandError::NotMonitoring(key)),
        }
    }

    // ── frames to a server ──────────────────────────────────────────────────────────────────────

    pub(super) fn on_monitor(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        monitor: StreamId,
        pid: Pid,
    ) -> Taken {
        match self.admit(sender, limits, monitor, Kind::Life, None) {
            Ok(()) => Taken::Event(Event::Monitor { monitor, pid }),
            Err(refused) => refused,
        }
    }

    pub(super) fn on_watch(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        monitor: StreamId,
        subject: Option<&str>,
    ) -> Taken {
        match self.admit(sender, limits, monitor, Kind::Log, subject) {
            Ok(()) => Taken::Event(Event::Watch { monitor, subject: subject.map(Into::into) }),
            Err(refused) => refused,
        }
    }

    fn admit(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        monitor: StreamId,
        kind: Kind,
        subject: Option<&str>,
    ) -> Result<(), Taken> {
        let (reason_code, taken) = if subject.is_some_and(|subject| subject.len() > limits.name_max) {
            (ReasonCode::INVALID_NAME, Taken::Refused)
        } else if self.check_room(limits).is_err() {
            (ReasonCode::LIMIT, Taken::Refused)
        } else if sender.refuses_work() {
            (ReasonCode::BUSY, Taken::Nothing)
        } else {
            self.insert(monitor, kind);
            return Ok(());
        };
        // A code without a text: there is nothing in it that could be refused.
        let _ = sender.send(0, monitor, Body::Refused { reason_code, message: None });
        Err(taken)
    }

    pub(super) fn on_unmonitor(&mut self, monitor: StreamId) -> Option<Taken> {
        self.step(monitor, Trigger::Unmonitor)?;
        Some(Taken::Event(Event::Unmonitor { monitor }))
    }

    // ── frames to a client ──────────────────────────────────────────────────────────────────────

    pub(super) fn on_monitoring(&mut self, monitor: StreamId) -> Option<Event> {
        self.step(monitor, Trigger::Taken).map(|()| Event::Monitoring { monitor })
    }

    pub(super) fn on_refused(
        &mut self,
        sender: &Sender,
        monitor: StreamId,
        reason: ReasonCode,
        text: Option<&str>,
    ) -> Option<Event> {
        self.step(monitor, Trigger::Refused)?;
        Some(Event::NotMonitoring { monitor, reason, text: sender.kept_text(text) })
    }

    pub(super) fn on_unmonitored(&mut self, monitor: StreamId) -> Option<Event> {
        self.step(monitor, Trigger::Ended).map(|()| Event::Unmonitored { monitor })
    }

    pub(super) fn on_notice(&mut self, monitor: StreamId, notice: Notice) -> Option<Event> {
        self.check_told(monitor, Kind::Life)?;
        if matches!(notice, Notice::Ended { .. }) {
            self.step(monitor, Trigger::Ended)?;
        }
        Some(Event::Notice { monitor, notice })
    }

    /// Whether this may be told now.
    pub(super) fn check_told(&self, monitor: StreamId, kind: Kind) -> Option<()> {
        self.0.get(&monitor).filter(|monitor| monitor.phase.is_told() && monitor.kind == kind).map(drop)
    }
}

fn check_dialect(sender: &Sender) -> Result<(), CommandError> {
    match sender.dialect {
        Dialect::V1 => Err(CommandError::NeedsVersion2),
        Dialect::V2 => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{MonitorPhase as Phase, Trigger, next};
    use crate::table;

    #[test]
    fn the_diagram_in_the_docs_is_drawn_from_the_table() {
        let drawn = include_str!("monitors.md");
        table::assert_drawn("src/connection/monitors.md", drawn, &Phase::ALL, &Trigger::ALL, next);
    }

    #[test]
    fn what_is_gone_stays_gone_and_what_was_taken_back_never_stands_again() {
        for trigger in Trigger::ALL {
            assert_eq!(next(Phase::Gone, trigger), None);
            for back in [Phase::Revoked, Phase::Ending] {
                assert_ne!(next(back, trigger), Some(Phase::Standing));
            }
        }
    }

    #[test]
    fn a_monitor_is_taken_once_and_taken_back_once() {
        for (phase, once) in [(Phase::Asked, Trigger::Taken), (Phase::Standing, Trigger::Unmonitor)] {
            let after = next(phase, once).unwrap();
            assert_eq!(next(after, once), None);
        }
    }

    #[test]
    fn nothing_is_told_before_it_stands_and_after_its_end() {
        let told = Phase::ALL.map(Phase::is_told);
        assert_eq!(told, [false, true, false, true, false]);
    }
}
