//! A server in this process, which ends with what it is there for.

use std::io;
use std::thread::{self, JoinHandle};

use liminal_driver::Address;
use liminal_driver::asynchronous::Server;

use crate::error::Error;

/// A server that runs on a thread of its own.
pub(crate) struct Running {
    pub(crate) address: Address,
    stop: Box<dyn FnOnce()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Running {
    pub(crate) fn blocking(server: liminal_blocking::Server) -> Result<Self, Error> {
        let (address, stopper) = (server.local_address().clone(), server.stopper());
        Self::start(address, Box::new(move || stopper.stop()), || server.run())
    }

    pub(crate) fn asynchronous(server: Server, run: fn(Server) -> io::Result<()>) -> Result<Self, Error> {
        let (address, stopper) = (server.local_address().clone(), server.stopper());
        Self::start(address, Box::new(move || stopper.stop()), move || run(server))
    }

    fn start(
        address: Address,
        stop: Box<dyn FnOnce()>,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> Result<Self, Error> {
        let thread = thread::Builder::new().name("server".into()).spawn(run).map_err(Error::Thread)?;
        Ok(Self { address, stop, thread })
    }

    /// Stops it, and says whether all went well.
    pub(crate) fn stop(self) -> Result<(), Error> {
        (self.stop)();
        self.thread.join().map_err(|_| Error::Inside)?.map_err(Error::Serve)
    }
}
