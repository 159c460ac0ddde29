//! Peers that mean no good: they speak bytes.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use liminal_proto::{CloseReason, Instant};

/// A peer that writes bytes on its connection instead of speaking the protocol, beside the openers of a plan.
///
/// It does one thing after the other, whatever it hears, until it has nothing left to do or the bus has closed
/// its connection; what it hears is for its [`Encounter`]. It never comes back.
///
/// ```
/// use std::time::Duration;
/// use liminal_sim::{Hostile, Sim, Tape};
///
/// let sim = Sim::new("a frame that never ends", |plan| {
///     plan.hostile(Hostile::new().write(&b"\x01\0\0\0\0\0\0\0\x01\0 and no more"[..]));
/// });
/// let encounter = &sim.run(&Tape::default()).encounters[0];
/// assert!(encounter.lasted().unwrap() <= Duration::from_secs(2));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Hostile {
    pub(crate) deeds: VecDeque<Deed>,
}

#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Write(Bytes),
    Wait(Duration),
    /// Whether it reads from now on.
    Read(bool),
    CloseHalf,
    Reset,
}

impl Hostile {
    /// One that connects and does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes these bytes, as fast as they are taken.
    #[must_use]
    pub fn write(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Deed::Write(bytes.into()))
    }

    /// Writes one of these bytes, waits for so long, and so on.
    #[must_use]
    pub fn trickle(mut self, bytes: &[u8], every: Duration) -> Self {
        for byte in bytes {
            self = self.write(vec![*byte]).wait(every);
        }
        self
    }

    /// Does nothing for a while. It still reads, unless told otherwise.
    #[must_use]
    pub fn wait(self, time: Duration) -> Self {
        self.then(Deed::Wait(time))
    }

    /// Reads nothing from now on.
    #[must_use]
    pub fn stop_reading(self) -> Self {
        self.then(Deed::Read(false))
    }

    /// Reads again.
    #[must_use]
    pub fn go_on_reading(self) -> Self {
        self.then(Deed::Read(true))
    }

    /// Closes its half of the connection behind what it has written.
    #[must_use]
    pub fn close_half(self) -> Self {
        self.then(Deed::CloseHalf)
    }

    /// Is gone, behind what it has written.
    #[must_use]
    pub fn reset(self) -> Self {
        self.then(Deed::Reset)
    }

    fn then(mut self, deed: Deed) -> Self {
        self.deeds.push_back(deed);
        self
    }
}

/// What came of a hostile peer.
#[derive(Clone, Debug, Default)]
pub struct Encounter {
    /// When it connected. `None`: it never did.
    pub began: Option<Instant>,
    /// When the bus let go of its connection. `None`: the end of the run came first.
    pub ended: Option<Instant>,
    /// Why, as the bus has it.
    pub reason: Option<CloseReason>,
    /// How many bytes it has written.
    pub wrote: usize,
    /// In how many pieces the bus was given that.
    pub pieces: usize,
    /// What it has read.
    pub heard: Vec<u8>,
    /// The most that was held for it at any time, in bytes: accepted messages, input, output, and replies that
    /// wait for room.
    pub held_bytes_max: usize,
}

impl Encounter {
    /// How long the bus kept its connection, in virtual time.
    #[must_use]
    pub fn lasted(&self) -> Option<Duration> {
        Some(self.ended?.since(self.began?))
    }
}
