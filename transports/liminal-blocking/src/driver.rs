//! The driver of a connection: reads while nobody waits, and watches the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use liminal_driver::client::{Client, wake_at};
use liminal_proto::{CloseReason, LinkError};

use crate::link::{Link, Vigil};
use crate::park::earlier;

/// How long the driver leaves the turn to read to handles after one of them had it: a program that asks
/// again and again then never switches threads for a reply, and one that stops is served after this. Where
/// something is served it leaves the turn only while one of them waits.
const LINGER: Duration = Duration::from_millis(20);

/// Keeps one connection alive while nobody waits for anything. Run it on a thread of its own.
///
/// Callers that wait move the bytes themselves; without a driver, pings of the server are answered only
/// while somebody waits.
///
/// What the client [serves](crate::Handle::serve) needs it: participants that are inline run where something is
/// read, which is here while nobody waits, and it minds the time of all of them. When it is dropped, what is
/// served is withdrawn.
#[derive(Debug)]
#[must_use = "a driver does nothing unless it runs"]
pub struct Driver {
    link: Arc<Link>,
}

impl Driver {
    pub(crate) const fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Drives the connection to its end, and says how it ended. Participants of this side have left then,
    /// unless that takes one of them more than 5 s.
    pub fn run(self) -> CloseReason {
        let link = &*self.link;
        let mut turns = link.lock().turns;
        loop {
            link.flush();
            let due = link.serving().and_then(|serving| serving.mind(link));
            let mut state = link.lock();
            let wants = state.client.take_events();
            if wants.finished {
                let end = state.client.ended();
                drop(state);
                link.shutdown();
                self.let_participants_leave();
                return end.unwrap_or(CloseReason::Link(LinkError::Dropped));
            }
            if wants.write && !state.is_writing() && !state.has_rest() {
                continue;
            }
            let lingers = state.turns != turns && !state.client.serves();
            turns = state.turns;
            let wake = earlier(due, wake_at(&wants, state.client.clock()));
            let until = if lingers { earlier(wake, Some(Instant::now() + LINGER)) } else { wake };
            let reads = wants.read && !lingers && !state.reading;
            let writes = state.has_rest();
            link.keep_vigil(state, Vigil { reads, writes, until, lingers });
            if reads {
                self.read(turns);
            }
        }
    }

    fn let_participants_leave(&self) {
        let link = &*self.link;
        let Some(serving) = link.serving() else { return };
        let late = Instant::now() + serving.participants.hub().options().stop.time;
        loop {
            let due = serving.mind(link);
            if serving.have_left() || Instant::now() >= late {
                return;
            }
            link.wait_for_bell(earlier(due, Some(late)));
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

impl Drop for Driver {
    fn drop(&mut self) {
        if self.link.serving().is_some() {
            self.link.act_at_once(Client::withdraw_all);
        }
    }
}
