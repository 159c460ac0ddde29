//! What applications hold of a connection: a handle, and a conversation.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use liminal_core::participant::AsyncFactory;
use liminal_core::{Factory, Subject};
use liminal_driver::client::{Client, Connectivity, Line, Look, Reconnect, Topic};
use liminal_driver::error::{
    AskError, AwaitCrashError, CloseError, Crash, Lost, MessageError, MonitorError, NeedsVersion2, OpenError,
    ReceiveError, ReconnectError, ServeError,
};
use liminal_driver::server::{Host, Kind};
use liminal_proto::{
    CloseReason, Content, ConversationId, LinkError, MessageId, Pid, Reply, StreamId, Terms, Version,
};

use crate::link::{Link, Patience};
use crate::monitor::{Monitor, Monitored, Watch};
use crate::park::{park_until, waker};
use crate::service::Service;

/// A connection to a server. Cheap to clone; when the last clone is gone, and the last conversation, service, monitor
/// and watch that came of it, the connection closes gracefully.
#[derive(Clone)]
pub struct Handle {
    owner: Arc<Owner>,
}

/// Closes the connection when nobody holds it any more.
pub(crate) struct Owner {
    pub(crate) line: Arc<Line<Link>>,
}

impl Owner {
    /// The connection. Waits for one while there is none, and no longer than it was told.
    fn link(&self) -> Result<Arc<Link>, CloseReason> {
        let found = || match self.line.look() {
            Look::Connected(link) => Ok(Ok(link)),
            Look::Over(end) => Ok(Err(end)),
            Look::Away(outage) => Err(outage.lost),
        };
        let lost = match found() {
            Ok(found) => return found,
            Err(lost) => lost,
        };
        let late = Instant::now().checked_add(self.line.wait_time());
        until(&self.line, late, || found().ok()).unwrap_or(Err(lost))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.line.close();
        self.line.last().act_at_once(Client::disconnect);
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
        let link = self.owner.link().map_err(OpenError::Lost)?;
        let id =
            forever(link.send(&mut Patience::forever(), |client| open(client).transpose()), OpenError::Lost)?;
        let conversation = Conversation { link, id, _owner: Arc::clone(&self.owner) };
        forever(
            conversation
                .link
                .wait(Topic::Conversation(id), Patience::forever(), |client, _| client.opened(id)),
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
    /// are bounded by [`Limits`](liminal_proto::Limits) of its configuration, for each conversation and together; the
    /// server keeps what comes beyond it.
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
        let (link, subject) = (self.owner.link().map_err(ServeError::Lost)?, subject.into());
        if link.version() == Version::V1_0 {
            return Err(ServeError::NeedsVersion2);
        }
        let registration = link.serves().register(subject.clone(), kind)?;
        let offer =
            link.send(&mut Patience::forever(), |client| client.serve(&subject, capacity).transpose());
        let offer = forever(offer, ServeError::Lost)?;
        let id = self.owner.line.serve(subject, capacity, Arc::clone(&link), offer);
        let service = Service::new(Arc::clone(&self.owner), registration, id);
        link.crew.bell.ring();
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

    /// Monitors the conversation that a participant takes part in, whoever opened it: what becomes of its participants
    /// is told from now on, however they end, with what was unanswered then, and that it is over.
    ///
    /// The server says who may; a server of ours lets those who are on its machine.
    ///
    /// # Errors
    ///
    /// The server speaks 1.0 or refuses, because this client may not, or the participant takes part no more; or the
    /// connection was lost.
    pub fn monitor(&self, participant: Pid) -> Result<Monitor, MonitorError> {
        self.monitor_by(|client| client.monitor(participant)).map(Monitor::new)
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
    pub fn watch(&self, subject: impl Into<Subject>) -> Result<Watch, MonitorError> {
        let subject = subject.into();
        self.monitor_by(|client| client.watch(&subject)).map(Watch::new)
    }

    fn monitor_by(
        &self,
        mut ask: impl FnMut(&mut Client) -> Result<Option<StreamId>, MonitorError>,
    ) -> Result<Monitored, MonitorError> {
        let link = self.owner.link().map_err(MonitorError::Lost)?;
        let asked = link.send(&mut Patience::forever(), |client| ask(client).transpose());
        let id = forever(asked, MonitorError::Lost)?;
        let monitored = Monitored { link, id, _owner: Arc::clone(&self.owner) };
        let stands =
            monitored.link.wait(Topic::Monitor(id), Patience::forever(), |client, _| client.monitoring(id));
        forever(stands, MonitorError::Lost)?;
        Ok(monitored)
    }

    /// Asks the server for a sign of life, and says how long it took.
    ///
    /// # Errors
    ///
    /// The connection was lost.
    pub fn ping(&self) -> Result<Duration, Lost> {
        let link = self.owner.link().map_err(Lost)?;
        let sent = Instant::now();
        let number = forever(link.send(&mut Patience::forever(), |client| client.ping().transpose()), Lost)?;
        forever(link.wait(Topic::Connection, Patience::forever(), |client, _| client.pong(number)), Lost)?;
        Ok(sent.elapsed())
    }

    /// Has the handle come back when its connection is lost: its [`Driver`](crate::Driver) dials again, after pauses
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
    /// The connection has ended, and its driver with it; or it can be dialled nowhere, because it is recorded.
    pub fn reconnect(&self, how: Reconnect) -> Result<(), ReconnectError> {
        self.owner.line.reconnect(how)
    }

    /// Whether there is a connection. Reads what is known, and never waits.
    #[must_use]
    pub fn connectivity(&self) -> Connectivity {
        self.owner.line.connectivity()
    }

    /// Waits until the connection stands otherwise than it did, and says how.
    #[must_use]
    pub fn connectivity_changed(&self, from: &Connectivity) -> Connectivity {
        let line = &self.owner.line;
        let changed = || Some(line.connectivity()).filter(|now| now != from);
        loop {
            let look = line.look();
            match (changed(), look) {
                (Some(now), _) => return now,
                // Its end is told to those who wait for it there.
                (None, Look::Connected(link)) => {
                    link.wait(Topic::Connection, Patience::forever(), |client, _| client.ended());
                }
                (None, Look::Away(_) | Look::Over(_)) => {
                    if let Some(now) = until(line, None, changed) {
                        return now;
                    }
                }
            }
        }
    }

    /// Closes the connection gracefully, and waits until the server has answered. It does not come back.
    pub fn disconnect(&self) {
        self.owner.line.close();
        let link = self.owner.line.last();
        link.act(&mut Patience::forever(), Client::disconnect);
        link.wait(Topic::Connection, Patience::forever(), |client, _| client.ended());
    }

    /// Does something to the client itself, and writes what came of it as far as the socket takes it at once. For
    /// those who speak below conversations: what is opened like this belongs to no [`Conversation`], and what is
    /// told of it nobody hears who does not read it from a [`Recorder`](liminal_driver::Recorder).
    pub fn act<R>(&self, act: impl FnOnce(&mut Client) -> R) -> R {
        self.owner.line.last().act_at_once(act)
    }

    /// Waits for the end of the connection. Where the handle [reconnects](Self::reconnect), for the end after which
    /// it does not.
    #[must_use]
    pub fn closed(&self) -> Lost {
        let mut connectivity = self.connectivity();
        loop {
            if let Connectivity::Closed(end) = connectivity {
                return Lost(end);
            }
            connectivity = self.connectivity_changed(&connectivity);
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
/// Its methods take `&self`: several threads may ask at once.
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
    pub fn message(&self, content: impl Into<Content>) -> Result<(), MessageError> {
        let (link, id, content) = (&self.link, self.id, content.into());
        let sent = link.send(&mut Patience::forever(), |client| client.message(id, &content).transpose());
        let sent = forever(sent, MessageError::Lost)?;
        let accepted =
            link.wait(Topic::Message(id, sent), Patience::forever(), |client, _| client.accepted(id, sent));
        forever(accepted, MessageError::Lost)
    }

    /// Asks for a reply and waits for it, `timeout` at most. A reply in parts is joined. What is said about the payload of
    /// a reply, its [`Metadata`](liminal_proto::Metadata), is with those that one [receives](Self::receive_reply).
    ///
    /// # Errors
    ///
    /// No reply in time, the participant has exited (the error names it and says why), it gave no
    /// reply, the server refused, or the connection was lost.
    pub fn ask(&self, content: impl Into<Content>, timeout: Duration) -> Result<Bytes, AskError> {
        let (link, id, mut patience) = (&self.link, self.id, within(timeout));
        let sent = self.send_request(&content.into(), timeout, &mut patience, false)?;
        let reply = link.wait(Topic::Message(id, sent), patience, |client, _| client.reply(id, sent));
        reply.unwrap_or_else(|| {
            link.lock().client.forget(id, sent);
            Err(AskError::Timeout)
        })
    }

    /// [Asks](Self::ask), and tells at once of each exit after which the conversation goes on, while the request waits
    /// for another participant: one that comes in time has it.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask).
    pub fn ask_through_exits(
        &self,
        content: impl Into<Content>,
        timeout: Duration,
        mut exited: impl FnMut(&Crash),
    ) -> Result<Bytes, AskError> {
        let (link, id, mut patience) = (&self.link, self.id, within(timeout));
        let mut known = link.lock().client.crash(id).map(|crash| crash.record);
        let sent = self.send_request(&content.into(), timeout, &mut patience, false)?;
        loop {
            let heard = link.wait(Topic::Conversation(id), patience, |client, _| {
                let exit = client.outlived_exit(id, known).map(Err);
                exit.or_else(|| client.reply(id, sent).map(Ok))
            });
            match heard {
                Some(Ok(reply)) => return reply,
                Some(Err(crash)) => {
                    known = Some(crash.record);
                    exited(&crash);
                    patience.since = Instant::now();
                }
                None => {
                    link.lock().client.forget(id, sent);
                    return Err(AskError::Timeout);
                }
            }
        }
    }

    /// Sends a request whose reply the caller alone waits for, or whoever is `to_receive` it.
    fn send_request(
        &self,
        content: &Content,
        timeout: Duration,
        patience: &mut Patience,
        to_receive: bool,
    ) -> Result<MessageId, AskError> {
        let now = patience.since;
        let send =
            |client: &mut Client| client.ask(now, self.id, content, Some(timeout), to_receive).transpose();
        self.link.send(patience, send).unwrap_or(Err(AskError::Timeout))
    }

    /// Asks for a reply that [`receive_reply`](Self::receive_reply) will return; it must come within
    /// `timeout`. Returns the id of the request, which the reply names.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask) that are known before the request is sent.
    pub fn request(&self, content: impl Into<Content>, timeout: Duration) -> Result<MessageId, AskError> {
        self.send_request(&content.into(), timeout, &mut within(timeout), true)
    }

    /// The next reply, or part of one, to any [`request`](Self::request), within `timeout`.
    ///
    /// # Errors
    ///
    /// None came in time, a request ended without one, the participant has exited, or the conversation
    /// or the connection is over.
    pub fn receive_reply(&self, timeout: Duration) -> Result<Reply, ReceiveError> {
        let (topic, id) = (Topic::Conversation(self.id), self.id);
        let next = self.link.wait(topic, within(timeout), |client, _| client.receive_reply(id));
        self.link.flush();
        next.unwrap_or(Err(ReceiveError::Timeout))
    }

    /// Whether a participant is known to have exited. Reads what has arrived, and never waits.
    #[must_use]
    pub fn has_detected_crash(&self) -> bool {
        let mut state = self.link.lock();
        if state.reading {
            return state.client.crash(self.id).is_some();
        }
        state.reading = true;
        drop(state);
        let (state, _) = self.link.read_what_is_there();
        let (mut state, _) = self.link.flush_from(state);
        self.link.release(&mut state);
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
        let crash = self.link.wait(topic, within(timeout), |client, _| client.await_crash(id));
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
        let crash = self.link.wait(topic, Patience::forever(), |client, _| client.await_crash(id));
        forever(crash, AwaitCrashError::Lost)
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
    pub fn close(self) -> Result<(), CloseError> {
        let (link, id) = (&self.link, self.id);
        link.act(&mut Patience::forever(), |client| client.close(id))?;
        forever(
            link.wait(Topic::Conversation(id), Patience::forever(), |client, _| client.closed(id)),
            CloseError::Lost,
        )
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.link.act_at_once(|client| client.release(self.id));
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("id", &self.id).finish_non_exhaustive()
    }
}

const DROPPED: CloseReason = CloseReason::Link(LinkError::Dropped);

/// What was waited for without a deadline has come.
pub(crate) fn forever<T, E>(
    outcome: Option<Result<T, E>>,
    lost: impl FnOnce(CloseReason) -> E,
) -> Result<T, E> {
    outcome.unwrap_or_else(|| Err(lost(DROPPED)))
}

/// Looks when something about the line changes, until `look` has an answer. `None`: it had none in time.
pub(crate) fn until<T>(
    line: &Line<Link>,
    late: Option<Instant>,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let mut watch = line.watch();
    loop {
        // Before it looks: what changes after that wakes it.
        watch.wait(&waker());
        if let Some(found) = look() {
            return Some(found);
        }
        if late.is_some_and(|late| late <= Instant::now()) {
            return None;
        }
        park_until(late);
    }
}

/// From now on until `timeout` has passed; for ever when nobody will see that.
pub(crate) fn within(timeout: Duration) -> Patience {
    let since = Instant::now();
    Patience { since, until: since.checked_add(timeout) }
}
