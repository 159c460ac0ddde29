//! The bus, connections and participants in a world in which everything goes wrong that can.

#![no_main]

use libfuzzer_sys::fuzz_target;
use liminal_sim::{Network, worlds};

fuzz_target!(|bytes: &[u8]| worlds::everything(Network::Faithful).fuzz(bytes));
