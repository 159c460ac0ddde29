//! Recorded bytes of 1.0 peers, held against liminal.
//!
//! `vectors/frames.json` holds frames with their fields, streams of frames in chunks, byte strings
//! that must be refused, and frames that must not be encoded. The tests of this crate hold the codec
//! against all of them.

mod vectors;

pub use vectors::{Refusal, Refused, Stream, Vectors};
