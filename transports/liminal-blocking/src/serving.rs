//! What a client that serves has beside its connection: its participants, and what they need of the driver.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use liminal_driver::client::{Participants, SharedClient};
use liminal_driver::server::{Pool, StopOptions};

use crate::bell::Bell;
use crate::link::Link;
use crate::server::OnPool;
use crate::timers::{ThreadSleeper, Timers};

/// What a client that serves has beside its connection.
pub(crate) struct Serving {
    pub(crate) participants: Participants,
    timers: Arc<Timers>,
    /// Wakes the driver.
    bell: Waker,
}

impl Serving {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        let client: Arc<dyn SharedClient> = Arc::<Link>::clone(link);
        let clock = *link.lock().client.clock();
        let pool = Pool::new(StopOptions::default().blocking_seats);
        let timers = Arc::<Timers>::default();
        let (spawn, sleeper) = (OnPool(Arc::clone(&pool)), ThreadSleeper(Arc::clone(&timers)));
        let participants =
            Participants::new(Arc::downgrade(&client), clock, Box::new(spawn), Arc::new(sleeper), pool);
        Self { participants, timers, bell: Arc::<Bell>::clone(&link.bell).into() }
    }

    /// Tells participants what has arrived for them, and says what they could not say before.
    pub(crate) fn attend(&self, link: &Link) {
        self.participants.attend(link);
    }

    /// Does for participants what is due, and says when there is more to do at the latest.
    pub(crate) fn mind(&self, link: &Link) -> Option<Instant> {
        self.attend(link);
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
