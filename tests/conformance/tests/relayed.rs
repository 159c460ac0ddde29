//! The suite once more, with every participant on a client: the server only relays.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use liminal_conformance::Transport;
use liminal_conformance::adapters::{Blocking, Smol};
use liminal_conformance::transport::{Cast, Handle, Role, Server, Service};
use liminal_driver::error::{BindError, ConnectError};
use liminal_driver::{Address, ServerOptions};
use liminal_proto::Config;
use liminal_proto::wire::Dialect;

/// Has a client serve what the server would. Where the server speaks 1.0 alone, it serves by itself.
struct Relayed<T>(T);

impl<T: Transport> Transport for Relayed<T> {
    fn serve(&self, at: Address, options: ServerOptions, cast: Cast) -> Result<Box<dyn Server>, BindError> {
        if options.connection.max_dialect == Dialect::V1 {
            return self.0.serve(at, options, cast);
        }
        let config = Config { token: options.connection.token.clone(), ..Config::default() };
        let recorded = |(_, role): &(_, Role)| matches!(role, Role::TraceOnly);
        let (roles, relayed): (Vec<_>, Vec<_>) = cast.roles.into_iter().partition(recorded);
        let server = self.0.serve(at, options, Cast { roles, on_crash: cast.on_crash })?;
        let client = self.0.connect(&server.address(), config, true).expect("the server is there");
        let serve = |(subject, role)| client.serve(subject, role, u32::MAX).expect("the server takes offers");
        let services = relayed.into_iter().map(serve).collect();
        Ok(Box::new(Relaying { server, _client: client, _services: services }))
    }

    fn connect(&self, to: &Address, config: Config, driven: bool) -> Result<Arc<dyn Handle>, ConnectError> {
        self.0.connect(to, config, driven)
    }

    fn is_relayed(&self) -> bool {
        true
    }

    fn has_unix_sockets(&self) -> bool {
        self.0.has_unix_sockets()
    }
}

/// A server, and the client that serves.
struct Relaying {
    server: Box<dyn Server>,
    _client: Arc<dyn Handle>,
    _services: Vec<Arc<dyn Service>>,
}

impl Server for Relaying {
    fn address(&self) -> Address {
        self.server.address()
    }

    fn stop(&self) {
        self.server.stop();
    }

    fn ended(self: Box<Self>) {
        self.server.ended();
    }

    fn abandon(self: Box<Self>) -> bool {
        self.server.abandon()
    }
}

mod blocking {
    use super::{Blocking, Relayed};

    liminal_conformance::conformance!(Relayed(Blocking));
}

mod smol {
    use super::{Relayed, Smol};

    liminal_conformance::conformance!(Relayed(Smol));
}
