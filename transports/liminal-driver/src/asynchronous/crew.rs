//! The participants of a handle that serves, whichever its connection is.

use std::sync::{Arc, OnceLock, Weak};

use async_executor::Executor;

use super::server::OnExecutor;
use super::sleep::Sleeper;
use crate::Clock;
use crate::client::Participants;
use crate::server::{Pool, StopOptions};

/// The participants of a handle, once it serves; its connections share them.
#[derive(Clone)]
pub(crate) struct Crew {
    participants: Arc<OnceLock<Participants>>,
    /// Where those of them run that await. It goes with the driver.
    executor: Weak<Executor<'static>>,
}

impl Crew {
    /// Nobody yet.
    pub(crate) fn new(executor: &Arc<Executor<'static>>) -> Self {
        Self { participants: Arc::default(), executor: Arc::downgrade(executor) }
    }

    /// Who serves, if somebody does.
    pub(crate) fn participants(&self) -> Option<&Participants> {
        self.participants.get()
    }

    /// The same, from now on.
    pub(crate) fn serves(&self, clock: Clock, sleeper: &Arc<dyn Sleeper>) -> &Participants {
        self.participants.get_or_init(|| {
            let spawn = Box::new(OnExecutor(Weak::clone(&self.executor)));
            let pool = Pool::new(StopOptions::default().blocking_seats);
            Participants::new(clock, spawn, Arc::clone(sleeper), pool)
        })
    }
}
