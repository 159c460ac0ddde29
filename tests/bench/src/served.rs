//! Servers, each in a process of its own, so that client and server share nothing but the socket.

use std::env;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use liminal_blocking::{Context, Received};

use crate::bare;

/// Says that this process is to be a server.
pub(crate) const SERVE: &str = "--serve";

/// A server that runs as long as this is held.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: String,
}

impl Served {
    pub(crate) fn start(kind: &str) -> Result<Self, Box<dyn Error>> {
        let mut child =
            Command::new(env::current_exe()?).args([SERVE, kind]).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("the server has no output")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().into() })
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

/// Serves until it is killed.
pub(crate) fn serve(out: &mut impl Write, kind: &str) -> Result<(), Box<dyn Error>> {
    const ANY: &str = "127.0.0.1:0";
    match kind.split_once(':') {
        Some(("bare-std", payload)) => {
            let listener = TcpListener::bind(ANY)?;
            writeln!(out, "{}", listener.local_addr()?)?;
            bare::serve_std(&listener, payload.parse()?)
        }
        Some(("bare-smol", payload)) => {
            let listener = TcpListener::bind(ANY)?;
            writeln!(out, "{}", listener.local_addr()?)?;
            bare::serve_smol(listener, payload.parse()?)
        }
        _ => serve_liminal(out, kind, ANY),
    }
}

fn serve_liminal(out: &mut impl Write, kind: &str, any: &str) -> Result<(), Box<dyn Error>> {
    match kind {
        "blocking" => {
            let server = liminal_blocking::bind(any)?;
            server.register_inline("echo", || echo)?;
            writeln!(out, "{}", server.local_address())?;
            Ok(server.run()?)
        }
        "smol" => smol::block_on(async {
            let server = liminal_smol::bind(any).await?;
            server.register_inline("echo", || echo)?;
            writeln!(out, "{}", server.local_address())?;
            Ok(server.run().await?)
        }),
        "async-std" => async_std::task::block_on(async {
            let server = liminal_async_std::bind(any).await?;
            server.register_inline("echo", || echo)?;
            writeln!(out, "{}", server.local_address())?;
            Ok(server.run().await?)
        }),
        other => Err(format!("there is no server of the kind {other:?}").into()),
    }
}
