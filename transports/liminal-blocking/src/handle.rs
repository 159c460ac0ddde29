//! What applications hold of a connection: a handle, and a conversation.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use liminal_core::participant::AsyncFactory;
use liminal_core::{Factory, Subject};
use liminal_driver::client::{Client, Registration, Topic};
use liminal_driver::error::{
    AskError, AwaitCrashError, CloseError, Crash, Lost, MessageError, NeedsVersion2, OpenError, ReceiveError,
    ServeError, ServiceEnd,
};
use liminal_driver::server::{Host, Kind};
use liminal_proto::{
    CloseReason, ConversationId, LinkError, MessageId, Pid, Reply, StreamId, Terms, Version,
};

use crate::link::{Link, Patience};

/// A connection to a server. Cheap to clone; when the last clone, the last conversation and the last service are
/// gone, the connection closes gracefully.
#[derive(Clone)]
pub struct Handle {
    owner: Arc<Owner>,
}

/// Closes the connection when nobody holds it any more.
struct Owner {
    link: Arc<Link>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.link.act_at_once(Client::disconnect);
    }
}

impl Handle {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { owner: Arc::new(Owner { link }) }
    }

    /// The version that was negotiated. On a 1.0 link what needs pids or exits says so.
    #[must_use]
    pub fn version(&self) -> Version {
        match self.owner.link.lock().client.connected() {
            Some(Ok(version)) => version,
            _ => Version::V1_0,
        }
    }

    /// Opens a conversation with whoever serves `subject`. On a 1.0 link success is silent, so this
    /// returns at once there and a refusal surfaces on the next call.
    ///
    /// # Errors
    ///
    /// Refused, or the connection takes no more conversations.
    pub fn open(&self, subject: &str) -> Result<Conversation, OpenError> {
        self.open_by(|client| client.open(subject))
    }

    /// [Opens](Self::open) a conversation on terms of one's own: what becomes of it when its participant exits, how
    /// long it may last in all, and how long nothing may be said in it. What the server allows is never exceeded.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and a server that speaks 1.0, where nobody can say so.
    pub fn open_on(&self, subject: &str, terms: Terms) -> Result<Conversation, OpenError> {
        self.open_by(|client| client.open_on(subject, terms))
    }

    fn open_by(
        &self,
        mut open: impl FnMut(&mut Client) -> Result<Option<ConversationId>, OpenError>,
    ) -> Result<Conversation, OpenError> {
        let link = &self.owner.link;
        let id =
            forever(link.send(&mut Patience::forever(), |client| open(client).transpose()), OpenError::Lost)?;
        let conversation = Conversation { owner: Arc::clone(&self.owner), id };
        forever(
            link.wait(Topic::Conversation(id), Patience::forever(), |client, _| client.opened(id)),
            OpenError::Lost,
        )?;
        Ok(conversation)
    }

    /// Serves a subject: the server invites participants of this client to conversations that are opened on it,
    /// by whomever, `capacity` of them at a time. Every other part of the program may go on using the handle.
    ///
    /// A subject may be served by several clients, and by the server too: a conversation gets a participant of
    /// those who have the fewest, equals take turns, and one that is full or refuses is passed over. When the
    /// connection ends, everyone who waits for a participant of this client is told at once.
    ///
    /// The [`Driver`](crate::Driver) must run. Messages that participants of this client are not through with
    /// may be 16 MiB together; the server keeps what comes beyond it.
    ///
    /// # Errors
    ///
    /// The server speaks 1.0 or refuses, the kind has no participants, the subject is too long, the capacity
    /// is 0, or the connection was lost.
    pub fn serve(
        &self,
        subject: impl Into<Subject>,
        kind: Kind,
        capacity: u32,
    ) -> Result<Service, ServeError> {
        if self.version() == Version::V1_0 {
            return Err(ServeError::NeedsVersion2);
        }
        let (link, subject) = (&self.owner.link, subject.into());
        let registration = link.serves().participants.register(subject.clone(), kind)?;
        let offer =
            link.send(&mut Patience::forever(), |client| client.serve(&subject, capacity).transpose());
        let offer = forever(offer, ServeError::Lost)?;
        let service = Service { owner: Arc::clone(&self.owner), registration, offer };
        link.bell.ring();
        let stands = link.wait(Topic::Offer(offer), Patience::forever(), |client, _| client.serving(offer));
        forever(stands, ServeError::Lost)?;
        Ok(service)
    }

    /// [Serves](Self::serve) a subject with participants that run where their messages are read. They must not
    /// block: their connection waits for them.
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve).
    pub fn serve_inline(
        &self,
        subject: impl Into<Subject>,
        factory: impl Factory + 'static,
        capacity: u32,
    ) -> Result<Service, ServeError> {
        self.serve(subject, Kind::Inline(Arc::new(factory)), capacity)
    }

    /// [Serves](Self::serve) a subject with participants that may block, on a bounded pool of threads.
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve).
    pub fn serve_blocking(
        &self,
        subject: impl Into<Subject>,
        factory: impl Factory + 'static,
        capacity: u32,
    ) -> Result<Service, ServeError> {
        self.serve(subject, Kind::Blocking(Arc::new(factory)), capacity)
    }

    /// [Serves](Self::serve) a subject with participants that await. Each call has a thread of the pool
    /// while it lasts.
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve).
    pub fn serve_async(
        &self,
        subject: impl Into<Subject>,
        factory: impl AsyncFactory + 'static,
        capacity: u32,
    ) -> Result<Service, ServeError> {
        self.serve(subject, Kind::Async(Arc::new(factory)), capacity)
    }

    /// [Serves](Self::serve) a subject with participants that `host` calls, because they live outside this
    /// program.
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve).
    pub fn serve_hosted(
        &self,
        subject: impl Into<Subject>,
        host: impl Host,
        capacity: u32,
    ) -> Result<Service, ServeError> {
        self.serve(subject, Kind::Hosted(Arc::new(host)), capacity)
    }

    /// Asks the server for a sign of life, and says how long it took.
    ///
    /// # Errors
    ///
    /// The connection was lost.
    pub fn ping(&self) -> Result<Duration, Lost> {
        let link = &self.owner.link;
        let sent = Instant::now();
        let number = forever(link.send(&mut Patience::forever(), |client| client.ping().transpose()), Lost)?;
        forever(link.wait(Topic::Connection, Patience::forever(), |client, _| client.pong(number)), Lost)?;
        Ok(sent.elapsed())
    }

    /// Closes the connection gracefully, and waits until the server has answered.
    pub fn disconnect(&self) {
        let link = &self.owner.link;
        link.act(&mut Patience::forever(), Client::disconnect);
        link.wait(Topic::Connection, Patience::forever(), |client, _| client.ended());
    }

    /// Does something to the client itself, and writes what came of it as far as the socket takes it at once. For
    /// those who speak below conversations: what is opened like this belongs to no [`Conversation`], and what is
    /// told of it nobody hears who does not read it from a [`Recorder`](liminal_driver::Recorder).
    pub fn act<R>(&self, act: impl FnOnce(&mut Client) -> R) -> R {
        self.owner.link.act_at_once(act)
    }

    /// Waits for the end of the connection.
    #[must_use]
    pub fn closed(&self) -> Lost {
        let end = self.owner.link.wait(Topic::Connection, Patience::forever(), |client, _| client.ended());
        Lost(end.unwrap_or(DROPPED))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("version", &self.version()).finish_non_exhaustive()
    }
}

/// A subject that this client serves. Dropping it [withdraws](Self::withdraw) it.
pub struct Service {
    owner: Arc<Owner>,
    registration: Registration,
    offer: StreamId,
}

impl Service {
    /// Serves no more: whoever waits for one of its participants is told at once, or goes on with another one if
    /// that is the policy of the subject. The participants leave; what they are at may take them 5 s.
    pub fn withdraw(&self) {
        self.take_back(false);
    }

    /// Takes no new conversations, and serves those that there are to their end.
    pub fn drain(&self) {
        self.take_back(true);
    }

    /// Waits until the subject is served no more and its conversations have ended, and says why.
    pub fn ended(&self) -> ServiceEnd {
        let (topic, offer) = (Topic::Offer(self.offer), self.offer);
        let end = self.owner.link.wait(topic, Patience::forever(), |client, _| client.service_end(offer));
        end.unwrap_or(ServiceEnd::Lost(DROPPED))
    }

    fn take_back(&self, drain: bool) {
        self.registration.end();
        self.owner.link.act_at_once(|client| client.withdraw(self.offer, drain));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.registration.end();
        self.owner.link.act_at_once(|client| client.release_service(self.offer));
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("offer", &self.offer).finish_non_exhaustive()
    }
}

/// One conversation, owned by the connection that opened it. Dropping it closes it.
///
/// When its participant exits, the server's policy for the subject says whether it fails or goes on with
/// another participant. If it goes on, requests that the first had not begun to answer are answered by the
/// next; the exit is told all the same.
///
/// Its methods take `&self`: several threads may ask at once.
pub struct Conversation {
    owner: Arc<Owner>,
    id: ConversationId,
}

impl Conversation {
    /// Its id on this connection.
    #[must_use]
    pub const fn id(&self) -> ConversationId {
        self.id
    }

    /// Says something that wants no reply. On a 2.0 link it returns when the message was accepted; on a
    /// 1.0 link, where nobody says so, at once.
    ///
    /// # Errors
    ///
    /// The participant has exited (the error names it), the server refused, or the connection was lost.
    pub fn message(&self, payload: impl Into<Bytes>) -> Result<(), MessageError> {
        let (link, id, payload) = (&self.owner.link, self.id, payload.into());
        let sent = link.send(&mut Patience::forever(), |client| client.message(id, &payload).transpose());
        let sent = forever(sent, MessageError::Lost)?;
        let accepted =
            link.wait(Topic::Message(id, sent), Patience::forever(), |client, _| client.accepted(id, sent));
        forever(accepted, MessageError::Lost)
    }

    /// Asks for a reply and waits for it, `timeout` at most. A reply in parts is joined.
    ///
    /// # Errors
    ///
    /// No reply in time, the participant has exited (the error names it and says why), it gave no
    /// reply, the server refused, or the connection was lost.
    pub fn ask(&self, payload: impl Into<Bytes>, timeout: Duration) -> Result<Bytes, AskError> {
        let (link, id, payload, mut patience) = (&self.owner.link, self.id, payload.into(), within(timeout));
        let now = patience.since;
        let sent = link
            .send(&mut patience, |client| client.ask(now, id, &payload, Some(timeout), false).transpose());
        let sent = sent.unwrap_or(Err(AskError::Timeout))?;
        let reply = link.wait(Topic::Message(id, sent), patience, |client, _| client.reply(id, sent));
        reply.unwrap_or_else(|| {
            link.lock().client.forget(id, sent);
            Err(AskError::Timeout)
        })
    }

    /// Asks for a reply that [`receive_reply`](Self::receive_reply) will return; it must come within
    /// `timeout`. Returns the id of the request, which the reply names.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask) that are known before the request is sent.
    pub fn request(&self, payload: impl Into<Bytes>, timeout: Duration) -> Result<MessageId, AskError> {
        let (link, id, payload, mut patience) = (&self.owner.link, self.id, payload.into(), within(timeout));
        let now = patience.since;
        link.send(&mut patience, |client| client.ask(now, id, &payload, Some(timeout), true).transpose())
            .unwrap_or(Err(AskError::Timeout))
    }

    /// The next reply, or part of one, to any [`request`](Self::request), within `timeout`.
    ///
    /// # Errors
    ///
    /// None came in time, a request ended without one, the participant has exited, or the conversation
    /// or the connection is over.
    pub fn receive_reply(&self, timeout: Duration) -> Result<Reply, ReceiveError> {
        let (topic, id) = (Topic::Conversation(self.id), self.id);
        let next = self.owner.link.wait(topic, within(timeout), |client, _| client.receive_reply(id));
        next.unwrap_or(Err(ReceiveError::Timeout))
    }

    /// Whether a participant is known to have exited. Reads what has arrived, and never waits.
    #[must_use]
    pub fn has_detected_crash(&self) -> bool {
        let mut state = self.owner.link.lock();
        if state.reading {
            return state.client.crash(self.id).is_some();
        }
        state.reading = true;
        drop(state);
        let (state, _) = self.owner.link.read_what_is_there();
        let (mut state, _) = self.owner.link.flush_from(state);
        self.owner.link.release(&mut state);
        state.client.crash(self.id).is_some()
    }

    /// Waits until the participant exits, `timeout` at most, and says who, why and when it was observed.
    /// Asking again or late gives the same answer; when the conversation has gone on with another
    /// participant ([`Crash::goes_on`]) and that exits too, the last exit is what is told.
    ///
    /// # Errors
    ///
    /// No exit in that time, the conversation or the connection is over, or the server speaks 1.0.
    pub fn await_crash(&self, timeout: Duration) -> Result<Crash, AwaitCrashError> {
        let (topic, id) = (Topic::Conversation(self.id), self.id);
        let crash = self.owner.link.wait(topic, within(timeout), |client, _| client.await_crash(id));
        crash.unwrap_or(Err(AwaitCrashError::Timeout))
    }

    /// Waits until the participant exits, however long that takes: [`await_crash`](Self::await_crash) without
    /// a timeout.
    ///
    /// # Errors
    ///
    /// The conversation or the connection is over, or the server speaks 1.0.
    pub fn exited(&self) -> Result<Crash, AwaitCrashError> {
        let (topic, id) = (Topic::Conversation(self.id), self.id);
        let crash = self.owner.link.wait(topic, Patience::forever(), |client, _| client.await_crash(id));
        forever(crash, AwaitCrashError::Lost)
    }

    /// The participants that are alive: one, or none when the conversation only records, has failed, or
    /// goes on with a participant that has not joined yet. That joins when there is something to say to it.
    ///
    /// # Errors
    ///
    /// The server speaks 1.0, which has no pids.
    pub fn participant_pids(&self) -> Result<Vec<Pid>, NeedsVersion2> {
        self.owner.link.lock().client.participant_pids(self.id)
    }

    /// Closes the conversation: takes no more messages, and waits until outstanding requests have ended.
    /// Closing one whose participant has exited releases it and is no error.
    ///
    /// # Errors
    ///
    /// The connection was lost, and the conversation with it.
    pub fn close(self) -> Result<(), CloseError> {
        let (link, id) = (&self.owner.link, self.id);
        link.act(&mut Patience::forever(), |client| client.close(id))?;
        forever(
            link.wait(Topic::Conversation(id), Patience::forever(), |client, _| client.closed(id)),
            CloseError::Lost,
        )
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.owner.link.act_at_once(|client| client.release(self.id));
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("id", &self.id).finish_non_exhaustive()
    }
}

const DROPPED: CloseReason = CloseReason::Link(LinkError::Dropped);

/// What was waited for without a deadline has come.
fn forever<T, E>(outcome: Option<Result<T, E>>, lost: impl FnOnce(CloseReason) -> E) -> Result<T, E> {
    outcome.unwrap_or_else(|| Err(lost(DROPPED)))
}

/// From now on until `timeout` has passed; for ever when nobody will see that.
fn within(timeout: Duration) -> Patience {
    let since = Instant::now();
    Patience { since, until: since.checked_add(timeout) }
}
