//! What the corpus makes the codec and a connection allocate. One thread, because an allocator counts
//! for all of them; so it has a `main` of its own.

#![allow(clippy::expect_used, reason = "a failed test says so")]

use std::alloc::System;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use liminal_laws::{codec, connection};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    replay("codec", |data| codec::allocate_little(data, &|| ALLOCATOR.stats().bytes_allocated));
    replay("connection", |data| connection::play_within_bounds(data, &live));
}

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn replay(name: &str, measure: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    for entry in folder.read_dir().expect("a corpus of this name") {
        let path = entry.expect("an entry").path();
        let data = std::fs::read(&path).expect("a readable file");
        let held = catch_unwind(AssertUnwindSafe(|| measure(&data)));
        assert!(held.is_ok(), "{} takes too much", path.display());
    }
}
