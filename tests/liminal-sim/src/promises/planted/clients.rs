//! Faults with clients that serve: of the bus that has invited them, and of what is heard of them.

use bytes::Bytes;
use liminal_core::transcript::{BusId, Noted};
use liminal_core::{Call, ConversationKey, Leaving, LinkId, Record, Recorded};
use liminal_proto::{ConversationId, Event, ExitReason, MessageId, Metadata, Outcome, Pid, RecordNumber};

use super::{Entries, Promise, assert_found, at, change, is_hosted, repeat, told};

type Place = (BusId, LinkId, ConversationId);

/// Everybody who was invited: where, to what, and as whom.
fn guests(entries: &Entries) -> impl Iterator<Item = (Place, ConversationKey, Pid)> {
    entries.iter().filter_map(|entry| match &entry.what {
        Noted::CalledOn { link, id, invocation, .. } if matches!(invocation.what, Call::Join { .. }) => {
            Some(((entry.bus, *link, *id), invocation.conversation, invocation.pid))
        }
        _ => None,
    })
}

/// The exits of those who were invited: where their records are.
fn exits(entries: &Entries) -> impl Iterator<Item = usize> {
    let exited = |what: &Noted| match what {
        Noted::Recorded { conversation, record } => match record.what {
            Recorded::Exited { pid, .. } => Some((*conversation, pid)),
            _ => None,
        },
        _ => None,
    };
    entries.iter().enumerate().filter_map(move |(at, entry)| {
        let (key, who) = exited(&entry.what)?;
        let was_invited = guests(entries).any(|(place, of, pid)| (place.0, of, pid) == (entry.bus, key, who));
        was_invited.then_some(at)
    })
}

fn record(what: &Noted) -> Option<&Record> {
    if let Noted::Recorded { record, .. } = what { Some(record) } else { None }
}

fn heard(what: &Noted) -> Option<&Event> {
    if let Noted::Heard { event, .. } = what { Some(event) } else { None }
}

/// The first thing that a bus hears of which `of` makes another.
fn change_heard(entries: &mut Entries, of: impl Fn(&mut Event) -> bool) -> Option<()> {
    change(entries, |what| if let Noted::Heard { event, .. } = what { of(event) } else { false })
}

#[test]
fn l1_the_exit_of_somebody_on_a_link_stands_in_the_log_twice() {
    assert_found(Promise::L1, |entries| {
        let goes_on = |at: &usize| {
            let exited = record(&entries[*at].what).map(|record| &record.what);
            matches!(exited, Some(Recorded::Exited { goes_on: true, .. }))
        };
        let first = exits(entries).find(goes_on)?;
        let mut again = entries[first].clone();
        if let Noted::Recorded { record, .. } = &mut again.what {
            record.number = RecordNumber::new(record.number.get() + 1);
        }
        entries.insert(first + 1, again);
        Some(())
    });
}

#[test]
fn l3_the_exit_of_somebody_on_a_link_is_told_twice() {
    assert_found(Promise::L3, |entries| {
        let exit = exits(entries).find_map(|at| record(&entries[at].what).map(|record| record.number))?;
        repeat(
            entries,
            |what| matches!(told(what), Some(Event::Exited { exit: it, .. }) if it.record == exit),
        )
    });
}

#[test]
fn l3_the_exit_of_somebody_on_a_link_is_in_no_log() {
    assert_found(Promise::L3, |entries| {
        let at = exits(entries).next()?;
        // Nothing else happens to the end of the run.
        let after = entries.split_off(at).into_iter().skip(1);
        entries.extend(after.filter(|entry| matches!(entry.what, Noted::Measured { .. })));
        Some(())
    });
}

#[test]
fn l3_a_dead_client_is_heard() {
    // What it said stands in the log, in front of its exit and behind its death.
    assert_found(Promise::L3, |entries| {
        exits(entries).collect::<Vec<_>>().into_iter().find_map(|at| {
            let exit = entries[at].clone();
            let (Noted::Recorded { conversation, record }, bus) = (&exit.what, exit.bus) else { return None };
            let asked = entries[..at].iter().rev().find_map(|entry| match &entry.what {
                Noted::Recorded { conversation: of, record } if (entry.bus, of) == (bus, conversation) => {
                    matches!(record.what, Recorded::Request { .. }).then_some(record.number)
                }
                _ => None,
            })?;
            let (last, payload) = (true, Bytes::from_static(b"from beyond"));
            let what = Recorded::Reply { request: asked, last, payload, metadata: Metadata::default() };
            let reply = Record { what, ..record.clone() };
            let mut late = exit.clone();
            late.what = Noted::Recorded { conversation: *conversation, record: reply };
            entries.insert(at, late);
            Some(())
        })
    });
}

#[test]
fn l3_the_next_joins_before_the_exit_of_the_one_before_is_told() {
    assert_found(Promise::L3, |entries| {
        exits(entries).collect::<Vec<_>>().into_iter().find_map(|at| {
            let (bus, key) = (entries[at].bus, conversation(&entries[at].what)?);
            let next = entries[at + 1..].iter().position(|entry| {
                entry.bus == bus && record(&entry.what).is_some() && conversation(&entry.what) == Some(key)
            })?;
            let next = at + 1 + next;
            let joins = matches!(record(&entries[next].what)?.what, Recorded::Joined { .. });
            let [exit, joined] = [at, next].map(|at| record(&entries[at].what).cloned());
            for (at, other) in [(at, joined), (next, exit)].into_iter().filter(|_| joins) {
                if let (Noted::Recorded { record, .. }, Some(other)) = (&mut entries[at].what, other) {
                    record.what = other.what;
                }
            }
            joins.then_some(())
        })
    });
}

fn conversation(what: &Noted) -> Option<ConversationKey> {
    if let Noted::Recorded { conversation, .. } = what { Some(*conversation) } else { None }
}

#[test]
fn o5_a_request_is_lost_on_its_way_to_the_next() {
    assert_found(Promise::O5, |entries| {
        // The next is given what comes behind it.
        let gives = |what: &Noted| match what {
            Noted::Called { invocation, .. } | Noted::CalledOn { invocation, .. } => match invocation.what {
                Call::Message { redelivered, record, .. } => {
                    Some((redelivered, record, invocation.conversation, invocation.pid))
                }
                _ => None,
            },
            _ => None,
        };
        let all: Vec<_> = entries.iter().map(|entry| Some((entry.bus, gives(&entry.what)?))).collect();
        let lost = all.iter().enumerate().find_map(|(at, given)| {
            let (bus, (redelivered, record, key, pid)) = (*given)?;
            let follows =
                all[at + 1..].iter().flatten().find(|(of, it)| (*of, it.2, it.3) == (bus, key, pid))?;
            (redelivered > 0 && follows.1.1 > record).then_some(at)
        })?;
        // It is open, and never ends.
        let (bus, (_, number, key, _)) = all[lost]?;
        entries.remove(lost);
        entries.retain(|entry| {
            let ends = |record: &Record| match &record.what {
                Recorded::RequestEnded { request, .. } | Recorded::Reply { request, .. } => {
                    *request == number
                }
                _ => false,
            };
            let is_it = |what: &Noted| conversation(what) == Some(key) && record(what).is_some_and(ends);
            !(entry.bus == bus && is_it(&entry.what))
        });
        Some(())
    });
}

#[test]
fn o3_a_request_comes_again_without_a_word_of_that() {
    assert_found(Promise::O3, |entries| {
        change(entries, |what| {
            let (Noted::Called { invocation, .. } | Noted::CalledOn { invocation, .. }) = what else {
                return false;
            };
            let Call::Message { redelivered, .. } = &mut invocation.what else { return false };
            std::mem::take(redelivered) > 0
        })
    });
}

#[test]
fn r2_more_is_under_way_than_a_client_has_offered() {
    assert_found(Promise::R2, |entries| {
        change_heard(entries, |event| {
            let Event::Serve { capacity, .. } = event else { return false };
            std::mem::take(capacity) == 1
        })
    });
}

#[test]
fn o4_somebody_is_invited_for_what_was_taken_back() {
    assert_found(Promise::O4, |entries| {
        let joins = |what: &Noted| matches!(what, Noted::CalledOn { invocation, .. } if matches!(invocation.what, Call::Join { .. }));
        let invitation = at(entries, joins)?;
        let Noted::CalledOn { link, offer, .. } = entries[invitation].what else { return None };
        let mut withdrawal = entries[invitation].clone();
        withdrawal.what = Noted::Heard { link, event: Event::Withdraw { offer, drain: true } };
        entries.insert(invitation, withdrawal);
        Some(())
    });
}

#[test]
fn o4_a_client_is_heard_to_say_what_it_did_not() {
    assert_found(Promise::O4, |entries| {
        change_heard(entries, |event| {
            let Event::Reply(reply) = event else { return false };
            reply.payload = Bytes::from_static(b"forged");
            true
        })
    });
}

#[test]
fn o4_what_a_client_has_said_is_heard_twice() {
    assert_found(Promise::O4, |entries| repeat(entries, |what| matches!(heard(what), Some(Event::Reply(_)))));
}

#[test]
fn o4_somebody_joins_who_was_not_invited() {
    assert_found(Promise::O4, |entries| {
        let place = guests(entries).next()?.0;
        entries.retain(|entry| !matches!(&entry.what, Noted::CalledOn { link, id, .. } if (entry.bus, *link, *id) == place));
        Some(())
    });
}

#[test]
fn o5_two_messages_to_a_client_change_places() {
    assert_found(Promise::O5, |entries| {
        change(entries, |what| {
            let Noted::CalledOn { message, invocation, .. } = what else { return false };
            let follows = matches!(&invocation.what, Call::Message { record, .. } if record.get() > 2);
            if follows {
                *message = MessageId::new(0);
            }
            follows
        })
    });
}

#[test]
fn o5_a_client_is_given_the_next_message_before_it_has_answered() {
    assert_found(Promise::O5, |entries| {
        let accepts = |what: &Noted| {
            matches!(heard(what), Some(Event::Outcome { outcome: Outcome::Accepted { .. }, .. }))
        };
        let accepted = at(entries, accepts)?;
        entries.remove(accepted);
        Some(())
    });
}

#[test]
fn o6_a_client_is_told_twice_that_a_conversation_is_over() {
    assert_found(Promise::O6, |entries| repeat(entries, |what| matches!(what, Noted::LetGo { .. })));
}

#[test]
fn o6_an_offer_is_answered_twice() {
    assert_found(Promise::O6, |entries| {
        repeat(entries, |what| matches!(told(what), Some(Event::Serving { .. })))
    });
}

#[test]
fn o6_an_offer_is_never_answered() {
    assert_found(Promise::O6, |entries| {
        entries.retain(|entry| !matches!(told(&entry.what), Some(Event::Serving { .. })));
        Some(())
    });
}

#[test]
fn l4_a_client_is_said_to_have_exited_and_has_not() {
    assert_found(Promise::L4, |entries| {
        change_heard(entries, |event| {
            let Event::Exited { exit, .. } = event else { return false };
            exit.reason = ExitReason::Other { cause: 4_711, text: String::new() };
            true
        })
    });
}

#[test]
fn q1_a_client_says_of_a_request_that_its_time_is_over_and_it_is_not() {
    assert_found(Promise::Q1, |entries| {
        change_heard(entries, |event| {
            let Event::Reply(reply) = event else { return false };
            let (conversation, message) = (reply.conversation, reply.answers);
            *event = Event::Outcome { conversation, message, outcome: Outcome::Deadline };
            true
        })
    });
}

#[test]
fn l4_a_client_says_that_a_conversation_is_over_and_its_participant_takes_part() {
    assert_found(Promise::L4, |entries| {
        let calm = at(entries, |what| matches!(what, Noted::Calm))?;
        let left = entries[..calm].iter().position(|entry| {
            let left = record(&entry.what).map(|record| &record.what);
            let Some(Recorded::Left { pid, why: Leaving::Closed }) = left else { return false };
            super::is_of_client(entries, entry.bus) && is_hosted(entries, entry.bus, *pid)
        })?;
        entries.remove(left);
        Some(())
    });
}

#[test]
fn r4_a_link_is_heard_after_its_end() {
    assert_found(Promise::R4, |entries| {
        let offers = |what: &Noted| matches!(heard(what), Some(Event::Serve { .. }));
        let serves = entries[at(entries, offers)?].clone();
        let Noted::Heard { link, .. } = serves.what else { return None };
        let end = entries.iter().position(|entry| {
            entry.bus == serves.bus && matches!(entry.what, Noted::LinkClosed { link: of } if of == link)
        })?;
        entries.insert(end + 1, serves);
        Some(())
    });
}
