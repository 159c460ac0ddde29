//! `liminal watch`: the records of conversations, live.

mod json;
#[cfg(unix)]
mod reader;
mod text;
mod unanswered;

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clap::Args;
use liminal_core::{Subject, Watched};
use liminal_driver::Address;
use liminal_driver::asynchronous::{self, Driver};
use liminal_driver::client::Client;
use liminal_driver::error::{ConnectError, MonitorEnd};
use liminal_proto::Config;
use serde_json::json;

use self::unanswered::Requests;
use crate::error::Error;
use crate::program::{self, Transport};

/// Print what is said in the conversations on a subject, as it is recorded
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Which conversations: those that are opened on it; '*': all
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
    /// Print each record as a line of JSON, with all of what was said
    #[arg(long)]
    json: bool,
}

impl Watch {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<(), Error> {
        let (server, config) = (&self.server, Config::default());
        match self.transport {
            Transport::Blocking => self.block(liminal_blocking::connect_with(server, config), out),
            Transport::Smol => smol::block_on(async {
                let connected = liminal_smol::connect_with(server, config).await;
                self.wait(connected, out).await
            }),
            Transport::AsyncStd => async_std::task::block_on(async {
                let connected = liminal_async_std::connect_with(server, config).await;
                self.wait(connected, out).await
            }),
        }
    }

    fn block(
        &self,
        connected: Result<(liminal_blocking::Handle, liminal_blocking::Driver), ConnectError>,
        out: &mut impl Write,
    ) -> Result<(), Error> {
        let (handle, driver) = connected.map_err(Error::Connect)?;
        // It minds the time when a signal has come and the server does not answer.
        thread::Builder::new().name("driver".into()).spawn(move || driver.run()).map_err(Error::Thread)?;
        let watch = handle.watch(self.subject()).map_err(Error::Watching)?;
        let (stopping, stopped) = (handle.clone(), Stopped::default());
        stopped.when_told(move || stopping.act(Client::disconnect))?;
        let mut printer = self.begin(out)?;
        loop {
            match watch.next() {
                Ok(watched) => printer.print(&watched)?,
                Err(end) => return stopped.end(end),
            }
        }
    }

    async fn wait(
        &self,
        connected: Result<(asynchronous::Handle, Driver), ConnectError>,
        out: &mut impl Write,
    ) -> Result<(), Error> {
        let (handle, driver) = connected.map_err(Error::Connect)?;
        // On a thread of its own: it reads on while whoever reads along does not.
        thread::Builder::new()
            .name("driver".into())
            .spawn(move || smol::block_on(driver.run()))
            .map_err(Error::Thread)?;
        let watch = handle.watch(self.subject()).await.map_err(Error::Watching)?;
        let (stopping, stopped) = (handle.clone(), Stopped::default());
        stopped.when_told(move || stopping.act(Client::disconnect))?;
        let mut printer = self.begin(out)?;
        loop {
            match watch.next().await {
                Ok(watched) => printer.print(&watched)?,
                Err(end) => return stopped.end(end),
            }
        }
    }

    /// Says that it watches.
    fn begin<'a, W: Write>(&self, out: &'a mut W) -> Result<Printer<'a, W>, Error> {
        let mut printer = Printer { out, json: self.json, requests: Requests::default() };
        if self.json {
            let subject = if self.subject == "*" { None } else { Some(&*self.subject) };
            printer
                .line(json!({ "what": "watching", "subject": subject, "server": self.server.to_string() }))?;
        } else {
            printer.line(format_args!("liminal watching {self}"))?;
        }
        Ok(printer)
    }

    fn subject(&self) -> Subject {
        match &*self.subject {
            "*" => Subject::Any,
            subject => subject.into(),
        }
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, transport, .. } = self;
        match self.subject() {
            Subject::Any => f.write_str("every subject")?,
            subject @ Subject::Exact(_) => program::Line(subject).fmt(f)?,
        }
        write!(f, " at {server} ({transport})")
    }
}

/// Whether a signal has ended it, or the end of whoever reads its output.
#[derive(Clone, Default)]
struct Stopped(Arc<AtomicBool>);

impl Stopped {
    fn when_told(&self, stop: impl Fn() + Clone + Send + 'static) -> Result<(), Error> {
        let stopped = self.clone();
        let stop = move || {
            stopped.0.store(true, Ordering::Release);
            stop();
        };
        #[cfg(unix)]
        reader::when_gone(stop.clone()).map_err(Error::Thread)?;
        program::stop_on_one(stop, || ()).map_err(Error::Signals)
    }

    /// Nothing more is told.
    fn end(&self, end: MonitorEnd) -> Result<(), Error> {
        if self.0.load(Ordering::Acquire) { Ok(()) } else { Err(Error::Watched(end)) }
    }
}

/// Prints what is told, line by line.
struct Printer<'a, W> {
    out: &'a mut W,
    json: bool,
    requests: Requests,
}

impl<W: Write> Printer<'_, W> {
    fn print(&mut self, watched: &Watched) -> Result<(), Error> {
        let unanswered = self.requests.after(watched);
        if self.json {
            self.line(json::of(watched, &unanswered))
        } else {
            self.line(program::Line(text::of(watched, &unanswered)))
        }
    }

    /// Whoever reads along reads every line at once.
    fn line(&mut self, line: impl fmt::Display) -> Result<(), Error> {
        writeln!(self.out, "{line}").and_then(|()| self.out.flush()).map_err(Error::output)
    }
}
