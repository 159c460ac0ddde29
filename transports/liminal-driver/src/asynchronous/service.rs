//! What applications hold of a subject that they serve.

use std::fmt;
use std::sync::Arc;

use super::handle::{Owner, until};
use super::waiting::Waiting;
use crate::client::{OfferOn, Registration, ServiceId, Standing, Topic};
use crate::error::ServiceEnd;

/// A subject that this client serves. Dropping it [withdraws](Self::withdraw) it.
///
/// Where the handle [reconnects](super::Handle::reconnect) it is offered again on each connection, with the same
/// participants and the same capacity, until it is withdrawn.
pub struct Service {
    owner: Arc<Owner>,
    registration: Registration,
    id: ServiceId,
}

impl Service {
    pub(super) const fn new(owner: Arc<Owner>, registration: Registration, id: ServiceId) -> Self {
        Self { owner, registration, id }
    }

    /// Serves no more: whoever waits for one of its participants is told at once, or goes on with another one if
    /// that is the policy of the subject. The participants leave; what they are at may take them 5 s.
    pub fn withdraw(&self) {
        self.take_back(false);
    }

    /// Takes no new conversations, and serves those that there are to their end.
    pub fn drain(&self) {
        self.take_back(true);
    }

    /// Whether the subject is served now. Reads what is known, and never waits.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.owner.line.standing(self.id).0
    }

    /// Waits until the service stands otherwise than it did, and says how.
    pub async fn standing_changed(&self, from: &Standing) -> Standing {
        let line = &self.owner.line;
        loop {
            let (standing, on) = line.standing(self.id);
            if standing != *from {
                return standing;
            }
            if let Some(OfferOn { link, offer, offered }) = on {
                let changed = |now| (now != offered).then_some(());
                Waiting::new(&link, Topic::Offer(offer), |client| changed(client.offered(offer))).await;
            } else {
                until(line, || {
                    let (now, on) = line.standing(self.id);
                    (now != *from || on.is_some()).then_some(())
                })
                .await;
            }
        }
    }

    /// Waits until the subject is served no more and its conversations have ended, and says why. Where the handle
    /// [reconnects](super::Handle::reconnect) the loss of a connection is not the end.
    pub async fn ended(&self) -> ServiceEnd {
        let mut standing = self.standing();
        loop {
            if let Standing::Ended(end) = standing {
                return end;
            }
            standing = self.standing_changed(&standing).await;
        }
    }

    fn take_back(&self, drain: bool) {
        self.registration.end();
        if let Some((link, offer)) = self.owner.line.take_back(self.id) {
            link.act(None, |client| client.withdraw(offer, drain));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.registration.end();
        if let Some((link, offer)) = self.owner.line.release(self.id) {
            link.act(None, |client| client.release_service(offer));
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("standing", &self.standing()).finish_non_exhaustive()
    }
}
