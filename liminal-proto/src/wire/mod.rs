//! Bytes ⇄ frames: the codec, apart from any behaviour.
//!
//! [`decode()`] borrows from its input and allocates nothing; [`decode_shared`] gives an owned frame
//! whose payloads share the input. [`encode()`] appends a whole frame, [`encode_head`] all but a
//! payload at its end. What decodes, encodes to the same bytes, and back: the layouts of both
//! directions are one table.
//!
//! ```
//! use bytes::BytesMut;
//! use liminal_proto::StreamId;
//! use liminal_proto::wire::{Body, Dialect, Frame, FrameRef, decode, encode};
//!
//! let ping = FrameRef { flags: 0, stream: StreamId::CONTROL, body: Body::Ping };
//! let mut bytes = BytesMut::new();
//! encode(Dialect::V1, &ping, &mut bytes)?;
//!
//! let (frame, used) = decode(Dialect::V1, 1 << 20, &bytes)?;
//! assert_eq!(frame, ping);
//! assert_eq!(used, bytes.len());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod convert;
mod debug;
mod decode;
mod encode;
mod error;
mod frame;
mod frame_type;
mod header;
mod layout;
mod lists;
mod metadata;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use decode::{decode, decode_shared};
pub(crate) use encode::Measured;
pub use encode::{encode, encode_head, encoded_len};
pub use error::{DecodeError, EncodeError, ErrorKind, Fault};
pub use frame::{
    Body, CausalContext, Dialect, Envelope, Frame, FrameBuf, FrameRef, SchemaId, Version, WorkerVerdict, flag,
};
pub use frame_type::{FrameType, StreamRule};
pub use header::{HEADER_LEN, Header};
pub use lists::{RecordNumbers, SchemaIds, Texts, TooLong};
pub use metadata::{InvalidHeader, Metadata, MetadataBuilder};
