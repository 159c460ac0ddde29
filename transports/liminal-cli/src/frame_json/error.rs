//! What is wrong with a JSON value that should be a frame.

use liminal_proto::wire::FrameType;
use thiserror::Error;

/// Why a JSON value is not a frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The frame itself is something else than an object.
    #[error("a frame must be a JSON object")]
    NotAnObject,
    /// A key that must be there is not.
    #[error("{key}: missing, expected {expected}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What should stand there.
        expected: &'static str,
    },
    /// A key has a value of another kind, or out of range.
    #[error("{key}: expected {expected}")]
    Expected {
        /// The key.
        key: &'static str,
        /// What should stand there.
        expected: &'static str,
    },
    /// `frame_type` names nothing that exists.
    #[error("frame_type: there is no type {name:?}")]
    NoSuchType {
        /// The name.
        name: String,
    },
    /// `frame_type` and `type_id` are there and mean different types.
    #[error("type_id: {} has {:#04x}, not {type_id:#04x}", .frame_type.name(), .frame_type.id())]
    TypeMismatch {
        /// What `frame_type` says.
        frame_type: FrameType,
        /// What `type_id` says.
        type_id: u8,
    },
}
