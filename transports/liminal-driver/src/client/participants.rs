//! The participants of a client that serves: the same hub as a server's, with the client's connection as its
//! link; one after the other, when it reconnects.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use liminal_core::{Command, LinkId, OfferId, Outbox, RegisterError, Settings, Subject};
use liminal_proto::{CloseReason, CommandError, Config, ConversationId, Event, Instant, LinkError};

use super::Client;
use crate::Clock;
use crate::asynchronous::Sleeper;
use crate::error::ServeError;
use crate::server::{
    AdmissionOptions, Connected, Flushed, Hub, Kind, Monitoring, Outlet, Pool, ServerOptions, Spawn,
    StopOptions,
};

/// A client behind the lock of its transport.
pub trait SharedClient: Send + Sync + 'static {
    /// Does something to the client.
    fn with(&self, act: &mut dyn FnMut(&mut Client));

    /// The same, and writes what there is to write, as far as the stream takes it at once; sees to it that somebody
    /// minds the rest, what the clock is to bring about, and the end.
    fn act(&self, act: &mut dyn FnMut(&mut Client));

    /// How its connection ended.
    fn ended(&self) -> Option<CloseReason> {
        let mut end = None;
        self.with(&mut |client| end = client.ended());
        end
    }
}

/// The participants of a client that serves, whichever its connection is. Its driver minds their
/// [timer](Hub::timer) and runs their tasks.
#[derive(Debug)]
pub struct Participants {
    hub: Arc<Hub>,
}

impl Participants {
    /// Nobody yet. The clock is that of every client which they are [linked](Self::link) to.
    #[must_use]
    pub fn new(clock: Clock, spawn: Box<dyn Spawn>, sleeper: Arc<dyn Sleeper>, pool: Arc<Pool>) -> Self {
        Self { hub: Hub::with_clock(clock, options(), spawn, sleeper, pool) }
    }

    /// Their hub.
    #[must_use]
    pub const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Has them take part in conversations on the connection of this client.
    #[must_use]
    pub fn link(&self, client: Weak<dyn SharedClient>) -> Linked {
        Linked { connected: self.hub.attach(|id| Arc::new(ClientOutlet::new(id, client))) }
    }

    /// Has whoever is invited on a subject be a participant of this kind.
    ///
    /// # Errors
    ///
    /// The kind has no participants, or the subject is too long.
    pub fn register(&self, subject: Subject, kind: Kind) -> Result<Registration, ServeError> {
        if matches!(kind, Kind::TraceOnly) {
            return Err(ServeError::TraceOnly);
        }
        let offer = self.hub().register(subject, kind).map_err(|error| match error {
            RegisterError::TooLong { len, limit } => {
                ServeError::Rejected(CommandError::TooLarge { len, limit })
            }
            // All else is about one that only records.
            _ => ServeError::TraceOnly,
        })?;
        Ok(Registration { hub: Arc::clone(self.hub()), offer })
    }
}

/// The participants of a client, linked to one connection of it. When this is dropped they take part in no
/// conversation there.
#[derive(Debug)]
pub struct Linked {
    connected: Connected<ClientOutlet>,
}

impl Linked {
    /// Tells their hub what has arrived for them, and says what found no room before. Whoever reads does this before
    /// it reads more, and the driver when it is woken; nobody holds a lock then, because participants of kind inline
    /// run here.
    pub fn attend(&self, client: &impl SharedClient) {
        let (hub, outlet) = (self.connected.hub(), self.connected.link());
        let mut again = false;
        let (mut credited, mut now) = (false, Instant::ORIGIN);
        loop {
            let mut taken = None;
            client.with(&mut |client| {
                taken = client.take_arrived(again).map(|arrived| (arrived, client.connection.now()));
            });
            let Some((mut arrived, at)) = taken else { break };
            again = true;
            arrived.retain(|event| match event {
                Event::Room { conversation } => {
                    credited |= outlet.outbox().credited(*conversation);
                    false
                }
                _ => true,
            });
            now = hub.events(now.max(at), outlet.id, arrived);
        }
        if credited || outlet.is_full() {
            hub.flush_at(hub.clock().now(), outlet);
        }
    }
}

/// How the hub of a client treats its one link. What concerns accepting connections does not concern it.
fn options() -> ServerOptions {
    let bus = Settings::for_client();
    ServerOptions {
        connection: Config::default(),
        admission: AdmissionOptions::default(),
        // A server has no such wishes of its clients.
        monitoring: Monitoring::Nobody,
        // As much as participants may hold of messages that they are not through with.
        held_reply_bytes_max: bus.held_bytes_per_link_max,
        bus,
        memory_bytes_max: 0,
        stop: StopOptions::default(),
        recorder: None,
    }
}

/// That a subject has participants, until this is dropped. Conversations that are open then go on.
#[derive(Debug)]
pub struct Registration {
    hub: Arc<Hub>,
    offer: OfferId,
}

impl Registration {
    /// Takes it back now. Once more does nothing.
    pub fn end(&self) {
        self.hub.unregister(self.offer);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end();
    }
}

/// The connection of a client, as the hub of its participants sees it.
#[derive(Debug)]
struct ClientOutlet {
    id: LinkId,
    client: Weak<dyn SharedClient>,
    /// What the bus has to say, in its order. Filled while the bus is locked, emptied while the client is, and
    /// nothing else is locked under it.
    outbox: Mutex<Outbox>,
    /// Whether something found no room at the last try. Changed while the client is locked.
    full: AtomicBool,
}

impl ClientOutlet {
    fn new(id: LinkId, client: Weak<dyn SharedClient>) -> Self {
        Self { id, client, outbox: Mutex::default(), full: AtomicBool::new(false) }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves commands into the connection. Says whether it has become full by that, or is no more, or whether
    /// conversations have.
    fn apply(&self, client: &mut Client, now: Instant, held_max: usize) -> bool {
        let mut outbox = self.outbox();
        outbox.apply(now, &mut client.connection);
        let (held, bytes, changes) = (outbox.is_held(), outbox.bytes(), outbox.has_changes());
        drop(outbox);
        if bytes > held_max {
            client.connection.link_lost(now, LinkError::TimedOut);
        }
        if let Some(services) = &mut client.services {
            services.crowded = held;
        }
        self.full.swap(held, Ordering::AcqRel) != held || changes
    }
}

impl Outlet for ClientOutlet {
    fn id(&self) -> LinkId {
        self.id
    }

    fn push(&self, command: Command) -> bool {
        self.outbox().push(command)
    }

    fn flush(&self, now: Instant, held_max: usize) -> Flushed {
        let mut flushed = Flushed::default();
        let Some(client) = self.client.upgrade() else { return flushed };
        loop {
            let mut queued = 0;
            client.act(&mut |client| {
                flushed.changed |= self.apply(client, now, held_max);
                queued = client.connection.output_len();
            });
            let mut goes_on = false;
            if self.is_full() {
                client.with(&mut |client| goes_on = client.connection.output_len() < queued);
            }
            if !goes_on {
                return flushed;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    fn take_changes(&self) -> Vec<(ConversationId, bool)> {
        self.outbox().take_changes()
    }

    fn drop_transport(&self, now: Instant) {
        if let Some(client) = self.client.upgrade() {
            client.act(&mut |client| client.connection.link_lost(now, LinkError::Dropped));
        }
    }
}
