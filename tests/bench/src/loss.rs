//! A process that serves is killed with conversations open on it: how long it takes until everyone who spoke
//! with it is told, against a bare relay that pushes a notice when the connection of its responder ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use liminal_blocking::Handle;
use liminal_proto::{Event, OnExit, Terms};
use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;
use crate::ask::TIMEOUT;
use crate::peer::{self, LiminalPeer, Peer as _};
use crate::relay::SUBJECT;
use crate::report::{Report, Unit};
use crate::served::{Kind, Served};
use crate::stats::{Samples, Times};

/// How often a responder is killed, with so many conversations open on it.
const KILLS: [(usize, usize); 3] = [(1, 200), (100, 20), (10_000, 5)];
/// How long after the last was opened it is killed: it waits for nothing by then.
const PAUSE: Duration = Duration::from_millis(5);
/// How long another connection asks before and around a kill.
const WINDOW: Duration = Duration::from_millis(100);

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    let bare = bare_notices()?;
    report.tell("bare relay, 1 connection: p50", bare.micros(50), Unit::Micros)?;
    report.tell("bare relay, 1 connection: p99", bare.micros(99), Unit::Micros)?;
    for kind in Kind::TRANSPORTS {
        let server = Served::relay(kind, 64)?;
        for (conversations, kills) in KILLS {
            let mut losses = Losses::default();
            for _ in 0..kills {
                losses.add(lose(&server.address, conversations)?);
            }
            losses.tell(report, kind, conversations, &bare)?;
        }
        let moved = moves(&server.address)?;
        let label = |what| format!("{}, a request moves to a second responder: {what}", kind.name());
        report.tell(label("p50"), moved.micros(50), Unit::Micros)?;
        report.tell(label("p99"), moved.micros(99), Unit::Micros)?;
    }
    Ok(())
}

/// What one kill came to.
struct Loss {
    /// From the kill to each notice.
    notices: Vec<Duration>,
    /// What requests on another connection took before it, and around it.
    before: Vec<Duration>,
    around: Vec<Duration>,
}

#[derive(Default)]
struct Losses {
    notices: Vec<Duration>,
    last: Vec<Duration>,
    before: Vec<Duration>,
    around: Vec<Duration>,
}

impl Losses {
    fn add(&mut self, loss: Loss) {
        self.last.extend(loss.notices.iter().max());
        self.notices.extend(loss.notices);
        self.before.extend(loss.before);
        self.around.extend(loss.around);
    }

    fn tell(self, report: &mut Report, kind: Kind, many: usize, bare: &Samples) -> Result<(), Failure> {
        let label = |what: &str| format!("{}, {many} conversations: {what}", kind.name());
        let (notices, last) = (Samples::of(self.notices), Samples::of(self.last));
        report.tell(label("p50"), notices.micros(50), Unit::Micros)?;
        match many {
            1 => {
                report.tell(label("p99"), notices.micros(99), Unit::Micros)?;
                let ratio = notices.micros(50) / bare.micros(50);
                report.judge_pinned(label("p50 against the bare relay"), ratio, Unit::Ratio, 1.25)
            }
            100 => report.judge(label("p99"), notices.micros(99), Unit::Micros, 2_000.0),
            _ => {
                report.tell(label("p99"), notices.micros(99), Unit::Micros)?;
                report.judge(label("the last"), last.micros(99) / 1e3, Unit::Millis, 50.0)?;
                let (before, around) = (Samples::of(self.before), Samples::of(self.around));
                report.tell(label("p99 of another connection before"), before.micros(99), Unit::Micros)?;
                let ratio = around.micros(99) / before.micros(99);
                report.judge(label("p99 of it meanwhile, against before"), ratio, Unit::Ratio, 2.0)
            }
        }
    }
}

/// Opens conversations with a responder, kills it, and hears of every one of them.
fn lose(address: &str, conversations: usize) -> Result<Loss, Failure> {
    let responder = Served::responder(Kind::Blocking, address, 64)?;
    let mut asker = LiminalPeer::open(peer::dial(address)?, SUBJECT, 64, conversations)?;
    let bystander = liminal_blocking::connect_and_spawn(address)?;
    let watches = conversations > 100;
    thread::sleep(PAUSE);
    let before = if watches { ask_for(&bystander, WINDOW)? } else { Vec::new() };
    let (killed, notices, around) = thread::scope(|scope| {
        let around = scope.spawn(|| if watches { ask_for(&bystander, WINDOW) } else { Ok(Vec::new()) });
        let killed = Instant::now();
        kill(&responder)?;
        let mut notices = Vec::with_capacity(conversations);
        while notices.len() < conversations {
            asker.hear(|event| {
                if let Event::Exited { .. } = event {
                    notices.push(Instant::now());
                }
            })?;
        }
        let around = around.join().map_err(|_| "the bystander panicked")??;
        Ok::<_, Failure>((killed, notices, around))
    })?;
    let notices = notices.into_iter().map(|at| at.duration_since(killed)).collect();
    Ok(Loss { notices, before, around })
}

/// What requests take that are asked one after the other for so long.
fn ask_for(handle: &Handle, time: Duration) -> Result<Vec<Duration>, Failure> {
    let conversation = handle.open("echo")?;
    let until = Instant::now() + time;
    let mut times = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        conversation.ask("anything", TIMEOUT)?;
        times.push(asked.elapsed());
    }
    Ok(times)
}

/// From the kill of a responder that was asked something to the reply of another one.
fn moves(address: &str) -> Result<Samples, Failure> {
    const KILLS: usize = 50;
    let mut times = Times::with_capacity(KILLS);
    for _ in 0..KILLS {
        let first = Served::silent_responder(address)?;
        let mut asker = LiminalPeer::open(peer::dial(address)?, SUBJECT, 64, 0)?;
        asker.open_on(SUBJECT, Terms { on_exit: OnExit::Next, ..Terms::default() })?;
        let second = Served::responder(Kind::Blocking, address, 64)?;
        asker.ask(1)?;
        thread::sleep(PAUSE);
        times.start();
        kill(&first)?;
        let mut replied = false;
        while !replied {
            asker.hear(|event| replied |= matches!(event, Event::Reply(_)))?;
        }
        times.stop();
        drop(second);
    }
    Ok(times.samples())
}

/// From the kill to the notice of a bare relay.
fn bare_notices() -> Result<Samples, Failure> {
    let (_, kills) = KILLS.first().copied().unwrap_or_default();
    let mut times = Times::with_capacity(kills);
    for _ in 0..kills {
        let relay = Served::relay(Kind::BareStd, 64)?;
        let responder = Served::responder(Kind::BareStd, &relay.address, 64)?;
        let mut asker = TcpStream::connect(&relay.address)?;
        asker.write_all(&crate::bare::request(64))?;
        asker.read_exact(&mut crate::bare::reply(64))?;
        thread::sleep(PAUSE);
        times.start();
        kill(&responder)?;
        asker.read_exact(&mut [0; crate::bare::NOTICE])?;
        times.stop();
    }
    Ok(times.samples())
}

fn kill(served: &Served) -> Result<(), Failure> {
    let pid = i32::try_from(served.pid()).ok().and_then(Pid::from_raw).ok_or("a process without an id")?;
    Ok(kill_process(pid, Signal::KILL)?)
}
