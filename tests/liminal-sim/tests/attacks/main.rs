//! Peers that mean no good, beside neighbours who do: each is answered or closed as the protocol says, costs no
//! more bytes and no more turns of the bus than it may, and the neighbours do not notice.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "only tests use it"
)]

mod conversations;
mod credit;
mod flow;
mod frames;
mod framing;
mod handshake;
mod kit;
mod participants;
mod serving;
mod table;
