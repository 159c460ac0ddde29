//! Runs participants that wait, each call as a task that a cancellation drops.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::FutureExt as _;
use liminal_core::participant::{AsyncFactory, AsyncHost, AsyncParticipant, Pending, invoke_async};
use liminal_core::{Answer, Call, Invocation, Ticket};
use liminal_proto::{Content, ExitReason, Instant};

use super::Hub;
use super::hub::{Instance, Returned, whom};
use super::sync_host::{crashed, discard};

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

    /// Wakes the one who asked last.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if self.cancelled.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    async fn cancelled(&self) {
        poll_fn(|cx| self.poll(cx)).await;
    }
}

/// One call of an async participant, from its start until it has returned. What is left to do then is to
/// tell the bus.
pub(super) async fn call(
    hub: Arc<Hub>,
    ticket: Ticket,
    invocation: Invocation,
    participant: Option<Box<dyn AsyncParticipant>>,
    factory: Arc<dyn AsyncFactory>,
    cancel: Arc<Cancel>,
) -> Returned {
    let exit = Exit::default();
    let made = catch_unwind(AssertUnwindSafe(|| participant.unwrap_or_else(|| factory.create())));
    let (answer, participant) = match made {
        Err(panic) => (Answer::Exited(crashed(&*panic)), None),
        Ok(mut participant) => {
            let host = TaskHost { hub: Arc::clone(&hub), ticket, exit: Arc::clone(&exit) };
            let returned = caught(&mut *participant, &invocation, Box::new(host), &cancel).await;
            let asked = exit.lock().unwrap_or_else(PoisonError::into_inner).take();
            let leaves = matches!(invocation.what, Call::Leave { .. });
            let (answer, stays) = match returned.and_then(|()| asked.map_or(Ok(()), Err)) {
                Err(reason) => (Answer::Exited(reason), false),
                Ok(()) => (Answer::Done, !leaves),
            };
            if stays {
                (answer, Some(participant))
            } else {
                discard(participant);
                (answer, None)
            }
        }
    };
    let instance = participant.map(Instance::Async);
    Returned::new(move || hub.returned(ticket, whom(&invocation), answer, instance))
}

/// Runs a call until it returns or is cancelled. All that is the user's code is in here: the function that
/// makes the future, the future, and what its end drops.
async fn caught(
    participant: &mut dyn AsyncParticipant,
    invocation: &Invocation,
    host: Box<dyn AsyncHost>,
    cancel: &Cancel,
) -> Result<(), ExitReason> {
    let call = AssertUnwindSafe(async { invoke_async(participant, invocation, host).await }).catch_unwind();
    let mut call = pin!(Some(call));
    let returned = poll_fn(|cx| match call.as_mut().as_pin_mut() {
        Some(call) => call.poll(cx).map_err(|panic| crashed(&*panic)),
        None => Poll::Ready(Ok(())),
    });
    let cancelled = async {
        cancel.cancelled().await;
        Ok(())
    };
    let returned = returned.or(cancelled).await;
    let dropped = catch_unwind(AssertUnwindSafe(|| call.set(None)));
    returned.and(dropped.map_err(|panic| crashed(&*panic)))
}

type Exit = Arc<Mutex<Option<ExitReason>>>;

struct TaskHost {
    hub: Arc<Hub>,
    ticket: Ticket,
    exit: Exit,
}

impl AsyncHost for TaskHost {
    fn part(&mut self, content: Content) {
        self.hub.answer(self.ticket, Answer::Part(content));
    }

    fn reply(&mut self, content: Content) {
        self.hub.answer(self.ticket, Answer::Reply(content));
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
