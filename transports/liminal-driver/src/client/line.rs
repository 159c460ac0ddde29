//! The connections of one handle, one after the other, and what outlives each of them.

mod services;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use liminal_proto::CloseReason;

use self::services::Served;
pub use self::services::{OfferOn, ServiceId, ToOffer};
use super::reconnect::{chance, is_for_good, refusal};
use super::{Connectivity, Outage, Reconnect, SharedClient};
use crate::Address;
use crate::error::{ConnectError, ReconnectError};

/// The connections of one handle, one after the other. Its driver dials, and tells how that went; whoever needs a
/// connection asks, [watches](Self::watch), and asks again.
///
/// Nothing is called while it is locked but the client of a connection, and nothing of a connection is dropped.
pub struct Line<L> {
    /// Where it leads, if it can be dialled again.
    address: Option<Address>,
    state: Mutex<State<L>>,
}

struct State<L> {
    /// The connection that there is, or the last one that there was.
    link: Arc<L>,
    /// Which one that is, from 1 on, and since when it is there.
    number: u64,
    since: Instant,
    /// Somebody is there to dial.
    driven: bool,
    reconnect: Option<Reconnect>,
    /// It is known that there is no connection, and that there will be one.
    outage: Option<Outage>,
    /// How many times it was dialled since a connection lasted.
    tries: u32,
    /// How it ended for good, when that was not the end of a connection.
    over: Option<CloseReason>,
    services: BTreeMap<ServiceId, Served<L>>,
    next_service: u64,
    watches: BTreeMap<u64, Waker>,
    next_watch: u64,
}

/// What whoever needs a connection finds.
#[derive(Debug)]
pub enum Look<L> {
    /// There is one.
    Connected(Arc<L>),
    /// There is none, perhaps there will be.
    Away(Outage),
    /// There is none, and there will be none.
    Over(CloseReason),
}

impl<L: SharedClient> Line<L> {
    /// With its first connection, and a driver. Without an address nobody can dial again.
    #[must_use]
    pub fn new(link: Arc<L>, address: Option<Address>) -> Self {
        let state = State {
            link,
            number: 1,
            since: Instant::now(),
            driven: true,
            reconnect: None,
            outage: None,
            tries: 0,
            over: None,
            services: BTreeMap::new(),
            next_service: 0,
            watches: BTreeMap::new(),
            next_watch: 0,
        };
        Self { address, state: Mutex::new(state) }
    }

    // ── what a handle asks ──────────────────────────────────────────────────────────────────────

    /// The connection that there is, or the last one that there was.
    #[must_use]
    pub fn last(&self) -> Arc<L> {
        Arc::clone(&self.lock().link)
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn look(&self) -> Look<L> {
        self.lock().look()
    }

    /// The same, as users see it.
    #[must_use]
    pub fn connectivity(&self) -> Connectivity {
        let mut state = self.lock();
        match state.look() {
            Look::Connected(_) => Connectivity::Connected { connection: state.number },
            Look::Away(outage) => Connectivity::Reconnecting(outage),
            Look::Over(end) => Connectivity::Closed(end),
        }
    }

    /// How long a call waits for a connection.
    #[must_use]
    pub fn wait_time(&self) -> Duration {
        self.lock().reconnect.unwrap_or_default().wait_time
    }

    /// Has it come back when its connection is lost.
    ///
    /// # Errors
    ///
    /// It is over already, or there is nowhere to dial.
    pub fn reconnect(&self, how: Reconnect) -> Result<(), ReconnectError> {
        let mut state = self.lock();
        if self.address.is_none() {
            return Err(ReconnectError::NoAddress);
        }
        let before = state.reconnect.replace(how);
        match state.link.ended() {
            Some(end) if !state.comes_back(&end) => {
                state.reconnect = before;
                Err(ReconnectError::Lost(state.over.clone().unwrap_or(end)))
            }
            _ => Ok(()),
        }
    }

    /// Nobody wants a connection any more: once the one that there is has ended, there will be none.
    pub fn close(&self) {
        let mut state = self.lock();
        if let Some(end) = state.link.ended()
            && state.comes_back(&end)
        {
            state.over = Some(CloseReason::Local);
        }
        state.reconnect = None;
        state.outage = None;
        state.wake();
    }

    /// Waits for whatever may change what was asked here.
    #[must_use]
    pub const fn watch(&self) -> LineWatch<'_, L> {
        LineWatch { line: self, number: None }
    }

    // ── what its driver does ────────────────────────────────────────────────────────────────────

    /// The connection has ended. Says when to dial; `None`: not again.
    pub fn lose(&self) -> Option<Instant> {
        let mut state = self.lock();
        let end = state.link.ended()?;
        if !state.comes_back(&end) {
            state.driven = false;
            state.wake();
            return None;
        }
        let next = state.outage(&end).next;
        drop(state);
        tracing::warn!("connection to {} lost: {end}; trying again", Named(&self.address));
        Some(next)
    }

    /// Whether somebody still wants a connection, while there is none.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.lock().outage.is_some()
    }

    /// It was dialled in vain. Says when to dial again; `None`: not again.
    pub fn fail(&self, error: ConnectError) -> Option<Instant> {
        let mut state = self.lock();
        state.outage.as_ref()?;
        if let Some(reason) = refusal(&error) {
            state.over = Some(reason.clone());
            state.outage = None;
            state.driven = false;
            state.wake();
            drop(state);
            tracing::warn!("{error}; not trying again");
            return None;
        }
        let error = Arc::new(error);
        state.tries = state.tries.saturating_add(1);
        let next = state.next_try();
        if let Some(outage) = &mut state.outage {
            outage.error = Some(Arc::clone(&error));
            outage.next = next;
        }
        state.wake();
        drop(state);
        tracing::debug!("{error}; trying again in {:.0?}", next.saturating_duration_since(Instant::now()));
        Some(next)
    }

    /// There is a connection again. False: nobody wants it any more.
    #[must_use]
    pub fn renew(&self, link: Arc<L>) -> bool {
        let mut state = self.lock();
        if state.outage.take().is_none() {
            return false;
        }
        // To be dropped when nothing is locked any more.
        let _before = std::mem::replace(&mut state.link, link);
        state.number += 1;
        state.since = Instant::now();
        state.tries = state.tries.saturating_add(1);
        state.wake();
        drop(state);
        tracing::info!("connected to {} again", Named(&self.address));
        true
    }

    /// The driver is no more: nobody dials.
    pub fn lose_driver(&self) {
        let mut state = self.lock();
        state.driven = false;
        state.outage = None;
        state.wake();
    }
}

impl<L> Line<L> {
    fn lock(&self) -> MutexGuard<'_, State<L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: SharedClient> State<L> {
    fn look(&mut self) -> Look<L> {
        match self.link.ended() {
            None => Look::Connected(Arc::clone(&self.link)),
            Some(end) if self.comes_back(&end) => Look::Away(self.outage(&end)),
            Some(end) => Look::Over(self.over.clone().unwrap_or(end)),
        }
    }
}

impl<L> State<L> {
    /// Whether there will be a connection again, when the last one has ended like this.
    fn comes_back(&self, end: &CloseReason) -> bool {
        self.driven && self.reconnect.is_some() && self.over.is_none() && !is_for_good(end)
    }

    /// The time without a connection, which begins when the first one finds that there is none.
    fn outage(&mut self, lost: &CloseReason) -> Outage {
        if let Some(outage) = &self.outage {
            return outage.clone();
        }
        if self.since.elapsed() >= self.reconnect.unwrap_or_default().backoff.max {
            self.tries = 0;
        }
        let outage = Outage { lost: lost.clone(), error: None, next: self.next_try() };
        self.outage = Some(outage.clone());
        self.wake();
        outage
    }

    fn next_try(&self) -> Instant {
        let backoff = self.reconnect.unwrap_or_default().backoff;
        let now = Instant::now();
        // Who pauses longer than the clock goes has other worries.
        now.checked_add(backoff.pause(self.tries, chance())).unwrap_or(now)
    }

    fn wake(&self) {
        self.watches.values().for_each(Waker::wake_by_ref);
    }
}

/// Somebody who waits for something to change. Dropped, it waits no more.
#[derive(Debug)]
pub struct LineWatch<'a, L> {
    line: &'a Line<L>,
    number: Option<u64>,
}

impl<L> LineWatch<'_, L> {
    /// Wakes this one when something has changed after now.
    pub fn wait(&mut self, waker: &Waker) {
        let mut state = self.line.lock();
        let number = *self.number.get_or_insert_with(|| {
            state.next_watch += 1;
            state.next_watch
        });
        let before = state.watches.insert(number, waker.clone());
        drop(state);
        // What this may be the last of may hold the handle.
        drop(before);
    }
}

impl<L> Drop for LineWatch<'_, L> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let watch = self.line.lock().watches.remove(&number);
            // What this may be the last of may hold the handle.
            drop(watch);
        }
    }
}

/// Where it leads, for the log.
struct Named<'a>(&'a Option<Address>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("the server"),
        }
    }
}

impl<L> fmt::Debug for Line<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use liminal_proto::{Config, ReasonCode};

    use super::*;
    use crate::client::{Backoff, Client};

    struct Link(Mutex<Client>);

    impl Link {
        fn new() -> Arc<Self> {
            Arc::new(Self(Mutex::new(Client::new(Config::default()))))
        }

        fn break_off(&self) {
            self.0.lock().unwrap().link_lost(&std::io::ErrorKind::ConnectionReset.into());
        }
    }

    impl SharedClient for Link {
        fn with(&self, act: &mut dyn FnMut(&mut Client)) {
            act(&mut self.0.lock().unwrap());
        }

        fn act(&self, act: &mut dyn FnMut(&mut Client)) {
            self.with(act);
        }
    }

    const RESET: CloseReason = CloseReason::Link(liminal_proto::LinkError::Reset);

    fn line() -> Line<Link> {
        Line::new(Link::new(), Some("there".into()))
    }

    /// One that has lost its connection, and its driver knows.
    fn away() -> Line<Link> {
        let line = line();
        line.reconnect(Reconnect::default()).unwrap();
        line.last().break_off();
        assert!(line.lose().is_some());
        line
    }

    fn unreachable() -> ConnectError {
        ConnectError::Unreachable { address: "there".into(), source: std::io::ErrorKind::TimedOut.into() }
    }

    fn refused(reason: ReasonCode) -> ConnectError {
        let reason = CloseReason::Refused { reason, text: None };
        ConnectError::Handshake { address: "there".into(), reason }
    }

    fn end(line: &Line<Link>) -> Option<CloseReason> {
        if let Look::Over(end) = line.look() { Some(end) } else { None }
    }

    #[test]
    fn who_was_not_told_to_reconnect_is_over_with_its_connection() {
        let line = line();
        assert_eq!(line.connectivity(), Connectivity::Connected { connection: 1 });
        line.last().break_off();
        assert_eq!(end(&line), Some(RESET));
        assert_eq!(line.lose(), None);
        assert_eq!(line.reconnect(Reconnect::default()), Err(ReconnectError::Lost(RESET)));
        assert_eq!(end(&line), Some(RESET));
    }

    #[test]
    fn it_may_be_told_as_long_as_a_driver_does_not_know_of_the_loss() {
        let line = line();
        line.last().break_off();
        line.reconnect(Reconnect::default()).unwrap();
        let connectivity = line.connectivity();
        let Connectivity::Reconnecting(outage) = &connectivity else { panic!("{connectivity:?}") };
        assert_eq!(line.lose(), Some(outage.next), "what was told is what is done");
        assert_eq!(line.connectivity(), connectivity);
    }

    #[test]
    fn without_an_address_or_a_driver_it_does_not_come_back() {
        let given = Line::new(Link::new(), None);
        assert_eq!(given.reconnect(Reconnect::default()), Err(ReconnectError::NoAddress));
        let away = away();
        away.lose_driver();
        assert_eq!(end(&away), Some(RESET));
        assert_eq!(away.reconnect(Reconnect::default()), Err(ReconnectError::Lost(RESET)));
    }

    #[test]
    fn a_try_that_fails_is_followed_by_another_unless_it_was_refused_for_good() {
        let line = away();
        for error in [unreachable(), refused(ReasonCode::LIMIT), refused(ReasonCode::STOPPING)] {
            let told = error.to_string();
            assert!(line.fail(error).is_some() && line.is_wanted());
            let Look::Away(outage) = line.look() else { panic!("it is over") };
            assert_eq!(outage.error.unwrap().to_string(), told);
            assert_eq!(outage.lost, RESET);
        }
        for reason in [ReasonCode::AUTHENTICATION, ReasonCode::VERSION_MISMATCH, ReasonCode::NOT_ALLOWED] {
            let line = away();
            assert_eq!(line.fail(refused(reason)), None);
            assert!(!line.is_wanted());
            assert_eq!(end(&line), Some(CloseReason::Refused { reason, text: None }));
        }
    }

    #[test]
    fn a_connection_that_comes_back_is_another() {
        let line = away();
        assert!(line.renew(Link::new()));
        assert_eq!(line.connectivity(), Connectivity::Connected { connection: 2 });
        assert!(!line.is_wanted());
        line.last().break_off();
        assert!(line.lose().is_some());
    }

    #[test]
    fn nobody_comes_back_who_is_closed() {
        let line = away();
        line.close();
        assert!(!line.is_wanted() && !line.renew(Link::new()));
        assert_eq!(line.fail(unreachable()), None);
        assert_eq!(end(&line), Some(CloseReason::Local));
        assert_eq!(line.lose(), None);
        let line = self::line();
        line.reconnect(Reconnect::default()).unwrap();
        line.close();
        line.last().break_off();
        assert_eq!((end(&line), line.lose()), (Some(RESET), None));
    }

    /// What is lost again and again is tried later and later, and what has lasted is tried soon.
    #[test]
    fn pauses_grow_until_a_connection_has_lasted() {
        let tries = |max, rounds| {
            let line = line();
            let backoff = Backoff { initial: Duration::ZERO, factor: 2, max };
            line.reconnect(Reconnect { backoff, ..Reconnect::default() }).unwrap();
            for _ in 0..rounds {
                line.last().break_off();
                line.lose().unwrap();
                line.fail(unreachable()).unwrap();
                assert!(line.renew(Link::new()));
            }
            line.last().break_off();
            line.lose().unwrap();
            line.lock().tries
        };
        assert_eq!(tries(Duration::from_secs(3600), 5), 10);
        assert_eq!(tries(Duration::ZERO, 5), 0, "every connection lasts that long");
    }

    #[test]
    fn whoever_watches_is_woken_by_every_change() {
        let changes: [fn(&Line<Link>); 5] = [
            |line| assert!(line.renew(Link::new())),
            |line| assert!(line.fail(unreachable()).is_some()),
            |line| assert!(line.fail(refused(ReasonCode::AUTHENTICATION)).is_none()),
            Line::close,
            Line::lose_driver,
        ];
        for change in changes {
            let line = away();
            let woken = Arc::new(Woken::default());
            let mut watch = line.watch();
            watch.wait(&Arc::clone(&woken).into());
            change(&line);
            assert!(woken.0.load(std::sync::atomic::Ordering::Relaxed));
            drop(watch);
            assert!(line.lock().watches.is_empty());
        }
    }

    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
