//! The bus and its reference under any operations.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| liminal_laws::bus::compare(data));
