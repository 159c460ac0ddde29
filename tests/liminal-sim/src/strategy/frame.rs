//! Frames.

use bytes::Bytes;
use liminal_proto::wire::{Dialect, FrameBuf, FrameType};
use proptest::prelude::{Just, Strategy, prop_oneof};

use crate::AnyFrame;

/// Either version; 2.0 is the simpler one, into which cases shrink.
pub fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::V2), Just(Dialect::V1)]
}

/// Frames of every type that the version knows, and of those that it does not know. The encoder takes them
/// all. Texts and lists are short: for payloads of any length see [`payload`](super::payload()).
///
/// ```
/// use bytes::BytesMut;
/// use liminal_proto::wire::{Dialect, decode, encode};
/// use liminal_sim::strategy;
/// use proptest::prelude::*;
///
/// proptest!(|(frame in strategy::frame(Dialect::V2))| {
///     let mut bytes = BytesMut::new();
///     encode(Dialect::V2, &frame, &mut bytes)?;
///     let (decoded, used) = decode(Dialect::V2, u32::MAX, &bytes)?;
///     prop_assert_eq!((decoded.to_buf(), used), (frame, bytes.len()));
/// });
/// ```
pub fn frame(dialect: Dialect) -> impl Strategy<Value = FrameBuf> {
    AnyFrame::of_any_type(dialect).prop_map(|it| it.frame)
}

/// Frames of one type.
///
/// ```
/// use liminal_proto::wire::FrameType;
/// use liminal_sim::strategy;
/// use proptest::prelude::*;
///
/// proptest!(|(frame in strategy::frame_of(FrameType::Exited))| {
///     prop_assert_eq!(frame.body.frame_type(), Some(FrameType::Exited));
///     prop_assert!(frame.stream.get() > 0, "it stands on the stream of its conversation");
/// });
/// ```
pub fn frame_of(frame_type: FrameType) -> impl Strategy<Value = FrameBuf> {
    AnyFrame::of(frame_type.since(), Some(frame_type)).prop_map(|it| it.frame)
}

/// Frames of both versions, each with its version.
pub fn any_frame() -> impl Strategy<Value = AnyFrame> {
    dialect().prop_flat_map(AnyFrame::of_any_type)
}

/// The bytes of frames of a version. They shrink as the frames do, so what is left is a valid frame, too.
///
/// ```
/// use liminal_proto::wire::{Dialect, HEADER_LEN, Header};
/// use liminal_sim::strategy;
/// use proptest::prelude::*;
///
/// proptest!(|(bytes in strategy::encoded_frame(Dialect::V1))| {
///     let header = Header::decode(&bytes)?;
///     prop_assert_eq!(HEADER_LEN + header.payload_len as usize, bytes.len());
/// });
/// ```
pub fn encoded_frame(dialect: Dialect) -> impl Strategy<Value = Bytes> {
    AnyFrame::of_any_type(dialect).prop_map(|it| it.encoded())
}
