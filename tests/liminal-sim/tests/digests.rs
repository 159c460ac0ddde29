//! Equal tapes give equal transcripts: in every profile, on every machine, from run to run.
//!
//! The digests change when the behaviour of the bus, of a connection or of the simulated world does. Where that
//! is meant, the line that the failed test prints takes the place of [`DIGESTS`].

use liminal_sim::{Network, Tape, worlds};

/// Of these seeds on a faithful and on a byzantine network, folded into one number each.
const SEEDS: std::ops::Range<u64> = 0..40;

const DIGESTS: [u64; 2] = [0x36b69e0fdcc7e56e, 0x5b38a27824a3c078];

/// Which seed gives which digest, if somebody wants to know where two machines part.
fn digests(network: Network) -> Vec<u64> {
    let sim = worlds::everything(network);
    SEEDS.map(|seed| sim.run(&Tape::from_seed(seed)).transcript.digest()).collect()
}

#[test]
fn the_transcripts_of_these_seeds_are_the_same_everywhere() {
    let each = [Network::Faithful, Network::Byzantine].map(digests);
    let all =
        each.clone().map(|digests| digests.into_iter().fold(0, |all: u64, one| all.rotate_left(1) ^ one));
    assert!(
        all == DIGESTS,
        "of each seed: {each:x?}\n\nconst DIGESTS: [u64; 2] = [0x{:016x}, 0x{:016x}];\n",
        all[0],
        all[1],
    );
}
