//! Participants that do not do what they should, asked by peers that ask for just that.

use std::time::Duration;

use liminal_core::Recorded;
use liminal_core::transcript::Noted;
use liminal_proto::ReasonCode;
use liminal_proto::wire::{Body, Dialect};
use liminal_sim::{Hostile, Ran};

use crate::frames::*;
use crate::kit::{Attack, kept, refusals, replies};

/// A peer that opens fifty conversations on a subject and asks in each.
fn asks_fifty(dialect: Dialect, subject: &str) -> Hostile {
    let talk = (0..50).flat_map(|nth| {
        let stream = 1 + 2 * nth;
        [open(stream, subject), ask(dialect, stream, 1, b"?")]
    });
    let talk: Vec<u8> = std::iter::once(connect(dialect)).chain(talk).flatten().collect();
    Hostile::new().write(talk).wait(Duration::from_secs(20))
}

fn exits(ran: &Ran) -> usize {
    let is_exit = |what: &Noted| matches!(what, Noted::Recorded { record, .. } if matches!(record.what, Recorded::Exited { .. }));
    ran.transcript.entries().iter().filter(|entry| is_exit(&entry.what)).count()
}

#[test]
fn panics_take_down_their_own_conversations_alone() {
    for dialect in DIALECTS {
        Attack::new(asks_fifty(dialect, "panic")).check_run(|ran| {
            assert_eq!(exits(ran), 50);
            let told = kept(&ran.encounters[0], dialect);
            let exited = told.iter().filter(|it| matches!(it.body, Body::Exited { .. })).count();
            let refused = refusals(&told).iter().filter(|code| **code == ReasonCode::EXITED).count();
            assert!(exited == 50 || refused == 50, "{exited} and {refused}");
        });
    }
}

#[test]
fn requests_that_nobody_answers_end_in_time() {
    for dialect in DIALECTS {
        for (subject, code) in [("hold", ReasonCode::NO_REPLY), ("late", ReasonCode::DEADLINE)] {
            Attack::new(asks_fifty(dialect, subject)).check(|encounter| {
                let told = kept(encounter, dialect);
                let codes = refusals(&told);
                assert_eq!((replies(&told), codes.len()), (0, 50), "{subject}");
                assert!(codes.iter().all(|it| *it == code), "{subject}: {codes:?}");
            });
        }
    }
}

#[test]
fn a_second_reply_is_nobodys() {
    for dialect in DIALECTS {
        Attack::new(asks_fifty(dialect, "twice"))
            .check(|encounter| assert_eq!(replies(&kept(encounter, dialect)), 50));
    }
}
