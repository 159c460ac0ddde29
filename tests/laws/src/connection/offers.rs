//! What a side is told of offers: each word at most once, and none after the end.

use std::collections::BTreeSet;

use liminal_proto::{Connection, Event, Side, StreamId};

/// The offers of one connection, as its embedder knows them.
#[derive(Debug, Default)]
pub(super) struct Offers {
    made: BTreeSet<StreamId>,
    gone: BTreeSet<StreamId>,
    answered: BTreeSet<StreamId>,
    withdrawn: BTreeSet<(StreamId, bool)>,
}

impl Offers {
    /// The client has made it.
    pub(super) fn makes(&mut self, offer: StreamId) {
        assert!(self.made.insert(offer), "{offer} was used before");
    }

    /// The server has seen to its end.
    pub(super) fn ends(&mut self, offer: StreamId) {
        assert!(self.made.contains(&offer), "{offer} ends and was never made");
        assert!(self.gone.insert(offer), "{offer} ends twice");
    }

    /// This side was told something.
    pub(super) fn on_event(&mut self, connection: &Connection, event: &Event) {
        let side = connection.side();
        match event {
            Event::Serve { offer, capacity, .. } => {
                assert!(side == Side::Server && *capacity > 0);
                self.makes(*offer);
            }
            Event::Withdraw { offer, drain } => {
                assert!(side == Side::Server && self.stands(*offer));
                assert!(!self.withdrawn.contains(&(*offer, false)), "{offer} is taken back after its end");
                assert!(self.withdrawn.insert((*offer, *drain)), "{offer} is taken back twice");
            }
            Event::Serving { offer } => self.answers(side, *offer),
            Event::NotServing { offer, .. } => {
                self.answers(side, *offer);
                self.ends(*offer);
            }
            Event::Withdrawn { offer } => {
                assert_eq!(side, Side::Client);
                self.ends(*offer);
            }
            Event::Invite { conversation, .. } => {
                assert!(side == Side::Client && conversation.get() % 2 == 0);
                assert!(self.made.iter().any(|offer| self.stands(*offer)), "nothing was offered");
            }
            _ => {}
        }
        for offer in &self.made {
            let is_known = connection.offer_phase(*offer).is_some();
            assert_eq!(is_known, self.stands(*offer), "{offer}");
        }
    }

    fn answers(&mut self, side: Side, offer: StreamId) {
        assert!(side == Side::Client && self.stands(offer));
        assert!(self.answered.insert(offer), "{offer} is answered twice");
    }

    fn stands(&self, offer: StreamId) -> bool {
        self.made.contains(&offer) && !self.gone.contains(&offer)
    }
}
