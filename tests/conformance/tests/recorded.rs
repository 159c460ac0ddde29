//! The suite once more, with everything that happens on its servers written down: the promises hold there, too.

use std::sync::Arc;

use liminal_conformance::Transport;
use liminal_conformance::adapters::Blocking;
use liminal_conformance::transport::{Cast, Handle, Server};
use liminal_driver::error::{BindError, ConnectError};
use liminal_driver::{Address, Recorder, ServerOptions};
use liminal_proto::Config;
use liminal_sim::{Network, check_promises, draw_diagram};

/// Writes down what happens on the servers of a transport.
struct Recorded<T>(T);

impl<T: Transport> Transport for Recorded<T> {
    fn serve(&self, at: Address, options: ServerOptions, cast: Cast) -> Result<Box<dyn Server>, BindError> {
        let recorder = Recorder::new();
        let options = ServerOptions { recorder: Some(recorder.clone()), ..options };
        let server = self.0.serve(at, options, cast)?;
        Ok(Box::new(Checked { server, recorder }))
    }

    fn connect(&self, to: &Address, config: Config, driven: bool) -> Result<Arc<dyn Handle>, ConnectError> {
        self.0.connect(to, config, driven)
    }

    fn has_unix_sockets(&self) -> bool {
        self.0.has_unix_sockets()
    }
}

/// A server that is held against the promises when it has ended.
struct Checked {
    server: Box<dyn Server>,
    recorder: Recorder,
}

impl Server for Checked {
    fn address(&self) -> Address {
        self.server.address()
    }

    fn stop(&self) {
        self.server.stop();
    }

    fn ended(self: Box<Self>) {
        self.server.ended();
        let transcript = self.recorder.transcript();
        if let Some(broken) = check_promises(&transcript, Network::Faithful) {
            // A server that a case has dropped ends on a thread whose panic nobody would hear of.
            eprintln!("{broken}\n{}", draw_diagram(&transcript, Some(broken.entry)));
            std::process::exit(101);
        }
    }

    fn abandon(self: Box<Self>) -> bool {
        self.server.abandon()
    }
}

liminal_conformance::conformance!(Recorded(Blocking));
