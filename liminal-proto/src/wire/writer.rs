//! The field encodings (PROTOCOL.md §2), measured or written.

use core::mem;

use super::{
    CausalContext, Envelope, Metadata, RecordNumbers, SchemaId, SchemaIds, Texts, Version, WorkerVerdict,
};
use crate::{ConversationId, LogId, MessageId, OnExit, Pid, ReasonCode, RecordNumber};

/// Where encoded bytes go.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

/// Only counts. Saturates, and what saturates is too long for a frame.
#[derive(Default)]
pub(super) struct Count(pub(super) usize);

impl Sink for Count {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }
}

/// Room that was measured before: what is put fits.
impl Sink for &mut [u8] {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if let Some((room, rest)) = mem::take(self).split_at_mut_checked(bytes.len()) {
            room.copy_from_slice(bytes);
            *self = rest;
        }
    }
}

/// Writes the fields of one frame; the payload it has seen last is held back in `tail` for as long
/// as nothing follows it.
pub(super) struct Writer<'f, W, B> {
    pub(super) sink: W,
    pub(super) tail: Option<&'f B>,
}

/// Lengths are at most that of the payload they stand in, which is checked to fit before anything
/// is written; while measuring, their value does not matter.
fn narrow(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl<'f, W: Sink, B: AsRef<[u8]>> Writer<'f, W, B> {
    #[inline]
    pub(super) const fn new(sink: W) -> Self {
        Self { sink, tail: None }
    }

    fn len(&mut self, len: usize) {
        self.u32(&narrow(len));
    }

    fn slice(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.sink.put(bytes);
    }

    fn opt<T>(&mut self, value: Option<&'f T>, write: impl FnOnce(&mut Self, &'f T)) {
        self.sink.put(&[u8::from(value.is_some())]);
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// The encodings that the table of layouts names.
impl<'f, W: Sink, B: AsRef<[u8]>> Writer<'f, W, B> {
    pub(super) fn u8(&mut self, number: &u8) {
        self.sink.put(&[*number]);
    }

    pub(super) fn u16(&mut self, number: &u16) {
        self.sink.put(&number.to_be_bytes());
    }

    pub(super) fn u32(&mut self, number: &u32) {
        self.sink.put(&number.to_be_bytes());
    }

    pub(super) fn u64(&mut self, number: &u64) {
        self.sink.put(&number.to_be_bytes());
    }

    pub(super) fn nonzero_u32(&mut self, number: &u32) {
        self.u32(number);
    }

    pub(super) fn bytes(&mut self, bytes: &B) {
        self.slice(bytes.as_ref());
    }

    pub(super) fn payload(&mut self, payload: &'f B) {
        self.len(payload.as_ref().len());
        self.tail = Some(payload);
    }

    pub(super) fn rest(&mut self, payload: &'f B) {
        self.tail = Some(payload);
    }

    pub(super) fn str<S: AsRef<str>>(&mut self, text: &S) {
        self.slice(text.as_ref().as_bytes());
    }

    pub(super) fn opt_str<S: AsRef<str>>(&mut self, text: &'f Option<S>) {
        self.opt(text.as_ref(), Self::str);
    }

    pub(super) fn version(&mut self, version: &Version) {
        self.u16(&version.major);
        self.u16(&version.minor);
    }

    pub(super) fn reason(&mut self, code: &ReasonCode) {
        self.u16(&code.get());
    }

    pub(super) fn opt_reason(&mut self, code: &'f Option<ReasonCode>) {
        self.opt(code.as_ref(), Self::reason);
    }

    pub(super) fn conversation_id(&mut self, id: &ConversationId) {
        self.u64(&id.get());
    }

    pub(super) fn message_id(&mut self, id: &MessageId) {
        self.u64(&id.get());
    }

    pub(super) fn pid(&mut self, pid: &Pid) {
        self.u64(&pid.get());
    }

    pub(super) fn opt_pid(&mut self, pid: &'f Option<Pid>) {
        self.opt(pid.as_ref(), Self::pid);
    }

    pub(super) fn on_exit(&mut self, on_exit: &OnExit) {
        self.sink.put(&[on_exit.tag()]);
    }

    pub(super) fn opt_u32(&mut self, number: &'f Option<u32>) {
        self.opt(number.as_ref(), Self::u32);
    }

    pub(super) fn record(&mut self, record: &RecordNumber) {
        self.u64(&record.get());
    }

    pub(super) fn log(&mut self, id: &LogId) {
        self.u64(&id.get());
    }

    pub(super) fn records(&mut self, numbers: &RecordNumbers<B>) {
        self.len(numbers.len());
        self.sink.put(numbers.encoded());
    }

    pub(super) fn opt_record(&mut self, record: &'f Option<RecordNumber>) {
        self.opt(record.as_ref(), Self::record);
    }

    /// The one field that follows a payload: what was held back comes first.
    pub(super) fn key<S: AsRef<str>>(&mut self, key: &Option<S>) {
        let Some(key) = key else { return };
        if let Some(payload) = self.tail.take() {
            self.sink.put(payload.as_ref());
        }
        self.str(key);
    }

    pub(super) fn answers(&mut self, id: &Option<MessageId>) {
        if let Some(id) = id {
            self.message_id(id);
        }
    }

    pub(super) fn timeout(&mut self, millis: &Option<u32>) {
        if let Some(millis) = millis {
            self.u32(millis);
        }
    }

    pub(super) fn redelivered(&mut self, count: &Option<u8>) {
        if let Some(count) = count {
            self.sink.put(&[*count]);
        }
    }

    pub(super) fn metadata(&mut self, metadata: &Option<Metadata<B>>) {
        if let Some(metadata) = metadata {
            self.slice(metadata.encoded());
        }
    }

    pub(super) fn schema_id(&mut self, id: &SchemaId) {
        self.sink.put(&id.0);
    }

    pub(super) fn schema_ids(&mut self, ids: &SchemaIds<B>) {
        self.len(ids.len());
        self.sink.put(ids.encoded());
    }

    pub(super) fn texts(&mut self, texts: &Texts<B>) {
        self.len(texts.len());
        self.sink.put(texts.encoded());
    }

    pub(super) fn verdict<S: AsRef<str>>(&mut self, verdict: &WorkerVerdict<S>) {
        match verdict {
            WorkerVerdict::Accepted => self.sink.put(&[0]),
            WorkerVerdict::Rejected { reason } => {
                self.sink.put(&[1]);
                self.str(reason);
            }
        }
    }

    pub(super) fn envelope<S: AsRef<str>>(&mut self, envelope: &'f Envelope<S, B>) {
        let context_len = measure(&envelope.causal_context);
        self.len(
            SchemaId::LEN
                .saturating_add(size_of::<u32>())
                .saturating_add(context_len)
                .saturating_add(size_of::<u32>())
                .saturating_add(envelope.payload.as_ref().len()),
        );
        self.schema_id(&envelope.schema_id);
        self.len(context_len);
        self.causal_context(&envelope.causal_context);
        self.payload(&envelope.payload);
    }

    fn causal_context<S: AsRef<str>>(&mut self, context: &'f CausalContext<S>) {
        self.opt_str(&context.parent_id);
        self.opt(context.vector_clock_entry.as_ref(), Self::u64);
    }
}

fn measure<S: AsRef<str>>(context: &CausalContext<S>) -> usize {
    let mut writer = Writer::<_, &[u8]>::new(Count::default());
    writer.causal_context(context);
    writer.sink.0
}
