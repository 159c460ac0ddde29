//! Lists inside frames, kept as the bytes of their elements: decoding one allocates nothing.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::SchemaId;
use crate::RecordNumber;

/// A list with more elements, or a text with more bytes, than a u32 on the wire can count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("more than the wire can count")]
pub struct TooLong;

/// Schema ids, 32 bytes each, as they stand on the wire after their count.
///
/// Equal lists have equal bytes. The length of the bytes is a multiple of 32.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SchemaIds<B>(B);

/// Texts, each with its length before it, as they stand on the wire after their count.
///
/// Equal lists have equal bytes. The bytes are exactly `count` texts, each valid UTF-8.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Texts<B> {
    count: usize,
    encoded: B,
}

/// Numbers of records, 8 bytes each, as they stand on the wire after their count.
///
/// Equal lists have equal bytes. The length of the bytes is a multiple of 8.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordNumbers<B>(B);

impl RecordNumbers<Bytes> {
    /// The list of these numbers.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when there are more than a u32 can count.
    pub fn new(numbers: impl IntoIterator<Item = RecordNumber>) -> Result<Self, TooLong> {
        let mut count = 0_u32;
        let mut encoded = BytesMut::new();
        for number in numbers {
            count = count.checked_add(1).ok_or(TooLong)?;
            encoded.put_u64(number.get());
        }
        Ok(Self(encoded.freeze()))
    }
}

impl<B> RecordNumbers<B> {
    /// The length of a number on the wire.
    pub(super) const EACH: usize = size_of::<u64>();

    /// `encoded` must hold whole numbers.
    pub(super) const fn from_checked(encoded: B) -> Self {
        Self(encoded)
    }

    /// The same list in another form; `convert` must not change the bytes.
    pub(super) fn convert<'a, C>(&'a self, convert: impl FnOnce(&'a B) -> C) -> RecordNumbers<C> {
        RecordNumbers(convert(&self.0))
    }
}

impl<B: AsRef<[u8]>> RecordNumbers<B> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers().is_empty()
    }

    /// The numbers, in the order of the wire.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordNumber> + Clone {
        self.numbers().iter().map(|number| RecordNumber::new(u64::from_be_bytes(*number)))
    }

    pub(super) fn encoded(&self) -> &[u8] {
        self.0.as_ref()
    }

    fn numbers(&self) -> &[[u8; size_of::<u64>()]] {
        self.encoded().as_chunks().0
    }
}

impl SchemaIds<Bytes> {
    /// The list of these ids.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when there are more than a u32 can count.
    pub fn new(ids: impl IntoIterator<Item = SchemaId>) -> Result<Self, TooLong> {
        let mut count = 0_u32;
        let mut encoded = BytesMut::new();
        for id in ids {
            count = count.checked_add(1).ok_or(TooLong)?;
            encoded.put_slice(&id.0);
        }
        Ok(Self(encoded.freeze()))
    }
}

impl<B> SchemaIds<B> {
    /// `encoded` must hold whole ids.
    pub(super) const fn from_checked(encoded: B) -> Self {
        Self(encoded)
    }

    /// The same list in another form; `convert` must not change the bytes.
    pub(super) fn convert<'a, C>(&'a self, convert: impl FnOnce(&'a B) -> C) -> SchemaIds<C> {
        SchemaIds(convert(&self.0))
    }
}

impl<B: AsRef<[u8]>> SchemaIds<B> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids().is_empty()
    }

    /// The ids, in the order of the wire.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SchemaId> + Clone {
        self.ids().iter().copied().map(SchemaId)
    }

    /// Whether this id is one of them.
    #[must_use]
    pub fn contains(&self, id: SchemaId) -> bool {
        self.ids().contains(&id.0)
    }

    /// The same list, borrowed.
    #[must_use]
    pub fn as_slice(&self) -> SchemaIds<&[u8]> {
        self.convert(AsRef::as_ref)
    }

    /// The same list, copied.
    #[must_use]
    pub fn to_buf(&self) -> SchemaIds<Bytes> {
        self.convert(|encoded| Bytes::copy_from_slice(encoded.as_ref()))
    }

    pub(super) fn encoded(&self) -> &[u8] {
        self.0.as_ref()
    }

    fn ids(&self) -> &[[u8; SchemaId::LEN]] {
        self.encoded().as_chunks().0
    }
}

impl Texts<Bytes> {
    /// The list of these texts.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when there are more than a u32 can count, or one is longer than that.
    pub fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, TooLong> {
        let mut count = 0_u32;
        let mut encoded = BytesMut::new();
        for text in texts {
            count = count.checked_add(1).ok_or(TooLong)?;
            put_text(&mut encoded, text.as_ref())?;
        }
        let count = usize::try_from(count).map_err(|_| TooLong)?;
        Ok(Self { count, encoded: encoded.freeze() })
    }
}

fn put_text(out: &mut BytesMut, text: &str) -> Result<(), TooLong> {
    let len = u32::try_from(text.len()).map_err(|_| TooLong)?;
    out.put_u32(len);
    out.put_slice(text.as_bytes());
    Ok(())
}

impl<B> Texts<B> {
    /// `encoded` must hold exactly `count` texts, each valid UTF-8.
    pub(super) const fn from_checked(count: usize, encoded: B) -> Self {
        Self { count, encoded }
    }

    /// The same list in another form; `convert` must not change the bytes.
    pub(super) fn convert<'a, C>(&'a self, convert: impl FnOnce(&'a B) -> C) -> Texts<C> {
        Texts { count: self.count, encoded: convert(&self.encoded) }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<B: AsRef<[u8]>> Texts<B> {
    /// The texts, in the order of the wire.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        TextsIter { left: self.count, rest: self.encoded() }
    }

    /// The same list, borrowed.
    #[must_use]
    pub fn as_slice(&self) -> Texts<&[u8]> {
        self.convert(AsRef::as_ref)
    }

    /// The same list, copied.
    #[must_use]
    pub fn to_buf(&self) -> Texts<Bytes> {
        self.convert(|encoded| Bytes::copy_from_slice(encoded.as_ref()))
    }

    pub(super) fn encoded(&self) -> &[u8] {
        self.encoded.as_ref()
    }
}

#[derive(Clone)]
struct TextsIter<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for TextsIter<'a> {
    type Item = &'a str;

    /// Nothing here fails before `left` texts are out: the bytes were checked when the list was made.
    fn next(&mut self) -> Option<&'a str> {
        let (len, rest) = self.rest.split_first_chunk()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (text, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        self.left = self.left.saturating_sub(1);
        core::str::from_utf8(text).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for TextsIter<'_> {}

impl<B: AsRef<[u8]>> fmt::Debug for SchemaIds<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for RecordNumbers<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(RecordNumber::get)).finish()
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for Texts<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use super::*;

    const IDS: [SchemaId; 2] = [SchemaId([1; 32]), SchemaId([2; 32])];

    #[test]
    fn schema_ids_come_out_as_they_went_in() {
        let ids = SchemaIds::new(IDS).unwrap();
        assert_eq!(ids.len(), 2);
        assert!(!ids.is_empty());
        assert!(ids.iter().eq(IDS));
        assert!(ids.contains(IDS[1]));
        assert!(!ids.contains(SchemaId::default()));
        assert_eq!(ids.as_slice().to_buf(), ids);
    }

    #[test]
    fn numbers_of_records_come_out_as_they_went_in() {
        let numbers = [1, 256, u64::MAX].map(RecordNumber::new);
        let list = RecordNumbers::new(numbers).unwrap();
        assert_eq!((list.len(), list.is_empty()), (3, false));
        assert!(list.iter().eq(numbers));
        assert_eq!(format!("{list:?}"), "[1, 256, 18446744073709551615]");
    }

    #[test]
    fn texts_come_out_as_they_went_in() {
        let words = ["", "a", "日本語", "nul\0inside"];
        let texts = Texts::new(words).unwrap();
        assert_eq!(texts.len(), words.len());
        assert_eq!(texts.iter().collect::<Vec<_>>(), words);
        let mut iter = texts.iter();
        assert_eq!(iter.len(), words.len());
        iter.next();
        assert_eq!(iter.len(), words.len() - 1);
        assert_eq!(texts.as_slice().to_buf(), texts);
    }

    #[test]
    fn a_list_of_nothing_is_empty_in_every_form() {
        let none: [&str; 0] = [];
        assert_eq!(SchemaIds::new([]).unwrap(), SchemaIds::default());
        assert_eq!(RecordNumbers::new([]).unwrap(), RecordNumbers::default());
        assert_eq!(Texts::new(none).unwrap(), Texts::default());
        assert!(SchemaIds::<&[u8]>::default().is_empty());
        assert!(RecordNumbers::<&[u8]>::default().is_empty());
        assert!(Texts::<&[u8]>::default().is_empty());
    }

    #[test]
    fn an_empty_text_is_an_element() {
        let texts = Texts::new([""]).unwrap();
        assert!(!texts.is_empty());
        assert_eq!(texts.iter().collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn debug_shows_the_elements() {
        assert_eq!(format!("{:?}", Texts::new(["a", "b"]).unwrap()), r#"["a", "b"]"#);
        let ids = format!("{:?}", SchemaIds::new([IDS[0]]).unwrap());
        assert!(ids.starts_with("[SchemaId(0101"), "{ids}");
    }
}
