//! Servers, each in a process of its own, so that client and server share nothing but the socket.

use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{self, Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use liminal_blocking::{Context, Participant, Received, ServerOptions};

use crate::relay::SUBJECT;
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
    /// Pass requests on to the first connection, where that must be said; a server of ours does it for whoever
    /// serves.
    #[arg(long)]
    relay: bool,
}

/// How to serve on a connection to a server.
#[derive(Clone, Debug, Args)]
pub(crate) struct Respond {
    kind: Kind,
    address: String,
    /// The length of every payload, which a bare responder must know.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// Never reply.
    #[arg(long)]
    silent: bool,
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

    /// One that passes requests on to whoever serves them, for one asker if it is bare.
    pub(crate) fn relay(kind: Kind, payload: usize) -> Result<Self, Failure> {
        Self::with(&["serve", &kind.value(), "--payload", &payload.to_string(), "--relay"])
    }

    /// The same with one request at a time, with which a bare relay has an even easier time.
    pub(crate) fn relay_alone(kind: Kind, payload: usize) -> Result<Self, Failure> {
        Self::with(&["serve", &kind.value(), "--payload", &payload.to_string(), "--relay", "--alone"])
    }

    /// One that serves on a connection to a relay: an echo for payloads of this length.
    pub(crate) fn responder(kind: Kind, address: &str, payload: usize) -> Result<Self, Failure> {
        Self::with(&["respond", &kind.value(), address, "--payload", &payload.to_string()])
    }

    /// The same that never replies.
    pub(crate) fn silent_responder(address: &str) -> Result<Self, Failure> {
        Self::with(&["respond", &Kind::Blocking.value(), address, "--silent"])
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
            Kind::BareStd if self.relay && self.alone => bare::relay_std_alone(&listen()?, self.payload),
            Kind::BareStd if self.relay => bare::relay_std(&listen()?),
            Kind::BareSmol if self.relay && self.alone => bare::relay_smol_alone(listen()?, self.payload),
            Kind::BareSmol if self.relay => bare::relay_smol(listen()?),
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

impl Respond {
    /// Serves until its stdin is closed or it is killed.
    pub(crate) fn run(self) -> Result<(), Failure> {
        thread::Builder::new().name("control".into()).spawn(|| obey(None))?;
        let participant = move || {
            let silent = self.silent;
            move |context: &mut Context<'_>, message: Received| {
                if silent {
                    context.wake_after(Duration::from_secs(3600));
                } else {
                    context.reply(message.payload);
                }
            }
        };
        match self.kind {
            Kind::BareStd => respond_with(bare::respond_std(&self.address, self.payload)?),
            Kind::BareSmol => respond_with(bare::respond_smol(&self.address, self.payload)?),
            Kind::Blocking => {
                let (handle, driver) = liminal_blocking::connect(&self.address)?;
                let driving = thread::spawn(|| driver.run());
                let _service = handle.serve_inline(SUBJECT, participant, CAPACITY)?;
                announce("serving")?;
                driving.join().map_err(|_| "the driver panicked")?;
                Ok(())
            }
            Kind::Smol => smol::block_on(async {
                respond(liminal_smol::connect(&self.address).await?, participant).await
            }),
            Kind::AsyncStd => async_std::task::block_on(async {
                respond(liminal_async_std::connect(&self.address).await?, participant).await
            }),
        }
    }
}

/// The driver runs in the same task as what uses its handle.
async fn respond<P: Participant + 'static>(
    (handle, driver): (liminal_smol::Handle, liminal_smol::Driver),
    participant: impl Fn() -> P + Send + Sync + 'static,
) -> Result<(), Failure> {
    let serving = async {
        let _service = handle.serve_inline(SUBJECT, participant, CAPACITY).await?;
        announce("serving")?;
        std::future::pending().await
    };
    let driven = async {
        driver.run().await;
        Ok(())
    };
    smol::future::or(serving, driven).await
}

fn respond_with(respond: impl FnOnce()) -> Result<(), Failure> {
    announce("serving")?;
    respond();
    Ok(())
}

/// As many conversations as a connection can have.
const CAPACITY: u32 = 16_384;

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
