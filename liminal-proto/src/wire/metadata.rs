//! What is said about a payload: kept as the bytes of its fields, so that passing it on costs nothing.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::reader::Reader;
use super::{CausalContext, SchemaId};

/// What a message says about its payload: headers, the schema, and what caused it. Each is optional, and none is
/// interpreted on the way: what one side said, the other one reads (`PROTOCOL.md` §5).
///
/// It stays as it stands on the wire, and is shared with what it was decoded from: a bus that passes it on neither
/// copies nor allocates. The default says nothing, and takes no bytes in a frame.
///
/// ```
/// use liminal_proto::Metadata;
///
/// let metadata = Metadata::builder()
///     .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")?
///     .build();
/// assert!(metadata.header("traceparent").is_some_and(|trace| trace.starts_with("00-")));
/// assert_eq!(metadata.headers().count(), 1);
/// # Ok::<(), liminal_proto::InvalidHeader>(())
/// ```
// One block that follows the layout and is not empty: it was read, or built here. Mostly there is none, and to hold,
// share and drop none costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metadata<B = Bytes>(Option<B>);

/// A header that cannot be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// Its name is none: one to 255 characters of `a` to `z`, `0` to `9`, `-`, `_` and `.`.
    #[error("the name of a header has 1 to 255 characters of a to z, 0 to 9, '-', '_' and '.'")]
    Name,
    /// It is longer than a frame can be.
    #[error("this is longer than a frame can be")]
    TooLong,
}

impl Metadata {
    /// What an envelope of 1.0 says about its payload.
    pub(crate) fn of_cause(schema_id: Option<SchemaId>, cause: &CausalContext<&str>) -> Self {
        let CausalContext { parent_id, vector_clock_entry } = *cause;
        let builder = MetadataBuilder { schema_id, vector_clock_entry, ..MetadataBuilder::default() };
        // It was in a frame, so it is not longer than one can be.
        parent_id.map_or(Ok(builder.clone()), |id| builder.parent_id(id)).unwrap_or_default().build()
    }

    /// Begins one.
    pub fn builder() -> MetadataBuilder {
        MetadataBuilder::default()
    }
}

impl<B> Default for Metadata<B> {
    fn default() -> Self {
        Self(None)
    }
}

impl<B> Metadata<B> {
    /// The same in another form; `convert` must not change the bytes.
    pub(crate) fn convert<'a, C>(&'a self, convert: impl FnOnce(&'a B) -> C) -> Metadata<C> {
        Metadata(self.0.as_ref().map(convert))
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<B: AsRef<[u8]>> Metadata<B> {
    /// `encoded` must be empty, or follow the layout.
    pub(super) fn from_checked(encoded: B) -> Self {
        Self(Some(encoded).filter(|encoded| !encoded.as_ref().is_empty()))
    }

    /// How many bytes it takes in a frame, without its length.
    #[must_use]
    pub fn len(&self) -> usize {
        self.encoded().len()
    }

    /// All of it, as it stands in a frame behind its length.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.encoded()
    }

    /// The schema of the payload, where one is stated.
    #[must_use]
    pub fn schema_id(&self) -> Option<SchemaId> {
        self.fields().schema_id
    }

    /// What caused the message, as far as that is stated.
    #[must_use]
    pub fn causal_context(&self) -> CausalContext<&str> {
        self.fields().causal_context
    }

    /// All headers, names with values, in the order of their sender. A name may come more than once.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.fields().headers
    }

    /// The value of the first header of this name. Names are in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The same, borrowed.
    #[must_use]
    pub fn as_slice(&self) -> Metadata<&[u8]> {
        self.convert(AsRef::as_ref)
    }

    /// The same, copied.
    #[must_use]
    pub fn to_buf(&self) -> Metadata {
        self.convert(|encoded| Bytes::copy_from_slice(encoded.as_ref()))
    }

    pub(super) fn encoded(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], AsRef::as_ref)
    }

    /// Nothing here fails: the bytes were checked when it was made.
    fn fields(&self) -> Fields<'_> {
        Fields::read(self.encoded()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Fields<'a> {
    schema_id: Option<SchemaId>,
    causal_context: CausalContext<&'a str>,
    headers: Headers<'a>,
}

impl<'a> Fields<'a> {
    fn read(encoded: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(encoded, encoded.len(), 0);
        let schema_id = reader.opt_schema_id("schema_id").ok()?;
        let parent_id = reader.opt_str("parent_id").ok()?;
        let vector_clock_entry = reader.opt_u64("vector_clock_entry").ok()?;
        let headers = Headers { rest: reader.rest("headers").ok()? };
        Some(Self { schema_id, causal_context: CausalContext { parent_id, vector_clock_entry }, headers })
    }
}

#[derive(Clone, Default)]
struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader::new(self.rest, self.rest.len(), 0);
        let header = reader.header().ok()?;
        self.rest = reader.rest("headers").ok()?;
        Some(header)
    }
}

/// Makes [`Metadata`]. What was not said stays absent.
#[must_use]
#[derive(Clone, Debug, Default)]
pub struct MetadataBuilder {
    schema_id: Option<SchemaId>,
    parent_id: Option<Bytes>,
    vector_clock_entry: Option<u64>,
    headers: BytesMut,
}

impl MetadataBuilder {
    /// States the schema of the payload.
    pub const fn schema_id(mut self, id: SchemaId) -> Self {
        self.schema_id = Some(id);
        self
    }

    /// States the message that this one follows from.
    ///
    /// # Errors
    ///
    /// It is longer than a frame can be.
    pub fn parent_id(mut self, id: &str) -> Result<Self, InvalidHeader> {
        let mut encoded = BytesMut::new();
        put_text(&mut encoded, id)?;
        self.parent_id = Some(encoded.freeze());
        Ok(self)
    }

    /// States the sender's entry of a vector clock.
    pub const fn vector_clock_entry(mut self, entry: u64) -> Self {
        self.vector_clock_entry = Some(entry);
        self
    }

    /// Adds a header, behind those that are there, also behind one of the same name.
    ///
    /// # Errors
    ///
    /// The name is none, or the value is longer than a frame can be.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, InvalidHeader> {
        if !is_header_name(name) {
            return Err(InvalidHeader::Name);
        }
        put_text(&mut self.headers, name)?;
        put_text(&mut self.headers, value)?;
        Ok(self)
    }

    /// What it has come to.
    #[must_use]
    pub fn build(self) -> Metadata {
        let Self { schema_id, parent_id, vector_clock_entry, headers } = self;
        let says_nothing = schema_id.is_none() && parent_id.is_none() && vector_clock_entry.is_none();
        if says_nothing && headers.is_empty() {
            return Metadata::default();
        }
        let mut encoded = BytesMut::new();
        put_opt(&mut encoded, schema_id.as_ref().map(|id| &id.0[..]));
        put_opt(&mut encoded, parent_id.as_deref());
        put_opt(&mut encoded, vector_clock_entry.map(u64::to_be_bytes).as_ref().map(|entry| &entry[..]));
        encoded.put_slice(&headers);
        Metadata::from_checked(encoded.freeze())
    }
}

fn put_opt(out: &mut BytesMut, encoded: Option<&[u8]>) {
    out.put_u8(u8::from(encoded.is_some()));
    out.put_slice(encoded.unwrap_or_default());
}

fn put_text(out: &mut BytesMut, text: &str) -> Result<(), InvalidHeader> {
    let len = u32::try_from(text.len()).map_err(|_| InvalidHeader::TooLong)?;
    out.put_u32(len);
    out.put_slice(text.as_bytes());
    Ok(())
}

/// Lower case alone: names that differ in case only would be one header to some and two to others.
pub(super) fn is_header_name(name: &str) -> bool {
    let is_part = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    (1..=255).contains(&name.len()) && name.as_bytes().iter().all(is_part)
}

/// Headers may hold what is nobody else's business: as of a payload, the length is shown.
impl<B: AsRef<[u8]>> fmt::Debug for Metadata<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    const SCHEMA: SchemaId = SchemaId([7; 32]);

    #[test]
    fn what_was_built_is_read_back_in_every_form() {
        let metadata = Metadata::builder()
            .schema_id(SCHEMA)
            .parent_id("order-7")
            .and_then(|builder| builder.vector_clock_entry(9).header("traceparent", "00-ab"))
            .and_then(|builder| builder.header("tracestate", ""))
            .and_then(|builder| builder.header("traceparent", "ü\0"))
            .unwrap()
            .build();
        for form in [metadata.as_slice(), metadata.as_slice().to_buf().as_slice()] {
            assert_eq!(form.schema_id(), Some(SCHEMA));
            let causal_context = CausalContext { parent_id: Some("order-7"), vector_clock_entry: Some(9) };
            assert_eq!(form.causal_context(), causal_context);
            let headers = [("traceparent", "00-ab"), ("tracestate", ""), ("traceparent", "ü\0")];
            assert!(form.headers().eq(headers));
            assert_eq!((form.header("traceparent"), form.header("baggage")), (Some("00-ab"), None));
        }
        assert_eq!(format!("{metadata:?}"), format!("{} bytes", metadata.len()));
    }

    #[test]
    fn nothing_takes_no_bytes_and_says_nothing() {
        let nothing = Metadata::builder().build();
        assert_eq!((nothing.len(), &nothing), (0, &Metadata::default()));
        assert_eq!((nothing.schema_id(), nothing.causal_context()), (None, CausalContext::default()));
        assert_eq!(nothing.headers().collect::<Vec<_>>(), []);
    }

    #[test]
    fn the_name_of_a_header_is_lower_case_and_bounded() {
        let longest = String::from_utf8(alloc::vec![b'x'; 255]).unwrap();
        for name in ["a", "trace-id_2.x", &longest] {
            assert!(Metadata::builder().header(name, "").is_ok(), "{name}");
        }
        for name in ["", "A", "a b", "a:", "ä", "a\0", &format!("{longest}x")] {
            assert_eq!(Metadata::builder().header(name, "").unwrap_err(), InvalidHeader::Name, "{name}");
        }
    }
}
