//! The driver of a connection: reads while nobody waits, and watches the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use liminal_driver::client::wake_at;
use liminal_proto::{CloseReason, LinkError};

use crate::link::Link;

/// How long the driver leaves the turn to read to handles after one of them had it: a program that asks
/// again and again then never switches threads for a reply, and one that stops is served after this.
const LINGER: Duration = Duration::from_millis(20);

/// Keeps one connection alive while nobody waits for anything. Run it on a thread of its own.
///
/// Callers that wait move the bytes themselves; without a driver, pings of the server are answered only
/// while somebody waits.
#[derive(Debug)]
#[must_use = "a driver does nothing unless it runs"]
pub struct Driver {
    link: Arc<Link>,
}

impl Driver {
    pub(crate) const fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Drives the connection to its end, and says how it ended.
    pub fn run(self) -> CloseReason {
        let link = &*self.link;
        let mut turns = link.lock().turns;
        loop {
            link.flush();
            let mut state = link.lock();
            let wants = state.client.take_events();
            if wants.finished {
                let end = state.client.ended();
                drop(state);
                link.shutdown();
                return end.unwrap_or(CloseReason::Link(LinkError::Dropped));
            }
            if state.turns != turns {
                turns = state.turns;
                drop(link.wait_free(state, Some(Instant::now() + LINGER)));
                continue;
            }
            let wake = wake_at(&wants, state.client.clock());
            if state.reading {
                state.driver_waits = true;
                link.wait_free(state, wake).driver_waits = false;
                continue;
            }
            drop(state);
            link.wait_readable(wake);
            // A handle may have come meanwhile; then what there is to read is its to read.
            let mut state = link.lock();
            if !state.reading && state.turns == turns {
                state.reading = true;
                drop(state);
                link.read_what_is_there();
                link.release(&mut link.lock());
            }
        }
    }
}
