//! What must hold of the codec, the connection and the bus under any input.
//!
//! Each law is kept by a machine that interprets operations and asserts after each one: [`connection::Player`]
//! plays [`connection::Call`]s, [`bus::World`] applies [`bus::Op`]s to the bus and to a naive reference of it.
//! Proptest draws the operations in the tests of the crates that they are about. The fuzzer writes a
//! [`Tape`] from which they are read, and [`TARGETS`] are its ways in; what it has found worth keeping lies
//! in `tests/fuzz/corpus` and is replayed here by a plain `cargo test`.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a broken law panics, and a law names what it is about"
)]

pub mod bus;
pub mod codec;
pub mod connection;
pub mod frames;
pub mod sides;
mod tape;

pub use tape::Tape;

/// A way in for a fuzzer: holds what is under test against its laws, on any input.
pub type Target = fn(&[u8]);

/// All targets, by the names that they have in `tests/fuzz`.
pub const TARGETS: [(&str, Target); 5] = [
    ("codec", codec::hold),
    ("connection", connection::play),
    ("splits", connection::split),
    ("bus", bus::compare),
    ("world", promise),
];

/// Fuzz target: the promises of the bus, in the world in which everything goes wrong that can.
fn promise(data: &[u8]) {
    liminal_sim::worlds::everything(liminal_sim::Network::Faithful).fuzz(data);
}
