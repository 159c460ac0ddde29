//! Frames → bytes.

use bytes::BytesMut;

use super::layout::with_layouts;
use super::writer::{Count, Sink, Writer};
use super::{Body, Dialect, EncodeError, Fault, Frame, FrameType, HEADER_LEN, Header, flag};

/// Appends the frame to `out`.
///
/// # Errors
///
/// What [`decode()`](super::decode()) would not give back as this frame is refused, and nothing is
/// appended: a type outside the dialect, an unknown frame with the id of a known type, a stream
/// that the type may not stand on, a field that breaks a rule or disagrees with its flag, and a
/// payload of 4 GiB or more.
#[inline]
pub fn encode<S: AsRef<str>, B: AsRef<[u8]>>(
    dialect: Dialect,
    frame: &Frame<S, B>,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    encode_shared(dialect, frame, usize::MAX, out).map(drop)
}

/// Appends all of the frame but a payload at its end, which is returned: it belongs on the wire
/// right after what was appended. `None`: the frame is complete.
///
/// # Errors
///
/// Those of [`encode()`]; nothing is appended then.
#[inline]
pub fn encode_head<'f, S: AsRef<str>, B: AsRef<[u8]>>(
    dialect: Dialect,
    frame: &'f Frame<S, B>,
    out: &mut BytesMut,
) -> Result<Option<&'f B>, EncodeError> {
    encode_shared(dialect, frame, 0, out)
}

/// The same, but a payload at the end that is shorter than `share_min` is appended, too.
#[inline]
fn encode_shared<'f, S: AsRef<str>, B: AsRef<[u8]>>(
    dialect: Dialect,
    frame: &'f Frame<S, B>,
    share_min: usize,
    out: &mut BytesMut,
) -> Result<Option<&'f B>, EncodeError> {
    Measured::new(frame).encode_shared(dialect, share_min, out)
}

/// A frame that was measured, for who must know how long it is before it is written.
pub(crate) struct Measured<'f, S, B> {
    frame: &'f Frame<S, B>,
    lengths: Lengths,
}

impl<'f, S: AsRef<str>, B: AsRef<[u8]>> Measured<'f, S, B> {
    #[inline]
    pub(crate) fn new(frame: &'f Frame<S, B>) -> Self {
        Self { frame, lengths: Lengths::of(&frame.body) }
    }

    /// How many bytes it takes, header included, if it encodes at all.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.lengths.frame()
    }

    /// Appends the frame, but for a payload at its end that is not shorter than `share_min`: that is returned.
    ///
    /// # Errors
    ///
    /// Those of [`encode()`]; nothing is appended then.
    #[inline]
    pub(crate) fn encode_shared(
        &self,
        dialect: Dialect,
        share_min: usize,
        out: &mut BytesMut,
    ) -> Result<Option<&'f B>, EncodeError> {
        check(dialect, self.frame)?;
        let payload_len = self.lengths.in_header()?;
        let head_len = self.lengths.head();
        let copies = self.lengths.tail < share_min;
        // Exactly what is needed: a buffer without spare room becomes a shared one without an allocation.
        out.reserve(if copies { self.len() } else { head_len });
        let tail = write_head(self.frame, payload_len, head_len, out);
        Ok(match tail {
            Some(tail) if copies => {
                out.extend_from_slice(tail.as_ref());
                None
            }
            tail => tail,
        })
    }
}

/// How many bytes [`encode()`] appends for this frame, header included, if it encodes at all.
#[must_use]
pub fn encoded_len<S: AsRef<str>, B: AsRef<[u8]>>(frame: &Frame<S, B>) -> usize {
    Measured::new(frame).len()
}

/// How long the parts of a frame are.
struct Lengths {
    /// The payload without its tail.
    fields: usize,
    tail: usize,
}

impl Lengths {
    #[inline]
    fn of<S: AsRef<str>, B: AsRef<[u8]>>(body: &Body<S, B>) -> Self {
        let mut writer = Writer::new(Count::default());
        fields(body, &mut writer);
        let tail = writer.tail.map_or(0, |tail| tail.as_ref().len());
        Self { fields: writer.sink.0, tail }
    }

    const fn payload(&self) -> usize {
        self.fields.saturating_add(self.tail)
    }

    const fn head(&self) -> usize {
        HEADER_LEN.saturating_add(self.fields)
    }

    const fn frame(&self) -> usize {
        HEADER_LEN.saturating_add(self.payload())
    }

    /// The length of the payload, as a header can say it.
    #[inline]
    fn in_header(&self) -> Result<u32, EncodeError> {
        let len = self.payload();
        u32::try_from(len).map_err(|_| EncodeError::TooLong { len })
    }
}

/// Appends the header and all fields but a payload at the end, which is returned. `head_len` is the
/// length of what is appended.
#[inline]
fn write_head<'f, S: AsRef<str>, B: AsRef<[u8]>>(
    frame: &'f Frame<S, B>,
    payload_len: u32,
    head_len: usize,
    out: &mut BytesMut,
) -> Option<&'f B> {
    let type_id = frame.body.type_id();
    let header = Header { type_id, flags: frame.flags, stream: frame.stream, payload_len };
    let start = out.len();
    out.resize(start.saturating_add(head_len), 0);
    let mut writer = Writer::new(out.get_mut(start..).unwrap_or_default());
    writer.sink.put(&header.encode());
    fields(&frame.body, &mut writer);
    writer.tail
}

/// Whether everything but the length of the frame is right.
#[inline]
fn check<S, B>(dialect: Dialect, frame: &Frame<S, B>) -> Result<(), EncodeError> {
    match (frame.body.frame_type(), FrameType::of(dialect, frame.body.type_id())) {
        (None, None) => Ok(()),
        (None, Some(frame_type)) => Err(EncodeError::KnownType { frame_type }),
        (Some(frame_type), None) => Err(EncodeError::NotInDialect { frame_type, dialect }),
        (Some(frame_type), Some(_)) => check_known(frame_type, frame),
    }
}

#[inline]
fn check_known<S, B>(frame_type: FrameType, frame: &Frame<S, B>) -> Result<(), EncodeError> {
    if !frame_type.stream_rule().allows(frame.stream) {
        return Err(EncodeError::InvalidStream { frame_type, stream: frame.stream });
    }
    match field_fault(frame.flags, &frame.body) {
        Some((field, fault)) => Err(EncodeError::Codec { frame_type, field, fault }),
        None => Ok(()),
    }
}

/// The first field whose value the decoder would refuse, or read as something else.
#[inline]
fn field_fault<S, B>(flags: u8, body: &Body<S, B>) -> Option<(&'static str, Fault)> {
    let disagrees = |flag: u8, present: bool| (flags & flag != 0) != present;
    if let Body::Subscribe { max_in_flight: 0, .. } = body {
        return Some(("max_in_flight", Fault::Zero));
    }
    if let Body::Serve { capacity: 0, .. } = body {
        return Some(("capacity", Fault::Zero));
    }
    if let Body::Publish { idempotency_key, .. } = body
        && disagrees(flag::KEY, idempotency_key.is_some())
    {
        return Some(("idempotency_key", Fault::FlagMismatch));
    }
    if let Body::Message { metadata, .. } | Body::Record { metadata, .. } = body
        && disagrees(flag::METADATA, metadata.is_some())
    {
        return Some(("metadata", Fault::FlagMismatch));
    }
    if let Body::Message { answers, timeout_ms, redelivered, .. } = body {
        if disagrees(flag::ANSWERS, answers.is_some()) {
            return Some(("answers", Fault::FlagMismatch));
        }
        if disagrees(flag::TIMEOUT, timeout_ms.is_some()) {
            return Some(("timeout_ms", Fault::FlagMismatch));
        }
        if disagrees(flag::REDELIVERED, redelivered.is_some()) {
            return Some(("redelivered", Fault::FlagMismatch));
        }
    }
    None
}

macro_rules! write_fields {
    ($($name:ident { $($field:ident: $encoding:ident),* })*) => {
        /// Writes the fields in wire order: that is the order of the table.
        #[inline]
        fn fields<'f, S: AsRef<str>, B: AsRef<[u8]>, W: Sink>(
            body: &'f Body<S, B>,
            writer: &mut Writer<'f, W, B>,
        ) {
            match body {
                $(Body::$name { $($field),* } => { $(writer.$encoding($field);)* })*
                Body::Unknown { type_id: _, payload } => writer.rest(payload),
            }
        }
    };
}

with_layouts!(write_fields);
