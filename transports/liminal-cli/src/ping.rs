//! `liminal ping`: a sign of life.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use liminal_driver::asynchronous::Handle;
use liminal_proto::Version;

use crate::connect::{Clock, Target, Work};
use crate::error::Error;

/// Ask a server for a sign of life, and print how long it took
#[derive(Debug, Args)]
pub(crate) struct Ping {
    #[command(flatten)]
    target: Target,
}

impl Ping {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<(), Error> {
        let server = self.target.server.clone();
        let (time, version) = self.target.run(Sign)?;
        writeln!(out, "{server} answered in {time:.1?}, protocol {version}").map_err(Error::output)
    }
}

struct Sign;

impl Work for Sign {
    type Outcome = (Duration, Version);

    fn block(self, handle: &liminal_blocking::Handle, _: &Clock) -> Result<Self::Outcome, Error> {
        Ok((handle.ping().map_err(Error::Lost)?, handle.version()))
    }

    async fn wait(self, handle: &Handle, _: &Clock) -> Result<Self::Outcome, Error> {
        Ok((handle.ping().await.map_err(Error::Lost)?, handle.version()))
    }
}
