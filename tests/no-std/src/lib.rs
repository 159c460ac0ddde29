//! The shape of a program without std: a client and a bus at the two ends of a serial line, and an executor
//! that has nothing but a loop.
//!
//! A device supplies a [`Line`] and a clock ([`Ticks`]); [`client::run`] and [`server::run`] are the two
//! programs, as futures; [`Executor`] polls them in turn, as a main loop without threads does. Where a real
//! device has interrupts, it sleeps in the main loop until one comes or [`Ticks::wake_at`] has passed.
//!
//! # What is checked, and what is not
//!
//! This crate and all that it is built from are `#![no_std]`; a test holds that its dependency tree has no
//! crate but ours, `bytes` and `thiserror`, none with a feature `std`; and the tests run it, on a line that
//! carries a few bytes at a time. Only a build for a target that has no std proves that nothing slipped in:
//! where `thumbv7em-none-eabihf` is installed, CI makes one. What nothing here shows is a real device. It
//! brings an allocator, which `alloc` needs, a panic handler, and atomics of pointer width, which `bytes`
//! needs; how much memory it takes is for its limits to say.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod client;
mod executor;
mod line;
pub mod server;

pub use executor::{Executor, Ticks, yield_now};
pub use line::Line;
