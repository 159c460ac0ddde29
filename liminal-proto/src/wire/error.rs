//! What is wrong with bytes, and what is wrong with a frame that should become bytes.

use core::fmt;

use thiserror::Error;

use super::{Dialect, FrameType, StreamRule};
use crate::{ReasonCode, StreamId};

/// Why bytes are not a frame, or not yet one (PROTOCOL.md §3). Offsets count from the first byte of
/// the frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The header has not arrived. More bytes may cure it.
    #[error("incomplete header: {have} of 10 bytes")]
    IncompleteHeader {
        /// The bytes that are there.
        have: usize,
    },
    /// The payload has not arrived. More bytes may cure it.
    #[error("truncated payload: the frame has {have} of {need} bytes")]
    TruncatedPayload {
        /// The bytes of the frame that are there, header included.
        have: usize,
        /// The length of the whole frame.
        need: usize,
    },
    /// The header announces more payload than is allowed, whether it has arrived or not.
    #[error("payload of {len} bytes is above the limit of {limit}")]
    TooLarge {
        /// The length that the header announces.
        len: u32,
        /// The longest payload allowed.
        limit: u32,
    },
    /// A control frame off stream 0, or another one on it.
    #[error("{} must be on {}, not on stream {stream}", .frame_type.name(), Place(*.frame_type))]
    InvalidStream {
        /// The type of the frame.
        frame_type: FrameType,
        /// The stream it stands on.
        stream: StreamId,
    },
    /// The payload does not follow the layout of its type.
    #[error("byte {offset}, {field}: {fault}")]
    Codec {
        /// Where the fault lies.
        offset: usize,
        /// The field that was read; for [`Fault::Trailing`] what should have ended.
        field: &'static str,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// Why a frame has no encoding that could be decoded again (PROTOCOL.md §3).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The dialect has no such type.
    #[error("{} is not a frame of version {}", .frame_type.name(), .dialect.version())]
    NotInDialect {
        /// The type of the frame.
        frame_type: FrameType,
        /// The dialect that does not know it.
        dialect: Dialect,
    },
    /// An unknown frame with the id of a known type: it would decode as something else.
    #[error("an unknown frame must not carry the type id of {}", .frame_type.name())]
    KnownType {
        /// The type that has this id.
        frame_type: FrameType,
    },
    /// A control frame off stream 0, or another one on it.
    #[error("{} must be on {}, not on stream {stream}", .frame_type.name(), Place(*.frame_type))]
    InvalidStream {
        /// The type of the frame.
        frame_type: FrameType,
        /// The stream it should stand on.
        stream: StreamId,
    },
    /// A field that the decoder would refuse.
    #[error("{}, {field}: {fault}", .frame_type.name())]
    Codec {
        /// The type of the frame.
        frame_type: FrameType,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        fault: Fault,
    },
    /// More payload than the length in a header can express.
    #[error("payload of {len} bytes does not fit the length of a frame")]
    TooLong {
        /// The length of the payload.
        len: usize,
    },
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// It goes on where the frame, envelope or causal context ends.
    #[error("goes on past the end")]
    PastEnd,
    /// Its text is not UTF-8.
    #[error("is not valid UTF-8")]
    Utf8,
    /// Its tag is none of those with a meaning.
    #[error("has the unknown tag {0}")]
    Tag(u8),
    /// It is zero and must not be.
    #[error("must not be zero")]
    Zero,
    /// Bytes are left over behind it.
    #[error("is followed by bytes that belong to nothing")]
    Trailing,
    /// It is there and its flag is not, or the other way round.
    #[error("disagrees with its flag")]
    FlagMismatch,
    /// It is not the name of a header.
    #[error("is no name: 1 to 255 characters of a to z, 0 to 9, '-', '_' and '.'")]
    HeaderName,
    /// It counts more elements than the rest of the frame could hold.
    #[error("counts more elements than there are bytes for")]
    CountTooLarge,
}

/// The class of an error, which is all that the peer is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fewer bytes than a header.
    IncompleteHeader,
    /// Fewer bytes than the header announces.
    TruncatedPayload,
    /// A type outside the dialect.
    UnknownFrameType,
    /// A type on a stream where it must not stand.
    InvalidStream,
    /// A payload that does not follow its layout.
    Codec,
    /// A payload above its limit.
    TooLarge,
}

impl ErrorKind {
    /// The name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IncompleteHeader => "IncompleteHeader",
            Self::TruncatedPayload => "TruncatedPayload",
            Self::UnknownFrameType => "UnknownFrameType",
            Self::InvalidStream => "InvalidStream",
            Self::Codec => "CodecError",
            Self::TooLarge => "TooLarge",
        }
    }

    /// The code that tells it to the peer.
    #[must_use]
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Self::IncompleteHeader => ReasonCode::INCOMPLETE_HEADER,
            Self::TruncatedPayload => ReasonCode::TRUNCATED_PAYLOAD,
            Self::UnknownFrameType => ReasonCode::UNKNOWN_FRAME_TYPE,
            Self::InvalidStream => ReasonCode::INVALID_STREAM,
            Self::Codec => ReasonCode::CODEC,
            Self::TooLarge => ReasonCode::TOO_LARGE,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl DecodeError {
    /// The class of the error.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::IncompleteHeader { .. } => ErrorKind::IncompleteHeader,
            Self::TruncatedPayload { .. } => ErrorKind::TruncatedPayload,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::InvalidStream { .. } => ErrorKind::InvalidStream,
            Self::Codec { .. } => ErrorKind::Codec,
        }
    }

    /// The code that tells it to the peer.
    #[must_use]
    pub const fn reason_code(&self) -> ReasonCode {
        self.kind().reason_code()
    }

    /// Whether more bytes may still make a frame of what is there. Every other error is final.
    #[inline]
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        matches!(self, Self::IncompleteHeader { .. } | Self::TruncatedPayload { .. })
    }
}

impl EncodeError {
    /// The class of the error: that of what a decoder would say to the bytes.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotInDialect { .. } => ErrorKind::UnknownFrameType,
            Self::InvalidStream { .. } => ErrorKind::InvalidStream,
            Self::KnownType { .. } | Self::Codec { .. } => ErrorKind::Codec,
            Self::TooLong { .. } => ErrorKind::TooLarge,
        }
    }

    /// The code of that class.
    #[must_use]
    pub const fn reason_code(&self) -> ReasonCode {
        self.kind().reason_code()
    }
}

/// The streams of a frame type, in words.
struct Place(FrameType);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.stream_rule() {
            StreamRule::Control => "stream 0",
            StreamRule::Application => "a stream from 1 on",
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn messages_say_where_and_what() {
        let stream = StreamId::new(7);
        let codec = DecodeError::Codec { offset: 14, field: "channel", fault: Fault::Utf8 };
        let cases = [
            (DecodeError::IncompleteHeader { have: 3 }, "incomplete header: 3 of 10 bytes"),
            (
                DecodeError::InvalidStream { frame_type: FrameType::Ping, stream },
                "Ping must be on stream 0, not on stream 7",
            ),
            (codec, "byte 14, channel: is not valid UTF-8"),
        ];
        for (error, message) in cases {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_class_is_called_by_its_name_in_the_specification() {
        let too_large = DecodeError::TooLarge { len: 2, limit: 1 };
        assert_eq!(too_large.kind().to_string(), "TooLarge");
        let codec = EncodeError::KnownType { frame_type: FrameType::Ping };
        assert_eq!(codec.kind().to_string(), "CodecError");
    }

    #[test]
    fn only_missing_bytes_are_incomplete() {
        let stream = StreamId::CONTROL;
        let cases = [
            (DecodeError::IncompleteHeader { have: 0 }, true),
            (DecodeError::TruncatedPayload { have: 10, need: 11 }, true),
            (DecodeError::TooLarge { len: 2, limit: 1 }, false),
            (DecodeError::InvalidStream { frame_type: FrameType::Publish, stream }, false),
            (DecodeError::Codec { offset: 10, field: "pid", fault: Fault::PastEnd }, false),
        ];
        for (error, incomplete) in cases {
            assert_eq!(error.is_incomplete(), incomplete, "{error}");
        }
    }
}
