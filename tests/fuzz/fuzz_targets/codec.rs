//! Decoding, in both versions: the laws of the codec for any bytes.

#![no_main]

use std::alloc::System;

use libfuzzer_sys::fuzz_target;
use liminal_laws::codec;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fuzz_target!(|data: &[u8]| {
    codec::hold(data);
    codec::allocate_little(data, &|| ALLOCATOR.stats().bytes_allocated);
});
