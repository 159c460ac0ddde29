//! For each promise a fault that breaks it, between the bus and the checker: each must be found.

mod clients;

use std::cell::Cell;

use bytes::Bytes;
use liminal_core::transcript::{BusId, Credited, Entry, Noted};
use liminal_core::{Answer, Call, Leaving, Recorded};
use liminal_proto::{
    CreditLeft, Event, Expects, Message, MessageId, Metadata, Outcome, Pid, RecordNumber, Unanswered,
};

use super::Promise;
use crate::{Network, worlds};

/// What is found at the first attempt in one run may need others to be set up.
const SEEDS: std::ops::Range<u64> = 0..2_000;

type Entries = Vec<Entry>;

fn assert_found(promise: Promise, plant: impl Fn(&mut Entries) -> Option<()> + 'static) {
    let mut sim = worlds::everything(Network::Faithful).seeds(SEEDS).shrink_runs_max(30);
    sim.tamper = Some(Box::new(move |transcript| {
        // Where the fault does not apply the run is as it was.
        let _ = plant(transcript.entries_mut());
    }));
    let failure = sim.try_check().expect_err("the fault is found");
    assert_eq!(failure.broken.split(':').next(), Some(promise.to_string().as_str()), "{failure}");
}

/// The first entry of which `of` makes something else.
fn change(entries: &mut Entries, of: impl Fn(&mut Noted) -> bool) -> Option<()> {
    entries.iter_mut().find_map(|entry| of(&mut entry.what).then_some(()))
}

fn at(entries: &Entries, of: impl Fn(&Noted) -> bool) -> Option<usize> {
    entries.iter().position(|entry| of(&entry.what))
}

fn repeat(entries: &mut Entries, of: impl Fn(&Noted) -> bool) -> Option<()> {
    let at = at(entries, of)?;
    entries.insert(at + 1, entries[at].clone());
    Some(())
}

/// Whether a bus is that of a client that serves.
fn is_of_client(entries: &Entries, bus: BusId) -> bool {
    entries.iter().any(|entry| entry.bus == bus && matches!(entry.what, Noted::Serves { .. }))
}

/// Whether a host of a bus has this participant.
fn is_hosted(entries: &Entries, bus: BusId, pid: Pid) -> bool {
    let calls = |what: &Noted| matches!(what, Noted::Called { invocation, .. } if invocation.pid == pid);
    entries.iter().any(|entry| entry.bus == bus && calls(&entry.what))
}

fn told(what: &Noted) -> Option<&Event> {
    if let Noted::Told { event, .. } = what { Some(event) } else { None }
}

#[test]
fn o1_a_participant_is_given_another_message_than_the_log_has() {
    assert_found(Promise::O1, |entries| {
        change(entries, |what| {
            let Noted::Called { invocation, .. } = what else { return false };
            let Call::Message { payload, .. } = &mut invocation.what else { return false };
            *payload = Bytes::from_static(b"forged");
            true
        })
    });
}

#[test]
fn o2_a_record_is_missing() {
    assert_found(Promise::O2, |entries| {
        let at =
            at(entries, |what| matches!(what, Noted::Recorded { record, .. } if record.number.get() == 1))?;
        entries.remove(at);
        Some(())
    });
}

#[test]
fn o3_a_message_is_delivered_twice() {
    assert_found(Promise::O3, |entries| {
        repeat(
            entries,
            |what| matches!(what, Noted::Called { invocation, .. } if matches!(invocation.what, Call::Message { .. })),
        )
    });
}

#[test]
fn o4_a_message_is_recorded_that_nobody_said() {
    assert_found(Promise::O4, |entries| {
        change(entries, |what| {
            let Noted::Recorded { record, .. } = what else { return false };
            let Recorded::Message { payload, .. } = &mut record.what else { return false };
            *payload = Bytes::from_static(b"forged");
            true
        })
    });
}

#[test]
fn o5_two_messages_change_places() {
    assert_found(Promise::O5, |entries| {
        let says = |entry: &Entry| match &entry.what {
            Noted::Recorded { conversation, record } => match &record.what {
                Recorded::Message { .. } | Recorded::Request { .. } => {
                    Some((*conversation, record.what.clone()))
                }
                _ => None,
            },
            _ => None,
        };
        // Both must have been said, and nothing made of the first before the second comes.
        let untouched = |(first, next): &(usize, usize)| {
            let called = |entry: &Entry| matches!(entry.what, Noted::Called { .. });
            let said = |entry: &Entry| matches!(&entry.what, Noted::Said { event: Event::Message(_), .. });
            !entries[*first..*next].iter().any(|entry| called(entry) || said(entry))
        };
        let pairs =
            (0..entries.len()).flat_map(|first| (first + 1..entries.len()).map(move |next| (first, next)));
        let same = |(first, next): &(usize, usize)| {
            let of = |at: usize| says(&entries[at]).map(|(conversation, _)| conversation);
            of(*first).is_some() && of(*first) == of(*next)
        };
        let (first, next) = pairs.filter(|(first, next)| next - first < 8).filter(same).find(untouched)?;
        let (one, other) = (says(&entries[first])?.1, says(&entries[next])?.1);
        for (at, what) in [(first, other), (next, one)] {
            if let Noted::Recorded { record, .. } = &mut entries[at].what {
                record.what = what;
            }
        }
        Some(())
    });
}

#[test]
fn o6_an_opener_never_learns_that_its_conversation_is_open() {
    assert_found(Promise::O6, |entries| {
        let at = at(entries, |what| matches!(told(what), Some(Event::Opened { .. })))?;
        entries.remove(at);
        Some(())
    });
}

#[test]
fn l1_a_life_has_no_end() {
    assert_found(Promise::L1, |entries| {
        // Of a life at a host of a bus that is dialled: nobody else tells of its end.
        let at = entries.iter().position(|entry| {
            let Noted::Recorded { record, .. } = &entry.what else { return false };
            let Recorded::Left { pid, .. } = record.what else { return false };
            !is_of_client(entries, entry.bus) && is_hosted(entries, entry.bus, pid)
        })?;
        entries.remove(at);
        Some(())
    });
}

#[test]
fn l2_something_stands_behind_the_end_of_a_life() {
    assert_found(Promise::L2, |entries| {
        let at = at(
            entries,
            |what| matches!(what, Noted::Recorded { record, .. } if matches!(record.what, Recorded::Left { .. })),
        )?;
        let mut behind = entries[at].clone();
        if let Noted::Recorded { record, .. } = &mut behind.what {
            record.number = RecordNumber::new(record.number.get() + 1);
        }
        entries.insert(at + 1, behind);
        Some(())
    });
}

#[test]
fn l3_an_exit_is_told_twice() {
    assert_found(Promise::L3, |entries| {
        repeat(entries, |what| matches!(told(what), Some(Event::Exited { .. })))
    });
}

#[test]
fn l3_an_exit_is_not_told() {
    assert_found(Promise::L3, |entries| {
        entries.retain(|entry| !matches!(told(&entry.what), Some(Event::Exited { .. })));
        Some(())
    });
}

#[test]
fn l3_a_request_that_an_exit_leaves_unanswered_is_not_told_with_it() {
    assert_found(Promise::L3, |entries| {
        change(entries, |what| {
            let Noted::Told { event: Event::Exited { exit, .. }, .. } = what else { return false };
            std::mem::take(&mut exit.unanswered).count() > 0
        })
    });
}

#[test]
fn l3_a_request_is_said_to_be_unanswered_that_is_not() {
    assert_found(Promise::L3, |entries| {
        change(entries, |what| {
            let Noted::Told { event: Event::Exited { exit, .. }, .. } = what else { return false };
            exit.unanswered = Unanswered::new(1, [exit.record]);
            true
        })
    });
}

#[test]
fn l4_an_exit_has_no_cause() {
    assert_found(Promise::L4, |entries| {
        change(entries, |what| {
            let Noted::Answered { answer, .. } = what else { return false };
            let exits = matches!(answer, Answer::Exited(_));
            if exits {
                *answer = Answer::Done;
            }
            exits
        })
    });
}

#[test]
fn l4_nobody_has_closed_what_is_left_as_closed() {
    assert_found(Promise::L4, |entries| {
        change(entries, |what| {
            let Noted::Recorded { record, .. } = what else { return false };
            let Recorded::Left { why, .. } = &mut record.what else { return false };
            std::mem::replace(why, Leaving::Closed) == Leaving::OwnerLost
        })
    });
}

#[test]
fn l4_nobody_is_lost_where_an_owner_is_said_to_be() {
    assert_found(Promise::L4, |entries| {
        change(entries, |what| {
            let Noted::Recorded { record, .. } = what else { return false };
            let Recorded::Left { why, .. } = &mut record.what else { return false };
            std::mem::replace(why, Leaving::OwnerLost) == Leaving::Closed
        })
    });
}

#[test]
fn l5_a_request_is_held_that_is_not_open() {
    assert_found(Promise::L5, |entries| {
        change(entries, |what| {
            let Noted::Measured { load, recount } = what else { return false };
            load.requests += 1;
            recount.requests += 1;
            true
        })
    });
}

#[test]
fn l6_the_dead_can_be_asked() {
    assert_found(Promise::L6, |entries| {
        let is_last = |what: &Noted| matches!(told(what), Some(Event::Exited { exit, .. }) if !exit.goes_on);
        let at = at(entries, is_last)?;
        let Noted::Told { opener, event: Event::Exited { conversation, .. } } = entries[at].what.clone()
        else {
            return None;
        };
        let (id, payload) = (MessageId::new(999), Bytes::new());
        let message = Message {
            conversation,
            id,
            expects: Expects::Reply,
            timeout: None,
            redelivered: 0,
            metadata: Metadata::default(),
            payload,
        };
        let said = Noted::Said { opener, event: Event::Message(message) };
        entries.insert(at + 1, Entry { what: said, ..entries[at].clone() });
        Some(())
    });
}

#[test]
fn q1_a_request_ends_twice() {
    assert_found(Promise::Q1, |entries| {
        repeat(entries, |what| matches!(told(what), Some(Event::Reply(reply)) if reply.last))
    });
}

#[test]
fn q2_a_reply_names_another_request() {
    assert_found(Promise::Q2, |entries| {
        change(entries, |what| {
            let Noted::Told { event: Event::Reply(reply), .. } = what else { return false };
            reply.answers = MessageId::new(reply.answers.get() + 1);
            true
        })
    });
}

#[test]
fn q3_an_exit_is_told_where_the_log_has_a_reply() {
    assert_found(Promise::Q3, |entries| {
        change(entries, |what| {
            let Noted::Told { event, .. } = what else { return false };
            let Event::Reply(reply) = event else { return false };
            let (conversation, message, counts) =
                (reply.conversation, reply.answers, reply.last && reply.record.is_some());
            if counts {
                *event = Event::Outcome { conversation, message, outcome: Outcome::Exited };
            }
            counts
        })
    });
}

#[test]
fn q4_a_request_reaches_its_participant_at_its_deadline() {
    assert_found(Promise::Q4, |entries| {
        entries.iter_mut().find_map(|entry| {
            let Noted::Called { invocation, .. } = &mut entry.what else { return None };
            let Call::Message { deadline: Some(deadline), .. } = &mut invocation.what else { return None };
            *deadline = entry.at;
            Some(())
        })
    });
}

#[test]
fn p1_something_is_left_at_the_end() {
    assert_found(Promise::P1, |entries| {
        let Noted::Measured { load, recount } = &mut entries.last_mut()?.what else { return None };
        load.links += 1;
        recount.links += 1;
        Some(())
    });
}

#[test]
fn p1_a_participant_is_never_told_that_it_has_left() {
    assert_found(Promise::P1, |entries| {
        let leaves = |what: &Noted| matches!(what, Noted::Called { invocation, .. } if matches!(invocation.what, Call::Leave { .. }));
        let call = at(entries, leaves)?;
        entries.remove(call);
        Some(())
    });
}

#[test]
fn r1_the_two_ends_do_not_agree_on_credit() {
    for give in [|here: &mut CreditLeft| here.to_say += 1, |here: &mut CreditLeft| here.to_hear -= 1] {
        assert_found(Promise::R1, move |entries| {
            change(entries, |what| {
                let Noted::Credit { here, .. } = what else { return false };
                give(here);
                true
            })
        });
    }
}

#[test]
fn r1_credit_is_never_given_back() {
    assert_found(Promise::R1, |entries| {
        change(entries, |what| {
            let Noted::Credit { of: Credited::Conversation(_), here, there, .. } = what else { return false };
            there.to_say -= 300;
            (here.to_hear, here.open) = (there.to_say, here.open + 300);
            true
        })
    });
}

#[test]
fn r2_the_accounts_are_wrong() {
    assert_found(Promise::R2, |entries| {
        change(entries, |what| {
            let Noted::Measured { recount, .. } = what else { return false };
            recount.held_bytes += 1;
            true
        })
    });
}

#[test]
fn r2_more_is_held_than_may_be() {
    assert_found(Promise::R2, |entries| {
        change(entries, |what| {
            let Noted::Held { bytes, recount, bytes_max, .. } = what else { return false };
            (*bytes, *recount) = (*bytes_max + 1, *bytes_max + 1);
            true
        })
    });
}

#[test]
fn r2_the_account_of_a_link_is_wrong() {
    assert_found(Promise::R2, |entries| {
        change(entries, |what| {
            let Noted::Held { recount, .. } = what else { return false };
            *recount += 1;
            true
        })
    });
}

#[test]
fn r3_a_link_waits_too_long_for_its_turn() {
    assert_found(Promise::R3, |entries| {
        change(entries, |what| {
            let Noted::Waited { turns, turns_max, .. } = what else { return false };
            *turns = *turns_max + 1;
            true
        })
    });
}

#[test]
fn r4_a_connection_speaks_after_its_end() {
    assert_found(Promise::R4, |entries| repeat(entries, |what| matches!(told(what), Some(Event::Closed(_)))));
}

#[test]
fn r4_a_link_ends_twice() {
    assert_found(Promise::R4, |entries| repeat(entries, |what| matches!(what, Noted::LinkClosed { .. })));
}

#[test]
fn r4_a_link_opens_a_conversation_after_its_end() {
    assert_found(Promise::R4, |entries| {
        let owned = |what: &Noted| matches!(what, Noted::Owned { .. });
        let first = at(entries, owned)?;
        let Noted::Owned { link, .. } = entries[first].what else { return None };
        let end = Entry { what: Noted::LinkClosed { link }, ..entries[first].clone() };
        entries.insert(first, end);
        Some(())
    });
}

#[test]
fn r6_two_runs_of_a_tape_differ() {
    let runs = Cell::new(0);
    assert_found(Promise::R6, move |entries| {
        runs.set(runs.get() + 1);
        entries.truncate(entries.len() - usize::from(runs.get() % 2 == 0));
        Some(())
    });
}
