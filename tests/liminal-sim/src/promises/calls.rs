//! What participants may be given, and what they answer.

use liminal_core::transcript::BusId;
use liminal_core::{Answer, Call, ConversationKey, Invocation, Recorded, Ticket};
use liminal_proto::{Instant, Pid};

use super::{Checker, Promise};

/// A call that has not returned.
pub(super) struct CallOut {
    key: (BusId, ConversationKey),
    pid: Pid,
    joins: bool,
    leaves: bool,
    /// The record that it gives, if it gives one.
    record: Option<u64>,
}

impl Checker {
    pub(super) fn on_called(&mut self, at: Instant, bus: BusId, ticket: Ticket, invocation: &Invocation) {
        let key = (bus, invocation.conversation);
        let record = match &invocation.what {
            Call::Message { record, .. } => Some(record.get()),
            _ => None,
        };
        let joins = matches!(invocation.what, Call::Join { .. });
        let leaves = matches!(invocation.what, Call::Leave { .. });
        self.calls.insert((bus, ticket), CallOut { key, pid: invocation.pid, joins, leaves, record });
        match &invocation.what {
            Call::Message { id, redelivered, .. } => {
                self.check_message(at, key, invocation);
                self.check_redelivered(key, *id, *redelivered);
            }
            Call::Leave { .. } => {
                let exited = self.logs.get(&key).is_some_and(|log| {
                    let is_it = |what: &Recorded| matches!(what, Recorded::Exited { pid, .. } if *pid == invocation.pid);
                    log.records.iter().any(|record| is_it(&record.what))
                });
                self.expect(!exited, Promise::L2, || format!("Participant {} has exited.", invocation.pid));
            }
            _ => {}
        }
    }

    /// A participant is given a message.
    pub(super) fn check_message(
        &mut self,
        at: Instant,
        key: (BusId, ConversationKey),
        invocation: &Invocation,
    ) {
        self.check_given(key, invocation);
        if let Call::Message { record, deadline: Some(deadline), .. } = &invocation.what {
            self.expect(at < *deadline, Promise::Q4, || {
                format!("Record {record} is given after its deadline.")
            });
        }
    }

    fn check_given(&mut self, key: (BusId, ConversationKey), invocation: &Invocation) {
        let (Call::Message { record, expects_reply, redelivered, .. }, pid) =
            (&invocation.what, invocation.pid)
        else {
            return;
        };
        let number = record.get();
        let Some(log) = self.logs.get_mut(&key) else {
            return self
                .breaks(Promise::O4, format!("Record {number} of a conversation that nobody opened."));
        };
        let stands = log.record(number).map(|it| says(&it.what, &invocation.what));
        let active = log.active == Some(pid);
        let open = !expects_reply || log.open.contains_key(&number);
        log.in_hand = Some(number);
        let exits = log.exits_since(number);
        let told = log.place().is_some() || exits == usize::from(*redelivered);
        let given = log.given.entry(pid).or_default();
        let last = given.last().copied().unwrap_or(0);
        let left_out = log.open.range(..number).map(|(open, _)| *open).find(|open| !given.contains(open));
        let first = given.insert(number);
        self.expect(stands.is_some(), Promise::O4, || format!("There is no record {number}."));
        self.expect(stands != Some(false), Promise::O1, || format!("The log has another record {number}."));
        self.expect(active, Promise::L2, || format!("Participant {pid} does not take part."));
        self.expect(open, Promise::Q4, || format!("The request of record {number} has ended."));
        self.expect(first, Promise::O3, || format!("Participant {pid} had record {number} before."));
        self.expect(told, Promise::O3, || {
            format!("{exits} participants have exited since record {number}, and its next is told of {redelivered}.")
        });
        if let Some(older) = left_out {
            self.breaks(Promise::O5, format!("Record {number} is given, and record {older} was not."));
        }
        self.expect(!first || number > last, Promise::O5, || format!("Record {number} comes behind {last}."));
    }

    pub(super) fn on_answered(&mut self, bus: BusId, ticket: Ticket, answer: &Answer) {
        let Some(call) = self.calls.get(&(bus, ticket)) else { return };
        let (key, pid, joins, record) = (call.key, call.pid, call.joins, call.record);
        let seated = matches!(answer, Answer::Joined | Answer::Done | Answer::WakeAfter(_));
        let who = (key.0, key.1, pid);
        let dead = self.causes.contains(&who);
        if joins && seated && !dead {
            self.hosted.insert(who);
        } else if matches!(answer, Answer::Exited(_)) || (call.leaves && seated) {
            self.hosted.remove(&who);
        }
        if joins && (seated || matches!(answer, Answer::Exited(_))) {
            self.willing.insert(who);
        }
        if answer.returns() {
            self.calls.remove(&(bus, ticket));
        }
        let Some(log) = self.logs.get_mut(&key) else { return };
        let active = log.active == Some(pid) && log.must_exit != Some(pid);
        match answer {
            Answer::Part(said) | Answer::Reply(said) => {
                if let Some(hand) = log.in_hand {
                    log.accept(pid, hand, matches!(answer, Answer::Reply(_)), &said.payload);
                }
            }
            Answer::Exited(_) => {
                if active {
                    log.must_exit = Some(pid);
                }
                if active || joins {
                    self.causes.insert((key.0, key.1, pid));
                }
            }
            // It was not given at all.
            Answer::Busy => {
                if let (Some(record), Some(given)) = (record, log.given.get_mut(&pid)) {
                    given.remove(&record);
                }
            }
            _ => {}
        }
    }

    pub(super) fn on_died(&mut self, key: (BusId, ConversationKey), pid: Pid) {
        let who = (key.0, key.1, pid);
        self.causes.insert(who);
        self.hosted.remove(&who);
        // Who dies while it joins has joined first.
        if self.calls.values().any(|call| call.joins && (call.key, call.pid) == (key, pid)) {
            self.willing.insert(who);
        }
        if let Some(log) = self.logs.get_mut(&key)
            && log.active == Some(pid)
        {
            log.must_exit = Some(pid);
        }
    }
}

/// Whether a record says what a participant is told.
fn says(what: &Recorded, call: &Call) -> bool {
    let Call::Message { id, expects_reply, payload, .. } = call else { return false };
    match what {
        Recorded::Message { id: of, payload: said, metadata: _ } => {
            (of, said, false) == (id, payload, *expects_reply)
        }
        Recorded::Request { id: of, payload: said, .. } => (of, said, true) == (id, payload, *expects_reply),
        _ => false,
    }
}
