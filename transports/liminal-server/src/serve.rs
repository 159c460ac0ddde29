//! A server from its first to its last moment, over any transport.

use std::io::{self, Write};

use liminal_cli::program::Transport;
use liminal_core::{RegisterError, Subject};
use liminal_driver::asynchronous::Server;
use liminal_driver::error::BindError;
use liminal_driver::{Address, ServerOptions};

use crate::NAME;
use crate::crash::OnCrash;
use crate::error::Error;
use crate::offer::{self, Kind, Offer};
use crate::options::Options;
use crate::signals;

/// Listens, says so on stdout, and serves until a signal comes.
pub(crate) fn serve(options: &Options) -> Result<(), Error> {
    let cast = Cast { offers: options.offers(), on_crash: options.on_crash()? };
    match options.transport {
        Transport::Blocking => {
            let server = liminal_blocking::bind_with(&options.listen, options.server())?;
            begin(&server, cast, options.transport)?;
            server.run().map_err(Error::Run)?;
        }
        Transport::Smol => smol::block_on(run(liminal_smol::bind_with, options, cast))?,
        Transport::AsyncStd => async_std::task::block_on(run(liminal_async_std::bind_with, options, cast))?,
    }
    tracing::info!("stopped");
    Ok(())
}

async fn run(
    bind: impl AsyncFnOnce(Address, ServerOptions) -> Result<Server, BindError>,
    options: &Options,
    cast: Cast<'_>,
) -> Result<(), Error> {
    let server = bind(options.listen.clone(), options.server()).await?;
    begin(&server, cast, options.transport)?;
    server.run().await.map_err(Error::Run)
}

/// Who serves what, and what becomes of conversations when they exit.
#[derive(Clone, Copy)]
struct Cast<'a> {
    offers: &'a [Offer],
    on_crash: &'a [OnCrash],
}

/// A server that listens and does not run yet.
trait Listening {
    fn address(&self) -> &Address;
    fn register(&self, subject: Subject, kind: Kind) -> Result<(), RegisterError>;
    fn on_crash(&self, on_crash: OnCrash) -> Result<(), RegisterError>;
    fn stopper(&self) -> Box<dyn Fn() + Send>;
}

macro_rules! listening {
    ($server:ty) => {
        impl Listening for $server {
            fn address(&self) -> &Address {
                self.local_address()
            }

            fn register(&self, subject: Subject, kind: Kind) -> Result<(), RegisterError> {
                match kind {
                    Kind::Echo => self.register_inline(subject, || offer::echo),
                    Kind::None => self.register_trace_only(subject),
                }
            }

            fn on_crash(&self, on_crash: OnCrash) -> Result<(), RegisterError> {
                self.on_crash(on_crash.subject, on_crash.policy)
            }

            fn stopper(&self) -> Box<dyn Fn() + Send> {
                let stopper = self.stopper();
                Box::new(move || stopper.stop())
            }
        }
    };
}

listening!(liminal_blocking::Server);
listening!(Server);

/// What there is to do between listening and serving.
fn begin(server: &impl Listening, cast: Cast<'_>, transport: Transport) -> Result<(), Error> {
    for offer in cast.offers {
        server.register(offer.subject.clone(), offer.kind).map_err(Error::Register)?;
        tracing::debug!("{} is served by {}", offer.subject, offer.kind);
    }
    for on_crash in cast.on_crash {
        server.on_crash(on_crash.clone()).map_err(Error::Policy)?;
    }
    signals::stop_on_one(server.stopper()).map_err(Error::Signals)?;
    announce(server.address(), transport);
    Ok(())
}

/// Tells whoever started the server that it accepts connections.
fn announce(address: &Address, transport: Transport) {
    let mut out = io::stdout().lock();
    let said = writeln!(out, "{NAME} listening on {address} ({transport})").and_then(|()| out.flush());
    if let Err(error) = said {
        tracing::warn!("cannot say on stdout that {address} is served: {error}");
    }
}
