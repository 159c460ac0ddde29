//! A connected socket that several threads use at once: one reads, one writes, and no mode of the socket
//! is ever changed for the other.

use std::io::{self, IoSlice, Read as _};
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::bell::Bell;
#[cfg(unix)]
use crate::park::earlier;

/// A read may return this much before the moment it was given: setting the time limit of a socket costs a
/// system call, and one that is almost right is used again.
const TOLERANCE: Duration = Duration::from_millis(1);

/// How often a thread looks that cannot be woken.
#[cfg(not(unix))]
const LOOK: Duration = Duration::from_millis(20);

/// What to wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait<'a> {
    /// There is something to read.
    pub(crate) read: bool,
    /// The socket takes more output.
    pub(crate) write: bool,
    /// The bell was rung.
    pub(crate) bell: Option<&'a Bell>,
}

/// Why a wait is over. It may also be that nothing has happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Woken {
    /// There is something to read, or the socket has failed.
    pub(crate) by_input: bool,
    /// The socket takes more output, the bell was rung, or the moment has come.
    pub(crate) by_other: bool,
}

/// What whoever connects does while it waits: all that is due, whenever the bell was rung. Says when there is more to do.
/// It fails when nobody wants the connection any more.
pub(crate) type Meanwhile<'a> = &'a mut dyn FnMut() -> io::Result<Option<Instant>>;

/// No time limit.
const NEVER: u64 = 0;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: socket2::Socket,
    /// The time limit on reads that is set, in nanoseconds.
    read_limit: AtomicU64,
}

impl Socket {
    pub(crate) fn new(inner: impl Into<socket2::Socket>) -> Self {
        Self { inner: inner.into(), read_limit: AtomicU64::new(NEVER) }
    }

    /// Connects to this address, until `late` at the latest.
    #[cfg(unix)]
    pub(crate) fn connect(
        address: SocketAddr,
        late: Option<Instant>,
        bell: &Bell,
        meanwhile: Meanwhile<'_>,
    ) -> io::Result<Self> {
        use socket2::{Domain, Protocol, Type};
        let inner = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        inner.set_nonblocking(true)?;
        let this = Self::new(inner);
        match this.inner.connect(&address.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                this.await_connection(late, bell, meanwhile)?;
            }
            connected => connected?,
        }
        this.inner.set_nonblocking(false)?;
        Ok(this)
    }

    #[cfg(unix)]
    fn await_connection(
        &self,
        late: Option<Instant>,
        bell: &Bell,
        meanwhile: Meanwhile<'_>,
    ) -> io::Result<()> {
        loop {
            let due = meanwhile()?;
            let until = earlier(due, late);
            let woken = self.wait(Wait { read: false, write: true, bell: Some(bell) }, until)?;
            if let Some(error) = self.inner.take_error()? {
                return Err(error);
            }
            // There is a peer as soon as there is a connection, whatever it was that ended the wait.
            match self.inner.peer_addr() {
                Ok(_) => return Ok(()),
                Err(error) if woken.by_input => return Err(error),
                Err(_) => time_until(late)?,
            };
        }
    }

    /// Elsewhere there is no waiting for a connection that a bell ends.
    #[cfg(not(unix))]
    pub(crate) fn connect(
        address: SocketAddr,
        late: Option<Instant>,
        _: &Bell,
        meanwhile: Meanwhile<'_>,
    ) -> io::Result<Self> {
        meanwhile()?;
        Ok(Self::new(match time_until(late)? {
            Some(time) => std::net::TcpStream::connect_timeout(&address, time)?,
            None => std::net::TcpStream::connect(address)?,
        }))
    }

    /// Connects to a Unix socket, until `late` at the latest. No system tells when a full listener has room again, so
    /// nothing else ends it.
    #[cfg(unix)]
    pub(crate) fn connect_unix(path: &Path, late: Option<Instant>) -> io::Result<Self> {
        use socket2::{Domain, SockAddr, Type};
        let inner = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // None at all is what the system would take a shorter one for.
        inner.set_write_timeout(time_until(late)?.map(|time| time.max(Duration::from_micros(1))))?;
        inner.connect(&SockAddr::unix(path)?).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        inner.set_write_timeout(None)?;
        Ok(Self::new(inner))
    }

    /// Says each piece of output at once.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        self.inner.set_tcp_nodelay(true)
    }

    /// Writes what the socket takes at once; `WouldBlock` when that is nothing.
    #[cfg(unix)]
    pub(crate) fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        const AT_ONCE: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        match slices {
            // The common case, which has a cheaper system call.
            [slice] => self.inner.send_with_flags(slice, AT_ONCE),
            slices => self.inner.send_vectored_with_flags(slices, AT_ONCE),
        }
    }

    /// Elsewhere there is no writing without waiting that leaves the mode of the socket alone, so the
    /// writer waits.
    #[cfg(not(unix))]
    pub(crate) fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.send_vectored(slices)
    }

    /// Reads, waiting this long at most. `None`: nothing came. Only one thread at a time may
    /// read, because the time limit is the socket's and not the read's.
    pub(crate) fn read(&self, into: &mut [u8], limit: Option<Duration>) -> io::Result<Option<usize>> {
        if !self.limit_reads(limit)? {
            return Ok(None);
        }
        in_time((&self.inner).read(into))
    }

    /// Waits for one of these things, and leaves it there.
    #[cfg(unix)]
    pub(crate) fn wait(&self, what: Wait<'_>, until: Option<Instant>) -> io::Result<Woken> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let limit = until.map(|until| until.saturating_duration_since(Instant::now()));
        let is_late = limit.is_some_and(|limit| limit.is_zero());
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, what.read);
        flags.set(PollFlags::OUT, what.write);
        let (socket, no_bell) = (PollFd::new(&self.inner, flags), PollFd::new(&self.inner, flags));
        let bell = what.bell.map_or(no_bell, |bell| PollFd::new(bell.pipe(), PollFlags::IN));
        let mut both = [bell, socket];
        // A socket that nobody asks about tells of its end nevertheless, again and again.
        let first = usize::from(what.bell.is_none());
        let last = if what.read || what.write { 2 } else { 1 };
        let found = match poll(both.get_mut(first..last).unwrap_or_default(), limit.as_ref()) {
            Ok(found) => found,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let [bell, socket] = &both;
        let is_rung = bell.revents().contains(PollFlags::IN);
        if let Some(bell) = what.bell.filter(|_| is_rung) {
            bell.heard();
        }
        let ready = socket.revents();
        let by_other = is_late || found == 0 || is_rung || ready.contains(PollFlags::OUT);
        Ok(Woken { by_input: !(ready - PollFlags::OUT).is_empty(), by_other })
    }

    /// Elsewhere writing waits by itself, and there is no waiting for two things: it looks again and again.
    #[cfg(not(unix))]
    pub(crate) fn wait(&self, what: Wait<'_>, until: Option<Instant>) -> io::Result<Woken> {
        let late = Woken { by_input: false, by_other: true };
        let soon = Instant::now() + LOOK;
        let until = until.map_or(soon, |until| until.min(soon));
        if what.bell.is_some_and(Bell::take) {
            return Ok(late);
        }
        if !what.read {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
            return Ok(late);
        }
        if !self.limit_reads(Some(until.saturating_duration_since(Instant::now())))? {
            return Ok(late);
        }
        let found = in_time(self.inner.peek(&mut [std::mem::MaybeUninit::new(0)]))?;
        Ok(if found.is_some() { Woken { by_input: true, by_other: false } } else { late })
    }

    /// Reads what is there; `WouldBlock` when that is nothing.
    #[cfg(unix)]
    pub(crate) fn read_now(&self, into: &mut [u8]) -> io::Result<usize> {
        match rustix::net::recv(&self.inner, into, rustix::net::RecvFlags::DONTWAIT) {
            Ok((_, n)) => Ok(n),
            Err(error) => Err(error.into()),
        }
    }

    /// Elsewhere only a very short wait tells whether there is something.
    #[cfg(not(unix))]
    pub(crate) fn read_now(&self, into: &mut [u8]) -> io::Result<usize> {
        self.read(into, Some(2 * TOLERANCE))?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Ends reads that wait; a shutdown of a socket that is gone is one as well.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        let _ = self.inner.shutdown(how);
    }

    /// Sets the time limit on reads, unless the one that is set will do. False: the moment has passed.
    fn limit_reads(&self, limit: Option<Duration>) -> io::Result<bool> {
        let Some(wanted) = limit else {
            if self.read_limit.swap(NEVER, Ordering::Relaxed) != NEVER {
                self.inner.set_read_timeout(None)?;
            }
            return Ok(true);
        };
        if wanted.is_zero() {
            return Ok(false);
        }
        let wanted = u64::try_from(wanted.as_nanos()).unwrap_or(u64::MAX);
        let set = self.read_limit.load(Ordering::Relaxed);
        let tolerance = u64::try_from(TOLERANCE.as_nanos()).unwrap_or_default();
        // Shorter than wanted costs a look too early, which is cheaper than setting it, unless it is
        // much shorter; longer than wanted would be late.
        let will_do = set != NEVER && set <= wanted.saturating_add(tolerance) && set >= wanted / 2;
        if !will_do {
            self.inner.set_read_timeout(Some(Duration::from_nanos(wanted.max(1000))))?;
            self.read_limit.store(wanted, Ordering::Relaxed);
        }
        Ok(true)
    }
}

/// How much time there is; without a moment, as much as it takes.
fn time_until(late: Option<Instant>) -> io::Result<Option<Duration>> {
    let left = late.map(|late| late.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// A read that ran into its time limit read nothing, and one that was interrupted may be tried again.
fn in_time(read: io::Result<usize>) -> io::Result<Option<usize>> {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    match read {
        Ok(n) => Ok(Some(n)),
        Err(error) if matches!(error.kind(), Interrupted | TimedOut | WouldBlock) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a failed test says so")]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use socket2::{Domain, SockAddr, Type};

    use super::*;

    /// Somebody who listens and accepts nobody, and the one who waits there, which is as many as may.
    fn full(domain: Domain, address: &SockAddr) -> (socket2::Socket, socket2::Socket) {
        let listener = socket2::Socket::new(domain, Type::STREAM, None).unwrap();
        listener.bind(address).unwrap();
        listener.listen(0).unwrap();
        let first = socket2::Socket::new(domain, Type::STREAM, None).unwrap();
        first.connect(&listener.local_addr().unwrap()).unwrap();
        (listener, first)
    }

    #[test]
    fn a_connect_that_nobody_answers_ends_when_it_is_not_wanted_any_more() {
        let (listener, _waiting) = full(Domain::IPV4, &SocketAddr::from(([127, 0, 0, 1], 0)).into());
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let bell = Bell::new().unwrap();
        let (looks, looked) = mpsc::channel();
        thread::scope(|scope| {
            let (bell, mut wanted) = (&bell, [true].into_iter());
            let connecting = scope.spawn(move || {
                Socket::connect(address, None, bell, &mut || {
                    let wanted = wanted.next().map(|_| None);
                    looks.send(()).unwrap();
                    wanted.ok_or_else(|| io::ErrorKind::Interrupted.into())
                })
            });
            looked.recv().unwrap();
            bell.ring();
            assert_eq!(connecting.join().unwrap().unwrap_err().kind(), io::ErrorKind::Interrupted);
        });
    }

    #[test]
    fn a_connect_that_nobody_answers_ends_when_it_is_late() {
        let (listener, _waiting) = full(Domain::IPV4, &SocketAddr::from(([127, 0, 0, 1], 0)).into());
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let late = Instant::now() + Duration::from_millis(20);
        let connected = Socket::connect(address, Some(late), &Bell::new().unwrap(), &mut || Ok(None));
        assert_eq!(connected.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(Instant::now() >= late);
    }

    #[test]
    fn a_connect_to_a_full_unix_socket_ends_when_it_is_late() {
        let path = std::env::temp_dir().join(format!("liminal-blocking-full-{}", std::process::id()));
        let (_listener, _waiting) = full(Domain::UNIX, &SockAddr::unix(&path).unwrap());
        let late = Instant::now() + Duration::from_millis(20);
        let connected = Socket::connect_unix(&path, Some(late));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(connected.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
