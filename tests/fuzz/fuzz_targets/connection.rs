//! One connection under any calls: the laws of a connection and the bound on its memory.

#![no_main]

use std::alloc::System;

use libfuzzer_sys::fuzz_target;
use liminal_laws::connection;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fuzz_target!(|data: &[u8]| {
    connection::play_within_bounds(data, &|| {
        let stats = ALLOCATOR.stats();
        stats.bytes_allocated - stats.bytes_deallocated
    });
});
