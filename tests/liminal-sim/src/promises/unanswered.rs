//! What an exit must be said to leave unanswered.

use std::collections::BTreeSet;

use liminal_core::Recorded;
use liminal_proto::{Exit, RecordNumber, Unanswered};

use super::log::Log;
use super::{Checker, Promise};

impl Log {
    /// The requests that stand before a record and have no end there.
    pub(super) fn open_at(&self, record: RecordNumber) -> BTreeSet<RecordNumber> {
        let mut open = BTreeSet::new();
        for it in self.records.iter().take_while(|it| it.number < record) {
            match &it.what {
                Recorded::Request { .. } => {
                    open.insert(it.number);
                }
                Recorded::Reply { request, last: true, .. } | Recorded::RequestEnded { request, .. } => {
                    open.remove(request);
                }
                _ => {}
            }
        }
        open
    }
}

impl Checker {
    /// All that was open is counted, and the first of it is named.
    pub(super) fn check_unanswered(&mut self, open: &BTreeSet<RecordNumber>, exit: &Exit) {
        let Exit { pid, unanswered, .. } = exit;
        let counted = usize::try_from(unanswered.count()).is_ok_and(|count| count == open.len());
        let named = open.iter().take(Unanswered::RECORDS_MAX).eq(unanswered.records());
        self.expect(counted && named, Promise::L3, || {
            format!("The exit of participant {pid} is told with {unanswered:?}, where {open:?} are open.")
        });
    }
}
