//! The laws of a connection, for any calls in any order.

mod call;
mod ends;
mod monitors;
mod offers;
mod piece;
mod player;
mod splits;
mod written;

use liminal_proto::wire::Dialect;
use liminal_proto::{Config, Connection, CreditGiven, Side};

pub use call::Call;
pub use ends::Ends;
pub use player::Player;
pub use splits::{assert_splits_are_equal, busy_client, split};

use call::Calls;

use crate::Tape;
use crate::sides::{START, client_of, limited, server_of};

/// A connection that may be the beginning of anything.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// Which side it is.
    pub side: Side,
    /// The version that is or will be spoken.
    pub dialect: Dialect,
    /// Whether its handshake is through.
    pub through: bool,
}

impl Beginning {
    fn read(tape: &mut Tape<'_>) -> Self {
        let choice = tape.byte();
        Self {
            side: if choice & 1 == 0 { Side::Server } else { Side::Client },
            dialect: if choice & 2 == 0 { Dialect::V2 } else { Dialect::V1 },
            through: choice & 0x1C != 0x1C,
        }
    }

    /// The connection itself.
    #[must_use]
    pub fn begin(self, config: Config) -> Connection {
        let version = self.dialect.version().major;
        match (self.side, self.through) {
            (Side::Client, true) => client_of(version, config),
            (Side::Server, true) => server_of(version, config),
            (Side::Client, false) => Connection::client(START, config),
            (Side::Server, false) => Connection::server(START, config),
        }
    }
}

/// Small bounds, so that they are met.
#[must_use]
pub fn small() -> Config {
    let config = limited(|limits| {
        limits.frame_payload_max = 4096;
        limits.output_soft_max = 6000;
        limits.output_hard_max = 12_000;
        limits.input_max = 2000;
        limits.conversations_max = 6;
        limits.offers_max = 3;
        limits.monitors_max = 4;
        limits.requests_max = 6;
        limits.conversation_window = 3000;
        limits.connection_window = 9000;
    });
    Config { credit: CreditGiven::Consumed, ..config }
}

/// Fuzz target: any calls on either side, in either version, before or after its handshake.
pub fn play(data: &[u8]) {
    play_and(data, |_, _| {});
}

/// Fuzz target: the same, and law 7: what the connection keeps is bounded by its configuration, and by what
/// it was really given, whatever lengths the frames declare. `live` says how many bytes are allocated now.
pub fn play_within_bounds(data: &[u8], live: &dyn Fn() -> usize) {
    let before = live();
    // What the player remembers grows with the calls; each is at least a byte of the input.
    let of_player = 512 * data.len() + (16 << 10);
    play_and(data, |config, given| {
        let limits = &config.limits;
        let frames = 4 * limits.frame_payload_max as usize;
        let configured = limits.input_max + 2 * limits.output_hard_max + frames;
        let max = configured.min(4 * given) + of_player;
        let kept = live() - before;
        assert!(kept <= max, "law 7: {kept} bytes are kept, and {max} may be");
    });
}

fn play_and(data: &[u8], after_each: impl Fn(&Config, usize)) {
    let mut tape = Tape::new(data);
    let beginning = Beginning::read(&mut tape);
    let config = if tape.one_in(2) { small() } else { Config::default() };
    let mut player = Player::new(beginning.begin(config.clone()), &config);
    for call in Calls::new(tape) {
        player.play(call);
        after_each(&config, player.given());
    }
    player.finish();
}
