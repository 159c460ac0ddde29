//! A transport that no crate of this workspace is, against the suite: tokio, through the pump over
//! `futures-io`. What a third party writes to run the suite on its own stands here.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

#[path = "../../../transports/liminal-driver/examples/tokio.rs"]
mod transport;

use std::sync::{Arc, LazyLock};

use liminal_conformance::adapters::{connected, serve};
use liminal_conformance::transport::{Cast, Handle, Server, Transport};
use liminal_driver::asynchronous::Driver;
use liminal_driver::error::{BindError, ConnectError};
use liminal_driver::{Address, ServerOptions};
use liminal_proto::Config;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be started")
});

/// tokio, as the suite sees it.
struct Tokio;

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

liminal_conformance::conformance!(Tokio);

#[test]
fn the_example_holds_its_conversation() {
    transport::main().expect("the example succeeds");
}
