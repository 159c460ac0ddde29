//! Calls participants that do not wait, and catches what they throw.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use liminal_core::participant::AnswerSink;
use liminal_core::{Answer, Call, Factory, Invocation, Participant, invoke};
use liminal_proto::{ExitReason, Instant};

/// Makes one call. Gives the participant back unless it is no more.
pub(super) fn call(
    now: Instant,
    invocation: &Invocation,
    participant: Option<Box<dyn Participant>>,
    factory: &dyn Factory,
    sink: &mut dyn AnswerSink,
) -> Option<Box<dyn Participant>> {
    let mut ended = Ended { sink, exited: false };
    // Not inside what is caught: a participant that panics would be dropped while it panics, and if it
    // then panicked again, the program would end.
    let mut participant = participant;
    let called = catch_unwind(AssertUnwindSafe(|| {
        let participant = participant.get_or_insert_with(|| factory.create());
        invoke(&mut **participant, now, invocation, &mut ended);
    }));
    if let Err(panic) = called {
        ended.answer(Answer::Exited(crashed(&*panic)));
    }
    if ended.exited || matches!(invocation.what, Call::Leave { .. }) {
        discard(participant.take());
    }
    participant
}

/// Drops what is a user's: its destructor may panic.
pub(super) fn discard<T>(of_user: T) {
    // What it was about is over.
    let _ = catch_unwind(AssertUnwindSafe(move || drop(of_user)));
}

/// Notes whether the participant has exited on the way to where its answers go.
struct Ended<'a> {
    sink: &'a mut dyn AnswerSink,
    exited: bool,
}

impl AnswerSink for Ended<'_> {
    fn answer(&mut self, answer: Answer) {
        self.exited |= matches!(answer, Answer::Exited(_));
        self.sink.answer(answer);
    }
}

/// The exit reason of a panic: what it said.
pub(super) fn crashed(panic: &(dyn Any + Send)) -> ExitReason {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panicked".to_owned());
    ExitReason::Crashed { text }
}
