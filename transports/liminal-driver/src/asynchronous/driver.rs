//! The driver of a connection: reads while nobody waits, writes what no caller could, watches the clock.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_executor::Executor;
use futures_lite::FutureExt as _;
use liminal_proto::{CloseReason, LinkError};

use super::connect::Dialer;
use super::handle::until;
use super::link::{Found, Link, READS_MAX, Watch};
use super::minding::Minding;
use super::sleep::Sleep;
use crate::client::{Client, Line, Look, ToOffer};

/// How long the driver leaves the turn to read to handles after one of them had it: a program that asks
/// again and again then never switches tasks for a reply, and one that stops is served after this. Where
/// something is served it leaves the turn only while one of them waits.
const LINGER: Duration = Duration::from_millis(20);

/// Keeps one connection alive while nobody waits for anything. Run it on whatever executor there is.
///
/// Callers that wait move the bytes themselves; without a driver, pings of the server are answered and
/// large outputs finished only while somebody waits.
///
/// What the client [serves](super::Handle::serve) needs it: participants that await run inside it, those that
/// are inline run where something is read, which is here while nobody waits, and it minds their time. When it is
/// dropped, what is served is withdrawn.
///
/// A handle that is told to [reconnect](super::Handle::reconnect) needs it, too: it is here that the server is dialled
/// again.
#[must_use = "a driver does nothing unless it runs"]
pub struct Driver {
    line: Arc<Line<Link>>,
    /// The connection that is driven.
    link: Arc<Link>,
    /// How to get another.
    dialer: Option<Dialer>,
    linger: Option<Sleep>,
    turns: u64,
    executor: Arc<Executor<'static>>,
    /// What participants need of it, once there are any.
    minding: Option<Minding>,
}

impl Driver {
    pub(super) fn new(
        line: Arc<Line<Link>>,
        dialer: Option<Dialer>,
        executor: Arc<Executor<'static>>,
    ) -> Self {
        let link = line.last();
        Self { line, link, dialer, linger: None, turns: 0, executor, minding: None }
    }

    /// Drives the connection to its end, and those that follow it where the handle
    /// [reconnects](super::Handle::reconnect), and says how it ended. Participants of this side have left then, unless
    /// that takes one of them more than 5 s.
    pub async fn run(mut self) -> CloseReason {
        loop {
            poll_fn(|cx| self.poll(cx)).await;
            if !self.come_back().await {
                break;
            }
        }
        self.let_participants_leave().await;
        match self.line.look() {
            Look::Over(end) => end,
            Look::Connected(_) | Look::Away(_) => CloseReason::Link(LinkError::Dropped),
        }
    }

    /// The connection has ended. Dials until there is another, and says whether there is.
    async fn come_back(&mut self) -> bool {
        let (line, dialer) = (Arc::clone(&self.line), self.dialer.take());
        let found = match (&dialer, line.lose()) {
            (Some(dialer), Some(next)) => self.minding(redial(&line, dialer, next)).await,
            _ => None,
        };
        self.dialer = dialer;
        let Some(link) = found else { return false };
        if !line.renew(Arc::clone(&link)) {
            link.act(None, Client::disconnect);
            return false;
        }
        self.link = link;
        self.linger = None;
        self.serve_again().await;
        true
    }

    /// Offers again what is served.
    async fn serve_again(&mut self) {
        let (line, link) = (Arc::clone(&self.line), Arc::clone(&self.link));
        for ToOffer { service, subject, capacity } in line.to_offer() {
            link.serves();
            let offer = link.send(|client| client.serve(&subject, capacity).transpose());
            let offer = self.minding(offer).await;
            let made = offer.as_ref().ok().copied();
            if !line.offered_again(service, Arc::clone(&link), offer)
                && let Some(offer) = made
            {
                link.act(None, |client| client.release_service(offer));
            }
        }
    }

    /// Minds participants while something else goes on.
    async fn minding<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.mind_participants(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.mind_participants(cx);
        for _ in 0..READS_MAX {
            match self.step(cx) {
                Found::Moved => {}
                Found::Idle => return Poll::Pending,
                Found::Finished => return self.link.poll_close(cx),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does for participants what is due: runs their tasks, tells them the time and what has arrived.
    fn mind_participants(&mut self, cx: &Context<'_>) {
        let Some(participants) = self.link.participants() else { return };
        let minding = self.minding.get_or_insert_with(|| Minding::new(&self.executor, &self.link.sleeper));
        minding.mind(participants.hub(), cx);
        self.link.attend();
    }

    async fn let_participants_leave(&mut self) {
        let Some(participants) = self.link.participants() else { return };
        let hub = Arc::clone(participants.hub());
        let late = self.link.sleeper.sleep_until(Instant::now() + hub.options().stop.time);
        let left = poll_fn(|cx| {
            self.mind_participants(cx);
            if hub.is_vacant(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }
        });
        left.or(late).await;
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Found {
        let mut state = self.link.lock();
        state.driven_by(cx.waker());
        if state.watch == Watch::Lingering {
            drop(state);
            return self.linger(cx);
        }
        let Some(mut reader) = state.read_as_driver() else {
            // A caller is in the middle of reading.
            state.watch = Watch::Lingering;
            return Found::Moved;
        };
        drop(state);
        let found = self.link.read(&mut reader, cx);
        self.link.lock().put_back(reader);
        found
    }

    /// Leaves the turn to callers while they read again and again, and takes it from one that has it and
    /// does not read: its reply takes long, or it is kept and not polled.
    fn linger(&mut self, cx: &mut Context<'_>) -> Found {
        let link = &self.link;
        if link.look(cx.waker()).1.finished {
            return Found::Finished;
        }
        let linger = self.linger.get_or_insert_with(|| {
            self.turns = link.lock().turns;
            link.sleeper.sleep_until(Instant::now() + LINGER)
        });
        if linger.as_mut().poll(cx).is_pending() {
            return Found::Idle;
        }
        self.linger = None;
        let mut state = self.link.lock();
        if state.turns == self.turns {
            state.watch = Watch::Reading;
        }
        Found::Moved
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.line.lose_driver();
        self.link.lock().lose_driver();
        if self.link.participants().is_some() {
            self.link.act(None, Client::withdraw_all);
        }
    }
}

/// Dials at these moments until there is a connection. `None`: nobody wants one any more, or the server does not.
async fn redial(line: &Line<Link>, dialer: &Dialer, mut next: Instant) -> Option<Arc<Link>> {
    let before = line.last();
    let clock = *before.lock().client.clock();
    loop {
        let again = async {
            before.sleeper.sleep_until(next).await;
            Some(dialer.dial(clock, before.crew()).await)
        };
        let unwanted = until(line, || (!line.is_wanted()).then_some(None));
        match again.or(unwanted).await? {
            Ok(link) => return Some(link),
            Err(error) => next = line.fail(error)?,
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
