//! `liminal respond`: a subject that is served from the shell.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
#[cfg(unix)]
use std::time::{Duration, Instant};

use clap::Args;
use futures_lite::future;
use liminal_core::Subject;
use liminal_core::participant::{Context, Received};
use liminal_driver::Address;
use liminal_driver::asynchronous::{self, Driver};
use liminal_driver::client::{Reconnect, Standing};
use liminal_driver::error::{ConnectError, ServiceEnd};
use liminal_driver::server::Kind;
#[cfg(unix)]
use liminal_process::{Command, Options, Processes, Protocol};
use liminal_proto::Config;

use crate::command::NAME;
use crate::error::Error;
use crate::program::{self, Transport};

/// How long child processes have to end when nothing is served any more.
#[cfg(unix)]
const ENDING: Duration = Duration::from_secs(3);

/// Serve a subject, with an echo or a command
#[derive(Debug, Args)]
pub(crate) struct Respond {
    /// What to serve; '*': every subject that nobody serves by name
    subject: String,
    /// The server: HOST, HOST:PORT, [IPV6]:PORT or unix:PATH
    #[arg(
        long,
        value_name = "ADDR",
        default_value_t = Address::default(),
        value_parser = program::address
    )]
    server: Address,
    /// What moves the bytes; the outcome is the same
    #[arg(long, value_enum, default_value_t = Transport::Blocking)]
    transport: Transport,
    /// How many conversations at a time
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    capacity: u32,
    /// End when the connection is lost, instead of trying until it is there again
    #[arg(long)]
    no_reconnect: bool,
    /// The command speaks frames instead of lines
    #[cfg(unix)]
    #[arg(long, requires = "command", conflicts_with = "per_message")]
    frames: bool,
    /// The command is started for each message: the payload is its stdin, all of its stdout the reply
    #[cfg(unix)]
    #[arg(long, requires = "command")]
    per_message: bool,
    /// A program and its arguments, started for each conversation; without it, an echo
    #[cfg(unix)]
    #[arg(last = true)]
    command: Vec<String>,
}

impl Respond {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<(), Error> {
        let (kind, children) = self.kind()?;
        let served = self.serve(kind, &children, out);
        children.close();
        if children.are_killed() {
            return Err(Error::EndedAtOnce);
        }
        match served? {
            ServiceEnd::Withdrawn => Ok(()),
            end => Err(Error::Served(end)),
        }
    }

    fn serve(&self, kind: Kind, children: &Children, out: &mut impl Write) -> Result<ServiceEnd, Error> {
        let (server, config) = (&self.server, Config::default());
        match self.transport {
            Transport::Blocking => {
                let connected = liminal_blocking::connect_with(server, config);
                self.block(connected, kind, children, out)
            }
            Transport::Smol => smol::block_on(async {
                let connected = liminal_smol::connect_with(server, config).await;
                self.wait(connected, kind, children, out).await
            }),
            Transport::AsyncStd => async_std::task::block_on(async {
                let connected = liminal_async_std::connect_with(server, config).await;
                self.wait(connected, kind, children, out).await
            }),
        }
    }

    fn block(
        &self,
        connected: Result<(liminal_blocking::Handle, liminal_blocking::Driver), ConnectError>,
        kind: Kind,
        children: &Children,
        out: &mut impl Write,
    ) -> Result<ServiceEnd, Error> {
        let (handle, driver) = connected.map_err(Error::Connect)?;
        let driver = thread::Builder::new().name("driver".into()).spawn(move || driver.run());
        let driver = driver.map_err(Error::Thread)?;
        if let Some(how) = self.reconnect() {
            handle.reconnect(how).map_err(Error::Reconnect)?;
        }
        let service = Arc::new(handle.serve(self.subject(), kind, self.capacity).map_err(Error::Serving)?);
        let draining = Arc::clone(&service);
        self.begin(move || draining.drain(), children, out)?;
        let mut watch = Watch::new(self);
        let end = loop {
            match watch.ended(service.standing()) {
                Some(end) => break end,
                None => drop(service.standing_changed(&watch.standing)),
            }
        };
        handle.disconnect();
        // Its participants have left then. How the connection ended is known, and a panic was reported.
        let _ = driver.join();
        Ok(end)
    }

    async fn wait(
        &self,
        connected: Result<(asynchronous::Handle, Driver), ConnectError>,
        kind: Kind,
        children: &Children,
        out: &mut impl Write,
    ) -> Result<ServiceEnd, Error> {
        let (handle, driver) = connected.map_err(Error::Connect)?;
        let serving = async {
            let end = self.until_it_ends(&handle, kind, children, out).await;
            handle.disconnect().await;
            end
        };
        // Its participants have left when the driver has ended.
        future::zip(serving, driver.run()).await.0
    }

    async fn until_it_ends(
        &self,
        handle: &asynchronous::Handle,
        kind: Kind,
        children: &Children,
        out: &mut impl Write,
    ) -> Result<ServiceEnd, Error> {
        if let Some(how) = self.reconnect() {
            handle.reconnect(how).map_err(Error::Reconnect)?;
        }
        let service = handle.serve(self.subject(), kind, self.capacity).await.map_err(Error::Serving)?;
        let service = Arc::new(service);
        let draining = Arc::clone(&service);
        self.begin(move || draining.drain(), children, out)?;
        let mut watch = Watch::new(self);
        loop {
            match watch.ended(service.standing()) {
                Some(end) => return Ok(end),
                None => drop(service.standing_changed(&watch.standing).await),
            }
        }
    }

    fn subject(&self) -> Subject {
        match &*self.subject {
            "*" => Subject::Any,
            subject => subject.into(),
        }
    }

    fn reconnect(&self) -> Option<Reconnect> {
        (!self.no_reconnect).then(Reconnect::default)
    }

    /// Says that it serves, and has a signal end that.
    fn begin(
        &self,
        drain: impl FnOnce() + Send + 'static,
        children: &Children,
        out: &mut impl Write,
    ) -> Result<(), Error> {
        let children = children.clone();
        program::stop_on_one(drain, move || children.kill()).map_err(Error::Signals)?;
        writeln!(out, "liminal serving {self}").and_then(|()| out.flush()).map_err(Error::output)
    }

    #[cfg(unix)]
    fn kind(&self) -> Result<(Kind, Children), Error> {
        if self.command.is_empty() {
            return Ok((echo(), Children::default()));
        }
        let protocol = match (self.frames, self.per_message) {
            (true, _) => Protocol::Frames,
            (false, true) => Protocol::PerMessage,
            (false, false) => Protocol::Lines,
        };
        let command = Command::of_words(protocol, self.command.iter().cloned()).map_err(Error::Command)?;
        command.check().map_err(Error::NotStartable)?;
        let processes_max = usize::try_from(self.capacity).unwrap_or(usize::MAX);
        let options = Options { processes_max, ..Options::default() };
        let processes = Processes::start(options).map_err(Error::Thread)?;
        let kind = Kind::Hosted(Arc::new(processes.serve(command)));
        Ok((kind, Children { processes: Some(processes), ..Children::default() }))
    }

    #[cfg(not(unix))]
    fn kind(&self) -> Result<(Kind, Children), Error> {
        Ok((echo(), Children::default()))
    }
}

impl fmt::Display for Respond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, transport, .. } = self;
        write!(f, "{} at {server} ({transport})", program::Line(self.subject()))
    }
}

/// Tells whoever started the command when the connection is lost, and when the subject is served again.
struct Watch<'a> {
    respond: &'a Respond,
    /// How the service stood last.
    standing: Standing,
}

impl<'a> Watch<'a> {
    const fn new(respond: &'a Respond) -> Self {
        Self { respond, standing: Standing::Serving { connection: 1 } }
    }

    /// This is how it stands now. Says how it ended, if it has.
    fn ended(&mut self, now: Standing) -> Option<ServiceEnd> {
        let before = std::mem::replace(&mut self.standing, now);
        match (before, &self.standing) {
            (_, Standing::Ended(end)) => return Some(end.clone()),
            (Standing::Serving { .. }, Standing::Interrupted { lost }) => {
                program::complain(NAME, format_args!("connection lost: {lost}; trying again"));
            }
            (Standing::Interrupted { .. }, Standing::Serving { .. }) => self.say_again(),
            // It was back before anybody looked.
            (before @ Standing::Serving { .. }, now @ Standing::Serving { .. }) if before != *now => {
                program::complain(NAME, "connection lost");
                self.say_again();
            }
            _ => {}
        }
        None
    }

    fn say_again(&self) {
        program::complain(NAME, format_args!("serving {} again", self.respond));
    }
}

fn echo() -> Kind {
    Kind::Inline(Arc::new(|| |context: &mut Context<'_>, message: Received| context.reply(message.payload)))
}

/// The child processes, if there are any.
#[derive(Clone, Default)]
struct Children {
    #[cfg(unix)]
    processes: Option<Processes>,
    /// A second signal has come.
    killed: Arc<AtomicBool>,
}

impl Children {
    /// Nothing is served any more: waits for them, and kills those that take too long.
    fn close(&self) {
        #[cfg(unix)]
        self.close_by(Instant::now() + ENDING);
    }

    /// There is no time left.
    fn kill(&self) {
        // Before they are: what that brings about is no end in good order.
        self.killed.store(true, Ordering::Release);
        #[cfg(unix)]
        self.close_by(Instant::now());
    }

    fn are_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    #[cfg(unix)]
    fn close_by(&self, deadline: Instant) {
        if let Some(processes) = &self.processes {
            // What has not ended although it was killed, nobody here can end.
            let _ = processes.close(deadline);
        }
    }
}
