//! What a connection has written.

use bytes::{Buf, BytesMut};
use liminal_proto::Connection;
use liminal_proto::wire::{Dialect, decode};

/// Follows the output byte by byte, however it is taken out: it must be whole frames.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Taken out and not yet reported as written.
    taken: usize,
    unfinished: BytesMut,
}

impl Written {
    /// These bytes were taken out.
    pub(super) fn taken(&mut self, bytes: &[u8]) {
        self.taken += bytes.len();
        self.append(bytes);
    }

    /// The next `n` bytes are about to be reported as written: first those taken out.
    pub(super) fn reported(&mut self, connection: &Connection, n: usize) {
        let of_taken = n.min(self.taken);
        self.taken -= of_taken;
        let mut rest = n - of_taken;
        for segment in segments(connection) {
            let written = &segment[..rest.min(segment.len())];
            self.append(written);
            rest -= written.len();
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.unfinished.extend_from_slice(bytes);
        while !self.unfinished.is_empty() {
            match decode(Dialect::V2, u32::MAX, &self.unfinished) {
                Ok((_, used)) => self.unfinished.advance(used),
                Err(error) if error.is_incomplete() => return,
                Err(error) => panic!("no frame was written: {error}"),
            }
        }
    }
}

/// All segments of the output, however many.
fn segments(connection: &Connection) -> Vec<&[u8]> {
    let mut slots = vec![&[][..]; 64];
    loop {
        let filled = connection.to_write(&mut slots);
        if filled < slots.len() {
            slots.truncate(filled);
            return slots;
        }
        slots = vec![&[][..]; 2 * slots.len()];
    }
}
