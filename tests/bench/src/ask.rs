//! A request to an inline echo on each transport, against bare ping-pongs of the same bytes: one over std,
//! the fastest there is, and one over smol, because what a runtime itself adds is not ours. Client and
//! server are processes of their own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::report::{Report, Unit};
use crate::served::{Kind, Served};
use crate::stats::{Samples, Times, median, try_sample};
use crate::{Failure, bare};

const ROUNDS: usize = 7;
const WARM_UP: usize = 500;
const REQUESTS: usize = 5_000;
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// One way to ask, connected.
pub(crate) trait Asker {
    fn measure(&mut self, payload: &Bytes, count: usize) -> Result<Samples, Failure>;
}

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    for payload in [64, 1024] {
        table(report, payload)?;
    }
    Ok(())
}

fn table(report: &mut Report, len: usize) -> Result<(), Failure> {
    let payload = Bytes::from(vec![7; len]);
    let mut askers: Vec<(Kind, Box<dyn Asker>)> = Vec::new();
    for kind in Kind::ALL {
        let mut asker = asker(kind, Served::alone(kind, len)?, "echo", len)?;
        asker.measure(&payload, WARM_UP)?;
        askers.push((kind, asker));
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = Vec::new();
        for (kind, asker) in &mut askers {
            round.push((*kind, asker.measure(&payload, REQUESTS)?));
        }
        rounds.push(Round(round));
    }
    for kind in Kind::ALL {
        tell(report, &rounds, kind, len)?;
    }
    Ok(())
}

fn tell(report: &mut Report, rounds: &[Round], kind: Kind, len: usize) -> Result<(), Failure> {
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let against = |bare: Kind| of(&|round| round.micros(kind, 50) / round.micros(bare, 50));
    let label = |what| format!("{len} B, {}: {what}", kind.name());
    report.tell(label("p50"), of(&|round| round.micros(kind, 50)), Unit::Micros)?;
    report.tell(label("p99"), of(&|round| round.micros(kind, 99)), Unit::Micros)?;
    match kind {
        Kind::BareStd | Kind::BareSmol => Ok(()),
        Kind::Blocking => {
            report.judge_pinned(label("p50 against bare std"), against(Kind::BareStd), Unit::Ratio, 1.2)
        }
        Kind::Smol | Kind::AsyncStd => {
            report.judge_pinned(label("p50 against bare smol"), against(Kind::BareSmol), Unit::Ratio, 1.4)?;
            report.tell(label("p50 against bare std"), against(Kind::BareStd), Unit::Ratio)
        }
    }
}

/// What every asker took in one round.
struct Round(Vec<(Kind, Samples)>);

impl Round {
    fn micros(&self, kind: Kind, percent: usize) -> f64 {
        let found = self.0.iter().find(|(of, _)| *of == kind);
        found.map_or(f64::NAN, |(_, samples)| samples.micros(percent))
    }
}

/// One that asks for this subject on that server.
pub(crate) fn asker(
    kind: Kind,
    server: Served,
    subject: &'static str,
    len: usize,
) -> Result<Box<dyn Asker>, Failure> {
    Ok(match kind {
        Kind::BareStd => Box::new(BareStd::connect(server, len)?),
        Kind::BareSmol => Box::new(BareSmol::connect(server)?),
        Kind::Blocking => Box::new(Blocking::connect(server, subject)?),
        Kind::Smol => Box::new(Smol { server, subject }),
        Kind::AsyncStd => Box::new(AsyncStd { server, subject }),
    })
}

struct BareStd {
    stream: TcpStream,
    reply: Vec<u8>,
    _server: Served,
}

impl BareStd {
    fn connect(server: Served, len: usize) -> Result<Self, Failure> {
        let stream = TcpStream::connect(&server.address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, reply: bare::reply(len), _server: server })
    }
}

impl Asker for BareStd {
    fn measure(&mut self, payload: &Bytes, count: usize) -> Result<Samples, Failure> {
        let request = bare::request(payload.len());
        try_sample(count, || {
            self.stream.write_all(&request)?;
            Ok(self.stream.read_exact(&mut self.reply)?)
        })
    }
}

struct BareSmol {
    stream: smol::net::TcpStream,
    _server: Served,
}

impl BareSmol {
    fn connect(server: Served) -> Result<Self, Failure> {
        let stream = smol::block_on(smol::net::TcpStream::connect(&server.address))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, _server: server })
    }
}

impl Asker for BareSmol {
    fn measure(&mut self, payload: &Bytes, count: usize) -> Result<Samples, Failure> {
        let (request, mut reply) = (bare::request(payload.len()), bare::reply(payload.len()));
        smol::block_on(async {
            let mut times = Times::with_capacity(count);
            for _ in 0..count {
                times.start();
                self.stream.write_all(&request).await?;
                self.stream.read_exact(&mut reply).await?;
                times.stop();
            }
            Ok(times.samples())
        })
    }
}

struct Blocking {
    conversation: liminal_blocking::Conversation,
    _server: Served,
}

impl Blocking {
    fn connect(server: Served, subject: &str) -> Result<Self, Failure> {
        let handle = liminal_blocking::connect_and_spawn(&server.address)?;
        Ok(Self { conversation: handle.open(subject)?, _server: server })
    }
}

impl Asker for Blocking {
    fn measure(&mut self, payload: &Bytes, count: usize) -> Result<Samples, Failure> {
        try_sample(count, || Ok(self.conversation.ask(payload.clone(), TIMEOUT).map(drop)?))
    }
}

struct Smol {
    server: Served,
    subject: &'static str,
}

impl Asker for Smol {
    fn measure(&mut self, payload: &Bytes, count: usize) -> Result<Samples, Failure> {
        smol::block_on(async {
            let connected = liminal_smol::connect(&self.server.address).await?;
            ask_again_and_again(connected, self.subject, payload, count).await
        })
    }
}

struct AsyncStd {
    server: Served,
    subject: &'static str,
}

impl Asker for AsyncStd {
    fn measure(&mut self, payload: &Bytes, count: usize) -> Result<Samples, Failure> {
        async_std::task::block_on(async {
            let connected = liminal_async_std::connect(&self.server.address).await?;
            ask_again_and_again(connected, self.subject, payload, count).await
        })
    }
}

/// The driver runs in the same task as what uses its handle.
async fn ask_again_and_again(
    (handle, driver): (liminal_smol::Handle, liminal_smol::Driver),
    subject: &str,
    payload: &Bytes,
    count: usize,
) -> Result<Samples, Failure> {
    let driven = async {
        driver.run().await;
        std::future::pending().await
    };
    let asking = async {
        let conversation = handle.open(subject).await?;
        let mut times = Times::with_capacity(count);
        for _ in 0..count {
            times.start();
            conversation.ask(payload.clone(), TIMEOUT).await?;
            times.stop();
        }
        Ok(times.samples())
    };
    smol::future::or(driven, asking).await
}
