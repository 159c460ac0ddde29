//! How the calls that the bus wants made are made, outside of its lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use liminal_core::participant::{AnswerSink, AsyncFactory};
use liminal_core::{Answer, Factory, Ticket};
use liminal_proto::ReasonCode;
use smallvec::SmallVec;

use super::core::{Instance, Run, whom};
use super::{Hub, Returned, Round, log};
use crate::server::task_host::Cancel;
use crate::server::{Answers, Host, Kind, sync_host, task_host};

/// The answers of one call: mostly a reply, and that it returned.
#[derive(Default)]
struct InlineAnswers(SmallVec<[Answer; 2]>);

impl AnswerSink for InlineAnswers {
    fn answer(&mut self, answer: Answer) {
        self.0.push(answer);
    }
}

impl Hub {
    pub(super) fn make(self: &Arc<Self>, mut run: Run, round: &mut Round) {
        match run.kind.take() {
            Some(Kind::Inline(factory)) => self.make_inline(run, &*factory, round),
            Some(Kind::Blocking(factory)) => self.make_blocking(run, factory, round),
            Some(Kind::Async(factory)) => self.make_async(run, factory, round),
            Some(Kind::Hosted(host)) => self.make_hosted(run, &*host, round),
            Some(Kind::TraceOnly) | None => {
                let refused = Answer::Refused { reason: ReasonCode::NO_PARTICIPANT, text: None };
                self.give_back(&run, None, refused, round);
            }
        }
    }

    #[inline(never)]
    fn make_inline(&self, mut run: Run, factory: &dyn Factory, round: &mut Round) {
        let mut answers = InlineAnswers::default();
        let participant = run.instance.take().and_then(Instance::sync);
        let participant = sync_host::call(round.now, &run.invocation, participant, factory, &mut answers);
        round.now = self.clock.now();
        answers.0.iter().for_each(log);
        let mut core = self.lock();
        let gone = core.keep(whom(&run.invocation), participant.map(Instance::Sync));
        core.answers(run.ticket, answers.0, round);
        core.collect(round);
        drop(core);
        sync_host::discard(gone);
    }

    #[inline(never)]
    fn make_blocking(self: &Arc<Self>, run: Run, factory: Arc<dyn Factory>, round: &mut Round) {
        let hub = Arc::clone(self);
        let seat = Arc::new(Mutex::new(Some(run)));
        let taken = Arc::clone(&seat);
        let job = Box::new(move |pool_seat| {
            let Some(Run { ticket, invocation, instance, .. }) = take(&taken) else { return };
            let mut sink = Direct { hub: &hub, ticket, end: None };
            let (now, participant) = (hub.clock.now(), instance.and_then(Instance::sync));
            let participant = sync_host::call(now, &invocation, participant, &*factory, &mut sink);
            let end = sink.end.unwrap_or(Answer::Done);
            // Before the bus is told: the next call may need it.
            drop(pool_seat);
            hub.returned(ticket, whom(&invocation), end, participant.map(Instance::Sync));
        });
        if self.pool.run(job).is_err()
            && let Some(mut run) = take(&seat)
        {
            let instance = run.instance.take();
            self.give_back(&run, instance, Answer::Busy, round);
        }
        self.lock().collect(round);
    }

    #[inline(never)]
    fn make_async(self: &Arc<Self>, run: Run, factory: Arc<dyn AsyncFactory>, round: &mut Round) {
        let cancel = self.cancel_of(run.ticket);
        let hub = Arc::clone(self);
        let seat = Arc::new(Mutex::new(Some(run)));
        let taken = Arc::clone(&seat);
        let task = Box::pin(async move {
            let Some(Run { ticket, invocation, instance, .. }) = take(&taken) else {
                return Returned::nothing();
            };
            let participant = instance.and_then(Instance::asynchronous);
            task_host::call(hub, ticket, invocation, participant, factory, cancel).await
        });
        if self.spawn.spawn(task).is_err()
            && let Some(mut run) = take(&seat)
        {
            let instance = run.instance.take();
            self.give_back(&run, instance, Answer::Busy, round);
        }
        self.lock().collect(round);
    }

    #[inline(never)]
    fn make_hosted(self: &Arc<Self>, run: Run, host: &dyn Host, round: &mut Round) {
        let cancel = self.cancel_of(run.ticket);
        let answers = Answers::new(Arc::clone(self), run.ticket, &run.invocation, cancel);
        // Dropping the answers ends the call, whatever the host did.
        let _ = catch_unwind(AssertUnwindSafe(|| host.call(run.invocation, answers)));
        self.lock().collect(round);
    }

    /// What tells a call that nobody needs it any more.
    fn cancel_of(&self, ticket: Ticket) -> Arc<Cancel> {
        let cancel = Arc::new(Cancel::default());
        self.lock().cancels.insert(ticket, Arc::clone(&cancel));
        cancel
    }

    /// A call was not made.
    fn give_back(&self, run: &Run, instance: Option<Instance>, answer: Answer, round: &mut Round) {
        let mut core = self.lock();
        core.cancels.remove(&run.ticket);
        let gone = core.keep(whom(&run.invocation), instance);
        round.now = self.clock.now();
        core.answers(run.ticket, [answer], round);
        core.collect(round);
        drop(core);
        sync_host::discard(gone);
    }
}

/// Gives replies to the bus as they are made, and keeps the answer that ends the call.
struct Direct<'a> {
    hub: &'a Arc<Hub>,
    ticket: Ticket,
    end: Option<Answer>,
}

impl AnswerSink for Direct<'_> {
    fn answer(&mut self, answer: Answer) {
        if answer.returns() {
            self.end = Some(answer);
        } else {
            self.hub.answer(self.ticket, answer);
        }
    }
}

fn take<T>(seat: &Mutex<Option<T>>) -> Option<T> {
    seat.lock().unwrap_or_else(PoisonError::into_inner).take()
}
