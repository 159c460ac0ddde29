//! Recorded bytes and sessions of 1.0 peers, held against liminal.
//!
//! `vectors/frames.json` holds frames with their fields, streams of frames in chunks, byte strings
//! that must be refused, and frames that must not be encoded. The tests of this crate hold the codec
//! against all of them.
//!
//! `vectors/sessions.json` holds what clients said to a 1.0 server over TCP and what they heard.
//! [`sessions`] gives them for a server of ours: where it answers otherwise on purpose,
//! `differences.toml` says how and why. Whoever has a server at hand lets it go through them with
//! [`Session::replay`].

mod differences;
mod heard;
mod keys;
mod replay;
mod session;
mod vectors;

pub use heard::Heard;
pub use session::{Session, Step, sessions};
pub use vectors::{Refusal, Refused, Stream, Vectors};
