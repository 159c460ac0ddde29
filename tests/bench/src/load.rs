//! 64 conversations on 8 connections, each with one request under way, against bare echoes of the same
//! shape. The client is the cheapest there can be, so that the figures are the server's.

use std::thread;
use std::time::Instant;

use crate::Failure;
use crate::peer::{self, Peer};
use crate::process::{Syscalls, Used};
use crate::report::{Report, Unit};
use crate::served::{Kind, Served};
use crate::stats::median;

const CONNECTIONS: usize = 8;
const CONVERSATIONS: usize = 64;
const PAYLOAD: usize = 64;
const ROUNDS: usize = 5;
pub(crate) const REQUESTS: usize = 64_000;

/// A server and its clients.
pub(crate) struct Rig {
    pub(crate) served: Served,
    peers: Vec<Box<dyn Peer>>,
}

/// What one request took, on average.
struct Taken {
    per_second: f64,
    /// The processor time of the server in nanoseconds.
    cpu: f64,
    wakes: f64,
}

impl Rig {
    pub(crate) fn start(kind: Kind) -> Result<Self, Failure> {
        let served = Served::start(kind, PAYLOAD)?;
        let connect = |_| peer::connect(kind, &served.address, "echo", PAYLOAD, CONVERSATIONS / CONNECTIONS);
        let peers = (0..CONNECTIONS).map(connect).collect::<Result<_, _>>()?;
        let mut this = Self { served, peers };
        this.burst()?;
        Ok(this)
    }

    /// [`REQUESTS`] requests and their replies, spread evenly over the connections.
    pub(crate) fn burst(&mut self) -> Result<(), Failure> {
        thread::scope(|scope| {
            let workers: Vec<_> = self
                .peers
                .iter_mut()
                .map(|peer| {
                    let mut left = REQUESTS / CONNECTIONS;
                    scope.spawn(move || {
                        peer::exchange(&mut **peer, || {
                            let more = left > 0;
                            left = left.saturating_sub(1);
                            more
                        })
                    })
                })
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a client panicked")?)
        })
    }

    fn take(&mut self) -> Result<Taken, Failure> {
        let (pid, requests) = (self.served.pid(), REQUESTS as f64);
        let (before, started) = (Used::by(pid), Instant::now());
        self.burst()?;
        let (time, used) = (started.elapsed(), Used::by(pid) - before);
        let per_second = requests / time.as_secs_f64();
        Ok(Taken { per_second, cpu: used.cpu / requests, wakes: used.wakes / requests })
    }

    /// System calls of the server for each request. Not timed: counting costs time.
    fn syscalls(&mut self) -> Result<f64, Failure> {
        let counting = Syscalls::count(self.served.pid());
        self.burst()?;
        let counted = counting.and_then(Syscalls::stop).unwrap_or(f64::NAN);
        Ok(counted / REQUESTS as f64)
    }
}

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    let mut rigs = Vec::new();
    for kind in Kind::ALL {
        rigs.push((kind, Rig::start(kind)?, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, rig, rounds) in &mut rigs {
            rounds.push(rig.take()?);
        }
    }
    let rounds_of = |of: Kind| rigs.iter().find(|(kind, ..)| *kind == of).map(|(.., rounds)| rounds);
    let ratio = |kind: Kind, figure: &dyn Fn(&Taken) -> f64| {
        let pairs = rounds_of(kind).into_iter().flatten().zip(rounds_of(kind.bare()).into_iter().flatten());
        median(pairs.map(|(own, bare)| figure(own) / figure(bare)).collect())
    };
    let mut lines = Vec::new();
    for (kind, _, rounds) in &rigs {
        let of = |figure: &dyn Fn(&Taken) -> f64| median(rounds.iter().map(figure).collect());
        lines.push((
            *kind,
            [of(&|it| it.per_second), of(&|it| it.cpu), of(&|it| it.wakes)],
            [ratio(*kind, &|it| it.per_second), ratio(*kind, &|it| it.cpu)],
        ));
    }
    for ((_, rig, _), (kind, [per_second, cpu, wakes], [against, cpu_against])) in rigs.iter_mut().zip(lines)
    {
        let label = |what: &str| format!("{}: {what}", kind.name());
        let bare = kind.bare().name();
        report.tell(label("requests"), per_second, Unit::PerSecond)?;
        report.tell(label("processor time of the server, each"), cpu, Unit::Nanos)?;
        report.tell(label("system calls of the server, each"), rig.syscalls()?, Unit::Count)?;
        report.tell(label("wake-ups of the server, each"), wakes, Unit::Count)?;
        if !kind.is_bare() {
            report.tell(label(&format!("requests against {bare}")), against, Unit::Ratio)?;
            report.tell(label(&format!("processor time against {bare}")), cpu_against, Unit::Ratio)?;
        }
    }
    Ok(())
}
