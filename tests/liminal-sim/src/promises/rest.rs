//! What the bus may hold, and what may be left when everything has ended.

use liminal_core::transcript::{BusId, Credited, Holder, OpenerId};
use liminal_core::{LinkId, Load};
use liminal_proto::CreditLeft;

use super::openers::OpenerState;
use super::{Checker, Promise, Stage};
use crate::Network;

impl Checker {
    pub(super) fn on_measured(&mut self, bus: BusId, load: Load, recount: Load) {
        self.expect(load == recount, Promise::R2, || {
            format!("The accounts say {load:?}, a recount {recount:?}.")
        });
        let logs = self.logs.iter().filter(|((of, _), _)| *of == bus);
        let (mut open, mut dead) = (0, None);
        for (_, log) in logs {
            open += log.open.len();
            dead = dead.or(log.must_exit);
        }
        self.expect(load.requests <= open, Promise::L5, || {
            format!("{} requests are held, and only {open} are open.", load.requests)
        });
        self.expect(load.requests >= open, Promise::R2, || {
            format!("{} requests are held, and {open} are open.", load.requests)
        });
        if let Some(pid) = dead {
            self.breaks(Promise::L3, format!("The exit of participant {pid} is not in the log."));
        }
        self.check_stage(bus, load);
    }

    pub(super) fn on_held(
        &mut self,
        link: LinkId,
        by: Holder,
        (bytes, recount): (usize, usize),
        bytes_max: usize,
    ) {
        self.expect(bytes == recount, Promise::R2, || {
            format!("The account of {link} ({by:?}) says {bytes} bytes, a recount {recount}.")
        });
        self.expect(bytes <= bytes_max, Promise::R2, || {
            format!("{bytes} bytes are held for {link} ({by:?}), and {bytes_max} may be.")
        });
    }

    pub(super) fn on_waited(&mut self, link: LinkId, turns: u64, turns_max: u64) {
        self.expect(turns <= turns_max, Promise::R3, || {
            format!("{link} has waited for {turns} turns of others, and {turns_max} are bearable.")
        });
    }

    /// Nothing is under way, and everything that was said is dealt with.
    pub(super) fn on_credit(&mut self, link: LinkId, of: Credited, (here, there): (CreditLeft, CreditLeft)) {
        let agree = (here.to_say, here.to_hear) == (there.to_hear, there.to_say);
        self.expect(agree, Promise::R1, || {
            format!("The sides of {link} do not agree on credit ({of:?}): {here:?} and {there:?}.")
        });
        self.expect((here.open, there.open) == (0, 0), Promise::R1, || {
            format!("Nothing is outstanding on {link}, and credit is kept ({of:?}): {here:?} and {there:?}.")
        });
    }

    fn check_stage(&mut self, bus: BusId, load: Load) {
        let nothing = match self.stage {
            Stage::Busy => true,
            Stage::Calm => {
                // What was said of times may have been changed on its way.
                let is_faithful = self.network == Network::Faithful;
                let timers = load.timers <= if is_faithful { self.timed(bus) } else { load.conversations };
                (load.requests, load.running, load.held_bytes) == (0, 0, 0) && timers
            }
            Stage::Over => load == Load::default(),
        };
        // What follows is the end of the connections, with new work of its own.
        let stage = std::mem::take(&mut self.stage);
        self.expect(nothing, Promise::P1, || format!("{stage:?}, and the bus still holds {load:?}."));
        let taken = self.places_taken(bus);
        self.expect(stage == Stage::Busy || taken == load.guests, Promise::R2, || {
            format!("{} places on links are held, and {taken} are taken.", load.guests)
        });
    }

    pub(super) fn on_calm(&mut self, bus: BusId) {
        self.stage = Stage::Calm;
        self.check_agreement(bus);
        let openers = std::mem::take(&mut self.openers);
        for (opener, state) in openers.iter().filter(|(_, state)| !state.closed) {
            self.check_knowledge(*opener, state);
        }
        self.openers = openers;
    }

    pub(super) fn on_over(&mut self) {
        self.stage = Stage::Over;
        let open = |(_, state): &(&OpenerId, &OpenerState)| !state.closed;
        let opener = self.openers.iter().find(open).map(|(opener, _)| *opener);
        if let Some(opener) = opener {
            self.breaks(Promise::P1, format!("{opener} was not told that its connection is over."));
        }
        let lives = self.logs.iter().filter(|((bus, _), _)| !self.lost.contains(bus));
        let immortal = lives.flat_map(|(_, log)| &log.lives).find(|(_, ended)| !**ended).map(|(pid, _)| *pid);
        if let Some(pid) = immortal {
            self.breaks(Promise::L1, format!("The life of participant {pid} has no end."));
        }
        let untold = self.hosted.iter().find(|(bus, ..)| !self.lost.contains(bus)).map(|(.., pid)| *pid);
        if let Some(pid) = untold {
            self.breaks(Promise::P1, format!("Participant {pid} was never told that it has left."));
        }
    }
}
