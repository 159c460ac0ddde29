//! Decisions, read from bytes.

/// Bytes from which decisions are read, one after another. Past the end every byte is 0.
///
/// Small changes of the bytes are small changes of the decisions, which is what a fuzzer lives on.
#[derive(Clone, Debug)]
pub struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    /// A tape at its beginning.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all has been read.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: u8) -> u8 {
        self.byte() % n
    }

    /// Yes in one case of `n`, and never past the end.
    pub fn one_in(&mut self, n: u8) -> bool {
        self.below(n) == n - 1
    }

    /// A number of two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    /// A number that is small, so that numbers meet, or anything.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=239 => (small % 12).into(),
            240..=247 => self.short().into(),
            248..=251 => u64::from_be_bytes(self.array()),
            252 => u32::MAX.into(),
            253.. => u64::MAX,
        }
    }

    /// Up to `n` bytes: fewer where the tape ends.
    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }
}
