//! Servers, each in a process of its own, so that client and server share nothing but the socket.

use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{self, Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use clap::{Args, ValueEnum};
use liminal_blocking::{Context, Received, ServerOptions};

use crate::{Counter, Failure, bare};

/// What serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    BareStd,
    BareSmol,
    Blocking,
    Smol,
    AsyncStd,
}

impl Kind {
    /// In the order in which they are shown.
    pub(crate) const ALL: [Self; 5] =
        [Self::BareStd, Self::BareSmol, Self::Blocking, Self::Smol, Self::AsyncStd];
    pub(crate) const TRANSPORTS: [Self; 3] = [Self::Blocking, Self::Smol, Self::AsyncStd];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BareStd => "bare std",
            Self::BareSmol => "bare smol",
            Self::Blocking => "blocking",
            Self::Smol => "smol",
            Self::AsyncStd => "async-std",
        }
    }

    /// The name for a command line.
    pub(crate) fn value(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The bare program of the same sort: what a runtime itself costs is not ours.
    pub(crate) const fn bare(self) -> Self {
        match self {
            Self::BareStd | Self::Blocking => Self::BareStd,
            Self::BareSmol | Self::Smol | Self::AsyncStd => Self::BareSmol,
        }
    }

    pub(crate) const fn is_bare(self) -> bool {
        matches!(self, Self::BareStd | Self::BareSmol)
    }
}

/// How to serve.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Serve {
    kind: Kind,
    /// The length of every payload, which a bare server must know.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// Serve one connection at a time, where that takes less; a server of ours never does.
    #[arg(long)]
    alone: bool,
    /// Never ask a silent client for a sign of life.
    #[arg(long)]
    no_keepalive: bool,
}

/// A server that runs as long as this is held.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Served {
    /// An echo for payloads of this length.
    pub(crate) fn start(kind: Kind, payload: usize) -> Result<Self, Failure> {
        Self::with(&["serve", &kind.value(), "--payload", &payload.to_string()])
    }

    /// The same for one client, with which a bare server has an even easier time.
    pub(crate) fn alone(kind: Kind, payload: usize) -> Result<Self, Failure> {
        Self::with(&["serve", &kind.value(), "--payload", &payload.to_string(), "--alone"])
    }

    /// An echo that leaves silent clients alone.
    pub(crate) fn without_keepalive(kind: Kind) -> Result<Self, Failure> {
        Self::with(&["serve", &kind.value(), "--no-keepalive"])
    }

    /// The program liminal-server with these arguments.
    pub(crate) fn liminal_server(arguments: &[&str]) -> Result<Self, Failure> {
        let mut this = Self::with(&[&["liminal-server", "--", "liminal-server"], arguments].concat())?;
        let address = this.address.split_whitespace().nth(3).ok_or("liminal-server does not listen")?;
        this.address = address.to_owned();
        Ok(this)
    }

    fn with(arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or("the server has no input")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("the server has no output")?);
        let mut this = Self { child, stdin, stdout, address: String::new() };
        this.address = this.read_line()?;
        Ok(this)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How often it has asked for memory so far.
    pub(crate) fn allocations(&mut self) -> Result<f64, Failure> {
        writeln!(self.stdin)?;
        Ok(self.read_line()?.parse()?)
    }

    fn read_line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line)? {
            0 => Err("the server ended".into()),
            _ => Ok(line.trim().into()),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn echo(context: &mut Context<'_>, message: Received) {
    context.reply(message.payload);
}

impl Serve {
    /// Serves until its stdin is closed or it is killed.
    pub(crate) fn run(self, counter: Option<Counter>) -> Result<(), Failure> {
        thread::Builder::new().name("control".into()).spawn(move || obey(counter))?;
        match self.kind {
            Kind::BareStd => bare::serve_std(&listen()?, self.payload),
            Kind::BareSmol if self.alone => bare::serve_smol_alone(listen()?, self.payload),
            Kind::BareSmol => bare::serve_smol(listen()?, self.payload),
            Kind::Blocking => {
                let server = liminal_blocking::bind_with(ANY, self.options())?;
                server.register_inline("echo", || echo)?;
                announce(server.local_address())?;
                Ok(server.run()?)
            }
            Kind::Smol => smol::block_on(async {
                let server = liminal_smol::bind_with(ANY, self.options()).await?;
                server.register_inline("echo", || echo)?;
                announce(server.local_address())?;
                Ok(server.run().await?)
            }),
            Kind::AsyncStd => async_std::task::block_on(async {
                let server = liminal_async_std::bind_with(ANY, self.options()).await?;
                server.register_inline("echo", || echo)?;
                announce(server.local_address())?;
                Ok(server.run().await?)
            }),
        }
    }

    fn options(self) -> ServerOptions {
        let mut options = ServerOptions::default();
        if self.no_keepalive {
            options.connection.keepalive = None;
        }
        options
    }
}

const ANY: &str = "127.0.0.1:0";

fn listen() -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(ANY)?;
    announce(listener.local_addr()?)?;
    Ok(listener)
}

fn announce(address: impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stdout(), "{address}")
}

/// Answers each line of stdin with the count of allocations, and ends the process with its stdin.
fn obey(counter: Option<Counter>) {
    for _ in io::stdin().lines().map_while(Result::ok) {
        let counted = counter.map_or_else(|| "NaN".into(), |counter| counter().to_string());
        if writeln!(io::stdout(), "{counted}").is_err() {
            break;
        }
    }
    process::exit(0);
}
