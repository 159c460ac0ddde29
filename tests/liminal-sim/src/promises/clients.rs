//! Conversations that two buses know: the one that has invited to them, and that of the client that serves. What
//! the client has is what it was given, and what is heard of it is what it has said.

use std::collections::BTreeMap;

use bytes::Bytes;
use liminal_core::transcript::{BusId, OpenerId};
use liminal_core::{ConversationKey, LinkId, Recorded};
use liminal_proto::{ConversationId, Exit, MessageId, Outcome, Pid, Reply};

use super::guests::Place;
use super::log::Log;
use super::{Checker, Promise};

/// Which links are the two sides of one connection, of those with a client that serves whose own bus is known.
#[derive(Default)]
pub(super) struct Ends {
    /// The other side of a link of the bus of a client.
    dialled: BTreeMap<(BusId, LinkId), (BusId, LinkId)>,
    /// The other side of a link on which a client serves.
    serving: BTreeMap<(BusId, LinkId), (BusId, LinkId)>,
    /// The conversations at the bus of a client, by what they are called on its link.
    keys: BTreeMap<Place, (BusId, ConversationKey)>,
}

/// What a participant on a link was given.
pub(super) struct Given {
    pub(super) message: MessageId,
    pub(super) asks: bool,
    pub(super) redelivered: u8,
    pub(super) payload: Bytes,
}

impl Checker {
    /// The bus of a client knows a connection as this link.
    pub(super) fn on_serves(&mut self, bus: BusId, link: LinkId, opener: OpenerId) {
        let Some((far, _)) = self.links.iter().find(|(_, it)| **it == opener) else { return };
        self.ends.dialled.insert((bus, link), *far);
        self.ends.serving.insert(*far, (bus, link));
    }

    /// A conversation that the bus of a client has was one that it was invited to. Says to which.
    pub(super) fn invited(
        &mut self,
        key: (BusId, ConversationKey),
        link: LinkId,
        id: ConversationId,
    ) -> Option<Place> {
        let (bus, far) = *self.ends.dialled.get(&(key.0, link))?;
        self.ends.keys.insert((key.0, link, id), key);
        let place = (bus, far, id);
        let is_guest = self.guests.contains_key(&place);
        self.expect(is_guest, Promise::O4, || format!("Nobody has invited {link} to conversation {id}."));
        Some(place)
    }

    /// A participant of a client has a message. It must know how many had it before.
    pub(super) fn check_redelivered(
        &mut self,
        key: (BusId, ConversationKey),
        id: MessageId,
        redelivered: u8,
    ) {
        let place = self.logs.get(&key).and_then(Log::place);
        let Some(guest) = place.and_then(|place| self.guests.get(&place)) else { return };
        let given = guest.given.iter().rev().find(|given| given.message == id);
        let before = given.map_or(redelivered, |given| given.redelivered);
        self.expect(before == redelivered, Promise::O3, || {
            format!("{before} participants had message {id} before, and its next is told of {redelivered}.")
        });
    }

    // What is heard of a client at the bus that has invited it.

    /// What the client itself has of a conversation. `None`: nobody knows.
    fn log_at_client(&self, (bus, link, id): Place) -> Option<Option<&Log>> {
        let (client, near) = *self.ends.serving.get(&(bus, link))?;
        let key = self.ends.keys.get(&(client, near, id));
        Some(key.and_then(|key| self.logs.get(key)))
    }

    pub(super) fn check_opened(&mut self, place: Place) {
        let Some(log) = self.log_at_client(place) else { return };
        let joined = log.is_some_and(|log| !log.lives.is_empty());
        self.expect(joined, Promise::O4, || format!("Nobody has joined conversation {}.", place.2));
    }

    pub(super) fn check_refused(&mut self, place: Place) {
        let Some(log) = self.log_at_client(place) else { return };
        let joined = log.is_some_and(|log| !log.lives.is_empty());
        self.expect(!joined, Promise::O6, || format!("Somebody has joined conversation {}.", place.2));
    }

    pub(super) fn check_exited(&mut self, place: Place, exit: &Exit) {
        let Some(log) = self.log_at_client(place) else { return };
        let same =
            |what: &Recorded| matches!(what, Recorded::Exited { reason, .. } if *reason == exit.reason);
        let exited = log.is_some_and(|log| log.records.iter().any(|record| same(&record.what)));
        self.expect(exited, Promise::L4, || {
            format!("Nobody has exited in conversation {}: {}.", place.2, exit.reason)
        });
    }

    pub(super) fn check_ended(&mut self, place: Place) {
        let Some(log) = self.log_at_client(place) else { return };
        let takes_part = log.is_some_and(|log| log.active.is_some());
        self.expect(!takes_part, Promise::L4, || {
            format!("Whoever takes part in conversation {} still does.", place.2)
        });
    }

    /// Each reply of a client is heard once, in its order.
    pub(super) fn check_reply_heard(&mut self, place: Place, reply: &Reply) {
        let Some(log) = self.log_at_client(place) else { return };
        let heard = log.and_then(|log| {
            let behind = log.records.iter().enumerate().skip(log.heard);
            let mut behind = behind.filter(|(_, record)| is_reply(log, &record.what, reply));
            behind.next().map(|(at, _)| at + 1)
        });
        self.expect(heard.is_some(), Promise::O4, || {
            format!("Nobody has given this reply to message {} of {}.", reply.answers, place.2)
        });
        if let (Some(heard), Some(log)) = (heard, self.log_at_client_mut(place)) {
            log.heard = heard;
        }
    }

    fn log_at_client_mut(&mut self, (bus, link, id): Place) -> Option<&mut Log> {
        let (client, near) = *self.ends.serving.get(&(bus, link))?;
        let key = self.ends.keys.get(&(client, near, id))?;
        self.logs.get_mut(key)
    }

    /// How a message ended at a client, or that it was accepted, is what its log says.
    pub(super) fn check_outcome_heard(&mut self, place: Place, message: MessageId, outcome: &Outcome) {
        let Some(log) = self.log_at_client(place) else { return };
        let record = log.and_then(|log| log.record_of(message));
        let what = log.zip(record).and_then(|(log, number)| Some(&log.record(number)?.what));
        let ended = log.zip(record).is_some_and(|(log, number)| log.has_ended(number, outcome));
        let (promise, holds) = match outcome {
            Outcome::Accepted { record: number } => {
                let same = number.map(|number| number.get()) == record;
                (Promise::O1, same && matches!(what, Some(Recorded::Message { .. })))
            }
            // What was accepted is not refused as well; a reply that no frame can carry is.
            Outcome::Refused { .. } => (Promise::O6, !matches!(what, Some(Recorded::Message { .. }))),
            Outcome::Deadline => (Promise::Q1, ended),
            Outcome::Exited => (Promise::Q3, log.is_some_and(|log| log.exits > 0)),
            Outcome::Unknown | _ => return,
        };
        self.expect(holds, promise, || {
            format!("Message {message} of {} has not ended like this: {outcome:?}.", place.2)
        });
    }

    // When nothing moves any more.

    /// The two buses of a connection that is up agree who takes part.
    pub(super) fn check_agreement(&mut self, bus: BusId) {
        let mut broken = Vec::new();
        for (place, guest) in self.guests.iter().filter(|((of, ..), guest)| *of == bus && !guest.is_free) {
            let (_, link, id) = *place;
            let Some(log) = self.log_at_client(*place) else { continue };
            let active = log.and_then(|log| log.active);
            if guest.let_go.is_some() || guest.joins {
                broken.push((Promise::O6, format!("{link} has never answered in conversation {id}.")));
            } else if active != Some(guest.pid) {
                let who = guest.pid;
                broken.push((Promise::L3, format!("Participant {who} is gone, and {link} has not said so.")));
            }
        }
        for (place, key) in &self.ends.keys {
            let Some((far, link)) = self.ends.dialled.get(&(place.0, place.1)) else { continue };
            let log = self.logs.get(key).filter(|_| *far == bus && !self.lost.contains(&place.0));
            let Some(pid) = log.and_then(|log| log.active) else { continue };
            let known =
                self.guests.get(&(*far, *link, place.2)).is_some_and(super::guests::Guest::takes_part);
            if !known {
                broken.push((
                    Promise::L3,
                    format!("Participant {pid} was not told that its conversation is over."),
                ));
            }
        }
        broken.into_iter().for_each(|(promise, text)| self.breaks(promise, text));
    }

    /// The participant of a conversation at the bus of a client is the one that was invited.
    pub(super) fn check_invited(&mut self, log: &Log, who: Pid) {
        let Some(guest) = log.place().and_then(|place| self.guests.get(&place)) else { return };
        let invited = guest.pid;
        self.expect(invited == who, Promise::O4, || format!("Participant {invited} was invited, not {who}."));
    }
}

/// Whether a record is this reply.
fn is_reply(log: &Log, what: &Recorded, reply: &Reply) -> bool {
    let Recorded::Reply { request, last, payload, metadata } = what else { return false };
    let asked = log.record(request.get()).map(|record| &record.what);
    let answers = matches!(asked, Some(Recorded::Request { id, .. }) if *id == reply.answers);
    answers && (*last, payload, metadata) == (reply.last, &reply.payload, &reply.metadata)
}
