//! What applications hold of a connection: a handle, and a conversation.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::FutureExt as _;
use liminal_core::participant::AsyncFactory;
use liminal_core::{Factory, Subject};
use liminal_proto::{CloseReason, Content, ConversationId, MessageId, Pid, Reply, StreamId, Terms, Version};

use super::link::Link;
use super::monitor::{Monitor, Monitored, Watch};
use super::service::Service;
use super::waiting::Waiting;
use crate::client::{Client, Connectivity, Line, Look, Reconnect, SharedClient, Topic};
use crate::error::{
    AskError, AwaitCrashError, CloseError, Crash, Lost, MessageError, MonitorError, NeedsVersion2, OpenError,
    ReceiveError, ReconnectError, ServeError,
};
use crate::server::{Host, Kind};

/// A connection to a server. Cheap to clone; when the last clone is gone, and the last conversation, service, monitor
/// and watch that came of it, the connection closes gracefully.
///
/// Every future may be dropped at any await: what was sent stays sent, and nothing else is lost.
#[derive(Clone)]
pub struct Handle {
    owner: Arc<Owner>,
}

/// Closes the connection when nobody holds it any more.
pub(super) struct Owner {
    pub(super) line: Arc<Line<Link>>,
}

impl Owner {
    /// The connection. Waits for one while there is none, and no longer than it was told.
    async fn link(&self) -> Result<Arc<Link>, CloseReason> {
        let found = || match self.line.look() {
            Look::Connected(link) => Ok(Ok(link)),
            Look::Over(end) => Ok(Err(end)),
            Look::Away(outage) => Err(outage.lost),
        };
        let lost = match found() {
            Ok(found) => return found,
            Err(lost) => lost,
        };
        let late = self.line.last().sleeper.sleep_until(after(self.line.wait_time()));
        let late = async {
            late.await;
            Err(lost)
        };
        until(&self.line, || found().ok()).or(late).await
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.line.close();
        let link = self.line.last();
        link.act(None, Client::disconnect);
        link.wake_driver();
    }
}

impl Handle {
    pub(crate) fn new(line: Arc<Line<Link>>) -> Self {
        Self { owner: Arc::new(Owner { line }) }
    }

    /// The version that was negotiated. On a 1.0 link what needs pids or exits says so.
    #[must_use]
    pub fn version(&self) -> Version {
        self.owner.line.last().version()
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
        let link = self.owner.link().await.map_err(OpenError::Lost)?;
        let id = link.send(|client| open(client).transpose()).await?;
        let conversation = Conversation { link, id, _owner: Arc::clone(&self.owner) };
        Waiting::new(&conversation.link, Topic::Conversation(id), |client| client.opened(id)).await?;
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
    /// are bounded by [`Limits`](liminal_proto::Limits) of its configuration, for each conversation and together; the
    /// server keeps what comes beyond it.
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
        let (link, subject) = (self.owner.link().await.map_err(ServeError::Lost)?, subject.into());
        if link.version() == Version::V1_0 {
            return Err(ServeError::NeedsVersion2);
        }
        let registration = link.serves().register(subject.clone(), kind)?;
        let offer = link.send(|client| client.serve(&subject, capacity).transpose()).await?;
        let id = self.owner.line.serve(subject, capacity, Arc::clone(&link), offer);
        let service = Service::new(Arc::clone(&self.owner), registration, id);
        link.wake_driver();
        Waiting::new(&link, Topic::Offer(offer), |client| client.serving(offer)).await?;
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

    /// Monitors the conversation that a participant takes part in, whoever opened it: what becomes of its participants
    /// is told from now on, however they end, with what was unanswered then, and that it is over.
    ///
    /// The server says who may; a server of ours lets those who are on its machine.
    ///
    /// # Errors
    ///
    /// The server speaks 1.0 or refuses, because this client may not, or the participant takes part no more; or the
    /// connection was lost.
    pub async fn monitor(&self, participant: Pid) -> Result<Monitor, MonitorError> {
        self.monitor_by(|client| client.monitor(participant)).await.map(Monitor::new)
    }

    /// Watches the conversations on a subject, whoever opened them; with [`Subject::Any`] those on every subject. Every
    /// record of them is told from now on: what was said, answered and refused, who joined, left and exited. Of those
    /// that are open already a [gap](liminal_core::Watched::Gap) says how far they are.
    ///
    /// The server says who may; a server of ours lets those who are on its machine.
    ///
    /// # Errors
    ///
    /// The server speaks 1.0 or refuses, because this client may not, or there are too many; the subject is too long;
    /// or the connection was lost.
    pub async fn watch(&self, subject: impl Into<Subject>) -> Result<Watch, MonitorError> {
        let subject = subject.into();
        self.monitor_by(|client| client.watch(&subject)).await.map(Watch::new)
    }

    async fn monitor_by(
        &self,
        mut ask: impl FnMut(&mut Client) -> Result<Option<StreamId>, MonitorError> + Unpin,
    ) -> Result<Monitored, MonitorError> {
        let link = self.owner.link().await.map_err(MonitorError::Lost)?;
        let id = link.send(|client| ask(client).transpose()).await?;
        let monitored = Monitored { link, id, _owner: Arc::clone(&self.owner) };
        Waiting::new(&monitored.link, Topic::Monitor(id), |client| client.monitoring(id)).await?;
        Ok(monitored)
    }

    /// Asks the server for a sign of life, and says how long it took.
    ///
    /// # Errors
    ///
    /// The connection was lost.
    pub async fn ping(&self) -> Result<Duration, Lost> {
        let link = self.owner.link().await.map_err(Lost)?;
        let sent = Instant::now();
        let number = link.send(|client| client.ping().transpose()).await?;
        Waiting::new(&link, Topic::Connection, |client| client.pong(number)).await?;
        Ok(sent.elapsed())
    }

    /// Has the handle come back when its connection is lost: its [`Driver`](super::Driver) dials again, after pauses
    /// that grow, until it is connected, the handle is closed, or the server refuses it in a way that trying again
    /// does not help, such as for its token. To be told at any time while there is a connection; told again, it is
    /// the last that counts.
    ///
    /// * **Conversations end with the connection that they were opened on**, as without this: whoever waits in one is
    ///   told that it is lost, and whether what was asked was served is not known. None is ever resumed. So do monitors
    ///   and watches.
    /// * **What is [served](Self::serve) is offered again**, with the same participants and the same capacity, unless
    ///   it was withdrawn.
    /// * **Calls that need a connection wait for one**: [`open`](Self::open), [`serve`](Self::serve),
    ///   [`monitor`](Self::monitor), [`watch`](Self::watch) and [`ping`](Self::ping), [`Reconnect::wait_time`] at most;
    ///   then they fail as lost. One that was sent is never sent again.
    /// * A server that stops is one that may be back, so its goodbye is a loss as well.
    ///
    /// [`connectivity`](Self::connectivity) says how it is going.
    ///
    /// # Errors
    ///
    /// The connection has ended, and its driver with it; or it can be dialled nowhere, because it is over a stream
    /// that was given, or recorded.
    pub fn reconnect(&self, how: Reconnect) -> Result<(), ReconnectError> {
        self.owner.line.reconnect(how)
    }

    /// Whether there is a connection. Reads what is known, and never waits.
    #[must_use]
    pub fn connectivity(&self) -> Connectivity {
        self.owner.line.connectivity()
    }

    /// Waits until the connection stands otherwise than it did, and says how.
    pub async fn connectivity_changed(&self, from: &Connectivity) -> Connectivity {
        let line = &self.owner.line;
        let changed = || Some(line.connectivity()).filter(|now| now != from);
        loop {
            let look = line.look();
            match (changed(), look) {
                (Some(now), _) => return now,
                // Its end is told to those who wait for it there.
                (None, Look::Connected(link)) => {
                    Waiting::new(&link, Topic::Connection, |client| client.ended()).await;
                }
                (None, Look::Away(_) | Look::Over(_)) => return until(line, changed).await,
            }
        }
    }

    /// Closes the connection gracefully, and waits until the server has answered. It does not come back.
    pub async fn disconnect(&self) {
        self.owner.line.close();
        let link = self.owner.line.last();
        link.act(None, Client::disconnect);
        Waiting::new(&link, Topic::Connection, |client| client.ended()).await;
    }

    /// Does something to the client itself, and writes what came of it as far as the stream takes it at once. For
    /// those who speak below conversations: what is opened like this belongs to no [`Conversation`], and what is
    /// told of it nobody hears who does not read it from a [`Recorder`](crate::Recorder).
    pub fn act<R>(&self, act: impl FnOnce(&mut Client) -> R) -> R {
        let link = self.owner.line.last();
        let result = link.act(None, act);
        link.wake_driver();
        result
    }

    /// Waits for the end of the connection. Where the handle [reconnects](Self::reconnect), for the end after which
    /// it does not.
    pub async fn closed(&self) -> Lost {
        let mut connectivity = self.connectivity();
        loop {
            if let Connectivity::Closed(end) = connectivity {
                return Lost(end);
            }
            connectivity = self.connectivity_changed(&connectivity).await;
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("version", &self.version()).finish_non_exhaustive()
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
    link: Arc<Link>,
    id: ConversationId,
    /// The connection is there while somebody holds one.
    _owner: Arc<Owner>,
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
    pub async fn message(&self, content: impl Into<Content>) -> Result<(), MessageError> {
        let (link, id, content) = (&self.link, self.id, content.into());
        let sent = link.send(|client| client.message(id, &content).transpose()).await?;
        let claim = Claim { link, conversation: id, message: sent };
        let accepted = Waiting::new(link, Topic::Message(id, sent), |client| client.accepted(id, sent)).await;
        claim.settle();
        accepted
    }

    /// Asks for a reply and waits for it, `timeout` at most. A reply in parts is joined. What is said about the payload of
    /// a reply, its [`Metadata`](liminal_proto::Metadata), is with those that one [receives](Self::receive_reply).
    ///
    /// # Errors
    ///
    /// No reply in time, the participant has exited (the error names it and says why), it gave no
    /// reply, the server refused, or the connection was lost.
    pub async fn ask(&self, content: impl Into<Content>, timeout: Duration) -> Result<Bytes, AskError> {
        let claim = self.ask_to_claim(content.into(), timeout).await?;
        let (id, sent) = (self.id, claim.message);
        let reply = Waiting::new(&self.link, Topic::Message(id, sent), |client| client.reply(id, sent)).await;
        claim.settle();
        reply
    }

    /// [Asks](Self::ask), and tells at once of each exit after which the conversation goes on, while the request waits
    /// for another participant: one that comes in time has it.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask).
    pub async fn ask_through_exits(
        &self,
        content: impl Into<Content>,
        timeout: Duration,
        mut exited: impl FnMut(&Crash),
    ) -> Result<Bytes, AskError> {
        let (link, id) = (&self.link, self.id);
        let mut known = link.lock().client.crash(id).map(|crash| crash.record);
        let claim = self.ask_to_claim(content.into(), timeout).await?;
        loop {
            let heard = Waiting::new(link, Topic::Conversation(id), |client| {
                let exit = client.outlived_exit(id, known).map(Err);
                exit.or_else(|| client.reply(id, claim.message).map(Ok))
            });
            match heard.await {
                Ok(reply) => {
                    claim.settle();
                    return reply;
                }
                Err(crash) => {
                    known = Some(crash.record);
                    exited(&crash);
                }
            }
        }
    }

    /// Sends a request whose reply one caller waits for.
    async fn ask_to_claim(&self, content: Content, timeout: Duration) -> Result<Claim<'_>, AskError> {
        let (link, id, now) = (&self.link, self.id, Instant::now());
        let sent = link.send(|client| client.ask(now, id, &content, Some(timeout), false).transpose());
        let Some(sent) = self.within(timeout, sent).await else { return Err(AskError::Timeout) };
        Ok(Claim { link, conversation: id, message: sent? })
    }

    /// Asks for a reply that [`receive_reply`](Self::receive_reply) will return; it must come within
    /// `timeout`. Returns the id of the request, which the reply names.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask) that are known before the request is sent.
    pub async fn request(
        &self,
        content: impl Into<Content>,
        timeout: Duration,
    ) -> Result<MessageId, AskError> {
        let (link, id, content, now) = (&self.link, self.id, content.into(), Instant::now());
        let sent = link.send(|client| client.ask(now, id, &content, Some(timeout), true).transpose());
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
        let next = Waiting::new(&self.link, Topic::Conversation(id), |client| client.receive_reply(id));
        let next = self.within(timeout, next).await.unwrap_or(Err(ReceiveError::Timeout));
        self.link.flush(None);
        next
    }

    /// Whether a participant is known to have exited. Reads what has arrived, and never waits.
    #[must_use]
    pub fn has_detected_crash(&self) -> bool {
        let look = Waiting::new(&self.link, Topic::Conversation(self.id), |client| client.crash(self.id));
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
        let crash = Waiting::new(&self.link, Topic::Conversation(id), |client| client.await_crash(id));
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
        Waiting::new(&self.link, Topic::Conversation(id), |client| client.await_crash(id)).await
    }

    /// The participants that are alive: one, or none when the conversation only records, has failed, or
    /// goes on with a participant that has not joined yet. That joins when there is something to say to it.
    ///
    /// # Errors
    ///
    /// The server speaks 1.0, which has no pids.
    pub fn participant_pids(&self) -> Result<Vec<Pid>, NeedsVersion2> {
        self.link.lock().client.participant_pids(self.id)
    }

    /// Closes the conversation: takes no more messages, and waits until outstanding requests have ended.
    /// Closing one whose participant has exited releases it and is no error.
    ///
    /// # Errors
    ///
    /// The connection was lost, and the conversation with it.
    pub async fn close(self) -> Result<(), CloseError> {
        let (link, id) = (&self.link, self.id);
        link.act(None, |client| client.close(id))?;
        Waiting::new(link, Topic::Conversation(id), |client| client.closed(id)).await
    }

    /// The outcome of `wait`, or `None` after `timeout`.
    async fn within<T>(&self, timeout: Duration, wait: impl Future<Output = T>) -> Option<T> {
        within(&self.link, timeout, wait).await
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.link.act(None, |client| client.release(self.id));
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

/// The outcome of `wait`, or `None` after `timeout`.
pub(super) async fn within<T>(link: &Link, timeout: Duration, wait: impl Future<Output = T>) -> Option<T> {
    let mut wait = pin!(wait);
    let mut alarm = None;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(outcome) = wait.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        // Armed only when there is something to wait for: most calls never need it.
        let alarm = alarm.get_or_insert_with(|| link.sleeper.sleep_until(after(timeout)));
        alarm.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Looks when something about the line changes, until `look` has an answer.
pub(super) async fn until<L: SharedClient, T>(line: &Line<L>, mut look: impl FnMut() -> Option<T>) -> T {
    let mut watch = line.watch();
    std::future::poll_fn(|cx| {
        // Before it looks: what changes after that wakes it.
        watch.wait(cx.waker());
        look().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// The moment after `timeout`, or one so far away that nobody will see it.
pub(crate) fn after(timeout: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    Instant::now() + timeout.min(FAR)
}
