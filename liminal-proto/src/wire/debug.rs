//! Debug output of frames: payloads and tokens show their length, never their bytes.

use core::fmt;

use super::layout::with_layouts;
use super::{Body, Envelope, Frame};

impl<S: fmt::Debug, B: AsRef<[u8]>> fmt::Debug for Frame<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("flags", &format_args!("{:#04x}", self.flags))
            .field("stream", &self.stream.get())
            .field("body", &self.body)
            .finish()
    }
}

impl<S: fmt::Debug, B: AsRef<[u8]>> fmt::Debug for Envelope<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("schema_id", &self.schema_id)
            .field("causal_context", &self.causal_context)
            .field("payload", &Length(&self.payload))
            .finish()
    }
}

struct Length<'a, B>(&'a B);

impl<B: AsRef<[u8]>> fmt::Debug for Length<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.as_ref().len())
    }
}

/// What is shown of a field, by its encoding.
macro_rules! shown {
    (bytes $field:ident) => {
        &Length($field)
    };
    (payload $field:ident) => {
        &Length($field)
    };
    (rest $field:ident) => {
        &Length($field)
    };
    ($encoding:ident $field:ident) => {
        $field
    };
}

macro_rules! debug_fields {
    ($($name:ident { $($field:ident: $encoding:ident),* })*) => {
        impl<S: fmt::Debug, B: AsRef<[u8]>> fmt::Debug for Body<S, B> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name { $($field),* } => f
                        .debug_struct(stringify!($name))
                        $(.field(stringify!($field), shown!($encoding $field)))*
                        .finish(),)*
                    Self::Unknown { type_id, payload } => f
                        .debug_struct("Unknown")
                        .field("type_id", &format_args!("{type_id:#04x}"))
                        .field("payload", &Length(payload))
                        .finish(),
                }
            }
        }
    };
}

with_layouts!(debug_fields);

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::super::{CausalContext, FrameRef, SchemaId, Version};
    use super::*;
    use crate::{ConversationId, StreamId};

    fn shown(body: Body<&str, &[u8]>) -> alloc::string::String {
        format!("{:?}", FrameRef { flags: 1, stream: StreamId::new(3), body })
    }

    #[test]
    fn payloads_and_tokens_show_their_length_only() {
        let envelope = Envelope {
            schema_id: SchemaId::default(),
            causal_context: CausalContext::default(),
            payload: b"secret".as_slice(),
        };
        let conversation_id = ConversationId::new(9);
        let message = shown(Body::ConversationMessage { conversation_id, envelope });
        assert!(message.contains("payload: 6 bytes"), "{message}");

        let version = Version::V1_0;
        let connect = shown(Body::Connect { min_version: version, max_version: version, auth_token: b"abc" });
        assert!(connect.contains("auth_token: 3 bytes"), "{connect}");

        let unknown = shown(Body::Unknown { type_id: 0x1A, payload: b"xy" });
        assert_eq!(
            unknown,
            "Frame { flags: 0x01, stream: 3, body: Unknown { type_id: 0x1a, payload: 2 bytes } }"
        );
    }

    #[test]
    fn a_frame_without_fields_shows_its_name() {
        assert!(shown(Body::Ping).ends_with("body: Ping }"));
    }
}
