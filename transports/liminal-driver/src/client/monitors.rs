//! What a client has asked to be told of conversations of others, and what of it nobody has taken yet.

use std::collections::{BTreeMap, VecDeque};

use liminal_core::{Backlog, Subject, Watched};
use liminal_proto::{CommandError, Event, Notice, Pid, StreamId};

use super::{Client, Topic};
use crate::error::{MonitorEnd, MonitorError, Refusal};

/// What waits for one watch until it is taken, in bytes with its charge: as much as a server keeps for it. Beyond it
/// records are left out, and a gap says which; as much again is for saying that.
pub const WATCHED_BYTES_MAX: usize = 1 << 20;

/// Notices that wait for one monitor until they are taken. Beyond it the monitor is given up, because notices are not
/// left out. A conversation has so many only when its participants exit one after the other and nobody looks.
pub const NOTICES_MAX: usize = 256;

/// The monitors and watches of a client, until nobody holds them any more.
#[derive(Debug, Default)]
pub(super) struct Monitors(BTreeMap<StreamId, Monitor>);

#[derive(Debug)]
struct Monitor {
    stands: bool,
    end: Option<End>,
    untaken: Untaken,
}

/// What was told and not taken yet.
#[derive(Debug)]
enum Untaken {
    Notices(VecDeque<Notice>),
    Records(Backlog),
}

/// How it ended, when that was not the end of the connection.
#[derive(Debug)]
enum End {
    /// The conversation is over.
    Over,
    /// The server does not take it, or gives it up.
    Refused(Refusal),
    /// The server ends it.
    Dismissed,
    /// What was told was not taken.
    TooSlow,
}

impl Monitor {
    const fn new(untaken: Untaken) -> Self {
        Self { stands: false, end: None, untaken }
    }

    /// Something was told. False: there is no room for it, and nothing may be left out.
    fn keep(&mut self, told: Told) -> bool {
        match (&mut self.untaken, told) {
            (Untaken::Notices(notices), Told::Notice(notice)) => {
                if matches!(notice, Notice::Ended { .. }) {
                    self.end = Some(End::Over);
                }
                // The last word is one, and takes next to nothing.
                let has_room = notices.len() < NOTICES_MAX || self.end.is_some();
                if has_room {
                    notices.push_back(notice);
                }
                has_room
            }
            (Untaken::Records(backlog), Told::Watched(Watched::Record(record))) => {
                backlog.record(record).is_ok()
            }
            (Untaken::Records(backlog), Told::Watched(Watched::Gap(gap))) => backlog.gap(gap).is_ok(),
            // The connection has seen to it that there is no such thing.
            (Untaken::Notices(_), Told::Watched(_)) | (Untaken::Records(_), Told::Notice(_)) => true,
        }
    }
}

/// What a monitor or a watch is told.
enum Told {
    Notice(Notice),
    Watched(Watched),
}

/// # Monitoring and watching
impl Client {
    /// Asks to be told of the life of the conversation that a participant takes part in. `Ok(None)`: there is no room
    /// now.
    ///
    /// # Errors
    ///
    /// The peer speaks 1.0, or the connection does not take the command.
    pub fn monitor(&mut self, pid: Pid) -> Result<Option<StreamId>, MonitorError> {
        let asked = self.connection.monitor(self.clock.now(), pid);
        self.on_asked(asked, || Untaken::Notices(VecDeque::new()))
    }

    /// Asks to be told every record of the conversations on a subject, or of all. `Ok(None)`: there is no room now.
    ///
    /// # Errors
    ///
    /// The peer speaks 1.0, or the connection does not take the command.
    pub fn watch(&mut self, subject: &Subject) -> Result<Option<StreamId>, MonitorError> {
        let name = match subject {
            Subject::Exact(name) => Some(name.as_str()),
            Subject::Any => None,
        };
        let asked = self.connection.watch(self.clock.now(), name);
        self.on_asked(asked, || Untaken::Records(Backlog::new(WATCHED_BYTES_MAX)))
    }

    fn on_asked(
        &mut self,
        asked: Result<StreamId, CommandError>,
        untaken: impl FnOnce() -> Untaken,
    ) -> Result<Option<StreamId>, MonitorError> {
        let lost = self.lost_by(&asked);
        match (asked, lost) {
            (Ok(id), _) => {
                self.monitors.0.insert(id, Monitor::new(untaken()));
                Ok(Some(id))
            }
            (Err(_), Some(end)) => Err(MonitorError::Lost(end)),
            (Err(reason), None) if super::waits(&reason) => Ok(self.wants(&reason)),
            (Err(CommandError::NeedsVersion2), None) => Err(MonitorError::NeedsVersion2),
            (Err(error), None) => Err(MonitorError::Rejected(error)),
        }
    }

    /// Whether the monitor, or watch, stands. One that stood is no failure when it is over already.
    #[must_use]
    pub fn monitoring(&self, id: StreamId) -> Option<Result<(), MonitorError>> {
        match self.monitors.0.get(&id) {
            Some(Monitor { stands: true, .. }) => Some(Ok(())),
            Some(Monitor { end: Some(End::Refused(refusal)), .. }) => {
                Some(Err(MonitorError::Refused(refusal.clone())))
            }
            // What it is told next says how it has ended.
            Some(Monitor { end: Some(_), .. }) => Some(Ok(())),
            Some(_) | None => self.end.clone().map(|end| Err(MonitorError::Lost(end))),
        }
    }

    /// What a monitor was told next, or that nothing will be.
    pub fn next_notice(&mut self, id: StreamId) -> Option<Result<Notice, MonitorEnd>> {
        if let Some(Monitor { untaken: Untaken::Notices(notices), .. }) = self.monitors.0.get_mut(&id)
            && let Some(notice) = notices.pop_front()
        {
            return Some(Ok(notice));
        }
        self.monitor_end(id).map(Err)
    }

    /// What a watch was told next, or that nothing will be.
    pub fn next_watched(&mut self, id: StreamId) -> Option<Result<Watched, MonitorEnd>> {
        if let Some(Monitor { untaken: Untaken::Records(backlog), .. }) = self.monitors.0.get_mut(&id)
            && let Some(watched) = backlog.take()
        {
            return Some(Ok(watched));
        }
        self.monitor_end(id).map(Err)
    }

    fn monitor_end(&self, id: StreamId) -> Option<MonitorEnd> {
        let lost = || self.end.clone().map(MonitorEnd::Lost);
        match self.monitors.0.get(&id)?.end.as_ref() {
            Some(End::Over) => Some(MonitorEnd::Over),
            Some(End::Refused(refusal)) => Some(MonitorEnd::Refused(refusal.clone())),
            Some(End::Dismissed) => Some(MonitorEnd::Dismissed),
            Some(End::TooSlow) => Some(MonitorEnd::TooSlow),
            None => lost(),
        }
    }

    /// Nobody holds the monitor, or watch, any more: it is taken back, and what is still told of it concerns nobody.
    pub fn release_monitor(&mut self, id: StreamId) {
        if self.monitors.0.remove(&id).is_some() {
            // Over already is what this wants to bring about.
            let _ = self.connection.unmonitor(self.clock.now(), id);
        }
    }

    /// What the server says about monitors.
    pub(super) fn on_monitor_event(&mut self, event: Event) {
        match event {
            Event::Monitoring { monitor } => self.with_monitor(monitor, |it| it.stands = true),
            Event::NotMonitoring { monitor, reason, text } => {
                self.end_monitor(monitor, End::Refused(Refusal { reason, text }));
            }
            Event::Unmonitored { monitor } => self.end_monitor(monitor, End::Dismissed),
            Event::Notice { monitor, notice } => self.tell_monitor(monitor, Told::Notice(notice)),
            Event::Record { monitor, record } => {
                self.tell_monitor(monitor, Told::Watched(Watched::Record(record)));
            }
            Event::Gap { monitor, gap } => self.tell_monitor(monitor, Told::Watched(Watched::Gap(gap))),
            _ => {}
        }
    }

    fn tell_monitor(&mut self, id: StreamId, told: Told) {
        let mut kept = true;
        self.with_monitor(id, |it| kept = it.end.is_some() || it.keep(told));
        if !kept {
            self.end_monitor(id, End::TooSlow);
            // Of one that is over meanwhile nothing more is told either.
            let _ = self.connection.unmonitor(self.clock.now(), id);
        }
    }

    fn end_monitor(&mut self, id: StreamId, end: End) {
        self.with_monitor(id, |it| {
            it.end.get_or_insert(end);
        });
    }

    fn with_monitor(&mut self, id: StreamId, change: impl FnOnce(&mut Monitor)) {
        if let Some(monitor) = self.monitors.0.get_mut(&id) {
            change(monitor);
            self.wake(Topic::Monitor(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use liminal_proto::{Instant, LogId, LogRecord, Logged, MessageId, ReasonCode, RecordNumber};

    use super::*;
    use crate::client::pair::Pair;

    impl Pair {
        fn takes(&mut self, id: StreamId) {
            self.exchange();
            self.server.monitoring(Instant::ORIGIN, id).unwrap();
            self.exchange();
            assert_eq!(self.client.monitoring(id), Some(Ok(())));
        }

        fn monitor(&mut self) -> StreamId {
            let id = self.client.monitor(Pid::new(1)).unwrap().unwrap();
            assert_eq!(self.client.monitoring(id), None);
            self.takes(id);
            id
        }

        fn watch(&mut self) -> StreamId {
            let id = self.client.watch(&Subject::Any).unwrap().unwrap();
            self.takes(id);
            id
        }

        fn notice(&mut self, id: StreamId, notice: &Notice) {
            self.server.notice(Instant::ORIGIN, id, notice).unwrap();
            self.exchange();
        }

        fn record(&mut self, id: StreamId, number: u64, len: usize) {
            let what = Logged::Message { id: MessageId::new(number), content: vec![0; len].into() };
            let subject = (number == 1).then(|| "s".to_owned());
            let record = LogRecord { log: LogId::new(1), number: RecordNumber::new(number), subject, what };
            self.server.record(Instant::ORIGIN, id, &record).unwrap();
            self.exchange();
        }
    }

    const JOINED: Notice = Notice::Joined { pid: Pid::new(1) };
    const ENDED: Notice = Notice::Ended { cancelled: false };

    #[test]
    fn what_a_monitor_was_told_is_taken_before_its_end() {
        let mut pair = Pair::new();
        let id = pair.monitor();
        assert_eq!(pair.client.next_notice(id), None);
        pair.notice(id, &JOINED);
        pair.notice(id, &ENDED);
        for _ in 0..2 {
            assert_eq!(pair.client.monitoring(id), Some(Ok(())));
        }
        assert_eq!(pair.client.next_notice(id), Some(Ok(JOINED)));
        assert_eq!(pair.client.next_notice(id), Some(Ok(ENDED)));
        assert_eq!(pair.client.next_notice(id), Some(Err(MonitorEnd::Over)));
        pair.client.link_lost(&std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(pair.client.next_notice(id), Some(Err(MonitorEnd::Over)), "the end that was told stays");
    }

    #[test]
    fn a_monitor_whose_notices_nobody_takes_is_given_up() {
        let mut pair = Pair::new();
        let (id, other) = (pair.monitor(), pair.watch());
        for _ in 0..NOTICES_MAX {
            pair.notice(id, &JOINED);
        }
        pair.server.notice(Instant::ORIGIN, id, &JOINED).unwrap();
        assert_eq!(pair.exchange(), [Event::Unmonitor { monitor: id }]);
        for _ in 0..NOTICES_MAX {
            assert_eq!(pair.client.next_notice(id), Some(Ok(JOINED)));
        }
        assert_eq!(pair.client.next_notice(id), Some(Err(MonitorEnd::TooSlow)));
        assert_eq!(pair.client.next_watched(other), None, "another one goes on");
    }

    #[test]
    fn the_last_notice_always_finds_room() {
        let mut pair = Pair::new();
        let id = pair.monitor();
        (0..NOTICES_MAX).for_each(|_| pair.notice(id, &JOINED));
        pair.notice(id, &ENDED);
        let told = std::iter::from_fn(|| pair.client.next_notice(id)?.ok());
        assert_eq!(told.last(), Some(ENDED));
    }

    #[test]
    fn records_that_nobody_takes_are_left_out_beyond_a_bound_and_a_gap_says_so() {
        const LEN: usize = 100_000;
        let mut pair = Pair::new();
        let id = pair.watch();
        (1..=20).for_each(|number| pair.record(id, number, LEN));
        let mut next = 1;
        let mut bytes = 0;
        while let Some(watched) = pair.client.next_watched(id) {
            match watched.unwrap() {
                Watched::Record(record) => {
                    assert_eq!(record.number.get(), next);
                    bytes += LEN;
                    next += 1;
                }
                Watched::Gap(gap) => {
                    assert_eq!((gap.from.get(), gap.to.get()), (next, 20));
                    next = 21;
                }
            }
        }
        assert!(next == 21 && bytes <= WATCHED_BYTES_MAX && bytes + 2 * LEN > WATCHED_BYTES_MAX, "{bytes}");
        pair.record(id, 21, LEN);
        assert!(matches!(pair.client.next_watched(id), Some(Ok(Watched::Record(_)))), "it goes on");
    }

    #[test]
    fn one_that_is_refused_or_given_up_says_why() {
        let mut pair = Pair::new();
        let id = pair.client.watch(&"s".into()).unwrap().unwrap();
        pair.exchange();
        let (reason, text) = (ReasonCode::NOT_ALLOWED, None);
        pair.server.refuse_monitor(Instant::ORIGIN, id, reason, None).unwrap();
        pair.exchange();
        let refusal = Refusal { reason, text };
        assert_eq!(pair.client.monitoring(id), Some(Err(MonitorError::Refused(refusal.clone()))));
        let id = pair.watch();
        pair.record(id, 1, 0);
        pair.server.refuse_monitor(Instant::ORIGIN, id, reason, None).unwrap();
        pair.exchange();
        assert!(matches!(pair.client.next_watched(id), Some(Ok(_))));
        assert_eq!(pair.client.next_watched(id), Some(Err(MonitorEnd::Refused(refusal))));
        let id = pair.watch();
        pair.server.unmonitored(Instant::ORIGIN, id).unwrap();
        pair.exchange();
        assert_eq!(pair.client.next_watched(id), Some(Err(MonitorEnd::Dismissed)));
    }

    #[test]
    fn one_that_nobody_holds_is_taken_back_and_forgotten() {
        let mut pair = Pair::new();
        let ids = [pair.monitor(), pair.watch()];
        for id in ids {
            pair.client.release_monitor(id);
            pair.client.release_monitor(id);
            assert_eq!(pair.exchange(), [Event::Unmonitor { monitor: id }]);
        }
        assert!(pair.client.monitors.0.is_empty());
        assert_eq!(pair.client.next_notice(ids[0]), None);
    }

    #[test]
    fn the_loss_of_the_connection_is_told_to_who_waits_in_vain() {
        let mut pair = Pair::new();
        let asked = pair.client.monitor(Pid::new(1)).unwrap().unwrap();
        let stands = pair.watch();
        pair.client.link_lost(&std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(pair.client.monitoring(asked), Some(Err(MonitorError::Lost(_)))));
        assert!(matches!(pair.client.next_watched(stands), Some(Err(MonitorEnd::Lost(_)))));
        assert!(matches!(pair.client.watch(&Subject::Any), Err(MonitorError::Lost(_))));
    }
}
