//! The output queue: small frames are appended to a tail, large payloads are shared segments.

use alloc::collections::VecDeque;
use core::borrow::Borrow;

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::{Dialect, EncodeError, Measured};

/// A payload from this size on is queued as a shared segment; a smaller one is copied to the tail, because
/// writing a segment of its own costs more than copying this much (measured over loopback: 0.3 µs for each
/// message, which copies some 4 KiB).
const SHARED_MIN: usize = 4096;

/// Bytes that wait to be written, in order: `segments`, then `tail`.
#[derive(Default)]
pub(super) struct Output {
    segments: VecDeque<Bytes>,
    tail: BytesMut,
    /// Bytes in `segments` and `tail`.
    queued: usize,
    /// Bytes handed out by [`Output::take`] and not yet reported as written.
    taken: usize,
    /// Nobody will read any more: nothing is queued, and so many bytes that may yet be reported as
    /// written were forgotten.
    shut: Option<usize>,
}

impl Output {
    /// Bytes that are not yet written.
    pub(super) const fn len(&self) -> usize {
        self.queued + self.taken
    }

    /// The same, counted afresh.
    pub(super) fn recount(&self) -> usize {
        self.segments.iter().map(Bytes::len).sum::<usize>() + self.tail.len() + self.taken
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is anything that was not handed out yet.
    pub(super) const fn has_queued(&self) -> bool {
        self.queued > 0
    }

    /// Appends a frame. On an error nothing is appended.
    pub(super) fn push<S: AsRef<str>, B: AsRef<[u8]> + Borrow<Bytes>>(
        &mut self,
        dialect: Dialect,
        frame: &Measured<'_, S, B>,
    ) -> Result<(), EncodeError> {
        if self.shut.is_some() {
            return Ok(());
        }
        let before = self.tail.len();
        let shared = frame.encode_shared(dialect, SHARED_MIN, &mut self.tail)?;
        self.queued += self.tail.len() - before;
        if let Some(payload) = shared {
            let payload: &Bytes = payload.borrow();
            self.queued += payload.len();
            self.segments.push_back(self.tail.split().freeze());
            self.segments.push_back(payload.clone());
        }
        Ok(())
    }

    /// Fills `into` with the next segments and returns how many there are.
    pub(super) fn segments<'a>(&'a self, into: &mut [&'a [u8]]) -> usize {
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let all = self.segments.iter().map(|segment| &segment[..]).chain(tail);
        into.iter_mut().zip(all).map(|(slot, segment)| *slot = segment).count()
    }

    /// Hands out up to `max` bytes as an owned segment. They stay in [`Output::len`] until written.
    pub(super) fn take(&mut self, max: usize) -> Bytes {
        if self.queued == 0 {
            return Bytes::new();
        }
        let bytes = match self.segments.front_mut() {
            Some(front) if front.len() > max => front.split_to(max),
            Some(_) => self.segments.pop_front().unwrap_or_default(),
            // The whole tail, which is the common case, leaves nothing behind to be shared with.
            None if self.tail.len() <= max => core::mem::take(&mut self.tail).freeze(),
            None => self.tail.split_to(max).freeze(),
        };
        self.queued -= bytes.len();
        self.taken += bytes.len();
        self.release_if_drained();
        bytes
    }

    /// The first `n` bytes were written: those handed out first, then those queued.
    /// Returns how many of them there were.
    pub(super) fn wrote(&mut self, n: usize) -> usize {
        if let Some(forgotten) = &mut self.shut {
            let n = n.min(*forgotten);
            *forgotten -= n;
            return n;
        }
        let n = n.min(self.len());
        let from_taken = n.min(self.taken);
        self.taken -= from_taken;
        self.advance(n - from_taken);
        n
    }

    /// Nobody will read what is queued, nor what would be: forgets the one and takes no more of the
    /// other. What was on its way may still be reported as written.
    pub(super) fn shut(&mut self) {
        let forgotten = self.shut.unwrap_or(0) + self.len();
        *self = Self { shut: Some(forgotten), ..Self::default() };
    }

    fn advance(&mut self, mut n: usize) {
        self.queued -= n;
        while let Some(front) = self.segments.front_mut() {
            if n < front.len() {
                front.advance(n);
                return;
            }
            n -= front.len();
            self.segments.pop_front();
        }
        self.tail.advance(n);
        self.release_if_drained();
    }

    /// An idle connection holds no buffer.
    fn release_if_drained(&mut self) {
        if self.queued == 0 {
            self.tail = BytesMut::new();
            if self.segments.capacity() > 0 {
                self.segments = VecDeque::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Output, SHARED_MIN};
    use crate::wire::{Body, Dialect, Frame, Measured, encode};
    use crate::{MessageId, StreamId};

    fn message(payload: Bytes) -> Frame<&'static str, Bytes> {
        let body = Body::Message {
            message_id: MessageId::new(7),
            answers: None,
            timeout_ms: None,
            redelivered: None,
            metadata: None,
            payload,
        };
        Frame { flags: 0, stream: StreamId::new(1), body }
    }

    fn push(output: &mut Output, frame: &Frame<&str, Bytes>) {
        output.push(Dialect::V2, &Measured::new(frame)).unwrap();
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Write(usize),
        Take(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3 * SHARED_MIN).prop_map(Step::Push),
            (0..3 * SHARED_MIN).prop_map(Step::Write),
            (1..3 * SHARED_MIN).prop_map(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn however_it_is_taken_out_the_bytes_are_those_of_the_frames(
            steps in proptest::collection::vec(step(), 0..60),
        ) {
            let mut output = Output::default();
            let (mut expected, mut written) = (bytes::BytesMut::new(), Vec::new());
            let mut fill = 0u8;
            for step in steps {
                match step {
                    Step::Push(len) => {
                        fill = fill.wrapping_add(1);
                        let frame = message(Bytes::from(alloc::vec![fill; len]));
                        push(&mut output, &frame);
                        encode(Dialect::V2, &frame, &mut expected).unwrap();
                    }
                    Step::Write(max) => {
                        let mut slots = [&[][..]; 3];
                        let n = output.segments(&mut slots);
                        prop_assert!(slots[..n].iter().all(|segment| !segment.is_empty()));
                        prop_assert_eq!(n > 0, output.has_queued());
                        let joined = slots[..n].concat();
                        let max = max.min(joined.len());
                        written.extend_from_slice(&joined[..max]);
                        prop_assert_eq!(output.wrote(max), max);
                    }
                    Step::Take(max) => {
                        let queued = output.has_queued();
                        let taken = output.take(max);
                        prop_assert!(taken.len() <= max);
                        prop_assert_eq!(!taken.is_empty(), queued);
                        written.extend_from_slice(&taken);
                        output.wrote(taken.len());
                    }
                }
                prop_assert_eq!(output.len(), expected.len() - written.len());
            }
            while output.has_queued() {
                let taken = output.take(usize::MAX);
                written.extend_from_slice(&taken);
            }
            prop_assert_eq!(&written[..], &expected[..]);
        }
    }

    #[test]
    fn what_was_handed_out_stays_charged_until_it_is_written() {
        let mut output = Output::default();
        push(&mut output, &message(Bytes::from_static(b"hello")));
        let len = output.len();
        assert_eq!(output.take(usize::MAX).len(), len);
        assert!(!output.has_queued());
        assert_eq!(output.len(), len);
        assert_eq!(output.wrote(len + 1), len);
        assert!(output.is_empty());
    }

    #[test]
    fn a_drained_output_holds_no_buffer_however_it_was_drained() {
        for len in [5, SHARED_MIN] {
            let mut output = Output::default();
            push(&mut output, &message(Bytes::from(alloc::vec![7; len])));
            output.wrote(output.len());
            assert_eq!((output.tail.capacity(), output.segments.capacity()), (0, 0), "written");
            push(&mut output, &message(Bytes::from(alloc::vec![7; len])));
            while output.has_queued() {
                let _ = output.take(usize::MAX);
            }
            assert_eq!((output.tail.capacity(), output.segments.capacity()), (0, 0), "handed out");
        }
    }

    #[test]
    fn a_segment_that_was_handed_out_to_its_last_byte_leaves_nothing_in_the_queue() {
        let mut output = Output::default();
        let payload = Bytes::from(alloc::vec![7; SHARED_MIN]);
        push(&mut output, &message(payload.clone()));
        let head = output.len() - SHARED_MIN;
        assert_eq!(output.take(head).len(), head);
        let mut slots = [&[][..]; 3];
        assert_eq!((output.segments(&mut slots), slots[0]), (1, &payload[..]));
    }

    #[test]
    fn a_shut_output_takes_nothing_and_lets_late_reports_pass() {
        let mut output = Output::default();
        push(&mut output, &message(Bytes::from_static(b"hello")));
        let len = output.len();
        output.shut();
        push(&mut output, &message(Bytes::new()));
        assert!(output.is_empty() && !output.has_queued());
        assert_eq!([output.wrote(len), output.wrote(1)], [len, 0]);
    }

    #[test]
    fn a_large_payload_is_shared_and_not_copied() {
        let payload = Bytes::from(alloc::vec![1; SHARED_MIN]);
        let mut output = Output::default();
        push(&mut output, &message(payload.clone()));
        let mut slots = [&[][..]; 4];
        assert_eq!(output.segments(&mut slots), 2);
        assert_eq!(slots[1].as_ptr(), payload.as_ptr());
    }
}
