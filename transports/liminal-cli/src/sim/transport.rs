//! Servers and connections of each transport, in the same words.

use std::thread::{self, JoinHandle};

use liminal_core::transcript::OpenerId;
use liminal_core::{CrashPolicy, RegisterError, Subject};
use liminal_driver::error::ConnectError;
use liminal_driver::server::Kind;
use liminal_driver::{Address, Client, Recorder, ServerOptions, asynchronous};
use liminal_proto::Config;
use liminal_sim::{Role, StagedBus};

use crate::error::Error;
use crate::program::Transport;
use crate::running::Running;

/// Where servers listen: on a free port, for this machine alone.
const LOOPBACK: &str = "127.0.0.1:0";

/// A server of this transport with everybody who serves on a bus.
pub(super) fn serve(
    transport: Transport,
    bus: StagedBus,
    connection: Config,
    recorder: &Recorder,
) -> Result<Running, Error> {
    let StagedBus { roles, policies, settings } = bus;
    let recorder = Some(recorder.clone());
    let options = ServerOptions { connection, bus: settings, recorder, ..ServerOptions::default() };
    if transport == Transport::Blocking {
        let server = liminal_blocking::bind_with(LOOPBACK, options)?;
        cast(
            roles,
            policies,
            |subject, kind| server.register(subject, kind),
            |subject, policy| server.on_crash(subject, policy),
        );
        return Running::blocking(server);
    }
    let (server, run): (_, fn(asynchronous::Server) -> std::io::Result<()>) = match transport {
        Transport::AsyncStd => {
            (async_std::task::block_on(liminal_async_std::bind_with(LOOPBACK, options))?, |server| {
                async_std::task::block_on(server.run())
            })
        }
        _ => (smol::block_on(liminal_smol::bind_with(LOOPBACK, options))?, |server| {
            smol::block_on(server.run())
        }),
    };
    cast(
        roles,
        policies,
        |subject, kind| server.register(subject, kind),
        |subject, policy| server.on_crash(subject, policy),
    );
    Running::asynchronous(server, run)
}

/// A subject that cannot be registered is served by nobody, as in the simulator.
fn cast(
    roles: Vec<(Subject, Role)>,
    policies: Vec<(Subject, CrashPolicy)>,
    register: impl Fn(Subject, Kind) -> Result<(), RegisterError>,
    on_crash: impl Fn(Subject, CrashPolicy) -> Result<(), RegisterError>,
) {
    for (subject, role) in roles {
        let kind = match role {
            Role::Sync(factory) => Kind::Inline(factory),
            Role::Async(factory) => Kind::Async(factory),
            Role::TraceOnly => Kind::TraceOnly,
        };
        let _ = register(subject, kind);
    }
    for (subject, policy) in policies {
        let _ = on_crash(subject, policy);
    }
}

/// A connection of an opener, with its driver beside it.
pub(super) struct Line {
    handle: Handle,
    driver: JoinHandle<()>,
}

enum Handle {
    Blocking(liminal_blocking::Handle),
    Smol(asynchronous::Handle),
    AsyncStd(asynchronous::Handle),
}

impl Line {
    /// Dials, and shakes hands.
    pub(super) fn dial(
        transport: Transport,
        address: &Address,
        config: Config,
        recorder: &Recorder,
    ) -> Result<Self, Error> {
        let (handle, driver) = match transport {
            Transport::Blocking => {
                let connected = liminal_blocking::connect_recorded(address, config, recorder);
                let (handle, driver) = connected.map_err(Error::Connect)?;
                (Handle::Blocking(handle), drive(move || drop(driver.run()))?)
            }
            Transport::Smol => {
                let connected = smol::block_on(liminal_smol::connect_recorded(address, config, recorder));
                let (handle, driver) = connected.map_err(Error::Connect)?;
                (Handle::Smol(handle), drive(move || drop(smol::block_on(driver.run())))?)
            }
            Transport::AsyncStd => {
                let connected: Result<_, ConnectError> =
                    async_std::task::block_on(liminal_async_std::connect_recorded(address, config, recorder));
                let (handle, driver) = connected.map_err(Error::Connect)?;
                (Handle::AsyncStd(handle), drive(move || drop(async_std::task::block_on(driver.run())))?)
            }
        };
        Ok(Self { handle, driver })
    }

    /// Does something to the client itself.
    pub(super) fn act<R>(&self, act: impl FnOnce(&mut Client) -> R) -> R {
        match &self.handle {
            Handle::Blocking(handle) => handle.act(act),
            Handle::Smol(handle) | Handle::AsyncStd(handle) => handle.act(act),
        }
    }

    /// Who it is in what is recorded.
    pub(super) fn opener(&self) -> Option<OpenerId> {
        self.act(|client| client.opener())
    }

    /// Comes back when the server has dealt with all that was said before: its answer to the second ping is
    /// written when it has read that, and it reads when it is through with what came before.
    pub(super) fn catch_up(&self) {
        for _ in 0..2 {
            // Of a connection that is over there is nothing to wait for.
            let _ = match &self.handle {
                Handle::Blocking(handle) => handle.ping(),
                Handle::Smol(handle) => smol::block_on(handle.ping()),
                Handle::AsyncStd(handle) => async_std::task::block_on(handle.ping()),
            };
        }
    }

    /// Ends the connection gracefully.
    pub(super) fn disconnect(self) -> Result<(), Error> {
        match &self.handle {
            Handle::Blocking(handle) => handle.disconnect(),
            Handle::Smol(handle) => smol::block_on(handle.disconnect()),
            Handle::AsyncStd(handle) => async_std::task::block_on(handle.disconnect()),
        }
        self.end()
    }

    /// The connection is over; its driver ends with it.
    pub(super) fn end(self) -> Result<(), Error> {
        self.driver.join().map_err(|_| Error::Inside)
    }
}

fn drive(run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new().name("driver".into()).spawn(run).map_err(Error::Thread)
}
