//! Which faults a run has at all.

use std::fmt;

use crate::{Draws, Track};

/// How bytes travel between openers and the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// As TCP carries them: in order, unchanged, in pieces, late, or not at all. Every promise must hold.
    #[default]
    Faithful,
    /// Bytes are changed, added, lost, repeated and mixed. Only robustness must hold.
    Byzantine,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident, $text:literal;)*) => {
        /// What can go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every fault.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What it does, in a few words.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

faults! {
    /// Bytes arrive in pieces, down to one byte.
    Chunks, "pieces";
    /// Bytes take their time.
    Latency, "latency";
    /// Little fits into the buffers of the sockets.
    NarrowBuffers, "narrow buffers";
    /// One direction stands still for a while.
    Stall, "stall";
    /// Both directions stand still, for a while or until the transport gives up.
    BlackHole, "black hole";
    /// The connection is reset, and a suffix of what travels is lost.
    Reset, "reset";
    /// The opener closes its half.
    HalfClose, "half-close";
    /// The process of an opener ends; its machine says so.
    OpenerCrash, "opener crash";
    /// The machine of an opener is gone without a word.
    OpenerVanishes, "opener vanishes";
    /// The process of an opener stands still.
    OpenerPause, "opener pause";
    /// An opener reads no replies for a while.
    Unread, "unread replies";
    /// The process of the bus stands still.
    BusPause, "bus pause";
    /// The process of the bus ends, and is started again.
    BusCrash, "bus crash";
    /// The process of a participant is killed, at work or not.
    Kill, "kill";
    /// A registration is taken back, or comes back.
    Withdraw, "withdrawn registration";
    /// A participant panics before it does anything.
    Panic, "panic";
    /// A participant panics when it has answered.
    LatePanic, "late panic";
    /// A call takes longer than anybody waits.
    Hang, "hang";
    /// A call takes its time.
    Slow, "slow";
    /// A participant answers twice.
    Twice, "double answer";
    /// A host has no free seat.
    Busy, "busy";
    /// A participant will not join, or not answer.
    Refuse, "refusal";
}

/// How often a fault may happen, out of 256 occasions; the first is never.
pub(crate) const WEIGHTS: [u8; 4] = [0, 8, 32, 96];
/// What may fit into narrow buffers, in bytes.
pub(crate) const WINDOWS: [usize; 4] = [4096, 256, 64, 16];

/// The faults of one run, and their weights: drawn at its beginning, because a run in which everything
/// happens all the time never gets far enough for what needs a fault at the right moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swarm {
    weights: Vec<u8>,
    window: usize,
}

impl Swarm {
    /// No faults at all.
    #[must_use]
    pub fn benign() -> Self {
        Self { weights: vec![0; Fault::ALL.len()], window: 1 << 16 }
    }

    /// Drawn from the tape: each of the faults that the plan allows is there or not, and rare or frequent.
    pub fn draw(draws: &mut Draws, allowed: impl Fn(Fault) -> bool) -> Self {
        let mut this = Self::benign();
        for (nth, fault) in Fault::ALL.iter().enumerate() {
            if allowed(*fault) {
                // A search of all runs has a run without it anyway: the one in which it never happens.
                this.weights[nth] =
                    WEIGHTS[draws.below_of(Track::Faults, WEIGHTS.len(), &[WEIGHTS.len() - 1])];
            }
        }
        if this.has(Fault::NarrowBuffers) {
            this.window = draws.pick(Track::Faults, &WINDOWS);
        }
        this
    }

    /// How often, out of 256 occasions.
    #[must_use]
    pub fn weight(&self, fault: Fault) -> u8 {
        self.weights[fault as usize]
    }

    /// Whether it exists in this run.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.weight(fault) > 0
    }

    /// What fits into one direction of a connection, in bytes.
    #[must_use]
    pub const fn window(&self) -> usize {
        self.window
    }
}

impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for fault in Fault::ALL.iter().filter(|fault| self.has(**fault)) {
            write!(f, "{before}{} {}/256", fault.name(), self.weight(*fault))?;
            before = ", ";
        }
        if before.is_empty() {
            f.write_str("no faults")?;
        }
        if self.has(Fault::NarrowBuffers) {
            write!(f, " ({} bytes)", self.window)?;
        }
        Ok(())
    }
}
