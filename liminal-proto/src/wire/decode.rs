//! Bytes → frames.

use bytes::Bytes;

use super::layout::with_layouts;
use super::reader::Reader;
use super::{Body, DecodeError, Dialect, Frame, FrameBuf, FrameRef, FrameType, HEADER_LEN, Header};

/// Decodes the frame at the start of `bytes`, and says how many bytes it takes. Nothing is copied.
///
/// A type outside the dialect decodes as [`Body::Unknown`], on any stream.
///
/// # Errors
///
/// The first fault in the order of PROTOCOL.md §3: the header is incomplete, the payload is above
/// `payload_limit`, the payload is truncated, the type may not stand on its stream, a field breaks
/// its encoding, bytes are left over. While [`DecodeError::is_incomplete`] holds, call again with
/// more bytes.
pub fn decode(
    dialect: Dialect,
    payload_limit: u32,
    bytes: &[u8],
) -> Result<(FrameRef<'_>, usize), DecodeError> {
    let header = Header::decode(bytes)?;
    let (payload, frame_len) = payload(header, payload_limit, bytes)?;
    let Some(frame_type) = FrameType::of(dialect, header.type_id) else {
        return Ok((frame(header, Body::Unknown { type_id: header.type_id, payload }), frame_len));
    };
    if !frame_type.stream_rule().allows(header.stream) {
        return Err(DecodeError::InvalidStream { frame_type, stream: header.stream });
    }
    known(frame_type, header, Reader::new(payload, frame_len, header.flags), frame_len)
}

/// The same, into a frame that owns what it holds: texts are copied, byte fields share `bytes`.
///
/// # Errors
///
/// Those of [`decode()`].
pub fn decode_shared(
    dialect: Dialect,
    payload_limit: u32,
    bytes: &Bytes,
) -> Result<(FrameBuf, usize), DecodeError> {
    let (frame, frame_len) = decode(dialect, payload_limit, bytes)?;
    Ok((frame.share(bytes), frame_len))
}

/// The payload, and the length of the whole frame.
fn payload(header: Header, limit: u32, bytes: &[u8]) -> Result<(&[u8], usize), DecodeError> {
    if header.payload_len > limit {
        return Err(DecodeError::TooLarge { len: header.payload_len, limit });
    }
    let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
    let need = HEADER_LEN.saturating_add(payload_len);
    match bytes.get(HEADER_LEN..need) {
        Some(payload) => Ok((payload, need)),
        None => Err(DecodeError::TruncatedPayload { have: bytes.len(), need }),
    }
}

fn frame<'a>(header: Header, body: Body<&'a str, &'a [u8]>) -> FrameRef<'a> {
    Frame { flags: header.flags, stream: header.stream, body }
}

macro_rules! read_fields {
    ($($name:ident { $($field:ident: $encoding:ident),* })*) => {
        /// The frame whose fields `reader` holds. They are read in the order of the table, and
        /// nothing may follow the last. Each arm makes the whole result, so that it is written once.
        #[inline]
        fn known<'a>(
            frame_type: FrameType,
            header: Header,
            mut reader: Reader<'a>,
            frame_len: usize,
        ) -> Result<(FrameRef<'a>, usize), DecodeError> {
            match frame_type {
                $(FrameType::$name => {
                    $(let $field = reader.$encoding(stringify!($field))?;)*
                    reader.finish(stringify!($name))?;
                    Ok((frame(header, Body::$name { $($field),* }), frame_len))
                })*
            }
        }
    };
}

with_layouts!(read_fields);
