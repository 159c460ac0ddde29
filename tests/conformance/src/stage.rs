//! What a case happens on: a server with its cast, and clients.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use liminal_core::{CrashPolicy, Leaving, Subject};
use liminal_driver::error::ConnectError;
use liminal_driver::{Address, ServerOptions};
use liminal_proto::Config;
use liminal_proto::wire::Dialect;

use crate::WAIT;
use crate::puppet::{Fault, Gate, Host, Puppet, Seen};
use crate::raw::Raw;
use crate::transport::{Cast, Conversation, Handle, Role, Server, Transport};

/// Over what, and in which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// 2.0 over TCP.
    V2,
    /// 2.0 over a Unix socket.
    V2Unix,
    /// 1.0 over TCP, because the client offers no more.
    V1,
    /// 1.0 over TCP, because the server speaks no more.
    V1Server,
    /// 1.0 over a Unix socket, because the server speaks no more.
    V1Unix,
}

impl Setup {
    /// All that a transport has.
    #[must_use]
    pub fn all(transport: &dyn Transport) -> &'static [Self] {
        if transport.has_unix_sockets() {
            &[Self::V2, Self::V1, Self::V2Unix, Self::V1Unix]
        } else {
            &[Self::V2, Self::V1, Self::V1Server]
        }
    }

    /// Which version is negotiated.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::V2 | Self::V2Unix => Dialect::V2,
            Self::V1 | Self::V1Server | Self::V1Unix => Dialect::V1,
        }
    }

    /// Whether the server speaks 2.0, whatever its clients offer.
    #[must_use]
    pub const fn server_speaks_v2(self) -> bool {
        matches!(self, Self::V2 | Self::V2Unix | Self::V1)
    }

    /// Whether this is 1.0.
    #[must_use]
    pub fn is_v1(self) -> bool {
        self.dialect() == Dialect::V1
    }
}

/// A stage that is being set.
pub struct Stage {
    cast: Cast,
    /// How the server treats its connections and participants.
    pub options: ServerOptions,
    /// How clients connect.
    pub config: Config,
    /// Where TCP servers listen.
    host: &'static str,
    seen: (Sender<Seen>, Receiver<Seen>),
    gate: Gate,
}

impl Default for Stage {
    fn default() -> Self {
        Self::empty().puppets()
    }
}

impl Stage {
    /// Nobody serves anything.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            cast: Cast::default(),
            options: ServerOptions::default(),
            config: Config::default(),
            host: "127.0.0.1",
            seen: channel(),
            gate: Gate::default(),
        }
    }

    /// A puppet in every kind of host, on [`Host::subject`].
    #[must_use]
    pub fn puppets(self) -> Self {
        Host::ALL.into_iter().fold(self, |stage, host| stage.puppet(host, host.subject(), Fault::None))
    }

    /// A puppet of this kind on this subject.
    #[must_use]
    pub fn puppet(self, host: Host, subject: impl Into<Subject>, fault: Fault) -> Self {
        let role = Puppet::role(host, fault, &self.seen.0, &self.gate);
        self.role(subject, role)
    }

    /// Somebody on this subject.
    #[must_use]
    pub fn role(mut self, subject: impl Into<Subject>, role: Role) -> Self {
        self.cast.roles.push((subject.into(), role));
        self
    }

    /// What becomes of conversations on this subject when their participant exits.
    #[must_use]
    pub fn on_crash(mut self, subject: impl Into<Subject>, policy: CrashPolicy) -> Self {
        self.cast.on_crash.push((subject.into(), policy));
        self
    }

    /// Changes how the server treats its connections and participants.
    #[must_use]
    pub fn options(mut self, change: impl FnOnce(&mut ServerOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Changes how clients connect.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Listens on another address than loopback, such as `0.0.0.0`.
    #[must_use]
    pub const fn on(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    /// Starts the server.
    #[must_use]
    pub fn serve(self, transport: &dyn Transport, setup: Setup) -> World<'_> {
        let Self { cast, mut options, mut config, host, seen: (see, seen), gate } = self;
        let address = match setup {
            Setup::V2 | Setup::V1 | Setup::V1Server => Address::Tcp(format!("{host}:0")),
            Setup::V2Unix | Setup::V1Unix => Address::Unix(socket_path()),
        };
        match setup {
            Setup::V2 | Setup::V2Unix => {}
            Setup::V1 => config.max_dialect = Dialect::V1,
            Setup::V1Server | Setup::V1Unix => options.connection.max_dialect = Dialect::V1,
        }
        let server = transport.serve(address, options, cast).expect("the server listens");
        World { transport, address: server.address(), server: Some(server), config, see, seen, gate }
    }
}

fn socket_path() -> std::path::PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("liminal-conformance-{}-{number}.sock", std::process::id()))
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("cast", &self.cast).finish_non_exhaustive()
    }
}

/// A server that runs, and how to reach it. When this is dropped the server is stopped, and leaves nothing
/// behind, however the case went.
pub struct World<'a> {
    transport: &'a dyn Transport,
    address: Address,
    server: Option<Box<dyn Server>>,
    config: Config,
    see: Sender<Seen>,
    seen: Receiver<Seen>,
    gate: Gate,
}

impl World<'_> {
    /// Where the server listens.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// How clients connect.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// A client with a driver.
    #[must_use]
    pub fn connect(&self) -> Arc<dyn Handle> {
        self.client(true)
    }

    /// A client whose driver runs, or does not.
    #[must_use]
    pub fn client(&self, driven: bool) -> Arc<dyn Handle> {
        self.try_connect(self.config.clone(), driven).expect("the server is there")
    }

    /// A client with a configuration of its own.
    ///
    /// # Errors
    ///
    /// Those of the transport.
    pub fn try_connect(&self, config: Config, driven: bool) -> Result<Arc<dyn Handle>, ConnectError> {
        self.transport.connect(&self.address, config, driven)
    }

    /// A client, and a conversation of it.
    #[must_use]
    pub fn open(&self, subject: &str) -> (Arc<dyn Handle>, Arc<dyn Conversation>) {
        let handle = self.connect();
        let conversation = handle.open(subject).expect("the subject is served");
        (handle, conversation)
    }

    /// A puppet for a client to serve with.
    #[must_use]
    pub fn puppet(&self, host: Host) -> Role {
        Puppet::role(host, Fault::None, &self.see, &self.gate)
    }

    /// A peer that speaks bytes.
    #[must_use]
    pub fn raw(&self) -> Raw {
        Raw::connect(&self.address)
    }

    #[track_caller]
    /// The next thing that a puppet lived through and that this function knows.
    pub fn await_seen<T>(&self, mut pick: impl FnMut(Seen) -> Option<T>) -> T {
        let until = Instant::now() + WAIT;
        loop {
            let time = until.saturating_duration_since(Instant::now());
            let seen = self.seen.recv_timeout(time).expect("a puppet should have lived through this");
            if let Some(picked) = pick(seen) {
                return picked;
            }
        }
    }

    #[track_caller]
    /// Waits until a puppet has been told this.
    pub fn await_said(&self, said: &str) {
        self.await_seen(|seen| (seen == Seen::Said(said.to_owned().into())).then_some(()));
    }

    #[track_caller]
    /// Waits until a puppet left, and says why.
    pub fn await_left(&self) -> Leaving {
        self.await_seen(|seen| if let Seen::Left(_, why) = seen { Some(why) } else { None })
    }

    #[track_caller]
    /// Waits until a puppet left because whoever opened its conversation was lost. To one on a client that is a
    /// close.
    pub fn await_orphaned(&self) {
        let left = self.await_left();
        assert!(left == Leaving::OwnerLost || (self.transport.is_relayed() && left == Leaving::Closed));
    }

    /// Everything that puppets lived through and nobody has asked about.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }

    /// Lets puppets that hold go on.
    pub fn release(&self) {
        self.gate.open();
    }

    /// Asks the server to stop.
    pub fn stop(&self) {
        self.server.as_ref().expect("the server is there").stop();
    }

    /// Waits until the server has ended, and says how long that took.
    pub fn ended(&mut self) -> Duration {
        let begun = Instant::now();
        self.server.take().expect("the server is there").ended();
        begun.elapsed()
    }

    /// Stops the server and waits until it has ended.
    pub fn finish(mut self) {
        self.release();
        self.stop();
        self.ended();
    }

    /// Takes the server down without a word, if the transport can.
    #[must_use]
    pub fn abandon(&mut self) -> bool {
        self.server.take().expect("the server is there").abandon()
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        self.gate.open();
        if let Some(server) = self.server.take() {
            server.stop();
            // A program that ends before its server does leaves the file of a Unix socket behind. What
            // keeps a server from ending is not for here to find out.
            let (report, ended) = channel();
            thread::spawn(move || {
                server.ended();
                let _ = report.send(());
            });
            let _ = ended.recv_timeout(WAIT / 2);
        }
        if let Address::Unix(path) = &self.address {
            // Gone already, unless its server was killed or hangs.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Looks again and again until it is so.
#[track_caller]
pub fn eventually(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < until, "it never came about");
        thread::yield_now();
    }
}
