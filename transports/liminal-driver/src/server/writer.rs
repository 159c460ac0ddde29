//! The half of a connection's stream that is written, and the turn to write it.

use std::io::{self, IoSlice};
use std::task::{Poll, Waker};

use crate::unsent::Unsent;

/// The half of a stream that is written, without ever waiting.
pub trait TryWrite: Send {
    /// Writes what the stream takes at once. `Pending`: `waker` is woken when it takes more.
    fn try_write(&mut self, slices: &[IoSlice<'_>], waker: &Waker) -> Poll<io::Result<usize>>;

    /// Something is to be written that nobody is about to write. Wakes the reader, who does it then; a transport
    /// whose reader cannot be woken has somebody else do it.
    fn put_off(&mut self, reader: &Waker) {
        reader.wake_by_ref();
    }

    /// The stream takes no more. Wakes the reader, who then minds how long that lasts; a transport whose
    /// writer minds that by itself leaves the reader alone.
    fn blocked(&mut self, reader: &Waker) {
        reader.wake_by_ref();
    }

    /// The connection is over: ends a read that waits, where waking the reader does not.
    fn interrupt(&mut self) {}

    /// Closes this half.
    fn try_close(&mut self, waker: &Waker) -> Poll<io::Result<()>>;
}

/// The turn to write: the half to write to, and who is woken when it takes more.
pub(super) struct Writer {
    pub(super) half: Box<dyn TryWrite>,
    pub(super) waker: Waker,
}

impl Writer {
    pub(super) fn write(&mut self, unsent: &Unsent) -> Poll<io::Result<usize>> {
        loop {
            match unsent.write_with(|slices| self.half.try_write(slices, &self.waker)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }
}
