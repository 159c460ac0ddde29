//! 1,000 connections to each server that have nothing to do: the processor time that they take, and the
//! memory. All servers idle at the same time, each in a process of its own.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use liminal_smol::{Config, Handle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Failure;
use crate::process::{Used, resident};
use crate::report::{Report, Unit};
use crate::served::{Kind, Served};

const CONNECTIONS: usize = 1_000;
/// How long nothing happens.
const QUIET: Duration = Duration::from_secs(10);
/// How long a request may take, which is looked at once when it is over.
const ASK_TIME: Duration = Duration::from_secs(1);
/// After this a server has put away what a burst of connections and their requests needed.
const SETTLE: Duration = Duration::from_secs(2);
const WARM_UP: usize = 16;

/// A server and what its clients hold.
struct Crowd {
    kind: Kind,
    served: Served,
    config: Config,
    handles: Vec<Handle>,
    conversations: Vec<liminal_smol::Conversation>,
}

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    allow_files()?;
    without_keepalive(report)?;
    with_keepalive(report)
}

fn without_keepalive(report: &mut Report) -> Result<(), Failure> {
    let mut crowds = start(false)?;
    let before = residents(&crowds);
    for crowd in &mut crowds {
        crowd.connect(CONNECTIONS)?;
    }
    thread::sleep(SETTLE);
    let connected = residents(&crowds);
    for crowd in &mut crowds {
        crowd.ask_once()?;
    }
    thread::sleep(SETTLE);
    let (asked, used) = (residents(&crowds), quiet(&crowds, QUIET));
    let each = |after: f64, before: f64| (after - before) / CONNECTIONS as f64;
    let memory = before.into_iter().zip(connected).zip(asked);
    for ((crowd, used), ((before, connected), asked)) in crowds.iter().zip(used).zip(memory) {
        let label = |what: &str| format!("{}, keepalive off: {what}", crowd.kind.name());
        let bound = if crowd.kind == Kind::Blocking { 24.0 } else { 8.0 };
        report.judge(label("processor time in 10 s"), used.cpu / 1e6, Unit::Millis, 0.0)?;
        report.judge(label("wake-ups in 10 s"), used.wakes, Unit::Count, 0.0)?;
        report.judge(label("memory of each, connected"), each(connected, before), Unit::Kib, bound)?;
        report.judge(
            label("memory of each, with a conversation that asked"),
            each(asked, before),
            Unit::Kib,
            bound,
        )?;
    }
    Ok(())
}

/// Over one whole period, in which each side of each connection is asked for a sign of life once.
fn with_keepalive(report: &mut Report) -> Result<(), Failure> {
    let mut crowds = start(true)?;
    for crowd in &mut crowds {
        crowd.connect(CONNECTIONS)?;
    }
    let period = Config::default().keepalive.map_or(QUIET, |keepalive| keepalive.silence);
    thread::sleep(SETTLE);
    for (crowd, used) in crowds.iter().zip(quiet(&crowds, period)) {
        let label = |what: &str| format!("{}, keepalive on: {what}", crowd.kind.name());
        let seconds = period.as_secs_f64();
        report.tell(label("processor time in a second"), used.cpu / 1e6 / seconds, Unit::Millis)?;
        report.tell(label("wake-ups in a second"), used.wakes / seconds, Unit::Count)?;
    }
    Ok(())
}

/// Every connection has a file on both sides.
fn allow_files() -> Result<(), Failure> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

fn start(keepalive: bool) -> Result<Vec<Crowd>, Failure> {
    Kind::TRANSPORTS.into_iter().map(|kind| Crowd::start(kind, keepalive)).collect()
}

fn residents(crowds: &[Crowd]) -> Vec<f64> {
    crowds.iter().map(|crowd| resident(crowd.served.pid())).collect()
}

/// What the servers use while nothing happens.
fn quiet(crowds: &[Crowd], time: Duration) -> Vec<Used> {
    let used = || crowds.iter().map(|crowd| Used::by(crowd.served.pid()));
    let before: Vec<_> = used().collect();
    thread::sleep(time);
    used().zip(before).map(|(after, before)| after - before).collect()
}

impl Crowd {
    fn start(kind: Kind, keepalive: bool) -> Result<Self, Failure> {
        let mut config = Config::default();
        let served = if keepalive {
            Served::start(kind, 0)?
        } else {
            config.keepalive = None;
            Served::without_keepalive(kind)?
        };
        let mut this = Self { kind, served, config, handles: Vec::new(), conversations: Vec::new() };
        // What the first connections need, and every later one shares, is none of theirs.
        this.connect(WARM_UP)?;
        this.ask_once()?;
        this.handles.clear();
        thread::sleep(SETTLE);
        Ok(this)
    }

    fn connect(&mut self, connections: usize) -> Result<(), Failure> {
        smol::block_on(async {
            for _ in 0..connections {
                let connected = liminal_smol::connect_with(&self.served.address, self.config.clone());
                let (handle, driver) = connected.await?;
                smol::spawn(driver.run()).detach();
                self.handles.push(handle);
            }
            Ok(())
        })
    }

    fn ask_once(&mut self) -> Result<(), Failure> {
        smol::block_on(async {
            for handle in &self.handles {
                let conversation = handle.open("echo").await?;
                conversation.ask(Bytes::from_static(&[7; 64]), ASK_TIME).await?;
                self.conversations.push(conversation);
            }
            Ok(())
        })
    }
}
