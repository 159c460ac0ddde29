//! A server from its first to its last moment, over any transport.

use std::io::{self, Write};

use liminal_cli::program::{self, Transport};
use liminal_core::{RegisterError, Subject};
use liminal_driver::asynchronous::Server;
use liminal_driver::error::BindError;
use liminal_driver::{Address, ServerOptions};

use crate::NAME;
use crate::children::Children;
use crate::crash::OnCrash;
use crate::error::Error;
use crate::offer::{self, Kind, Offer};
use crate::options::Options;

/// Listens, says so on stdout, and serves until a signal comes.
pub(crate) fn serve(options: &Options) -> Result<(), Error> {
    let mut children = Children::new(options);
    let cast = |offer: &Offer| Ok((offer.subject.clone(), role(offer, &mut children)?));
    let on_crash = options.on_crash()?.to_vec();
    let cast = options.offers().iter().map(cast).collect::<Result<Cast, Error>>()?;
    let begin = Begin { cast, on_crash, children: children.clone(), transport: options.transport };
    let served = serve_with(options, begin);
    children.close();
    served?;
    tracing::info!("stopped");
    Ok(())
}

fn serve_with(options: &Options, begin: Begin) -> Result<(), Error> {
    match options.transport {
        Transport::Blocking => {
            let server = liminal_blocking::bind_with(&options.listen, options.server())?;
            begin.on(&server)?;
            server.run().map_err(Error::Run)
        }
        Transport::Smol => smol::block_on(run(liminal_smol::bind_with, options, begin)),
        Transport::AsyncStd => async_std::task::block_on(run(liminal_async_std::bind_with, options, begin)),
    }
}

/// Who serves what.
type Cast = Vec<(Subject, Role)>;

/// How a subject is served.
enum Role {
    Echo,
    None,
    #[cfg(unix)]
    Process(liminal_process::Participants),
}

#[cfg_attr(not(unix), allow(clippy::unnecessary_wraps, unused_variables, reason = "only processes can fail"))]
fn role(offer: &Offer, children: &mut Children) -> Result<Role, Error> {
    tracing::debug!("{} is served by {}", offer.subject, offer.kind);
    match &offer.kind {
        Kind::Echo => Ok(Role::Echo),
        Kind::None => Ok(Role::None),
        #[cfg(unix)]
        Kind::Process(command) => children.serve(&offer.subject, command).map(Role::Process),
    }
}

async fn run(
    bind: impl AsyncFnOnce(Address, ServerOptions) -> Result<Server, BindError>,
    options: &Options,
    begin: Begin,
) -> Result<(), Error> {
    let server = bind(options.listen.clone(), options.server()).await?;
    begin.on(&server)?;
    server.run().await.map_err(Error::Run)
}

/// A server that listens and does not run yet.
trait Listening {
    fn address(&self) -> &Address;
    fn register(&self, subject: Subject, role: Role) -> Result<(), RegisterError>;
    fn on_crash(&self, on_crash: OnCrash) -> Result<(), RegisterError>;
    fn stopper(&self) -> Box<dyn Fn() + Send>;
}

macro_rules! listening {
    ($server:ty) => {
        impl Listening for $server {
            fn address(&self) -> &Address {
                self.local_address()
            }

            fn register(&self, subject: Subject, role: Role) -> Result<(), RegisterError> {
                match role {
                    Role::Echo => self.register_inline(subject, || offer::echo),
                    Role::None => self.register_trace_only(subject),
                    #[cfg(unix)]
                    Role::Process(participants) => self.register_hosted(subject, participants),
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
struct Begin {
    cast: Cast,
    on_crash: Vec<OnCrash>,
    children: Children,
    transport: Transport,
}

impl Begin {
    fn on(self, server: &impl Listening) -> Result<(), Error> {
        let Self { cast, on_crash, children, transport } = self;
        for (subject, role) in cast {
            server.register(subject, role).map_err(Error::Register)?;
        }
        for on_crash in on_crash {
            server.on_crash(on_crash).map_err(Error::Policy)?;
        }
        let (stopping, stop) = (children.clone(), server.stopper());
        let stop = move || {
            tracing::info!("stopping: clients are told to go");
            stopping.stopping();
            stop();
        };
        let end = move || {
            tracing::warn!("ended by a second signal");
            children.kill();
        };
        program::stop_on_one(stop, end).map_err(Error::Signals)?;
        announce(server.address(), transport);
        Ok(())
    }
}

/// Tells whoever started the server that it accepts connections.
fn announce(address: &Address, transport: Transport) {
    let mut out = io::stdout().lock();
    let said = writeln!(out, "{NAME} listening on {address} ({transport})").and_then(|()| out.flush());
    if let Err(error) = said {
        tracing::warn!("cannot say on stdout that {address} is served: {error}");
    }
}
