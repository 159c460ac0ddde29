//! What carries the bytes.

use liminal_proto::{Connection, Instant, Next, Wants};

/// A serial line, or whatever else carries bytes both ways. Neither call waits.
pub trait Line {
    /// Reads what is there, and says how much that was.
    fn read(&mut self, into: &mut [u8]) -> usize;
    /// Writes what there is room for, and says how much that was.
    fn write(&mut self, bytes: &[u8]) -> usize;
}

/// Carries what can be carried between a line and its connection. Says whether anything moved.
pub(crate) fn carry(line: &mut impl Line, connection: &mut Connection, now: Instant, wants: Wants) -> bool {
    let mut segments = [&[][..]; 1];
    let queued = connection.to_write(&mut segments);
    let [segment] = segments;
    let written = if queued > 0 { line.write(segment) } else { 0 };
    connection.wrote(written);
    let mut read = 0;
    if wants.read {
        let mut buffer = [0; 64];
        let room = connection.input_room().min(buffer.len());
        let space = buffer.get_mut(..room).unwrap_or_default();
        read = line.read(space);
        connection.receive(now, space.get(..read).unwrap_or_default());
    }
    written + read > 0
}

/// Polls to the next event; `Err`: there is none, and this is what the connection waits for.
pub(crate) fn next(connection: &mut Connection) -> Result<liminal_proto::Event, Wants> {
    match connection.poll() {
        Next::Event(event) => Ok(event),
        Next::Wait(wants) => Err(wants),
    }
}
