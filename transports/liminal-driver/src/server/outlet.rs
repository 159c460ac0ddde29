//! A link of the bus, as its hub sees it.

use std::time;

use liminal_core::{Command, LinkId};
use liminal_proto::{ConversationId, Instant};

/// A link of the bus, as its hub sees it: a connection of a server, or the connection of a client that serves.
pub(crate) trait Outlet: Send + Sync {
    /// Its id on the bus.
    fn id(&self) -> LinkId;

    /// Something that the bus has to say. Called while the bus is locked. Says whether it is the first
    /// since what was said was last flushed: then whoever pushed it flushes the link.
    fn push(&self, command: Command) -> bool;

    /// Says what there is to say, as far as there is room, and writes as far as the stream takes it. Of what
    /// finds no room or no credit there may be `held_max` bytes.
    fn flush(&self, now: Instant, held_max: usize) -> Flushed;

    /// Whether something that was said finds no room.
    fn is_full(&self) -> bool;

    /// Conversations that have become full, because something that was said in them waits for credit, or are so no
    /// more. Called while the bus is locked.
    fn take_changes(&self) -> Vec<(ConversationId, bool)>;

    /// Whether it has taken all that was said. If not, [`flush`](Self::flush) tells when it has. Called while the bus
    /// is locked.
    fn has_taken_all(&self) -> bool {
        true
    }

    /// What else it may be told as one that looks on is for its own thread or task to write.
    fn put_off(&self) {}

    /// The transport is taken away.
    fn drop_transport(&self, now: Instant);

    /// What the bus holds for it, in bytes. Called while the bus is locked.
    fn hold_on_bus(&self, _bytes: usize) {}

    /// Whether it had time enough to shake hands, and has not.
    fn stalls(&self, _now: time::Instant) -> bool {
        false
    }
}

/// What has come of flushing a link that the bus must know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flushed {
    /// [`Outlet::is_full`] has changed, or there are [changes](Outlet::take_changes) of conversations.
    pub(crate) changed: bool,
    /// What was said is taken, and the bus [waits](Outlet::has_taken_all) for that.
    pub(crate) taken: bool,
    /// What the link was told as one that looks on was written, or nearly all of it: the bus tells it more when it
    /// knows.
    pub(crate) drained: bool,
}
