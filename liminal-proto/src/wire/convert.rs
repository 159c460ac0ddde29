//! One frame, several forms: borrowed, copied, sharing.

use alloc::borrow::ToOwned;
use alloc::string::String;

use bytes::Bytes;

use super::layout::with_layouts;
use super::{Body, CausalContext, Envelope, Frame, FrameBuf, FrameRef, WorkerVerdict};

impl FrameRef<'_> {
    /// A frame of its own, with everything copied.
    #[must_use]
    pub fn to_buf(&self) -> FrameBuf {
        self.convert(&Copying)
    }

    /// A frame of its own whose byte fields are slices of `source`, the bytes that this frame was
    /// decoded from: payloads are not copied, and `source` lives as long as they do. Texts are
    /// copied, and so is a byte field that does not lie in `source`.
    #[must_use]
    pub fn share(&self, source: &Bytes) -> FrameBuf {
        self.convert(&Sharing(source))
    }
}

impl<S: AsRef<str>, B: AsRef<[u8]>> Frame<S, B> {
    /// The same frame, borrowed.
    #[must_use]
    pub fn as_frame_ref(&self) -> FrameRef<'_> {
        self.convert(&Borrowing)
    }
}

/// From texts `S` and bytes `B` to those of another form. The contents stay what they are.
trait Form<'a, S, B> {
    type Text;
    type Bytes;

    fn text(&self, text: &'a S) -> Self::Text;
    fn bytes(&self, bytes: &'a B) -> Self::Bytes;
}

struct Copying;

impl<'a> Form<'a, &str, &[u8]> for Copying {
    type Text = String;
    type Bytes = Bytes;

    fn text(&self, text: &'a &str) -> String {
        (*text).to_owned()
    }

    fn bytes(&self, bytes: &'a &[u8]) -> Bytes {
        Bytes::copy_from_slice(bytes)
    }
}

struct Sharing<'s>(&'s Bytes);

impl<'a> Form<'a, &str, &[u8]> for Sharing<'_> {
    type Text = String;
    type Bytes = Bytes;

    fn text(&self, text: &'a &str) -> String {
        (*text).to_owned()
    }

    fn bytes(&self, bytes: &'a &[u8]) -> Bytes {
        slice_of(self.0, bytes).unwrap_or_else(|| Bytes::copy_from_slice(bytes))
    }
}

struct Borrowing;

impl<'a, S: AsRef<str> + 'a, B: AsRef<[u8]> + 'a> Form<'a, S, B> for Borrowing {
    type Text = &'a str;
    type Bytes = &'a [u8];

    fn text(&self, text: &'a S) -> &'a str {
        text.as_ref()
    }

    fn bytes(&self, bytes: &'a B) -> &'a [u8] {
        bytes.as_ref()
    }
}

/// `part` as a slice of `source`, if that is where it lies.
fn slice_of(source: &Bytes, part: &[u8]) -> Option<Bytes> {
    let start = part.as_ptr().addr().checked_sub(source.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= source.len()).then(|| source.slice(start..end))
}

impl<S, B> Frame<S, B> {
    fn convert<'a, F: Form<'a, S, B>>(&'a self, form: &F) -> Frame<F::Text, F::Bytes> {
        Frame { flags: self.flags, stream: self.stream, body: self.body.convert(form) }
    }
}

impl<S> WorkerVerdict<S> {
    fn convert<'a, B, F: Form<'a, S, B>>(&'a self, form: &F) -> WorkerVerdict<F::Text> {
        match self {
            Self::Accepted => WorkerVerdict::Accepted,
            Self::Rejected { reason } => WorkerVerdict::Rejected { reason: form.text(reason) },
        }
    }
}

impl<S, B> Envelope<S, B> {
    fn convert<'a, F: Form<'a, S, B>>(&'a self, form: &F) -> Envelope<F::Text, F::Bytes> {
        Envelope {
            schema_id: self.schema_id,
            causal_context: CausalContext {
                parent_id: self.causal_context.parent_id.as_ref().map(|id| form.text(id)),
                vector_clock_entry: self.causal_context.vector_clock_entry,
            },
            payload: form.bytes(&self.payload),
        }
    }
}

/// A field in another form, by its encoding. Whatever holds neither text nor bytes is copied.
macro_rules! converted {
    ($form:ident, str $field:ident) => {
        $form.text($field)
    };
    ($form:ident, opt_str $field:ident) => {
        $field.as_ref().map(|text| $form.text(text))
    };
    ($form:ident, key $field:ident) => {
        $field.as_ref().map(|text| $form.text(text))
    };
    ($form:ident, bytes $field:ident) => {
        $form.bytes($field)
    };
    ($form:ident, payload $field:ident) => {
        $form.bytes($field)
    };
    ($form:ident, rest $field:ident) => {
        $form.bytes($field)
    };
    ($form:ident, schema_ids $field:ident) => {
        $field.convert(|bytes| $form.bytes(bytes))
    };
    ($form:ident, records $field:ident) => {
        $field.convert(|bytes| $form.bytes(bytes))
    };
    ($form:ident, texts $field:ident) => {
        $field.convert(|bytes| $form.bytes(bytes))
    };
    ($form:ident, metadata $field:ident) => {
        $field.as_ref().map(|metadata| metadata.convert(|bytes| $form.bytes(bytes)))
    };
    ($form:ident, envelope $field:ident) => {
        $field.convert($form)
    };
    ($form:ident, verdict $field:ident) => {
        $field.convert($form)
    };
    ($form:ident, $encoding:ident $field:ident) => {
        *$field
    };
}

macro_rules! convert_fields {
    ($($name:ident { $($field:ident: $encoding:ident),* })*) => {
        impl<S, B> Body<S, B> {
            fn convert<'a, F: Form<'a, S, B>>(&'a self, form: &F) -> Body<F::Text, F::Bytes> {
                match self {
                    $(Self::$name { $($field),* } => Body::$name {
                        $($field: converted!(form, $encoding $field)),*
                    },)*
                    Self::Unknown { type_id, payload } => {
                        Body::Unknown { type_id: *type_id, payload: form.bytes(payload) }
                    }
                }
            }
        }
    };
}

with_layouts!(convert_fields);
