//! A host of its own: each participant has a thread, and the bus is told of its end as it would be of the
//! end of a process.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use liminal_core::participant::AnswerSink;
use liminal_core::{Answer, Call, ConversationKey, Factory, Invocation, invoke};
use liminal_driver::server::{Answers, Host};
use liminal_proto::{ExitReason, Pid};

use crate::puppet::{PLANNED, say};

/// One participant.
type Whom = (ConversationKey, Pid);

/// A call, and where its answers go.
type Called = (Invocation, Answers);

/// Gives every participant a thread.
pub struct Threads {
    factory: Arc<dyn Factory>,
    participants: Arc<Mutex<BTreeMap<Whom, Sender<Called>>>>,
}

impl Threads {
    /// A host for what this makes.
    pub fn new(factory: Arc<dyn Factory>) -> Self {
        Self { factory, participants: Arc::default() }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Threads")
    }
}

impl Host for Threads {
    fn call(&self, invocation: Invocation, answers: Answers) {
        let whom = (invocation.conversation, invocation.pid);
        let mut participants = self.participants.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(invocation.what, Call::Join { .. }) {
            let (calls, called) = channel();
            participants.insert(whom, calls);
            let (factory, participants) = (Arc::clone(&self.factory), Arc::clone(&self.participants));
            thread::spawn(move || {
                live(&*factory, &called);
                participants.lock().unwrap_or_else(PoisonError::into_inner).remove(&whom);
            });
        }
        if let Some(calls) = participants.get(&whom) {
            // To one that is gone already there is nothing to say.
            drop(calls.send((invocation, answers)));
        }
    }
}

/// The life of one participant. Its end is told before its last call returns.
fn live(factory: &dyn Factory, called: &Receiver<Called>) {
    let mut participant = factory.create();
    while let Ok((invocation, mut answers)) = called.recv() {
        let hosted = answers.participant();
        let said = said(&invocation);
        if said == Some(say::EXIT_DURING.as_bytes()) {
            hosted.exited(ExitReason::Signal { signal: 9 });
        }
        let mut sink = Sink { answers: &mut answers, end: None };
        let now = sink.answers.now();
        let call = || invoke(&mut *participant, now, &invocation, &mut sink);
        let returned = catch_unwind(AssertUnwindSafe(call));
        let end = sink.end.unwrap_or(Answer::Done);
        let reason = match (returned, &end) {
            (Err(_), _) => Some(ExitReason::Crashed { text: PLANNED.into() }),
            (Ok(()), Answer::Exited(reason)) => Some(reason.clone()),
            (Ok(()), _) => None,
        };
        if let Some(reason) = reason {
            hosted.exited(reason);
            let _ = catch_unwind(AssertUnwindSafe(move || drop(participant)));
            return answers.answer(Answer::Done);
        }
        answers.answer(end);
        if said == Some(say::EXIT_AFTERWARDS.as_bytes()) {
            hosted.exited(ExitReason::Signal { signal: 9 });
            break;
        }
        if matches!(invocation.what, Call::Leave { .. }) {
            break;
        }
    }
    let _ = catch_unwind(AssertUnwindSafe(move || drop(participant)));
}

fn said(invocation: &Invocation) -> Option<&[u8]> {
    if let Call::Message { payload, .. } = &invocation.what { Some(payload) } else { None }
}

struct Sink<'a> {
    answers: &'a mut Answers,
    end: Option<Answer>,
}

impl AnswerSink for Sink<'_> {
    fn answer(&mut self, answer: Answer) {
        if answer.returns() {
            self.end = Some(answer);
        } else {
            self.answers.answer(answer);
        }
    }
}
