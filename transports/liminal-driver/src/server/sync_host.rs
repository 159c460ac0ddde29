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
    let called = catch_unwind(AssertUnwindSafe(|| {
        let mut participant = participant.unwrap_or_else(|| factory.create());
        invoke(&mut *participant, now, invocation, &mut ended);
        let stays = !ended.exited && !matches!(invocation.what, Call::Leave { .. });
        // Dropping it may panic as well, so it is dropped here.
        stays.then_some(participant)
    }));
    match called {
        Ok(participant) => participant,
        Err(panic) => {
            ended.sink.answer(Answer::Exited(crashed(&*panic)));
            None
        }
    }
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
