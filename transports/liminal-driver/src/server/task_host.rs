//! Runs participants that wait, each call as a task that a cancellation drops.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::FutureExt as _;
use liminal_core::participant::{AsyncFactory, AsyncHost, AsyncParticipant, Pending, invoke_async};
use liminal_core::{Answer, Call, Invocation, Ticket};
use liminal_proto::{ExitReason, Instant};

use super::Hub;
use super::hub::Instance;
use super::sync_host::crashed;

/// Says that nobody needs the result of a call any more.
#[derive(Debug, Default)]
pub(super) struct Cancel {
    cancelled: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Cancel {
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    async fn cancelled(&self) {
        poll_fn(|cx| {
            *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            if self.cancelled.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// One call of an async participant, from its start until the bus knows that it returned.
pub(super) async fn call(
    hub: Arc<Hub>,
    ticket: Ticket,
    invocation: Invocation,
    participant: Option<Box<dyn AsyncParticipant>>,
    factory: Arc<dyn AsyncFactory>,
    cancel: Arc<Cancel>,
) {
    let exit = Exit::default();
    let made = catch_unwind(AssertUnwindSafe(|| participant.unwrap_or_else(|| factory.create())));
    let (answer, participant) = match made {
        Err(panic) => (Answer::Exited(crashed(&*panic)), None),
        Ok(mut participant) => {
            let host = TaskHost { hub: Arc::clone(&hub), ticket, exit: Arc::clone(&exit) };
            let returned = {
                let call = invoke_async(&mut *participant, &invocation, Box::new(host));
                let call = AssertUnwindSafe(call).catch_unwind();
                let call = async { call.await.map_err(|panic| crashed(&*panic)) };
                call.or(async {
                    cancel.cancelled().await;
                    Ok(())
                })
                .await
            };
            let asked = exit.lock().unwrap_or_else(PoisonError::into_inner).take();
            match returned.and_then(|()| asked.map_or(Ok(()), Err)) {
                Err(reason) => (Answer::Exited(reason), discard(participant)),
                Ok(()) if matches!(invocation.what, Call::Leave { .. }) => {
                    (Answer::Done, discard(participant))
                }
                Ok(()) => (Answer::Done, Some(participant)),
            }
        }
    };
    hub.returned(ticket, invocation.pid, answer, participant.map(Instance::Async));
}

/// Drops a participant that is no more; its destructor may panic.
fn discard(participant: Box<dyn AsyncParticipant>) -> Option<Box<dyn AsyncParticipant>> {
    let _ = catch_unwind(AssertUnwindSafe(move || drop(participant)));
    None
}

type Exit = Arc<Mutex<Option<ExitReason>>>;

struct TaskHost {
    hub: Arc<Hub>,
    ticket: Ticket,
    exit: Exit,
}

impl AsyncHost for TaskHost {
    fn part(&mut self, payload: Bytes) {
        self.hub.answer(self.ticket, Answer::Part(payload));
    }

    fn reply(&mut self, payload: Bytes) {
        self.hub.answer(self.ticket, Answer::Reply(payload));
    }

    fn exit(&mut self, reason: ExitReason) {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }

    fn now(&self) -> Instant {
        self.hub.clock().now()
    }

    fn sleep(&self, time: Duration) -> Pending<'static> {
        let sleep: Pin<Box<dyn Future<Output = ()> + Send>> = self.hub.sleep(time);
        sleep
    }
}
