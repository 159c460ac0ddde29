//! The field encodings (PROTOCOL.md §2), read from a slice.

use super::metadata::is_header_name;
use super::{
    CausalContext, DecodeError, Envelope, Fault, Metadata, RecordNumbers, SchemaId, SchemaIds, Texts,
    Version, WorkerVerdict, flag,
};
use crate::{ConversationId, LogId, MessageId, OnExit, Pid, ReasonCode, RecordNumber};

type Result<T> = core::result::Result<T, DecodeError>;

/// The bytes of a frame, an envelope or a causal context that are not read yet.
///
/// Each method takes one field from the front. `field` names it in errors.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Where `rest` ends, counted from the first byte of the frame.
    end: usize,
    /// The flags of the frame.
    flags: u8,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(payload: &'a [u8], frame_len: usize, flags: u8) -> Self {
        Self { rest: payload, end: frame_len, flags }
    }

    /// Nothing may be left over (PROTOCOL.md §3, step 6). `what` is the thing that ends here.
    pub(super) fn finish(self, what: &'static str) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.fault(what, Fault::Trailing)) }
    }

    fn offset(&self) -> usize {
        self.end.saturating_sub(self.rest.len())
    }

    #[cold]
    fn fault(&self, field: &'static str, fault: Fault) -> DecodeError {
        DecodeError::Codec { offset: self.offset(), field, fault }
    }

    #[inline]
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N]> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.fault(field, Fault::PastEnd));
        };
        self.rest = rest;
        Ok(array)
    }

    #[inline]
    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.fault(field, Fault::PastEnd));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The contents of the bytes field that was read last, as a reader of their own.
    #[inline]
    fn within(&self, contents: &'a [u8]) -> Self {
        Self { rest: contents, end: self.offset(), flags: self.flags }
    }

    /// Always inlined, for the sake of [`envelope`](Self::envelope).
    #[inline(always)]
    fn opt<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.tag(field, 1)? {
            0 => Ok(None),
            _ => read(self, field).map(Some),
        }
    }

    fn flagged<T>(
        &mut self,
        flag: u8,
        field: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.flags & flag == 0 { Ok(None) } else { read(self, field).map(Some) }
    }

    /// A tag from 0 to `last`.
    fn tag(&mut self, field: &'static str, last: u8) -> Result<u8> {
        match self.rest.split_first() {
            None => Err(self.fault(field, Fault::PastEnd)),
            Some((&tag, _)) if tag > last => Err(self.fault(field, Fault::Tag(tag))),
            Some((&tag, rest)) => {
                self.rest = rest;
                Ok(tag)
            }
        }
    }

    /// The count of a list whose elements take at least `each` bytes.
    fn count(&mut self, each: usize, field: &'static str) -> Result<usize> {
        let count = widen(self.u32(field)?);
        match count.checked_mul(each) {
            Some(least) if least <= self.rest.len() => Ok(count),
            _ => Err(self.fault(field, Fault::CountTooLarge)),
        }
    }
}

/// A length beyond the address space is beyond every slice too.
fn widen(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// The encodings that the table of layouts names.
impl<'a> Reader<'a> {
    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8> {
        self.array(field).map(|[byte]| *byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16> {
        self.array(field).map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32> {
        self.array(field).map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64> {
        self.array(field).map(|bytes| u64::from_be_bytes(*bytes))
    }

    pub(super) fn nonzero_u32(&mut self, field: &'static str) -> Result<u32> {
        match self.rest.split_first_chunk() {
            Some(([0, 0, 0, 0], _)) => Err(self.fault(field, Fault::Zero)),
            _ => self.u32(field),
        }
    }

    #[inline]
    pub(super) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8]> {
        let len = widen(self.u32(field)?);
        self.take(len, field)
    }

    pub(super) fn payload(&mut self, field: &'static str) -> Result<&'a [u8]> {
        self.bytes(field)
    }

    pub(super) fn rest(&mut self, field: &'static str) -> Result<&'a [u8]> {
        self.take(self.rest.len(), field)
    }

    pub(super) fn str(&mut self, field: &'static str) -> Result<&'a str> {
        let bytes = self.bytes(field)?;
        core::str::from_utf8(bytes).map_err(|error| {
            let unread = bytes.len().saturating_sub(error.valid_up_to());
            let offset = self.offset().saturating_sub(unread);
            DecodeError::Codec { offset, field, fault: Fault::Utf8 }
        })
    }

    #[inline]
    pub(super) fn opt_str(&mut self, field: &'static str) -> Result<Option<&'a str>> {
        self.opt(field, Self::str)
    }

    pub(super) fn version(&mut self, field: &'static str) -> Result<Version> {
        Ok(Version { major: self.u16(field)?, minor: self.u16(field)? })
    }

    pub(super) fn reason(&mut self, field: &'static str) -> Result<ReasonCode> {
        self.u16(field).map(ReasonCode::new)
    }

    pub(super) fn opt_reason(&mut self, field: &'static str) -> Result<Option<ReasonCode>> {
        self.opt(field, Self::reason)
    }

    pub(super) fn conversation_id(&mut self, field: &'static str) -> Result<ConversationId> {
        self.u64(field).map(ConversationId::new)
    }

    pub(super) fn message_id(&mut self, field: &'static str) -> Result<MessageId> {
        self.u64(field).map(MessageId::new)
    }

    pub(super) fn pid(&mut self, field: &'static str) -> Result<Pid> {
        self.u64(field).map(Pid::new)
    }

    pub(super) fn opt_pid(&mut self, field: &'static str) -> Result<Option<Pid>> {
        self.opt(field, Self::pid)
    }

    pub(super) fn on_exit(&mut self, field: &'static str) -> Result<OnExit> {
        self.tag(field, OnExit::TAG_MAX).map(OnExit::of_tag)
    }

    pub(super) fn opt_u32(&mut self, field: &'static str) -> Result<Option<u32>> {
        self.opt(field, Self::u32)
    }

    pub(super) fn record(&mut self, field: &'static str) -> Result<RecordNumber> {
        self.u64(field).map(RecordNumber::new)
    }

    pub(super) fn log(&mut self, field: &'static str) -> Result<LogId> {
        self.u64(field).map(LogId::new)
    }

    pub(super) fn records(&mut self, field: &'static str) -> Result<RecordNumbers<&'a [u8]>> {
        const EACH: usize = RecordNumbers::<&[u8]>::EACH;
        let count = self.count(EACH, field)?;
        self.take(count.saturating_mul(EACH), field).map(RecordNumbers::from_checked)
    }

    pub(super) fn opt_record(&mut self, field: &'static str) -> Result<Option<RecordNumber>> {
        self.opt(field, Self::record)
    }

    pub(super) fn key(&mut self, field: &'static str) -> Result<Option<&'a str>> {
        self.flagged(flag::KEY, field, Self::str)
    }

    pub(super) fn answers(&mut self, field: &'static str) -> Result<Option<MessageId>> {
        self.flagged(flag::ANSWERS, field, Self::message_id)
    }

    pub(super) fn timeout(&mut self, field: &'static str) -> Result<Option<u32>> {
        self.flagged(flag::TIMEOUT, field, Self::u32)
    }

    pub(super) fn redelivered(&mut self, field: &'static str) -> Result<Option<u8>> {
        self.flagged(flag::REDELIVERED, field, Self::u8)
    }

    pub(super) fn metadata(&mut self, field: &'static str) -> Result<Option<Metadata<&'a [u8]>>> {
        self.flagged(flag::METADATA, field, Self::metadata_block)
    }

    fn metadata_block(&mut self, field: &'static str) -> Result<Metadata<&'a [u8]>> {
        let contents = self.bytes(field)?;
        if !contents.is_empty() {
            let mut inner = self.within(contents);
            inner.opt_schema_id("schema_id")?;
            inner.opt_str("parent_id")?;
            inner.opt_u64("vector_clock_entry")?;
            while !inner.rest.is_empty() {
                inner.header()?;
            }
        }
        Ok(Metadata::from_checked(contents))
    }

    pub(super) fn header(&mut self) -> Result<(&'a str, &'a str)> {
        let named = Self { rest: self.rest, ..*self };
        let name = self.str("header name")?;
        if !is_header_name(name) {
            return Err(named.fault("header name", Fault::HeaderName));
        }
        Ok((name, self.str("header value")?))
    }

    pub(super) fn opt_schema_id(&mut self, field: &'static str) -> Result<Option<SchemaId>> {
        self.opt(field, Self::schema_id)
    }

    pub(super) fn opt_u64(&mut self, field: &'static str) -> Result<Option<u64>> {
        self.opt(field, Self::u64)
    }

    pub(super) fn schema_id(&mut self, field: &'static str) -> Result<SchemaId> {
        self.array(field).map(|bytes| SchemaId(*bytes))
    }

    pub(super) fn schema_ids(&mut self, field: &'static str) -> Result<SchemaIds<&'a [u8]>> {
        let count = self.count(SchemaId::LEN, field)?;
        let encoded = self.take(count.saturating_mul(SchemaId::LEN), field)?;
        Ok(SchemaIds::from_checked(encoded))
    }

    pub(super) fn texts(&mut self, field: &'static str) -> Result<Texts<&'a [u8]>> {
        let count = self.count(size_of::<u32>(), field)?;
        let from = self.rest;
        for _ in 0..count {
            self.str(field)?;
        }
        let encoded = from.get(..from.len().saturating_sub(self.rest.len())).unwrap_or_default();
        Ok(Texts::from_checked(count, encoded))
    }

    pub(super) fn verdict(&mut self, field: &'static str) -> Result<WorkerVerdict<&'a str>> {
        match self.tag(field, 1)? {
            0 => Ok(WorkerVerdict::Accepted),
            _ => self.str("reason").map(|reason| WorkerVerdict::Rejected { reason }),
        }
    }

    /// Always inlined, with what it is made of: passed on through memory, an envelope would be
    /// copied twice more, which takes as long as decoding it.
    #[inline(always)]
    pub(super) fn envelope(&mut self, field: &'static str) -> Result<Envelope<&'a str, &'a [u8]>> {
        let contents = self.bytes(field)?;
        let mut inner = self.within(contents);
        let schema_id = inner.array("schema_id")?;
        let causal_context = inner.causal_context("causal_context")?;
        let payload = inner.bytes("payload")?;
        inner.finish(field)?;
        Ok(Envelope { schema_id: SchemaId(*schema_id), causal_context, payload })
    }

    #[inline(always)]
    fn causal_context(&mut self, field: &'static str) -> Result<CausalContext<&'a str>> {
        let contents = self.bytes(field)?;
        let mut inner = self.within(contents);
        let parent_id = inner.opt_str("parent_id")?;
        let vector_clock_entry = inner.opt("vector_clock_entry", Self::u64)?;
        inner.finish(field)?;
        Ok(CausalContext { parent_id, vector_clock_entry })
    }
}
