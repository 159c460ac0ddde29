//! What a message says.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};

use crate::Metadata;

/// What a message or a reply says: its payload, and what is said about that. Whatever makes [`Bytes`] is a content
/// without metadata.
///
/// ```
/// use liminal_proto::{Content, Metadata};
///
/// let plain = Content::from("hello");
/// let metadata = Metadata::builder().header("content-type", "text/plain")?.build();
/// let described = Content::new("hello", metadata);
/// assert_eq!(plain.payload, described.payload);
/// assert!(plain.len() < described.len());
/// # Ok::<(), liminal_proto::InvalidHeader>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The message itself: bytes that nothing on the way interprets.
    pub payload: Bytes,
    /// What is said about it.
    pub metadata: Metadata,
}

impl Content {
    /// A payload with what is said about it.
    pub fn new(payload: impl Into<Bytes>, metadata: Metadata) -> Self {
        Self { payload: payload.into(), metadata }
    }

    /// How many bytes both are: what a message is [charged](crate::Limits::charge) for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len().saturating_add(self.metadata.len())
    }

    /// Whether there is neither.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

macro_rules! without_metadata {
    ($($payload:ty)*) => {
        $(impl From<$payload> for Content {
            fn from(payload: $payload) -> Self {
                Self::new(payload, Metadata::default())
            }
        })*
    };
}

without_metadata!(Bytes BytesMut Vec<u8> Box<[u8]> String &'static str &'static [u8]);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("metadata", &self.metadata)
            .finish()
    }
}
