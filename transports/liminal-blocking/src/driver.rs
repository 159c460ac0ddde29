//! The driver of a connection: reads while nobody waits, and watches the clock.

use std::io;
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use liminal_driver::client::{Client, Line, Look, ToOffer, Topic, wake_at};
use liminal_driver::error::ServeError;
use liminal_proto::{CloseReason, LinkError, Wants};

use crate::connect::{Dialer, NOT_WANTED};
use crate::crew::Serving;
use crate::handle::forever;
use crate::link::{Link, Patience, State, Vigil};
use crate::park::earlier;
use crate::socket::Meanwhile;

/// How long the driver leaves the turn to read to handles after one of them had it: a program that asks
/// again and again then never switches threads for a reply, and one that stops is served after this. Where
/// something is served it waits for the turn like a handle.
const LINGER: Duration = Duration::from_millis(20);

/// Keeps one connection alive while nobody waits for anything. Run it on a thread of its own.
///
/// Callers that wait move the bytes themselves; without a driver, pings of the server are answered only
/// while somebody waits.
///
/// What the client [serves](crate::Handle::serve) needs it: participants that are inline run where something is
/// read, which is here while nobody else reads, and it minds the time of all of them, on a second thread that it
/// starts for that. When it is dropped, what is served is withdrawn.
///
/// A handle that is told to [reconnect](crate::Handle::reconnect) needs it, too: it is here that the server is dialled
/// again. Whoever gives the handle up ends that at once, but where the operating system offers no such thing: it resolves
/// a name as long as it likes, and connects for a handshake's time at most (5 s unless configured) where a Unix socket
/// has no room, or where it is no Unix.
#[derive(Debug)]
#[must_use = "a driver does nothing unless it runs"]
pub struct Driver {
    line: Arc<Line<Link>>,
    /// The connection that is driven.
    link: Arc<Link>,
    /// How to get another.
    dialer: Option<Dialer>,
}

impl Driver {
    pub(crate) fn new(line: Arc<Line<Link>>, dialer: Option<Dialer>) -> Self {
        let link = line.last();
        Self { line, link, dialer }
    }

    /// Drives the connection to its end, and those that follow it where the handle
    /// [reconnects](crate::Handle::reconnect), and says how it ended. Participants of this side have left then, unless
    /// that takes one of them more than 5 s.
    pub fn run(mut self) -> CloseReason {
        loop {
            self.drive();
            if !self.come_back() {
                break;
            }
        }
        self.let_participants_leave();
        match self.line.look() {
            Look::Over(end) => end,
            Look::Connected(_) | Look::Away(_) => CloseReason::Link(LinkError::Dropped),
        }
    }

    /// Drives one connection to its end.
    fn drive(&self) {
        while self.drive_until(Client::serves) {
            self.drive_serving();
        }
    }

    /// The same while something is served: what arrives for participants is read like what a handle waits for, without
    /// asking first whether there is anything, and a second thread does all else.
    fn drive_serving(&self) {
        let link = &*self.link;
        let all_else = || self.drive_until(|client| !client.serves());
        thread::scope(|scope| {
            let builder = thread::Builder::new().name("liminal-driver".into());
            if builder.spawn_scoped(scope, all_else).is_err() {
                all_else();
                return;
            }
            link.wait(Topic::Connection, Patience::forever(), |client, _| {
                (client.ended().is_some() || !client.serves()).then_some(())
            });
            link.crew.bell.ring();
        });
    }

    /// Drives one connection until something is so. False: it has ended.
    fn drive_until(&self, is_so: impl Fn(&Client) -> bool) -> bool {
        let link = &*self.link;
        let mut turns = link.lock().turns;
        // When participants have something to do at the latest: if it is to be earlier, the bell rings.
        let (mut due, mut read) = (None, None);
        loop {
            let (state, wants) = read.take().unwrap_or_else(|| {
                due = self.mind_participants();
                let (mut state, _) = link.flush_from(link.lock());
                let wants = state.client.take_events();
                (state, wants)
            });
            if wants.finished {
                drop(state);
                link.shutdown();
                return false;
            }
            if is_so(&state.client) {
                return true;
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
            let (state, woken) = link.keep_vigil(state, Vigil { reads, writes, until, lingers });
            if woken.by_input && reads {
                // Whatever else there is to see to, it is seen to before more is read.
                let is_all = |state: &State| !woken.by_other && !state.client.has_arrived();
                read = self.read(state, turns).filter(|(state, _)| is_all(state));
            }
        }
    }

    /// The connection has ended. Dials until there is another, and says whether there is.
    fn come_back(&mut self) -> bool {
        let next = self.line.lose();
        let Some(link) = next.and_then(|next| self.redial(next)) else { return false };
        if !self.line.renew(Arc::clone(&link)) {
            link.act_at_once(Client::disconnect);
            return false;
        }
        self.link = link;
        self.serve_again();
        true
    }

    /// Dials at these moments until there is a connection. `None`: nobody wants one any more, or the server does not.
    fn redial(&self, mut next: Instant) -> Option<Arc<Link>> {
        let dialer = self.dialer.as_ref()?;
        let clock = *self.link.lock().client.clock();
        let bell = self.link.crew.waker();
        let mut watch = self.line.watch();
        // The bell rings when somebody does not want a connection any more, too.
        let mut meanwhile = || {
            watch.wait(&bell);
            let due = self.mind_participants();
            if self.line.is_wanted() { Ok(due) } else { Err(NOT_WANTED.into()) }
        };
        while self.pause_until(next, &mut meanwhile).is_ok() {
            match dialer.dial(clock, &self.link.crew, &mut meanwhile) {
                Ok(link) => return Some(link),
                Err(error) => next = self.line.fail(error)?,
            }
        }
        None
    }

    /// Waits until this moment.
    fn pause_until(&self, next: Instant, meanwhile: Meanwhile<'_>) -> io::Result<()> {
        loop {
            let due = meanwhile()?;
            if Instant::now() >= next {
                return Ok(());
            }
            self.link.wait_for_bell(earlier(due, Some(next)));
        }
    }

    /// Offers again what is served.
    fn serve_again(&self) {
        let link = &self.link;
        for ToOffer { service, subject, capacity } in self.line.to_offer() {
            link.serves();
            let send = |client: &mut Client| client.serve(&subject, capacity).transpose();
            let offer = forever(link.send(&mut Patience::forever(), send), ServeError::Lost);
            let made = offer.as_ref().ok().copied();
            if !self.line.offered_again(service, Arc::clone(link), offer)
                && let Some(offer) = made
            {
                link.act_at_once(|client| client.release_service(offer));
            }
        }
    }

    /// Does for participants what is due, and says when there is more to do at the latest.
    fn mind_participants(&self) -> Option<Instant> {
        self.link.attend();
        self.link.crew.serving().and_then(Serving::mind)
    }

    fn let_participants_leave(&self) {
        let Some(serving) = self.link.crew.serving() else { return };
        let late = Instant::now() + serving.participants.hub().options().stop.time;
        loop {
            let due = self.mind_participants();
            if serving.have_left() || Instant::now() >= late {
                return;
            }
            self.link.wait_for_bell(earlier(due, Some(late)));
        }
    }

    /// Reads what is there, unless a handle has come meanwhile: then it is its to read.
    fn read<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        turns: u64,
    ) -> Option<(MutexGuard<'a, State>, Wants)> {
        if state.reading || state.turns != turns {
            return None;
        }
        state.reading = true;
        drop(state);
        let (mut state, wants) = self.link.read_what_is_there();
        self.link.release(&mut state);
        Some((state, wants))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.line.lose_driver();
        if self.link.crew.serving().is_some() {
            self.link.act_at_once(Client::withdraw_all);
        }
    }
}
