//! What a handle serves, on whichever connection it has.

use std::sync::Arc;

use liminal_core::Subject;
use liminal_proto::{CloseReason, LinkError, ReasonCode, StreamId};

use super::{Line, State};
use crate::client::services::Offered;
use crate::client::{SharedClient, Standing};
use crate::error::{ServeError, ServiceEnd};

/// A service of a handle, for as long as somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceId(u64);

/// What is served.
pub(super) struct Served<L> {
    subject: Subject,
    capacity: u32,
    /// The connection that it was offered on last, and its offer there.
    on: (Arc<L>, StreamId),
    /// How the connection ended on which it was served before.
    lost: Option<CloseReason>,
    /// How it ended, when that was not the end of its offer.
    end: Option<ServiceEnd>,
}

/// An offer on a connection that goes on: where it will be known when it stands otherwise.
#[derive(Debug)]
pub struct OfferOn<L> {
    /// The connection.
    pub link: Arc<L>,
    /// The offer.
    pub offer: StreamId,
    /// How it stands.
    pub offered: Offered,
}

/// What is to be offered again.
#[derive(Clone, Debug)]
pub struct ToOffer {
    /// Which service it is for.
    pub service: ServiceId,
    /// The subject.
    pub subject: Subject,
    /// For how many conversations at a time.
    pub capacity: u32,
}

/// # Services
impl<L: SharedClient> Line<L> {
    /// A subject is offered on this connection. It will be again on those that come after it.
    #[must_use]
    pub fn serve(&self, subject: Subject, capacity: u32, link: Arc<L>, offer: StreamId) -> ServiceId {
        let mut state = self.lock();
        state.next_service += 1;
        let id = ServiceId(state.next_service);
        state.services.insert(id, Served { subject, capacity, on: (link, offer), lost: None, end: None });
        id
    }

    /// How a service stands, and on which offer that depends, if its connection goes on.
    #[must_use]
    pub fn standing(&self, service: ServiceId) -> (Standing, Option<OfferOn<L>>) {
        let state = self.lock();
        match state.services.get(&service) {
            Some(served) => served.standing(&state),
            None => (Standing::Ended(ServiceEnd::Withdrawn), None),
        }
    }

    /// A service is taken back. Gives the offer that this is to be said of, if there is one.
    #[must_use]
    pub fn take_back(&self, service: ServiceId) -> Option<(Arc<L>, StreamId)> {
        let mut state = self.lock();
        let served = state.services.get(&service)?;
        match served.standing(&state) {
            (Standing::Interrupted { .. }, None) => {
                // There is nobody to tell, and it will not be offered again.
                if let Some(served) = state.services.get_mut(&service) {
                    served.end = Some(ServiceEnd::Withdrawn);
                }
                state.wake();
                None
            }
            _ => Some(served.on.clone()),
        }
    }

    /// Nobody asks about a service any more. Gives its last offer, which is to be released.
    #[must_use]
    pub fn release(&self, service: ServiceId) -> Option<(Arc<L>, StreamId)> {
        let served = self.lock().services.remove(&service);
        served.map(|served| served.on)
    }

    /// What the driver is to offer again on a connection that is new.
    #[must_use]
    pub fn to_offer(&self) -> Vec<ToOffer> {
        let again = |(id, served): (&ServiceId, &mut Served<L>)| {
            served.conclude();
            let (service, subject, capacity) = (*id, served.subject.clone(), served.capacity);
            served.end.is_none().then_some(ToOffer { service, subject, capacity })
        };
        self.lock().services.iter_mut().filter_map(again).collect()
    }

    /// What came of offering it again on this connection. False: nobody wants the offer any more.
    #[must_use]
    pub fn offered_again(
        &self,
        service: ServiceId,
        link: Arc<L>,
        offer: Result<StreamId, ServeError>,
    ) -> bool {
        let mut state = self.lock();
        let served = state.services.get_mut(&service).filter(|served| served.end.is_none());
        // To be dropped when nothing is locked any more.
        let mut _before = None;
        let wanted = match (served, offer) {
            (None, _) => false,
            // It will be offered on the next one.
            (Some(_), Err(ServeError::Lost(_))) => true,
            (Some(served), Err(error)) => {
                served.end = Some(ServiceEnd::NotServed(error));
                true
            }
            (Some(served), Ok(offer)) => {
                served.lost = served.on.0.ended().or_else(|| served.lost.take());
                _before = Some(std::mem::replace(&mut served.on, (link, offer)));
                true
            }
        };
        state.wake();
        drop(state);
        wanted
    }
}

impl<L: SharedClient> Served<L> {
    fn offered(&self) -> Offered {
        let (link, offer) = &self.on;
        let mut offered = Offered::Asked;
        link.with(&mut |client| offered = client.offered(*offer));
        offered
    }

    fn standing(&self, state: &State<L>) -> (Standing, Option<OfferOn<L>>) {
        let ended = |end: &ServiceEnd| (Standing::Ended(end.clone()), None);
        if let Some(end) = &self.end {
            return ended(end);
        }
        let offered = self.offered();
        let interrupted = |lost: Option<CloseReason>| Standing::Interrupted {
            lost: lost.unwrap_or(CloseReason::Link(LinkError::Dropped)),
        };
        let standing = match &offered {
            Offered::Stands => Standing::Serving { connection: state.number },
            Offered::Asked => interrupted(self.lost.clone()),
            Offered::Refused(refusal) if refusal.reason == ReasonCode::STOPPING => {
                interrupted(self.lost.clone())
            }
            Offered::Refused(refusal) => {
                return ended(&ServiceEnd::NotServed(ServeError::Refused(refusal.clone())));
            }
            Offered::Ended(end) => return ended(end),
            Offered::Lost { reason, withdrawn } => return (self.after(state, reason, *withdrawn), None),
        };
        let (link, offer) = self.on.clone();
        (standing, Some(OfferOn { link, offer, offered }))
    }

    /// How it stands when the connection has ended that it was offered on last.
    fn after(&self, state: &State<L>, lost: &CloseReason, withdrawn: bool) -> Standing {
        let is_last = Arc::ptr_eq(&self.on.0, &state.link);
        let will_be_offered =
            if is_last { state.comes_back(lost) } else { state.driven && state.over.is_none() };
        if will_be_offered && !withdrawn {
            return Standing::Interrupted { lost: lost.clone() };
        }
        Standing::Ended(ServiceEnd::Lost(state.over.clone().unwrap_or_else(|| lost.clone())))
    }

    /// Its connection has ended: what was its end there stays its end.
    fn conclude(&mut self) {
        if self.end.is_some() {
            return;
        }
        self.end = match self.offered() {
            Offered::Ended(end) => Some(end),
            Offered::Lost { reason, withdrawn: true } => Some(ServiceEnd::Lost(reason)),
            Offered::Refused(refusal) if refusal.reason != ReasonCode::STOPPING => {
                Some(ServiceEnd::NotServed(ServeError::Refused(refusal)))
            }
            _ => None,
        };
    }
}
