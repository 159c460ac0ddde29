//! Any input of a connection, however it is split.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| liminal_laws::connection::split(data));
