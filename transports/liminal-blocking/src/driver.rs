//! The driver of a connection: reads while nobody waits, and watches the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use liminal_driver::client::wake_at;
use liminal_proto::{CloseReason, LinkError};

use crate::link::{Link, Vigil};

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
            if wants.write && !state.is_writing() && !state.has_rest() {
                continue;
            }
            let lingers = state.turns != turns;
            turns = state.turns;
            let wake = wake_at(&wants, state.client.clock());
            let until = if lingers { Some(earlier_or(wake, Instant::now() + LINGER)) } else { wake };
            let reads = wants.read && !lingers && !state.reading;
            let writes = state.has_rest();
            link.keep_vigil(state, Vigil { reads, writes, until, lingers });
            if reads {
                self.read(turns);
            }
        }
    }

    /// Reads what is there, unless a handle has come meanwhile: then it is its to read.
    fn read(&self, turns: u64) {
        let link = &*self.link;
        let mut state = link.lock();
        if !state.reading && state.turns == turns {
            state.reading = true;
            drop(state);
            let (mut state, _) = link.read_what_is_there();
            link.release(&mut state);
        }
    }
}

fn earlier_or(one: Option<Instant>, other: Instant) -> Instant {
    one.map_or(other, |one| one.min(other))
}
