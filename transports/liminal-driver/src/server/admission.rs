//! Who may connect: the one place that the accepting loop of every transport asks.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use liminal_proto::wire::{Body, Dialect, Frame, FrameRef, encode};
use liminal_proto::{ReasonCode, StreamId};
use thiserror::Error;

use super::Hub;

/// How long accepting pauses when there is no room: long enough not to spin, short enough that nobody
/// minds.
const PAUSE: Duration = Duration::from_millis(100);

/// A client says who it is as soon as it is connected. One that has not after this makes room when there
/// is none.
const GRACE: Duration = Duration::from_millis(500);

/// The log says at most this often that there is no room: who causes the lines does not pay for them.
const LOG_PERIOD: Duration = Duration::from_secs(1);

/// Connections without room that are told so at once. Each holds a descriptor, and perhaps a thread, for half
/// a second at most.
const TURNED_AWAY_MAX: usize = 64;

/// However small the share of those who shake hands: with less, two clients that come at once would wait
/// for each other.
const HANDSHAKES_MIN: usize = 16;

/// How many connections a server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionOptions {
    /// Connections at once. Beyond it a new one is told so and closed. Default: 10,000, which is what one
    /// machine serves without tuning. Each costs a descriptor, some KiB while it is idle, and at worst what
    /// it may queue, hold and be sending: 6 MiB, and
    /// [`held_reply_bytes_max`](super::ServerOptions::held_reply_bytes_max) if it reads less than it asks
    /// for; [`memory_bytes_max`](super::ServerOptions::memory_bytes_max) bounds what all of them cost together.
    pub connections_max: usize,
    /// Connections from one address, so that no single host takes them all. The 2^64 addresses of an
    /// IPv6 network (/64) count as one, because one host can have them all; loopback, Unix sockets and
    /// whatever else has no address are exempt. Default: 256: a host with a process for each of its cores
    /// stays far below it.
    pub connections_per_address_max: usize,
    /// Connections whose handshake is not through, in percent of
    /// [`connections_max`](Self::connections_max), so that strangers never take the room of those who
    /// said who they are. At this share, and at 16 at least, the next one waits to be accepted until one
    /// of them is through, and those who have said nothing for half a second make room. Default: 10.
    pub handshakes_percent: u8,
}

impl Default for AdmissionOptions {
    fn default() -> Self {
        Self { connections_max: 10_000, connections_per_address_max: 256, handshakes_percent: 10 }
    }
}

impl AdmissionOptions {
    /// Connections whose handshake may be outstanding at once.
    #[must_use]
    pub fn handshakes_max(&self) -> usize {
        let share = self.connections_max.saturating_mul(self.handshakes_percent.into()) / 100;
        share.max(HANDSHAKES_MIN)
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A network, and there this address.
    Network(SocketAddr),
    /// A Unix socket, a pipe, whatever has no address. The text is for the log.
    Local(String),
}

impl Peer {
    /// Whether it is on this machine.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Network(address) => address.ip().to_canonical().is_loopback(),
            Self::Local(_) => true,
        }
    }

    /// Whose connections are counted together with this one; `None`: nobody counts them.
    fn origin(&self) -> Option<IpAddr> {
        let Self::Network(address) = self else { return None };
        match address.ip().to_canonical() {
            _ if self.is_local() => None,
            IpAddr::V4(ip) => Some(ip.into()),
            IpAddr::V6(ip) => Some(network(ip).into()),
        }
    }
}

/// The /64 that an address is in.
fn network(ip: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Network(address)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Local(text) => f.write_str(text),
        }
    }
}

/// Why there is no room for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoRoom {
    /// There are as many as the server takes.
    #[error("the server takes no more than {0} connections")]
    Connections(usize),
    /// There are as many from this address as the server takes.
    #[error("the server takes no more than {0} connections from one address")]
    Address(usize),
}

/// A connection for which there is no room. Its client is told the reason, and for a moment what it says is
/// read and discarded, or closing would reset the connection and destroy the farewell. In a flood there is
/// no time for that, and it is closed without a word.
#[derive(Debug)]
pub struct TurnedAway {
    reason: NoRoom,
    /// Whose moments are counted, if there is one for it.
    moment: Option<Arc<Admission>>,
}

impl TurnedAway {
    /// What its client is told, in the words of every version; `None`: close it without a word.
    #[must_use]
    pub fn farewell(&self) -> Option<Bytes> {
        self.moment.as_ref()?;
        let text = self.reason.to_string();
        let body: Body<&str, &[u8]> =
            Body::ConnectError { reason_code: ReasonCode::LIMIT, message: Some(&text) };
        let frame: FrameRef<'_> = Frame { flags: 0, stream: StreamId::CONTROL, body };
        let mut bytes = BytesMut::new();
        // A text this short always fits.
        encode(Dialect::V1, &frame, &mut bytes).ok()?;
        Some(bytes.freeze())
    }
}

impl Drop for TurnedAway {
    fn drop(&mut self) {
        if let Some(admission) = &self.moment {
            admission.lock().turned_away -= 1;
        }
    }
}

/// Counts the connections of a server.
#[derive(Debug)]
pub struct Admission {
    options: AdmissionOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    handshakes: usize,
    /// Connections that are being told that there is no room.
    turned_away: usize,
    /// Only who has some.
    by_origin: BTreeMap<IpAddr, usize>,
    /// When the log was told last that there is no room, and how often there was none since.
    logged: Option<Instant>,
    unlogged: u64,
}

impl Admission {
    pub(super) fn new(options: AdmissionOptions) -> Arc<Self> {
        Arc::new(Self { options, state: Mutex::default() })
    }

    /// Counts a connection that was accepted.
    ///
    /// # Errors
    ///
    /// There is no room for it. The log is told.
    pub fn admit(self: &Arc<Self>, peer: Peer) -> Result<Admitted, TurnedAway> {
        let origin = peer.origin();
        let mut state = self.lock();
        if let Err(reason) = state.take(&self.options, origin) {
            let times = state.log(Instant::now());
            let has_time = state.turned_away < TURNED_AWAY_MAX;
            state.turned_away += usize::from(has_time);
            drop(state);
            if let Some(times) = times {
                tracing::warn!(%peer, times, "a connection is turned away: {reason}");
            }
            return Err(TurnedAway { reason, moment: has_time.then(|| Arc::clone(self)) });
        }
        drop(state);
        let (since, identified) = (Instant::now(), AtomicBool::new(false));
        Ok(Admitted { admission: Arc::clone(self), peer, origin, since, identified })
    }

    /// Accepting has failed, for want of descriptors perhaps. Tells the log, and says how long to pause.
    #[must_use]
    pub fn failed(&self, error: &io::Error) -> Duration {
        if let Some(times) = self.log() {
            tracing::warn!(times, "cannot accept a connection: {error}");
        }
        PAUSE
    }

    /// How many connections there are.
    #[must_use]
    pub fn open(&self) -> usize {
        self.lock().open
    }

    /// How many of them are not through their handshake.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.lock().handshakes
    }

    /// Whether one more may shake hands.
    fn has_room(&self) -> bool {
        self.handshakes() < self.options.handshakes_max()
    }

    fn log(&self) -> Option<u64> {
        self.lock().log(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, options: &AdmissionOptions, origin: Option<IpAddr>) -> Result<(), NoRoom> {
        if self.open >= options.connections_max {
            return Err(NoRoom::Connections(options.connections_max));
        }
        if let Some(origin) = origin {
            let count = self.by_origin.get(&origin).copied().unwrap_or_default();
            if count >= options.connections_per_address_max {
                return Err(NoRoom::Address(options.connections_per_address_max));
            }
            self.by_origin.insert(origin, count + 1);
        }
        self.open += 1;
        self.handshakes += 1;
        Ok(())
    }

    fn give_back(&mut self, origin: Option<IpAddr>, identified: bool) {
        self.open -= 1;
        self.handshakes -= usize::from(!identified);
        if let Some(origin) = origin
            && let Some(count) = self.by_origin.get_mut(&origin)
        {
            *count -= 1;
            if *count == 0 {
                self.by_origin.remove(&origin);
            }
        }
    }

    /// How often there was no room since the log was told; `None`: it was told just now.
    fn log(&mut self, now: Instant) -> Option<u64> {
        self.unlogged += 1;
        if self.logged.is_some_and(|logged| now.duration_since(logged) < LOG_PERIOD) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

/// The place of one connection, until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    peer: Peer,
    origin: Option<IpAddr>,
    since: Instant,
    identified: AtomicBool,
}

impl Admitted {
    /// Who it is.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Its handshake is through.
    pub(super) fn identify(&self) {
        if !self.identified.swap(true, Ordering::AcqRel) {
            self.admission.lock().handshakes -= 1;
        }
    }

    /// Whether it had time enough to shake hands, and has not.
    pub(super) fn stalls(&self, now: Instant) -> bool {
        !self.identified.load(Ordering::Acquire) && now.saturating_duration_since(self.since) >= GRACE
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.lock().give_back(self.origin, *self.identified.get_mut());
    }
}

/// # Accepting
impl Hub {
    /// How long accepting must pause before the next connection; `None`: accept. At the share of those
    /// who shake hands the ones that stall are given up, so that their room is free after the pause.
    #[must_use]
    pub fn accept_pause(&self) -> Option<Duration> {
        if self.admission().has_room() {
            return None;
        }
        let now = Instant::now();
        let stalling: Vec<_> = self.links().into_iter().filter(|link| link.stalls(now)).collect();
        stalling.iter().for_each(|link| link.drop_transport(self.clock().now()));
        if let Some(times) = self.admission().log() {
            let given_up = stalling.len();
            tracing::warn!(times, given_up, "too many connections shake hands: accepting pauses");
        }
        Some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Admission, AdmissionOptions, Admitted, NoRoom, Peer, State, TURNED_AWAY_MAX};

    fn from(address: &str) -> Peer {
        Peer::Network(address.parse().unwrap())
    }

    fn admission(change: impl FnOnce(&mut AdmissionOptions)) -> std::sync::Arc<Admission> {
        let mut options = AdmissionOptions::default();
        change(&mut options);
        Admission::new(options)
    }

    #[test]
    fn beyond_connections_max_a_connection_is_turned_away_until_another_has_gone() {
        let admission = admission(|options| options.connections_max = 2);
        let first = admission.admit(from("192.0.2.1:1")).unwrap();
        let _second = admission.admit(Peer::Local("a pipe".into())).unwrap();
        assert_eq!(admission.admit(from("127.0.0.1:1")).unwrap_err().reason, NoRoom::Connections(2));
        drop(first);
        assert!(admission.admit(from("127.0.0.1:1")).is_ok());
    }

    #[test]
    fn beyond_connections_per_address_max_only_that_address_is_turned_away() {
        for (one, same, other) in [
            ("192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"),
            ("192.0.2.1:1", "[::ffff:192.0.2.1]:2", "192.0.2.2:1"),
            ("[2001:db8::1]:1", "[2001:db8::ffff:0:0:1]:2", "[2001:db8:0:1::1]:1"),
        ] {
            let admission = admission(|options| options.connections_per_address_max = 1);
            let first = admission.admit(from(one)).unwrap();
            assert_eq!(admission.admit(from(same)).unwrap_err().reason, NoRoom::Address(1), "{same}");
            assert!(admission.admit(from(other)).is_ok());
            drop(first);
            assert!(admission.admit(from(same)).is_ok());
            assert!(admission.lock().by_origin.is_empty(), "an address that has gone is remembered");
        }
    }

    #[test]
    fn this_machine_is_exempt_from_connections_per_address_max() {
        let admission = admission(|options| options.connections_per_address_max = 1);
        let local = ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"].map(from);
        let local = local.into_iter().chain([Peer::Local("a Unix socket".into())]);
        let admitted: Vec<Admitted> =
            local.flat_map(|peer| [peer.clone(), peer]).map(|peer| admission.admit(peer).unwrap()).collect();
        assert_eq!(admission.open(), admitted.len());
    }

    #[test]
    fn handshakes_percent_leaves_room_for_those_who_are_through() {
        let admission = admission(|options| options.connections_max = 200);
        let admitted: Vec<_> = (0..20).map(|_| admission.admit(from("127.0.0.1:1")).unwrap()).collect();
        assert!(!admission.has_room());
        admitted[0].identify();
        admitted[0].identify();
        assert!(admission.has_room());
        let _next = admission.admit(from("127.0.0.1:1")).unwrap();
        assert!(!admission.has_room());
        drop(admitted);
        assert_eq!((admission.open(), admission.handshakes()), (1, 1));
    }

    #[test]
    fn a_small_server_still_shakes_hands_with_several_at_once() {
        let small = AdmissionOptions { connections_max: 10, ..AdmissionOptions::default() };
        assert_eq!(small.handshakes_max(), 16);
        assert_eq!(AdmissionOptions::default().handshakes_max(), 1000);
    }

    #[test]
    fn the_log_is_told_once_a_second_and_how_often() {
        let (mut state, begun) = (State::default(), Instant::now());
        let told = |state: &mut State, millis| state.log(begun + Duration::from_millis(millis));
        assert_eq!(told(&mut state, 0), Some(1));
        assert_eq!(told(&mut state, 1), None);
        assert_eq!(told(&mut state, 999), None);
        assert_eq!(told(&mut state, 1000), Some(3));
    }

    #[test]
    fn in_a_flood_there_is_no_time_for_farewells() {
        let admission = admission(|options| options.connections_max = 0);
        let turn_away = || admission.admit(from("192.0.2.1:1")).unwrap_err();
        let mut told: Vec<_> = (0..TURNED_AWAY_MAX).map(|_| turn_away()).collect();
        assert!(told.iter().all(|it| it.farewell().is_some()));
        assert_eq!(turn_away().farewell(), None);
        told.pop();
        assert!(turn_away().farewell().is_some());
    }

    #[test]
    fn only_who_is_not_through_stalls() {
        let admission = admission(|_| ());
        let admitted = admission.admit(from("127.0.0.1:1")).unwrap();
        let later = Instant::now() + super::GRACE;
        assert!(admitted.stalls(later) && !admitted.stalls(Instant::now() - super::GRACE));
        admitted.identify();
        assert!(!admitted.stalls(later));
    }
}
