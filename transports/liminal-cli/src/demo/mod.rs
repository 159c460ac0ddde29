//! `liminal demo`: what liminal is for, shown in a second.

mod conversations;
#[cfg(unix)]
mod death;
#[cfg(unix)]
mod rivals;

use std::fmt;
use std::io::Write;
use std::time::Duration;

use clap::{Args, ValueEnum as _};

use crate::error::Error;
use crate::program::Transport;

/// Where the servers of the demo listen: on a free port, for this machine alone.
const LOOPBACK: &str = "127.0.0.1:0";

/// How long an answer may take. It takes microseconds; when it does not, something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

const INTRODUCTION: &str = "\
liminal is a messaging bus whose unit is the conversation. Everything below happens now, over real sockets of
this machine.

1. Whoever opens a conversation has a participant of its own, which remembers what was said. It is the
   same on every transport:
";

#[cfg(unix)]
const DEATH: &str = "
2. A participant can be a process. This one is asked something, and killed before it can answer:
";

#[cfg(unix)]
const RIVALS: &str = "
3. Any client can be a participant. Two processes serve one subject, and the one that is asked is killed.
   Whoever opens a conversation says whether it fails then, or goes on with the next:
";

#[cfg(unix)]
const CONCLUSION: &str = "
Nobody polled, and no time ran out: a death is an event, told at once to whoever waits.";

const GOING_ON: &str = "
To go on: liminal-server --help, liminal ask --help, liminal respond --help";

/// See conversations on every transport, and a death that is told at once
#[derive(Debug, Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<(), Error> {
        say(out, INTRODUCTION)?;
        for &transport in Transport::value_variants() {
            let mut name = transport.to_string();
            for exchange in conversations::hold(transport)? {
                say(out, format_args!("   {name:9}  {exchange}"))?;
                name.clear();
            }
        }
        #[cfg(unix)]
        {
            say(out, DEATH)?;
            say(out, death::witness()?)?;
            say(out, RIVALS)?;
            say(out, rivals::witness()?)?;
            say(out, CONCLUSION)?;
        }
        say(out, GOING_ON)
    }
}

/// Shows something at once, and not when everything is over.
fn say(out: &mut impl Write, what: impl fmt::Display) -> Result<(), Error> {
    writeln!(out, "{what}").and_then(|()| out.flush()).map_err(Error::output)
}

#[cfg(unix)]
fn text(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).into_owned()
}

/// A short time, as people compare it.
fn micros(time: Duration) -> String {
    format!("{} µs", time.as_micros())
}
