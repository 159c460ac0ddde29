//! Output taken out of a connection, on its way into the transport.

use std::io::IoSlice;

use bytes::{Buf, Bytes};
use liminal_proto::Connection;
use smallvec::SmallVec;

/// Segments for one vectored write: more than this saves no system call worth having.
const SEGMENTS_MAX: usize = 16;
/// Bytes taken out at once: what a socket buffer commonly holds.
const BYTES_MAX: usize = 256 << 10;

/// Output taken out of a connection and not yet written. It stays charged to the connection.
#[derive(Debug, Default)]
pub struct Unsent {
    /// Mostly one.
    segments: SmallVec<[Bytes; 1]>,
}

impl Unsent {
    /// Takes more out of the connection when nothing is left. Says whether there is anything to write.
    pub fn refill(&mut self, connection: &mut Connection) -> bool {
        let mut left = connection.output_len().min(BYTES_MAX);
        while left > 0 && self.segments.len() < SEGMENTS_MAX {
            let segment = connection.take_write(left);
            if segment.is_empty() {
                break;
            }
            left -= segment.len();
            self.segments.push(segment);
        }
        !self.segments.is_empty()
    }

    /// Hands the segments to one vectored write.
    pub fn write_with<R>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        let mut slices = [IoSlice::new(&[]); SEGMENTS_MAX];
        let n = slices.iter_mut().zip(&self.segments).map(|(slice, it)| *slice = IoSlice::new(it)).count();
        write(slices.get(..n).unwrap_or_default())
    }

    /// The first `n` bytes were written.
    pub fn wrote(&mut self, connection: &mut Connection, mut n: usize) {
        connection.wrote(n);
        let mut whole = 0;
        for segment in &mut self.segments {
            if n < segment.len() {
                segment.advance(n);
                break;
            }
            n -= segment.len();
            whole += 1;
        }
        self.segments.drain(..whole);
    }

    /// Nobody will read the rest.
    pub fn clear(&mut self) {
        self.segments.clear();
    }

    /// Whether everything taken out was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}
