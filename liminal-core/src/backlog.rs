//! What waits for somebody who watches, within a bound.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};

use liminal_proto::{Content, Exit, Gap, GapReason, LogId, LogRecord, Logged, Notice, Outcome};
use thiserror::Error;

use crate::Settings;

/// What a watch is told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// A record.
    Record(Box<LogRecord>),
    /// Records that are not told.
    Gap(Gap),
}

/// What waits for a watch, within a bound: whoever does not keep up finds a gap in the place of what found no room.
///
/// What is put in comes out in its order, log by log. A gap is open, and grows, until there is room for the next
/// record of its log, or nothing else is left to be taken out.
#[derive(Debug)]
pub struct Backlog {
    items: VecDeque<Watched>,
    /// Records that found no room and are not followed by any that did.
    open: BTreeMap<LogId, Gap>,
    /// What those are charged.
    open_bytes: usize,
    /// What the items are charged.
    bytes: usize,
    bytes_max: usize,
}

/// Even the gaps are too many: who watches has fallen too far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("too many conversations have gaps that were not told")]
pub struct Overrun;

impl Backlog {
    /// What a gap is charged, in bytes, on top of its subject: as much as it takes. Gaps of so many logs as fill the
    /// bound have room beside the records.
    pub const GAP_CHARGE: usize = 128;

    /// An empty one. Records have so many bytes of room, with their charge.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { items: VecDeque::new(), open: BTreeMap::new(), open_bytes: 0, bytes: 0, bytes_max }
    }

    /// A record, which follows the last of its log.
    ///
    /// # Errors
    ///
    /// It finds no room, nor does a gap in its place.
    pub fn record(&mut self, record: Box<LogRecord>) -> Result<(), Overrun> {
        let (log, number, charge) = (record.log, record.number, charge(&record));
        let closes = self.open.get(&log).map_or(0, gap_charge);
        if !self.has_room(charge.saturating_add(closes)) {
            let LogRecord { subject, .. } = *record;
            return self.leave_out(Gap { log, from: number, to: number, subject, why: GapReason::TooSlow });
        }
        if let Some(gap) = self.open.remove(&log) {
            self.open_bytes -= gap_charge(&gap);
            self.put(Watched::Gap(gap));
        }
        self.put(Watched::Record(record));
        Ok(())
    }

    /// Records that are not told, which follow the last of their log.
    ///
    /// # Errors
    ///
    /// It finds no room.
    pub fn gap(&mut self, gap: Gap) -> Result<(), Overrun> {
        if self.open.contains_key(&gap.log) || !self.has_room(gap_charge(&gap)) {
            return self.leave_out(gap);
        }
        self.put(Watched::Gap(gap));
        Ok(())
    }

    /// What comes next.
    pub fn take(&mut self) -> Option<Watched> {
        let next = self.items.pop_front();
        if let Some(item) = next {
            self.bytes -= item.charge();
            if self.items.is_empty() {
                self.items = VecDeque::new();
            }
            return Some(item);
        }
        let (_, gap) = self.open.pop_first()?;
        self.open_bytes -= gap_charge(&gap);
        Some(Watched::Gap(gap))
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.open.is_empty()
    }

    /// Whether it is at most half full.
    #[must_use]
    pub const fn is_low(&self) -> bool {
        self.bytes <= self.bytes_max / 2
    }

    /// What all that waits is charged: at most twice the bound.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes + self.open_bytes
    }

    /// The same, counted afresh. Always equals [`bytes`](Self::bytes); for tests.
    #[must_use]
    pub fn recount(&self) -> usize {
        self.items.iter().map(Watched::charge).chain(self.open.values().map(gap_charge)).sum()
    }

    /// An empty one has room for anything.
    fn has_room(&self, charge: usize) -> bool {
        self.items.is_empty() || self.bytes.saturating_add(charge) <= self.bytes_max
    }

    fn put(&mut self, item: Watched) {
        self.bytes += item.charge();
        self.items.push_back(item);
    }

    fn leave_out(&mut self, gap: Gap) -> Result<(), Overrun> {
        let charge = gap_charge(&gap);
        match self.open.get_mut(&gap.log) {
            Some(open) => open.to = gap.to,
            None if self.open_bytes.saturating_add(charge) <= self.bytes_max => {
                self.open_bytes += charge;
                self.open.insert(gap.log, gap);
            }
            None => return Err(Overrun),
        }
        Ok(())
    }
}

impl Watched {
    /// What it is charged while it waits, in bytes.
    #[must_use]
    pub fn charge(&self) -> usize {
        match self {
            Self::Record(record) => charge(record),
            Self::Gap(gap) => gap_charge(gap),
        }
    }
}

fn gap_charge(gap: &Gap) -> usize {
    let subject = gap.subject.as_ref().map_or(0, |subject| subject.len());
    subject.saturating_add(Backlog::GAP_CHARGE)
}

fn charge(record: &LogRecord) -> usize {
    let said = record.what.content().map_or(0, Content::len);
    let text = match &record.what {
        Logged::RequestEnded { how: Outcome::Refused { text, .. }, .. }
        | Logged::JoinRefused { text, .. } => text.as_ref().map_or(0, |text| text.len()),
        Logged::Exited { reason, .. } => reason.text().map_or(0, str::len),
        Logged::Joined { .. }
        | Logged::Message { .. }
        | Logged::Request { .. }
        | Logged::Reply { .. }
        | Logged::RequestEnded { .. }
        | Logged::Left { .. }
        | Logged::Failed
        | Logged::Other { .. }
        | _ => 0,
    };
    let subject = record.subject.as_ref().map_or(0, |subject| subject.len());
    Settings::charge(said.saturating_add(text).saturating_add(subject))
}

/// What a notice is charged while it waits, in bytes.
pub(crate) fn notice_charge(notice: &Notice) -> usize {
    match notice {
        Notice::Exited(Exit { reason, unanswered, .. }) => {
            let numbers = size_of_val(unanswered.records());
            Settings::charge(reason.text().map_or(0, str::len) + numbers)
        }
        Notice::Joined { .. } | Notice::Failed | Notice::Ended { .. } | _ => Settings::charge(0),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use liminal_proto::{MessageId, RecordNumber};

    use super::*;

    /// Room for four records with little to say.
    const SMALL: usize = 4 * 260;

    fn record(log: u64, number: u64, len: usize) -> Box<LogRecord> {
        let what = Logged::Message { id: MessageId::new(number), content: alloc::vec![7; len].into() };
        let subject = (number == 1).then(|| "s".into());
        Box::new(LogRecord { log: LogId::new(log), number: RecordNumber::new(number), subject, what })
    }

    fn missing(log: u64, from: u64, to: u64, why: GapReason) -> Gap {
        let (from, to) = (RecordNumber::new(from), RecordNumber::new(to));
        let subject = (from.get() == 1).then(|| "s".into());
        Gap { log: LogId::new(log), from, to, subject, why }
    }

    /// (log, from, to) of a gap; (log, number, 0) of a record.
    fn drain(backlog: &mut Backlog) -> Vec<(u64, u64, u64)> {
        let all = core::iter::from_fn(|| {
            let next = backlog.take();
            assert_eq!(backlog.bytes(), backlog.recount());
            next
        });
        all.map(|next| match next {
            Watched::Record(record) => (record.log.get(), record.number.get(), 0),
            Watched::Gap(gap) => {
                assert_eq!(
                    gap.subject.is_some(),
                    gap.from.get() == 1,
                    "a gap from the first has the subject"
                );
                (gap.log.get(), gap.from.get(), gap.to.get())
            }
        })
        .collect()
    }

    #[test]
    fn what_has_room_comes_out_as_it_went_in() {
        let mut backlog = Backlog::new(SMALL);
        assert!(backlog.is_empty() && backlog.is_low());
        for (log, number) in [(1, 1), (2, 1), (1, 2)] {
            backlog.record(record(log, number, 3)).unwrap();
        }
        assert!(!backlog.is_empty() && !backlog.is_low());
        assert_eq!(drain(&mut backlog), [(1, 1, 0), (2, 1, 0), (1, 2, 0)]);
        assert_eq!((backlog.is_empty(), backlog.bytes()), (true, 0));
    }

    #[test]
    fn what_has_no_room_is_a_gap_in_its_place() {
        let mut backlog = Backlog::new(SMALL);
        for number in 1..=6 {
            backlog.record(record(1, number, 0)).unwrap();
        }
        backlog.record(record(2, 1, 0)).unwrap();
        backlog.record(record(2, 2, 0)).unwrap();
        assert!(matches!(backlog.take(), Some(Watched::Record(_))) && backlog.take().is_some());
        backlog.record(record(1, 7, 0)).unwrap();
        assert_eq!(drain(&mut backlog), [(1, 3, 0), (1, 4, 0), (1, 5, 6), (1, 7, 0), (2, 1, 2)]);
    }

    #[test]
    fn a_gap_grows_until_it_is_told_and_another_may_follow_it() {
        let mut backlog = Backlog::new(SMALL);
        for number in 1..=5 {
            backlog.record(record(1, number, 0)).unwrap();
        }
        backlog.gap(missing(1, 6, 9, GapReason::TooLarge)).unwrap();
        assert_eq!(drain(&mut backlog), [(1, 1, 0), (1, 2, 0), (1, 3, 0), (1, 4, 0), (1, 5, 9)]);
        backlog.gap(missing(1, 10, 10, GapReason::Before)).unwrap();
        backlog.record(record(1, 11, 0)).unwrap();
        assert_eq!(drain(&mut backlog), [(1, 10, 10), (1, 11, 0)]);
    }

    #[test]
    fn one_that_is_longer_than_the_bound_is_taken_alone() {
        let mut backlog = Backlog::new(SMALL);
        backlog.record(record(1, 1, 10 * SMALL)).unwrap();
        backlog.record(record(1, 2, 0)).unwrap();
        assert_eq!(drain(&mut backlog), [(1, 1, 0), (1, 2, 2)]);
    }

    #[test]
    fn gaps_have_as_much_room_as_records_and_then_it_is_overrun() {
        let mut backlog = Backlog::new(SMALL);
        for number in 1..=4 {
            backlog.record(record(1, number, 0)).unwrap();
        }
        let logs = 2..2 + (SMALL / Backlog::GAP_CHARGE) as u64;
        for log in logs.clone() {
            backlog.record(record(log, 1, 0)).unwrap();
        }
        assert_eq!(backlog.record(record(logs.end, 1, 0)), Err(Overrun));
        assert_eq!(backlog.gap(missing(logs.end, 1, 1, GapReason::Before)), Err(Overrun));
        backlog.record(record(2, 2, 0)).unwrap();
        assert!(backlog.bytes() <= 2 * SMALL);
        assert_eq!(drain(&mut backlog).len(), 4 + logs.count());
    }

    #[test]
    fn subjects_of_gaps_are_charged_while_they_are_open_and_afterwards() {
        let long = |log: u64| {
            let (from, to) = (RecordNumber::new(1), RecordNumber::new(9));
            let subject = Some("s".repeat(SMALL / 2 - Backlog::GAP_CHARGE));
            Gap { log: LogId::new(log), from, to, subject, why: GapReason::Before }
        };
        let mut backlog = Backlog::new(SMALL);
        // Two fill the room of those that stand, and two more that of those that are open.
        (1..=4).for_each(|log| backlog.gap(long(log)).unwrap());
        assert_eq!((backlog.bytes(), backlog.recount()), (2 * SMALL, 2 * SMALL));
        assert_eq!(backlog.gap(long(5)), Err(Overrun));
        assert_eq!(drain(&mut backlog).len(), 4);
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn texts_and_subjects_are_charged() {
        let pid = liminal_proto::Pid::new(1);
        let (log, number, text) = (LogId::new(1), RecordNumber::new(1), Some("x".repeat(1000)));
        let charge = |subject: Option<&str>, what| {
            let subject = subject.map(Into::into);
            Watched::Record(Box::new(LogRecord { log, number, subject, what })).charge()
        };
        let reason = liminal_proto::ExitReason::Crashed { text: "x".repeat(1000) };
        let how = Outcome::Refused { reason: liminal_proto::ReasonCode::BUSY, text: text.clone() };
        assert_eq!(charge(None, Logged::JoinRefused { pid, text }), 1064);
        assert_eq!(charge(None, Logged::RequestEnded { request: number, how }), 1064);
        assert_eq!(charge(None, Logged::Exited { pid, reason: reason.clone(), goes_on: false }), 1064);
        assert_eq!(charge(Some(&"s".repeat(100)), Logged::Failed), 164);
        assert_eq!(charge(None, Logged::Failed), 256);
        let unanswered = liminal_proto::Unanswered::new(2, [number]);
        let exit = Exit { pid, record: number, reason, goes_on: false, unanswered };
        assert_eq!(notice_charge(&Notice::Exited(exit)), 1072);
        assert_eq!(notice_charge(&Notice::Failed), 256);
    }
}
