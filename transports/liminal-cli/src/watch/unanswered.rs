//! Which requests have no complete reply, as far as they were seen.

use std::collections::{BTreeMap, BTreeSet};

use liminal_core::Watched;
use liminal_proto::{LogId, Logged, RecordNumber};

/// Requests that are remembered, in all conversations together. The oldest conversations are forgotten beyond it,
/// so that one whose end was never told costs nothing in the long run. Each costs about 50 bytes.
const REQUESTS_MAX: usize = 100_000;

/// The requests that have no complete reply, by conversation.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<LogId, BTreeSet<RecordNumber>>,
    count: usize,
}

impl Requests {
    /// Something was told. Of an exit: the requests that had no complete reply at that moment. Where records were left
    /// out nobody knows, and so they are not among them.
    pub(super) fn after(&mut self, watched: &Watched) -> Vec<RecordNumber> {
        let record = match watched {
            Watched::Record(record) => record,
            Watched::Gap(gap) => {
                self.forget(gap.log);
                return Vec::new();
            }
        };
        match record.what {
            Logged::Request { .. } => self.asked(record.log, record.number),
            Logged::Reply { request, last: true, .. } | Logged::RequestEnded { request, .. } => {
                self.ended(record.log, request);
            }
            Logged::Exited { goes_on: true, .. } => {
                return self.open.get(&record.log).into_iter().flatten().copied().collect();
            }
            Logged::Exited { .. } | Logged::Failed | Logged::Left { .. } => return self.forget(record.log),
            _ => {}
        }
        Vec::new()
    }

    fn asked(&mut self, log: LogId, request: RecordNumber) {
        self.open.entry(log).or_default().insert(request);
        self.count += 1;
        while self.count > REQUESTS_MAX
            && let Some((_, oldest)) = self.open.pop_first()
        {
            self.count -= oldest.len();
        }
    }

    fn ended(&mut self, log: LogId, request: RecordNumber) {
        if let Some(open) = self.open.get_mut(&log)
            && open.remove(&request)
        {
            self.count -= 1;
            if open.is_empty() {
                self.open.remove(&log);
            }
        }
    }

    fn forget(&mut self, log: LogId) -> Vec<RecordNumber> {
        let open = self.open.remove(&log).unwrap_or_default();
        self.count -= open.len();
        open.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use liminal_proto::{Content, ExitReason, Gap, GapReason, LogRecord, MessageId, Outcome, Pid};

    use super::*;

    const PID: Pid = Pid::new(7);

    fn number(number: u64) -> RecordNumber {
        RecordNumber::new(number)
    }

    fn record(log: u64, at: u64, what: Logged) -> Watched {
        Watched::Record(Box::new(LogRecord { log: LogId::new(log), number: number(at), subject: None, what }))
    }

    fn request(log: u64, at: u64) -> Watched {
        let what = Logged::Request {
            id: MessageId::new(at),
            timeout: Duration::from_secs(5),
            content: Content::default(),
        };
        record(log, at, what)
    }

    fn reply(log: u64, at: u64, to: u64, last: bool) -> Watched {
        record(log, at, Logged::Reply { request: number(to), last, content: Content::default() })
    }

    fn exited(log: u64, at: u64, goes_on: bool) -> Watched {
        record(log, at, Logged::Exited { pid: PID, reason: ExitReason::Normal, goes_on })
    }

    #[test]
    fn what_is_unanswered_is_what_was_asked_and_has_not_ended() {
        let mut requests = Requests::default();
        let ended = record(1, 7, Logged::RequestEnded { request: number(5), how: Outcome::Deadline });
        for watched in [
            request(1, 2),
            request(2, 2),
            request(1, 3),
            reply(1, 4, 2, true),
            request(1, 5),
            reply(1, 6, 3, false),
            ended,
        ] {
            assert_eq!(requests.after(&watched), []);
        }
        assert_eq!(requests.after(&exited(1, 8, true)), [number(3)]);
        assert_eq!(requests.after(&exited(1, 9, false)), [number(3)]);
        assert_eq!(requests.after(&exited(2, 3, false)), [number(2)]);
        assert_eq!((requests.count, requests.open.len()), (0, 0));
    }

    #[test]
    fn what_may_have_been_answered_meanwhile_is_not_called_unanswered() {
        let mut requests = Requests::default();
        requests.after(&request(1, 2));
        let (from, to, why) = (number(3), number(9), GapReason::TooSlow);
        requests.after(&Watched::Gap(Gap { log: LogId::new(1), from, to, subject: None, why }));
        requests.after(&request(1, 10));
        assert_eq!(requests.after(&exited(1, 11, false)), [number(10)]);
    }

    #[test]
    fn conversations_whose_end_is_never_told_are_forgotten() {
        let mut requests = Requests::default();
        let logs = REQUESTS_MAX as u64 + 10;
        (1..=logs).for_each(|log| drop(requests.after(&request(log, 2))));
        assert_eq!((requests.count, requests.open.len()), (REQUESTS_MAX, REQUESTS_MAX));
        assert_eq!(requests.after(&exited(1, 3, false)), []);
        assert_eq!(requests.after(&exited(logs, 3, false)), [number(2)]);
    }
}
