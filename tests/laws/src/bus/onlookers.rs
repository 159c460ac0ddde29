//! Links that monitor and watch: what each is told against the logs, from the answer to what it has asked for on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use liminal_core::{Command, ConversationKey, LinkId, Record, Recorded};
use liminal_proto::{Exit, Gap, LogId, LogRecord, Notice, Pid, ReasonCode, RecordNumber, StreamId};

type Name = (LinkId, StreamId);

/// Everybody who looks on: O1, O2, L3, L6, L7.
#[derive(Debug, Default)]
pub(super) struct Onlookers {
    logs: BTreeMap<ConversationKey, Vec<Record>>,
    /// What conversations were opened on, as far as it was told.
    subjects: BTreeMap<LogId, String>,
    /// What owners were told of exits.
    exits: BTreeMap<(Pid, RecordNumber), Exit>,
    asked: BTreeMap<Name, Asked>,
    last: u32,
}

#[derive(Debug)]
enum Asked {
    Monitor(Pid),
    Watch(Option<&'static str>),
    Monitoring(Monitoring),
    Watching(Watching),
    /// Nothing may be told any more.
    Gone,
}

/// A monitor that stands.
#[derive(Debug)]
struct Monitoring {
    conversation: ConversationKey,
    /// What is recorded and was not told yet.
    due: VecDeque<Notice>,
}

/// A watch that stands.
#[derive(Debug)]
struct Watching {
    subject: Option<&'static str>,
    /// Which record of each log comes next.
    next: BTreeMap<LogId, u64>,
    /// Logs that have grown since it stands, whatever they are about.
    grown: BTreeSet<ConversationKey>,
}

impl Onlookers {
    /// A link asks for something. Returns the name of it.
    pub(super) fn monitors(&mut self, link: LinkId, pid: Pid) -> StreamId {
        self.asks(link, Asked::Monitor(pid))
    }

    pub(super) fn watches(&mut self, link: LinkId, subject: Option<&'static str>) -> StreamId {
        self.asks(link, Asked::Watch(subject))
    }

    fn asks(&mut self, link: LinkId, asked: Asked) -> StreamId {
        self.last += 2;
        let name = StreamId::new(self.last - 1);
        self.asked.insert((link, name), asked);
        name
    }

    /// The nth of all that were ever asked for.
    pub(super) fn nth(&self, nth: u8) -> Option<Name> {
        let at = usize::from(nth).checked_rem(self.asked.len())?;
        self.asked.keys().nth(at).copied()
    }

    /// A link is gone.
    pub(super) fn lose(&mut self, link: LinkId) {
        self.asked.retain(|(of, _), _| *of != link);
    }

    /// Something was recorded.
    pub(super) fn on_record(&mut self, key: ConversationKey, record: &Record) {
        let log = self.logs.entry(key).or_default();
        log.push(record.clone());
        for asked in self.asked.values_mut() {
            if let Asked::Watching(it) = asked {
                it.grown.insert(key);
            }
        }
        let due = match &record.what {
            Recorded::Joined { pid } => Notice::Joined { pid: *pid },
            Recorded::Exited { pid, reason, goes_on } => {
                let (reason, unanswered) = (reason.clone(), liminal_proto::Unanswered::default());
                let (record, goes_on) = (record.number, *goes_on);
                Notice::Exited(Exit { pid: *pid, record, reason, goes_on, unanswered })
            }
            Recorded::Failed => Notice::Failed,
            _ => return,
        };
        for asked in self.asked.values_mut() {
            if let Asked::Monitoring(it) = asked
                && it.conversation == key
            {
                it.due.push_back(due.clone());
            }
        }
    }

    /// An owner is told something.
    pub(super) fn on_told(&mut self, command: &Command) {
        if let Command::Exited { exit, .. } = command {
            self.exits.insert((exit.pid, exit.record), exit.clone());
        }
    }

    /// A link is told something of what it has asked for. False: that is about something else.
    pub(super) fn expect(&mut self, link: LinkId, command: &Command) -> bool {
        let (monitor, is_answer) = match command {
            Command::Monitoring { monitor } => (*monitor, true),
            Command::NotMonitoring { monitor, .. }
            | Command::Unmonitored { monitor }
            | Command::Notice { monitor, .. }
            | Command::Record { monitor, .. }
            | Command::Gap { monitor, .. } => (*monitor, false),
            _ => return false,
        };
        let Some(asked) = self.asked.remove(&(link, monitor)) else { panic!("nobody asked: {command:?}") };
        let then = match (asked, command) {
            (Asked::Monitor(pid), Command::Monitoring { .. }) => self.begin(pid),
            (Asked::Watch(subject), Command::Monitoring { .. }) => {
                Asked::Watching(Watching { subject, next: BTreeMap::new(), grown: BTreeSet::new() })
            }
            (Asked::Monitor(pid), Command::NotMonitoring { reason, .. }) => {
                if *reason == ReasonCode::ALREADY_OPEN {
                    self.check_known(link, pid);
                }
                Asked::Gone
            }
            (Asked::Watch(_), Command::NotMonitoring { .. }) => Asked::Gone,
            (Asked::Monitoring(_) | Asked::Watching(_), Command::NotMonitoring { reason, .. }) => {
                assert_eq!(*reason, ReasonCode::TOO_SLOW);
                Asked::Gone
            }
            (Asked::Monitoring(_) | Asked::Watching(_), Command::Unmonitored { .. }) => Asked::Gone,
            (Asked::Monitoring(mut it), Command::Notice { notice, .. }) => {
                let goes_on = self.on_notice(&mut it, notice);
                if goes_on { Asked::Monitoring(it) } else { Asked::Gone }
            }
            (Asked::Watching(mut it), Command::Record { record, .. }) => {
                self.on_watched(&mut it, record);
                Asked::Watching(it)
            }
            (Asked::Watching(mut it), Command::Gap { gap, .. }) => {
                self.on_gap(&mut it, gap);
                Asked::Watching(it)
            }
            (asked, command) => panic!("L7: {command:?} where it is {asked:?}, an answer: {is_answer}"),
        };
        self.asked.insert((link, monitor), then);
        true
    }

    /// L6: who is taken on lives.
    fn begin(&self, pid: Pid) -> Asked {
        let is_of = |what: &Recorded| matches!(what, Recorded::Joined { pid: it } if *it == pid);
        let ends = |what: &Recorded| matches!(what, Recorded::Left { pid: it, .. } | Recorded::Exited { pid: it, .. } if *it == pid);
        let log = self.logs.iter().find(|(_, log)| log.iter().any(|record| is_of(&record.what)));
        let Some((conversation, log)) = log else { panic!("L6: {pid} never joined") };
        assert!(!log.iter().any(|record| ends(&record.what)), "L6: {pid} is dead");
        Asked::Monitoring(Monitoring { conversation: *conversation, due: VecDeque::new() })
    }

    /// Whoever is told that a conversation is monitored already knows which.
    fn check_known(&self, link: LinkId, pid: Pid) {
        let joined = |key: &ConversationKey| {
            let log = self.logs.get(key).map(Vec::as_slice).unwrap_or_default();
            log.iter().any(|record| matches!(record.what, Recorded::Joined { pid: it } if it == pid))
        };
        let untold = |due: &Notice| matches!(due, Notice::Joined { pid: it } if *it == pid);
        let known = self.asked.iter().any(|((of, _), asked)| {
            // One that is taken back was there when it was asked.
            *of == link
                && match asked {
                    Asked::Monitoring(it) => joined(&it.conversation) && !it.due.iter().any(untold),
                    Asked::Gone => true,
                    _ => false,
                }
        });
        assert!(known, "{link} does not monitor {pid}");
    }

    /// L3: exactly once, in the order of the log. Says whether more may follow.
    fn on_notice(&self, it: &mut Monitoring, notice: &Notice) -> bool {
        if let Notice::Ended { .. } = notice {
            assert!(it.due.is_empty(), "L3: never told: {:?}", it.due);
            return false;
        }
        let due = it.due.pop_front();
        match (notice, due) {
            (Notice::Exited(exit), Some(Notice::Exited(due))) => {
                assert_eq!(*exit, Exit { unanswered: exit.unanswered.clone(), ..due }, "O1");
                if let Some(told) = self.exits.get(&(exit.pid, exit.record)) {
                    assert_eq!(told, exit, "O1: the owner was told something else");
                }
            }
            (notice, due) => assert_eq!(due.as_ref(), Some(notice), "L3"),
        }
        true
    }

    /// O1: what is told is what is recorded. O2: without a hole.
    fn on_watched(&mut self, it: &mut Watching, record: &LogRecord) {
        let next = it.next.entry(record.log).or_insert(1);
        assert_eq!(record.number.get(), *next, "O2: {record:?}");
        *next += 1;
        self.check_subject(it.subject, record.log, record.number, record.subject.as_ref());
        let log = self.logs.iter().find(|(key, _)| key.get() == record.log.get());
        let recorded = log.and_then(|(key, log)| {
            let at = usize::try_from(record.number.get()).unwrap() - 1;
            Some(log.get(at)?.shown(*key, record.subject.as_deref().unwrap_or_default()))
        });
        assert_eq!(recorded.as_ref(), Some(record), "O1");
    }

    fn on_gap(&mut self, it: &mut Watching, gap: &Gap) {
        let next = it.next.entry(gap.log).or_insert(1);
        assert!(gap.from.get() == *next && gap.to >= gap.from, "O2: {gap:?}, and {next} is next");
        *next = gap.to.get() + 1;
        let log = self.logs.iter().find(|(key, _)| key.get() == gap.log.get());
        assert!(
            log.is_some_and(|(_, log)| log.len() as u64 >= gap.to.get()),
            "there is no such record: {gap:?}"
        );
        self.check_subject(it.subject, gap.log, gap.from, gap.subject.as_ref());
    }

    /// Whether a log is on the subject of a watch, as far as somebody was told what it is on.
    fn is_for(&self, it: &Watching, log: LogId) -> bool {
        let known = || self.subjects.get(&log).map(String::as_str);
        it.subject.is_none_or(|subject| known() == Some(subject))
    }

    /// The subject stands with the first record, and is that of the watch.
    fn check_subject(
        &mut self,
        watched: Option<&str>,
        log: LogId,
        first: RecordNumber,
        subject: Option<&String>,
    ) {
        assert_eq!(subject.is_some(), first.get() == 1);
        if let Some(subject) = subject {
            assert!(watched.is_none_or(|it| it == subject), "{subject} is not watched");
            let known = self.subjects.entry(log).or_insert_with(|| subject.clone());
            assert_eq!(known, subject);
        }
    }

    /// Everything that waited was told: nothing is missing.
    pub(super) fn assert_complete(&self) {
        for (name, asked) in &self.asked {
            match asked {
                Asked::Monitoring(it) => assert!(it.due.is_empty(), "L3: {name:?} was not told {:?}", it.due),
                Asked::Watching(it) => {
                    for (key, records) in &self.logs {
                        let log = LogId::new(key.get());
                        let next = it.next.get(&log).copied().unwrap_or(1);
                        let is_told = next == records.len() as u64 + 1;
                        let concerns =
                            it.next.contains_key(&log) || (it.grown.contains(key) && self.is_for(it, log));
                        assert!(
                            is_told || !concerns,
                            "O2: {name:?} was told of {log} to record {next}, without it"
                        );
                    }
                }
                Asked::Monitor(_) | Asked::Watch(_) => panic!("L6: {name:?} was never answered"),
                Asked::Gone => {}
            }
        }
    }
}
