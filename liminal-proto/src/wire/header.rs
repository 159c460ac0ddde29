//! The ten bytes that stand before every payload (PROTOCOL.md §1).

use super::DecodeError;
use crate::StreamId;

/// The length of a header, and so of the shortest frame.
pub const HEADER_LEN: usize = 10;

/// What is known of a frame before its payload has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The first byte: which layout the payload has.
    pub type_id: u8,
    /// All eight bits as they stand on the wire.
    pub flags: u8,
    /// The stream, not yet held against the type.
    pub stream: StreamId,
    /// How many bytes of payload follow, in the words of the sender.
    pub payload_len: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    ///
    /// [`DecodeError::IncompleteHeader`] when there are fewer than [`HEADER_LEN`] bytes.
    #[inline]
    pub const fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some(&[type_id, flags, s0, s1, s2, s3, n0, n1, n2, n3]) = bytes.first_chunk::<HEADER_LEN>()
        else {
            return Err(DecodeError::IncompleteHeader { have: bytes.len() });
        };
        Ok(Self {
            type_id,
            flags,
            stream: StreamId::new(u32::from_be_bytes([s0, s1, s2, s3])),
            payload_len: u32::from_be_bytes([n0, n1, n2, n3]),
        })
    }

    /// The header as it stands on the wire.
    #[inline]
    #[must_use]
    pub const fn encode(self) -> [u8; HEADER_LEN] {
        let [s0, s1, s2, s3] = self.stream.get().to_be_bytes();
        let [n0, n1, n2, n3] = self.payload_len.to_be_bytes();
        [self.type_id, self.flags, s0, s1, s2, s3, n0, n1, n2, n3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; HEADER_LEN] = [0x0D, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn integers_are_big_endian() {
        let header = Header::decode(&BYTES).unwrap();
        assert_eq!((header.type_id, header.flags), (0x0D, 0x21));
        assert_eq!(header.stream, StreamId::new(0x0102_0304));
        assert_eq!(header.payload_len, 0x0506_0708);
    }

    #[test]
    fn a_header_encodes_to_the_bytes_it_was_read_from() {
        assert_eq!(Header::decode(&BYTES).unwrap().encode(), BYTES);
    }

    #[test]
    fn fewer_than_ten_bytes_are_incomplete() {
        for have in 0..HEADER_LEN {
            let result = Header::decode(&BYTES[..have]);
            assert_eq!(result, Err(DecodeError::IncompleteHeader { have }));
        }
    }
}
