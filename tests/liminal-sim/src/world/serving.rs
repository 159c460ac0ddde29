//! Clients that serve: what they offer on the bus that they have dialled, and what that tells them.

use liminal_core::transcript::{BusId, Noted, OpenerId};
use liminal_core::{LinkId, OfferId, Subject};
use liminal_proto::wire::Dialect;
use liminal_proto::{CloseReason, CommandError, Config, Event, Instant, StreamId};

use super::World;
use super::line::{Dialler, Line, Near};
use super::opening::{REDIAL, opener_id};
use super::pipe::End;
use super::server::Server;
use crate::Track;
use crate::swarm::Fault;

/// What a client that serves is about on the bus that it dials.
pub(super) struct Service {
    /// Which of the plan.
    serves_on: usize,
    /// For how many conversations at a time, of each offer.
    capacity: u32,
    /// Its place among all that dial, and how often it has dialled.
    place: usize,
    dials: u64,
    /// When it dialled last.
    dialled_at: Instant,
    /// When it dials, as soon as it has no connection. `None`: it does not any more.
    dials_at: Option<Instant>,
    holds: Option<Held>,
    /// For each of its registrations.
    offers: Vec<Offered>,
}

/// The connection that a client holds.
#[derive(Clone, Copy)]
struct Held {
    /// As its own bus knows it.
    link: LinkId,
    /// Who it is at the bus that it has dialled.
    opener: OpenerId,
    bus: BusId,
    connected: bool,
}

/// How it is with an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offered {
    /// It is to be made as soon as that can be.
    Wanted,
    /// It was made.
    Made(StreamId),
    /// It was taken back for when its conversations have come to their end.
    Draining(StreamId),
    /// It is not to be made, or was taken back.
    Withdrawn,
}

impl Service {
    pub(super) const fn new(serves_on: usize, capacity: u32, place: usize) -> Self {
        let dialled_at = Instant::ORIGIN;
        Self {
            serves_on,
            capacity,
            place,
            dials: 0,
            dialled_at,
            dials_at: None,
            holds: None,
            offers: Vec::new(),
        }
    }

    /// Its process is started: it dials, and offers all that it has.
    pub(super) fn start(&mut self, now: Instant, offers: usize) {
        self.dials_at = Some(now);
        self.holds = None;
        self.offers = vec![Offered::Wanted; offers];
    }

    pub(super) const fn serves_on(&self) -> usize {
        self.serves_on
    }

    /// When it dials, if it has no connection.
    pub(super) fn dials_at(&self) -> Option<Instant> {
        self.dials_at.filter(|_| self.holds.is_none())
    }

    /// Its connection is gone, and with it every offer. Those that it has not taken back it will make again.
    pub(super) fn lose(&mut self, now: Instant) {
        self.holds = None;
        self.dials_at = self.dials_at.map(|_| now.after(REDIAL));
        for offer in &mut self.offers {
            *offer = match offer {
                Offered::Wanted | Offered::Made(_) => Offered::Wanted,
                Offered::Draining(_) | Offered::Withdrawn => Offered::Withdrawn,
            };
        }
    }

    /// Which offer has this name on the connection.
    fn offer_on(&self, stream: StreamId) -> Option<usize> {
        let is_it = |it: &Offered| matches!(it, Offered::Made(on) | Offered::Draining(on) if *on == stream);
        self.offers.iter().position(is_it)
    }

    /// The next that is to be made, if that can be.
    fn next_wanted(&self) -> Option<(usize, Held)> {
        let held = self.holds.filter(|held| held.connected)?;
        let which = self.offers.iter().position(|offer| *offer == Offered::Wanted)?;
        Some((which, held))
    }
}

impl World {
    /// How many can dial.
    pub(super) fn diallers(&self) -> usize {
        self.clients.len() + self.servers.len() - self.dialled()
    }

    /// How many buses are dialled: the first of the servers.
    pub(super) const fn dialled(&self) -> usize {
        self.dialled
    }

    pub(super) fn may_dial(&self, of: usize) -> bool {
        let server = &self.servers[of];
        let Some(service) = server.service.as_ref().filter(|_| server.runs(self.now)) else { return false };
        let is_due = service.dials_at().is_some_and(|at| at <= self.now);
        is_due && self.servers[service.serves_on].node.is_some()
    }

    /// Whether a client has dialled later than at that time.
    pub(super) fn has_dialled_since(&self, from: Instant) -> bool {
        let services = self.servers.iter().filter_map(|server| server.service.as_ref());
        services.filter(|service| service.dials > 0).any(|service| service.dialled_at > from)
    }

    pub(super) fn dial_to_serve(&mut self, of: usize) {
        let all = self.diallers();
        let Some(Service { serves_on, place, dials, .. }) = self.servers[of].service else { return };
        let config = self.plan.config.clone();
        let far = &mut self.servers[serves_on];
        let at = far.bus;
        let Some(link) = far.touch().map(|node| node.accept(self.now, config.clone())) else { return };
        let config = Config { max_dialect: Dialect::V2, ..config };
        let (opener, own) = (opener_id(place, all, dials), self.servers[of].bus);
        let Some(near) = self.servers[of].touch().map(|node| node.dial(self.now, config)) else { return };
        if let Some(service) = &mut self.servers[of].service {
            service.dials += 1;
            service.dialled_at = self.now;
            service.holds = Some(Held { link: near, opener, bus: at, connected: false });
        }
        let side = Near::Client(near);
        self.lines.push(Line::new(opener, Dialler::Client(of), (serves_on, at), link, side));
        self.count_links(serves_on);
        self.count_links(of);
        self.note(at, Noted::Dialled { opener, link });
        self.note(own, Noted::Serves { opener, link: near });
    }

    /// The connection of a client tells it something.
    pub(super) fn tell_client(&mut self, of: usize, event: Event) {
        let Some(Held { opener, bus, .. }) = self.connection_of(of) else { return };
        match &event {
            Event::Connected { .. } => {
                if let Some(held) = self.service(of).and_then(|service| service.holds.as_mut()) {
                    held.connected = true;
                }
            }
            Event::Withdrawn { offer } | Event::NotServing { offer, .. } => {
                let gone = self.service(of).and_then(|service| service.offer_on(*offer));
                if let Some(which) = gone {
                    self.set_offer(of, which, Offered::Withdrawn);
                    self.servers[of].unregister(which);
                }
            }
            _ => {}
        }
        self.note(bus, Noted::Told { opener, event });
    }

    /// Makes an offer that is to be made. Says whether it did.
    pub(super) fn offer_what_is_wanted(&mut self, of: usize) -> bool {
        let Some(service) = &self.servers[of].service else { return false };
        let (Some((which, held)), capacity) = (service.next_wanted(), service.capacity) else { return false };
        let subject = self.servers[of].subject(which).cloned();
        let subject = if let Some(Subject::Exact(name)) = subject { Some(name) } else { None };
        let made = self.with_client(of, |client, now| client.serve(now, subject.as_deref(), capacity));
        match made {
            Some(Ok(offer)) => {
                self.set_offer(of, which, Offered::Made(offer));
                self.say_as_client(&held, Event::Serve { offer, subject, capacity });
                true
            }
            // There is no room now, and there will be when something was written.
            Some(Err(CommandError::Full)) | None => false,
            Some(Err(_)) => {
                self.set_offer(of, which, Offered::Withdrawn);
                true
            }
        }
    }

    /// A participant of a client is called: at times just then what it was registered as is taken back. Those who are
    /// at work meanwhile are the ones that matter, and a fault at any moment rarely meets them.
    pub(super) fn may_withdraw(&mut self, of: usize, offer: OfferId) {
        let server = &self.servers[of];
        let weight = self.swarm.weight(Fault::Withdraw) / 8;
        if server.service.is_none()
            || self.plan.faults_max == 0
            || !self.plan.draws.chance(Track::Faults, weight)
        {
            return;
        }
        if let Some(which) = self.servers[of].registration(offer) {
            self.plan.faults_max -= 1;
            self.withdraw_from_service(of, which);
        }
    }

    /// One of the offers of a client is taken back, once more at once if it drains, or is to be made again.
    pub(super) fn withdraw_from_service(&mut self, of: usize, which: usize) {
        let offer = self.service(of).and_then(|service| service.offers.get(which).copied());
        match offer {
            Some(Offered::Made(stream)) => {
                let drain = self.plan.draws.below(Track::Faults, 2) == 0;
                self.take_back(of, which, (stream, drain));
            }
            Some(Offered::Draining(stream)) => self.take_back(of, which, (stream, false)),
            Some(Offered::Withdrawn) => {
                self.servers[of].register_again(which);
                self.set_offer(of, which, Offered::Wanted);
                self.servers[of].touch();
            }
            Some(Offered::Wanted) | None => {}
        }
    }

    /// At once: whoever still comes for it finds nobody.
    fn take_back(&mut self, of: usize, which: usize, (offer, drain): (StreamId, bool)) {
        let Some(held) = self.connection_of(of) else { return };
        let taken_back = self.with_client(of, |client, now| client.withdraw(now, offer, drain));
        if !matches!(taken_back, Some(Ok(()))) {
            return;
        }
        self.say_as_client(&held, Event::Withdraw { offer, drain });
        self.set_offer(of, which, if drain { Offered::Draining(offer) } else { Offered::Withdrawn });
        if !drain {
            self.servers[of].unregister(which);
        }
    }

    /// The process of a client is gone, and its connection ends like this. It is started again then.
    pub(super) fn crash_client(
        &mut self,
        of: usize,
        at: usize,
        (when, end): (Instant, End),
        back_at: Instant,
    ) {
        let line = &mut self.lines[at];
        let (bus, opener) = (line.bus, line.opener);
        line.drop_near(when, end);
        self.note(bus, Noted::Gone { opener });
        self.note(self.servers[of].bus, Noted::BusLost);
        self.servers[of].crash(back_at);
    }

    /// The end of the run: it says goodbye, and does not come again.
    pub(super) fn disconnect_client(&mut self, of: usize) {
        let held = self.connection_of(of);
        if let Some(service) = self.service(of) {
            service.dials_at = None;
        }
        if let Some(held) = held {
            self.say_as_client(&held, Event::Closed(CloseReason::Local));
            self.with_client(of, |client, now| client.disconnect(now));
        }
    }

    fn say_as_client(&mut self, held: &Held, event: Event) {
        self.note(held.bus, Noted::Said { opener: held.opener, event });
    }

    fn with_client<R>(
        &mut self,
        of: usize,
        act: impl FnOnce(&mut liminal_proto::Connection, Instant) -> R,
    ) -> Option<R> {
        let link = self.connection_of(of)?.link;
        let client = self.servers[of].touch()?.client(link)?;
        Some(act(client, self.now))
    }

    fn service(&mut self, of: usize) -> Option<&mut Service> {
        self.servers[of].service.as_mut()
    }

    fn connection_of(&self, of: usize) -> Option<Held> {
        let Server { service, .. } = &self.servers[of];
        service.as_ref()?.holds
    }

    fn set_offer(&mut self, of: usize, which: usize, to: Offered) {
        if let Some(place) = self.service(of).and_then(|service| service.offers.get_mut(which)) {
            *place = to;
        }
    }
}
