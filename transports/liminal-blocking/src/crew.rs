//! What the connections of a handle share: the bell of their driver, and the participants of a handle that serves,
//! with what those need of it.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Instant;

use liminal_driver::Clock;
use liminal_driver::client::Participants;
use liminal_driver::server::{Pool, StopOptions};

use crate::bell::Bell;
use crate::server::OnPool;
use crate::timers::{ThreadSleeper, Timers};

/// What the connections of a handle share.
#[derive(Clone, Debug)]
pub(crate) struct Crew {
    /// Tells the driver that there is something for it to do.
    pub(crate) bell: Arc<Bell>,
    /// Who serves, once somebody does.
    serving: Arc<OnceLock<Serving>>,
}

impl Crew {
    /// Nobody yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { bell: Arc::new(Bell::new()?), serving: Arc::default() })
    }

    /// Who serves, if somebody does.
    pub(crate) fn serving(&self) -> Option<&Serving> {
        self.serving.get()
    }

    /// The same, from now on.
    pub(crate) fn serves(&self, clock: Clock) -> &Serving {
        self.serving.get_or_init(|| Serving::new(clock, self.waker()))
    }

    /// Wakes the driver.
    pub(crate) fn waker(&self) -> Waker {
        Arc::<Bell>::clone(&self.bell).into()
    }
}

/// Participants of a client, and what they need of its driver.
pub(crate) struct Serving {
    pub(crate) participants: Participants,
    timers: Arc<Timers>,
    /// Wakes the driver.
    bell: Waker,
}

impl Serving {
    fn new(clock: Clock, bell: Waker) -> Self {
        let pool = Pool::new(StopOptions::default().blocking_seats);
        let timers = Arc::<Timers>::default();
        let (spawn, sleeper) = (OnPool(Arc::clone(&pool)), ThreadSleeper(Arc::clone(&timers)));
        let participants = Participants::new(clock, Box::new(spawn), Arc::new(sleeper), pool);
        Self { participants, timers, bell }
    }

    /// Does for participants what time has made due, and says when there is more to do at the latest.
    pub(crate) fn mind(&self) -> Option<Instant> {
        self.timers.ring(self.participants.hub(), &self.bell)
    }

    /// Whether all participants have left; wakes the driver when they have.
    pub(crate) fn have_left(&self) -> bool {
        self.participants.hub().is_vacant(&self.bell)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("participants", &self.participants).finish_non_exhaustive()
    }
}
