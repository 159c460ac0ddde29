//! The input buffer: the only queue of undelivered input.

use core::mem;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::wire::{DecodeError, HEADER_LEN, Header};

/// Space offered for reading at least, and the size below which a buffer counts as small.
const SMALL: usize = 4096;

/// Bytes that have arrived and were not yet delivered.
#[derive(Default)]
pub(super) struct Input {
    /// What has arrived first, frozen when its first frame was complete: frames are slices of it.
    chunk: Bytes,
    /// How long the chunk was then: what a payload sliced from it pins.
    pinned: usize,
    /// What has arrived behind the chunk, and behind that space that is kept for reading.
    buffer: BytesMut,
    /// Bytes of `buffer` that have really arrived.
    filled: usize,
    /// Bytes of the space behind them that the embedder may be reading into.
    lent: usize,
    /// The whole length of the unfinished frame at the front, once its header was judged.
    wanted: usize,
    /// Room for copies of small parts of a large chunk, many to an allocation.
    copies: BytesMut,
}

impl Input {
    pub(super) const fn len(&self) -> usize {
        self.chunk.len() + self.filled
    }

    /// The same, counted afresh.
    pub(super) fn recount(&self) -> usize {
        self.chunk.len() + self.behind_chunk().len()
    }

    /// How many more bytes may come, with `max` kept apart from one large frame.
    pub(super) fn room(&self, max: usize) -> usize {
        max.max(self.wanted).max(HEADER_LEN).saturating_sub(self.len())
    }

    /// Appends a copy of as much of `bytes` as there is room for.
    pub(super) fn append(&mut self, bytes: &[u8], max: usize) -> usize {
        self.buffer.truncate(self.filled);
        self.lent = 0;
        let taken = bytes.get(..self.room(max)).unwrap_or(bytes);
        self.buffer.extend_from_slice(taken);
        self.filled += taken.len();
        taken.len()
    }

    /// Space to read into: at most as much again as has arrived, so that a declared length alone
    /// allocates nothing. Space that was not used is lent again, because clearing as much as has
    /// arrived for each byte that arrives would cost the square of the frame.
    pub(super) fn space(&mut self, max: usize) -> &mut [u8] {
        let doubled = self.len().max(SMALL);
        let missing = self.wanted.saturating_sub(self.len());
        let goal = if missing > 0 { missing.min(doubled) } else { doubled };
        let goal = goal.min(self.room(max));
        if self.buffer.len() == self.filled {
            self.buffer.resize(self.filled + goal, 0);
        }
        self.lent = goal.min(self.buffer.len() - self.filled);
        self.buffer.get_mut(self.filled..self.filled + self.lent).unwrap_or_default()
    }

    /// The first `n` bytes of the space were read into. Returns how many bytes of space there were.
    pub(super) fn fill(&mut self, n: usize) -> usize {
        let space = mem::take(&mut self.lent);
        self.filled += n.min(space);
        self.release_if_drained();
        space
    }

    /// Takes the next whole frame out, or `None` when it is unfinished.
    ///
    /// # Errors
    ///
    /// The header announces more than `payload_max` bytes.
    pub(super) fn next_frame(&mut self, payload_max: u32) -> Result<Option<Bytes>, DecodeError> {
        let mut len = announced(&self.chunk, payload_max)?;
        if len.is_none_or(|len| len > self.chunk.len()) {
            self.melt();
            len = announced(self.behind_chunk(), payload_max)?;
            self.wanted = len.unwrap_or(0);
            if len.is_none_or(|len| len > self.filled) {
                return Ok(None);
            }
            self.freeze();
        }
        self.wanted = 0;
        Ok(len.map(|len| self.chunk.split_to(len)))
    }

    /// The first frame of what has arrived behind the chunk is complete.
    fn freeze(&mut self) {
        let arrived = if self.buffer.len() == self.filled {
            mem::take(&mut self.buffer)
        } else {
            self.buffer.split_to(self.filled)
        };
        self.chunk = arrived.freeze();
        self.pinned = self.chunk.len();
        self.filled = 0;
    }

    /// What is left of the chunk begins a frame whose rest comes behind it. A byte is moved once at most for this,
    /// because the chunk that it stands in next begins with its frame.
    fn melt(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let rest = mem::take(&mut self.chunk);
        let mut joined = BytesMut::with_capacity(rest.len() + self.buffer.len());
        joined.extend_from_slice(&rest);
        joined.extend_from_slice(&self.buffer);
        self.buffer = joined;
        self.filled += rest.len();
    }

    fn behind_chunk(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// A part of a frame, to be kept: shared with the chunk it arrived in, or copied when it is a small part of a
    /// large one, so that 64 kept bytes never pin 64 KiB.
    pub(super) fn keep(&mut self, frame: &Bytes, part: &[u8]) -> Bytes {
        if self.is_worth_its_chunk(part.len()) { frame.slice_ref(part) } else { self.copy(part) }
    }

    /// The last `len` bytes of a frame, to be kept in the same way.
    pub(super) fn keep_end(&mut self, mut frame: Bytes, len: usize) -> Bytes {
        let start = frame.len().saturating_sub(len);
        if len > 0 && self.is_worth_its_chunk(len) {
            frame.advance(start);
            frame
        } else {
            self.copy(frame.get(start..).unwrap_or_default())
        }
    }

    const fn is_worth_its_chunk(&self, len: usize) -> bool {
        self.pinned <= SMALL || len >= self.pinned / 4
    }

    /// Copies share a small allocation with others: one each would cost more than all the rest of taking a message.
    fn copy(&mut self, part: &[u8]) -> Bytes {
        if part.len() >= SMALL / 4 {
            return Bytes::copy_from_slice(part);
        }
        if part.is_empty() {
            return Bytes::new();
        }
        if self.copies.capacity() < part.len() {
            self.copies = BytesMut::with_capacity(SMALL);
        }
        self.copies.extend_from_slice(part);
        self.copies.split().freeze()
    }

    /// Lets go of the buffer when it is empty and not lent: an idle connection holds none.
    pub(super) fn release_if_drained(&mut self) {
        if self.len() == 0 && self.lent == 0 && (self.buffer.capacity() > 0 || self.copies.capacity() > 0) {
            *self = Self::default();
        }
    }

    /// What has arrived first, for a look at what it resembles.
    pub(super) fn peek(&self) -> &[u8] {
        if self.chunk.is_empty() { self.behind_chunk() } else { &self.chunk }
    }
}

/// How long the frame at the front will be, if its header is there.
fn announced(bytes: &[u8], payload_max: u32) -> Result<Option<usize>, DecodeError> {
    let Some(header) = bytes.get(..HEADER_LEN) else { return Ok(None) };
    let header = Header::decode(header)?;
    if header.payload_len > payload_max {
        return Err(DecodeError::TooLarge { len: header.payload_len, limit: payload_max });
    }
    Ok(Some(HEADER_LEN + header.payload_len as usize))
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::{Input, SMALL};
    use crate::wire::{DecodeError, HEADER_LEN};

    const MAX: usize = 64 << 10;

    fn frame(len: usize) -> Vec<u8> {
        let mut bytes = vec![0x13, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
        bytes.resize(HEADER_LEN + len, 0xab);
        bytes
    }

    #[test]
    fn no_more_is_taken_than_the_limit_but_a_large_frame_may_come_whole() {
        let mut input = Input::default();
        assert_eq!(input.append(&frame(3 * MAX), MAX), MAX);
        assert_eq!(input.next_frame(1 << 20), Ok(None));
        assert_eq!(input.room(MAX), 2 * MAX + HEADER_LEN);
        input.append(&frame(3 * MAX)[MAX..], MAX);
        assert!(input.next_frame(1 << 20).unwrap().is_some());
        assert_eq!(input.room(MAX), MAX, "on top of the limit comes that one frame alone");
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_at_its_tenth_byte() {
        let mut input = Input::default();
        input.append(&frame(100)[..9], MAX);
        assert_eq!(input.next_frame(99), Ok(None));
        input.append(&frame(100)[9..10], MAX);
        assert_eq!(input.next_frame(99), Err(DecodeError::TooLarge { len: 100, limit: 99 }));
    }

    #[test]
    fn a_declared_length_allocates_nothing_and_growth_doubles_what_has_arrived() {
        let mut input = Input::default();
        input.append(&frame(1 << 20)[..HEADER_LEN], MAX);
        assert_eq!(input.next_frame(1 << 20), Ok(None));
        assert!(input.buffer.capacity() <= SMALL);
        let mut arrived = HEADER_LEN;
        while arrived < HEADER_LEN + (1 << 20) {
            let space = input.space(MAX).len();
            assert!(space > 0 && space <= arrived.max(SMALL));
            input.fill(space);
            arrived += space;
        }
        assert_eq!(input.next_frame(1 << 20).unwrap().unwrap().len(), HEADER_LEN + (1 << 20));
    }

    #[test]
    fn the_space_for_the_rest_of_a_frame_ends_with_the_frame() {
        let mut input = Input::default();
        input.append(&frame(5000)[..4500], MAX);
        assert_eq!(input.next_frame(1 << 20), Ok(None));
        assert_eq!(input.space(MAX).len(), HEADER_LEN + 500);
        input.fill(HEADER_LEN + 500);
        assert!(input.next_frame(1 << 20).unwrap().is_some());
        assert_eq!((input.len(), input.space(MAX).len()), (0, SMALL), "and between frames it has its size");
    }

    #[test]
    fn a_small_part_of_a_large_chunk_is_copied_and_a_large_part_is_shared() {
        let mut input = Input::default();
        input.append(&[frame(64), frame(32 << 10)].concat(), MAX);
        let small = input.next_frame(1 << 20).unwrap().unwrap();
        assert_ne!(input.keep(&small, &small[10..]).as_ptr(), small[10..].as_ptr());
        let large = input.next_frame(1 << 20).unwrap().unwrap();
        assert_eq!(input.keep(&large, &large[10..]).as_ptr(), large[10..].as_ptr());
    }

    #[test]
    fn a_small_part_is_copied_however_its_chunk_was_read() {
        let mut input = Input::default();
        let bytes = [frame(64), frame(32 << 10)].concat();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let space = input.space(MAX);
            let n = space.len().min(rest.len());
            space[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            input.fill(n);
        }
        let small = input.next_frame(1 << 20).unwrap().unwrap();
        assert_ne!(input.keep(&small, &small[10..]).as_ptr(), small[10..].as_ptr());
    }

    #[test]
    fn the_end_of_a_frame_is_kept_in_the_same_way_and_nothing_pins_nothing() {
        let mut input = Input::default();
        input.append(&[frame(64), frame(32 << 10), frame(0)].concat(), MAX);
        let [small, large, empty] = [(); 3].map(|()| input.next_frame(1 << 20).unwrap().unwrap());
        for (frame, len, is_shared) in [(small, 64, false), (large, 32 << 10, true), (empty, 0, false)] {
            let end = frame.clone().slice(HEADER_LEN..);
            let kept = input.keep_end(frame, len);
            assert_eq!((&kept, kept.as_ptr() == end.as_ptr()), (&end, is_shared), "{len} bytes");
        }
        let mut input = Input::default();
        input.append(&frame(0), MAX);
        let empty = input.next_frame(100).unwrap().unwrap();
        assert_ne!(input.keep_end(empty.clone(), 0).as_ptr(), empty[HEADER_LEN..].as_ptr());
    }

    #[test]
    fn copies_of_small_parts_share_small_allocations() {
        let mut input = Input::default();
        input.append(&vec![frame(64); 200].concat(), MAX);
        let mut kept = Vec::new();
        while let Some(frame) = input.next_frame(100).unwrap() {
            kept.push(input.keep(&frame, &frame[10..]));
        }
        assert_eq!(kept.len(), 200);
        assert!(kept.iter().all(|copy| copy[..] == frame(64)[10..]));
        let breaks = kept.windows(2).filter(|pair| pair[0].as_ptr_range().end != pair[1].as_ptr()).count();
        assert!(breaks <= 200 * 64 / SMALL + 1, "{breaks} allocations too many");
    }

    #[test]
    fn a_copy_of_a_kibibyte_or_more_shares_its_allocation_with_nothing() {
        for (len, shares) in [(SMALL / 4 - 1, true), (SMALL / 4, false)] {
            let mut input = Input::default();
            input.append(&[frame(len), frame(len), frame(8 * SMALL)].concat(), MAX);
            let [first, second] = [(); 2].map(|()| {
                let frame = input.next_frame(1 << 20).unwrap().unwrap();
                input.keep(&frame, &frame[HEADER_LEN..])
            });
            assert_eq!(first.as_ptr_range().end == second.as_ptr(), shares, "{len} bytes");
            assert_eq!((first, second.len()), (second.clone(), len));
        }
    }

    #[test]
    fn the_rest_of_a_chunk_stays_in_front_of_what_is_being_read() {
        let mut input = Input::default();
        let bytes = [frame(10), frame(20)].concat();
        input.append(&bytes[..25], MAX);
        assert!(input.next_frame(100).unwrap().is_some());
        let rest = bytes[25..].len();
        input.space(MAX)[..rest].copy_from_slice(&bytes[25..]);
        assert_eq!(input.next_frame(100), Ok(None), "what was read is not reported yet");
        input.fill(rest);
        assert_eq!(input.next_frame(100).unwrap().unwrap(), frame(20));
        assert_eq!((input.len(), input.recount()), (0, 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize),
        Read(usize),
        Take,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1usize..9000).prop_map(Step::Append),
            (1usize..9000).prop_map(Step::Read),
            Just(Step::Take),
            Just(Step::Take),
        ]
    }

    proptest! {
        /// However bytes come in and frames are taken out in between, every frame comes out whole and in its place.
        #[test]
        fn frames_come_out_as_they_went_in(
            lens in proptest::collection::vec(prop_oneof![0usize..300, 3000usize..9000], 1..30),
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let stream = lens.iter().flat_map(|len| frame(*len)).collect::<Vec<_>>();
            let (mut input, mut rest, mut taken) = (Input::default(), &stream[..], Vec::new());
            for step in steps.iter().chain([&Step::Append(usize::MAX), &Step::Take].into_iter().cycle().take(200)) {
                match *step {
                    Step::Append(n) => {
                        let n = input.append(&rest[..n.min(rest.len())], MAX);
                        rest = &rest[n..];
                    }
                    Step::Read(n) => {
                        let space = input.space(MAX);
                        let n = n.min(space.len()).min(rest.len());
                        space[..n].copy_from_slice(&rest[..n]);
                        prop_assert!(input.fill(n) >= n);
                        rest = &rest[n..];
                    }
                    Step::Take => {
                        taken.extend(input.next_frame(1 << 20).unwrap());
                        input.release_if_drained();
                    }
                }
                prop_assert_eq!(input.len(), input.recount());
            }
            prop_assert_eq!(taken, lens.iter().map(|len| frame(*len)).collect::<Vec<_>>());
            prop_assert_eq!((input.len(), rest.len()), (0, 0));
        }
    }

    #[test]
    fn reading_more_than_the_space_is_clamped() {
        let mut input = Input::default();
        let space = input.space(MAX).len();
        assert_eq!(input.fill(space + 1), space);
        assert_eq!(input.len(), space);
    }

    #[test]
    fn a_drained_buffer_is_let_go() {
        let mut input = Input::default();
        input.append(&frame(10), MAX);
        assert!(input.next_frame(100).unwrap().is_some());
        input.release_if_drained();
        assert_eq!(input.buffer.capacity(), 0);
        input.space(MAX);
        input.fill(0);
        assert_eq!(input.buffer.capacity(), 0);
    }

    #[test]
    fn room_for_copies_is_let_go_with_the_last_frame_of_a_chunk() {
        let mut input = Input::default();
        input.append(&[frame(64), frame(32 << 10)].concat(), MAX);
        let small = input.next_frame(1 << 20).unwrap().unwrap();
        assert_eq!(input.keep(&small, &small[HEADER_LEN..]).len(), 64);
        assert!(input.copies.capacity() > 0);
        assert!(input.next_frame(1 << 20).unwrap().is_some());
        input.release_if_drained();
        assert_eq!(input.copies.capacity(), 0);
    }

    #[test]
    fn space_that_was_not_used_is_lent_again_without_being_cleared() {
        let mut input = Input::default();
        input.space(MAX)[1] = 7;
        input.fill(1);
        assert_eq!(input.space(MAX)[0], 7);
        assert_eq!(input.len(), 1);
    }
}
