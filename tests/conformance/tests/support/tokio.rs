//! tokio, as the suite sees it: what a third party writes to run the suite on a transport of its own.

#[path = "../../../../transports/liminal-driver/examples/tokio.rs"]
pub mod transport;

use std::future::poll_fn;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock};

use futures_lite::future::{Boxed, FutureExt as _};
use liminal_conformance::adapters::{Run, connected, serve};
use liminal_conformance::futures::Pump;
use liminal_conformance::transport::{Cast, Handle, Server, Transport};
use liminal_driver::asynchronous::{self, Driver};
use liminal_driver::error::{BindError, ConnectError};
use liminal_driver::{Address, ServerOptions};
use liminal_proto::{CloseReason, Config};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be started")
});

/// tokio, through the pump over `futures-io`.
pub struct Tokio;

impl Transport for Tokio {
    fn serve(&self, at: Address, options: ServerOptions, cast: Cast) -> Result<Box<dyn Server>, BindError> {
        let server = RUNTIME.block_on(transport::bind(at, options))?;
        Ok(serve(server, cast, |running| RUNTIME.block_on(running)))
    }

    fn connect(&self, to: &Address, config: Config, driven: bool) -> Result<Arc<dyn Handle>, ConnectError> {
        let (handle, driver) = RUNTIME.block_on(transport::connect(to.clone(), config))?;
        let spawn = |driver: Driver| drop(RUNTIME.spawn(driver.run()));
        Ok(connected(handle, driver, driven, spawn))
    }

    fn has_unix_sockets(&self) -> bool {
        false
    }
}

impl Pump for Tokio {
    fn bind(&self) -> Result<asynchronous::Server, BindError> {
        RUNTIME.block_on(transport::bind("127.0.0.1:0".into(), ServerOptions::default()))
    }

    fn connect(
        &self,
        to: Address,
        config: Config,
    ) -> Boxed<Result<(asynchronous::Handle, Driver), ConnectError>> {
        let mut connecting = transport::connect(to, config).boxed();
        // tokio connects only inside its runtime, which a thread of another executor has to enter.
        poll_fn(move |cx| {
            let _inside = RUNTIME.enter();
            connecting.poll(cx)
        })
        .boxed()
    }

    fn spawn(&self, driver: Driver) -> Receiver<CloseReason> {
        let (report, ended) = channel();
        RUNTIME.spawn(async move { drop(report.send(driver.run().await)) });
        ended
    }

    fn block_on(&self, running: Run) -> io::Result<()> {
        RUNTIME.block_on(running)
    }
}
