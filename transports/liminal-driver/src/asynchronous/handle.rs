//! What applications hold of a connection: a handle, and a conversation.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use liminal_core::participant::AsyncFactory;
use liminal_core::{Factory, Subject};
use liminal_proto::{ConversationId, MessageId, Pid, Reply, StreamId, Terms, Version};

use super::link::{Link, Waiting};
use crate::client::{Client, Registration, Topic};
use crate::error::{
    AskError, AwaitCrashError, CloseError, Crash, Lost, MessageError, NeedsVersion2, OpenError, ReceiveError,
    ServeError, ServiceEnd,
};
use crate::server::{Host, Kind};

/// A connection to a server. Cheap to clone; when the last clone, the last conversation and the last service are
/// gone, the connection closes gracefully.
///
/// Every future may be dropped at any await: what was sent stays sent, and nothing else is lost.
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
        self.link.act(None, Client::disconnect);
        self.link.wake_driver();
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
    pub async fn open(&self, subject: &str) -> Result<Conversation, OpenError> {
        self.open_by(|client| client.open(subject)).await
    }

    /// [Opens](Self::open) a conversation on terms of one's own: what becomes of it when its participant exits, how
    /// long it may last in all, and how long nothing may be said in it. What the server allows is never exceeded.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and a server that speaks 1.0, where nobody can say so.
    pub async fn open_on(&self, subject: &str, terms: Terms) -> Result<Conversation, OpenError> {
        self.open_by(|client| client.open_on(subject, terms)).await
    }

    async fn open_by(
        &self,
        mut open: impl FnMut(&mut Client) -> Result<Option<ConversationId>, OpenError> + Unpin,
    ) -> Result<Conversation, OpenError> {
        let link = &self.owner.link;
        let id = link.send(|client| open(client).transpose()).await?;
        let conversation = Conversation { owner: Arc::clone(&self.owner), id };
        Waiting::new(link, Topic::Conversation(id), |client| client.opened(id)).await?;
        Ok(conversation)
    }

    /// Serves a subject: the server invites participants of this client to conversations that are opened on it,
    /// by whomever, `capacity` of them at a time. Every other part of the program may go on using the handle.
    ///
    /// A subject may be served by several clients, and by the server too: a conversation gets a participant of
    /// those who have the fewest, equals take turns, and one that is full or refuses is passed over. When the
    /// connection ends, everyone who waits for a participant of this client is told at once.
    ///
    /// The [`Driver`](super::Driver) must run. Messages that participants of this client are not through with
    /// may be 16 MiB together; the server keeps what comes beyond it.
    ///
    /// # Errors
    ///
    /// The server speaks 1.0 or refuses, the kind has no participants, the subject is too long, the capacity
    /// is 0, or the connection was lost.
    pub async fn serve(
        &self,
        subject: impl Into<Subject>,
        kind: Kind,
        capacity: u32,
    ) -> Result<Service, ServeError> {
        if self.version() == Version::V1_0 {
            return Err(ServeError::NeedsVersion2);
        }
        let (link, subject) = (&self.owner.link, subject.into());
        let registration = link.serves().register(subject.clone(), kind)?;
        let offer = link.send(|client| client.serve(&subject, capacity).transpose()).await?;
        let service = Service { owner: Arc::clone(&self.owner), registration, offer };
        link.wake_driver();
        Waiting::new(link, Topic::Offer(offer), |client| client.serving(offer)).await?;
        Ok(service)
    }

    /// [Serves](Self::serve) a subject with participants that run where their messages are read. They must not
    /// block: their connection waits for them.
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve).
    pub async fn serve_inline(
        &self,
        subject: impl Into<Subject>,
        factory: impl Factory + 'static,
        capacity: u32,
    ) -> Result<Service, ServeError> {
        self.serve(subject, Kind::Inline(Arc::new(factory)), capacity).await
    }

    /// [Serves](Self::serve) a subject with participants that may block, on a bounded pool of threads.
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve).
    pub async fn serve_blocking(
        &self,
        subject: impl Into<Subject>,
        factory: impl Factory + 'static,
        capacity: u32,
    ) -> Result<Service, ServeError> {
        self.serve(subject, Kind::Blocking(Arc::new(factory)), capacity).await
    }

    /// [Serves](Self::serve) a subject with participants that await. They run inside the driver.
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve).
    pub async fn serve_async(
        &self,
        subject: impl Into<Subject>,
        factory: impl AsyncFactory + 'static,
        capacity: u32,
    ) -> Result<Service, ServeError> {
        self.serve(subject, Kind::Async(Arc::new(factory)), capacity).await
    }

    /// [Serves](Self::serve) a subject with participants that `host` calls, because they live outside this
    /// program.
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve).
    pub async fn serve_hosted(
        &self,
        subject: impl Into<Subject>,
        host: impl Host,
        capacity: u32,
    ) -> Result<Service, ServeError> {
        self.serve(subject, Kind::Hosted(Arc::new(host)), capacity).await
    }

    /// Asks the server for a sign of life, and says how long it took.
    ///
    /// # Errors
    ///
    /// The connection was lost.
    pub async fn ping(&self) -> Result<Duration, Lost> {
        let link = &self.owner.link;
        let sent = Instant::now();
        let number = link.send(|client| client.ping().transpose()).await?;
        Waiting::new(link, Topic::Connection, |client| client.pong(number)).await?;
        Ok(sent.elapsed())
    }

    /// Closes the connection gracefully, and waits until the server has answered.
    pub async fn disconnect(&self) {
        let link = &self.owner.link;
        link.act(None, Client::disconnect);
        Waiting::new(link, Topic::Connection, |client| client.ended()).await;
    }

    /// Does something to the client itself, and writes what came of it as far as the stream takes it at once. For
    /// those who speak below conversations: what is opened like this belongs to no [`Conversation`], and what is
    /// told of it nobody hears who does not read it from a [`Recorder`](crate::Recorder).
    pub fn act<R>(&self, act: impl FnOnce(&mut Client) -> R) -> R {
        let link = &self.owner.link;
        let result = link.act(None, act);
        link.wake_driver();
        result
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> Lost {
        let link = &self.owner.link;
        Lost(Waiting::new(link, Topic::Connection, |client| client.ended()).await)
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
    pub async fn ended(&self) -> ServiceEnd {
        let offer = self.offer;
        let end = |client: &mut Client| client.service_end(offer);
        Waiting::new(&self.owner.link, Topic::Offer(offer), end).await
    }

    fn take_back(&self, drain: bool) {
        self.registration.end();
        self.owner.link.act(None, |client| client.withdraw(self.offer, drain));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.registration.end();
        self.owner.link.act(None, |client| client.release_service(self.offer));
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
/// Its methods take `&self`: several tasks may ask at once.
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
    pub async fn message(&self, payload: impl Into<Bytes>) -> Result<(), MessageError> {
        let (link, id, payload) = (&self.owner.link, self.id, payload.into());
        let sent = link.send(|client| client.message(id, &payload).transpose()).await?;
        let claim = Claim { link, conversation: id, message: sent };
        let accepted = Waiting::new(link, Topic::Message(id, sent), |client| client.accepted(id, sent)).await;
        claim.settle();
        accepted
    }

    /// Asks for a reply and waits for it, `timeout` at most. A reply in parts is joined.
    ///
    /// # Errors
    ///
    /// No reply in time, the participant has exited (the error names it and says why), it gave no
    /// reply, the server refused, or the connection was lost.
    pub async fn ask(&self, payload: impl Into<Bytes>, timeout: Duration) -> Result<Bytes, AskError> {
        let (link, id, payload, now) = (&self.owner.link, self.id, payload.into(), Instant::now());
        let sent = link.send(|client| client.ask(now, id, &payload, Some(timeout), false).transpose());
        let Some(sent) = self.within(timeout, sent).await else { return Err(AskError::Timeout) };
        let sent = sent?;
        let claim = Claim { link, conversation: id, message: sent };
        let reply = Waiting::new(link, Topic::Message(id, sent), |client| client.reply(id, sent)).await;
        claim.settle();
        reply
    }

    /// Asks for a reply that [`receive_reply`](Self::receive_reply) will return; it must come within
    /// `timeout`. Returns the id of the request, which the reply names.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask) that are known before the request is sent.
    pub async fn request(&self, payload: impl Into<Bytes>, timeout: Duration) -> Result<MessageId, AskError> {
        let (link, id, payload, now) = (&self.owner.link, self.id, payload.into(), Instant::now());
        let sent = link.send(|client| client.ask(now, id, &payload, Some(timeout), true).transpose());
        self.within(timeout, sent).await.unwrap_or(Err(AskError::Timeout))
    }

    /// The next reply, or part of one, to any [`request`](Self::request), within `timeout`.
    ///
    /// # Errors
    ///
    /// None came in time, a request ended without one, the participant has exited, or the conversation
    /// or the connection is over.
    pub async fn receive_reply(&self, timeout: Duration) -> Result<Reply, ReceiveError> {
        let id = self.id;
        let next = Waiting::new(&self.owner.link, Topic::Conversation(id), |client| client.receive_reply(id));
        self.within(timeout, next).await.unwrap_or(Err(ReceiveError::Timeout))
    }

    /// Whether a participant is known to have exited. Reads what has arrived, and never waits.
    #[must_use]
    pub fn has_detected_crash(&self) -> bool {
        let look =
            Waiting::new(&self.owner.link, Topic::Conversation(self.id), |client| client.crash(self.id));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        matches!(pin!(look).poll(&mut cx), Poll::Ready(_))
    }

    /// Waits until the participant exits, `timeout` at most, and says who, why and when it was observed.
    /// Asking again or late gives the same answer; when the conversation has gone on with another
    /// participant ([`Crash::goes_on`]) and that exits too, the last exit is what is told.
    ///
    /// # Errors
    ///
    /// No exit in that time, the conversation or the connection is over, or the server speaks 1.0.
    pub async fn await_crash(&self, timeout: Duration) -> Result<Crash, AwaitCrashError> {
        let id = self.id;
        let crash = Waiting::new(&self.owner.link, Topic::Conversation(id), |client| client.await_crash(id));
        self.within(timeout, crash).await.unwrap_or(Err(AwaitCrashError::Timeout))
    }

    /// Waits until the participant exits, however long that takes: [`await_crash`](Self::await_crash) without
    /// a timeout.
    ///
    /// # Errors
    ///
    /// The conversation or the connection is over, or the server speaks 1.0.
    pub async fn exited(&self) -> Result<Crash, AwaitCrashError> {
        let id = self.id;
        Waiting::new(&self.owner.link, Topic::Conversation(id), |client| client.await_crash(id)).await
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
    pub async fn close(self) -> Result<(), CloseError> {
        let (link, id) = (&self.owner.link, self.id);
        link.act(None, |client| client.close(id))?;
        Waiting::new(link, Topic::Conversation(id), |client| client.closed(id)).await
    }

    /// The outcome of `wait`, or `None` after `timeout`.
    async fn within<T>(&self, timeout: Duration, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        let mut alarm = None;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(outcome) = wait.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            // Armed only when there is something to wait for: most calls never need it.
            let alarm = alarm.get_or_insert_with(|| self.owner.link.sleeper.sleep_until(after(timeout)));
            alarm.as_mut().poll(cx).map(|()| None)
        })
        .await
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.owner.link.act(None, |client| client.release(self.id));
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A message whose end one caller waits for. When the caller goes away, so does its place.
struct Claim<'a> {
    link: &'a Link,
    conversation: ConversationId,
    message: MessageId,
}

impl Claim<'_> {
    /// The end has come: there is nothing to give up any more.
    fn settle(self) {
        std::mem::forget(self);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.link.lock().client.forget(self.conversation, self.message);
    }
}

/// The moment after `timeout`, or one so far away that nobody will see it.
pub(crate) fn after(timeout: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    Instant::now() + timeout.min(FAR)
}
