//! What the driver does for participants beside reading: it runs their tasks, and tells their hub the time.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use async_executor::Executor;

use super::server::ring;
use super::sleep::{Alarm, Sleeper};
use crate::server::Hub;

/// What participants need of the driver of their connection.
pub(super) struct Minding {
    /// Runs the tasks, for as long as it is polled.
    tasks: Pin<Box<dyn Future<Output = ()> + Send>>,
    alarm: Alarm,
    call: Arc<Call>,
    /// Calls.
    waker: Waker,
}

/// Wakes the driver for its participants. It is woken for what there is to read as well, and far more often.
struct Call {
    waits: AtomicBool,
    driver: Mutex<Waker>,
}

impl Minding {
    pub(super) fn new(executor: &Arc<Executor<'static>>, sleeper: &Arc<dyn Sleeper>) -> Self {
        let executor = Arc::clone(executor);
        let tasks = Box::pin(async move { executor.run(pending()).await });
        let call = Arc::new(Call { waits: AtomicBool::new(true), driver: Mutex::new(Waker::noop().clone()) });
        let waker = Waker::from(Arc::clone(&call));
        Self { tasks, alarm: Alarm::new(Arc::clone(sleeper)), call, waker }
    }

    /// Does what is due, if anything is.
    pub(super) fn mind(&mut self, hub: &Arc<Hub>, cx: &Context<'_>) {
        self.call.is_for(cx.waker());
        if self.call.waits.swap(false, Ordering::AcqRel) {
            let mut cx = Context::from_waker(&self.waker);
            // They have no end.
            let _ = self.tasks.as_mut().poll(&mut cx);
            ring(&mut self.alarm, hub, &mut cx);
        }
    }
}

impl Call {
    fn is_for(&self, driver: &Waker) {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner).clone_from(driver);
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.waits.store(true, Ordering::Release);
        // Not under the lock: it may run whatever its executor does then.
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).clone();
        driver.wake();
    }
}
