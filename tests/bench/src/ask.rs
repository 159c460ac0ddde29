//! A request to an inline echo on each transport, against bare ping-pongs of the same bytes: one over std,
//! the fastest there is, and one over smol, because what a runtime itself adds is not ours. Client and
//! server are processes of their own.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;

use crate::bare::{BareBlocking, BareSmol};
use crate::served::Served;
use crate::stats::{Samples, Times, median, try_sample};

const ROUNDS: usize = 7;
const WARM_UP: usize = 500;
const REQUESTS: usize = 5_000;
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// One way to ask, connected.
pub(crate) trait Asker {
    fn measure(&mut self, payload: &Bytes, count: usize) -> Result<Samples, Box<dyn Error>>;
}

pub(crate) fn run(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    writeln!(out, "| payload | what | p50 µs | p99 µs | against bare std | against bare smol |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for payload in [64, 1024] {
        table(out, payload)?;
    }
    Ok(())
}

fn table(out: &mut impl Write, len: usize) -> Result<(), Box<dyn Error>> {
    let payload = Bytes::from(vec![7; len]);
    let mut askers: Vec<(&str, Box<dyn Asker>)> = vec![
        ("bare std", Box::new(BareBlocking::start(len)?)),
        ("bare smol", Box::new(BareSmol::start(len)?)),
        ("liminal blocking", Box::new(Blocking::start()?)),
        ("liminal smol", Box::new(Smol { server: Served::start("smol")? })),
        ("liminal async-std", Box::new(AsyncStd { server: Served::start("async-std")? })),
    ];
    for (_, asker) in &mut askers {
        asker.measure(&payload, WARM_UP)?;
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let round: Result<Vec<_>, _> =
            askers.iter_mut().map(|(_, asker)| asker.measure(&payload, REQUESTS)).collect();
        rounds.push(round?);
    }
    for (i, (name, _)) in askers.iter().enumerate() {
        let p50 = |round: &Vec<Samples>, of: usize| round.get(of).map_or(f64::NAN, |it| it.micros(50));
        let of = |figure: &dyn Fn(&Vec<Samples>) -> f64| median(rounds.iter().map(figure).collect());
        writeln!(
            out,
            "| {len} | {name} | {:.1} | {:.1} | {:.2} | {:.2} |",
            of(&|round| p50(round, i)),
            of(&|round| round.get(i).map_or(f64::NAN, |it| it.micros(99))),
            of(&|round| p50(round, i) / p50(round, 0)),
            of(&|round| p50(round, i) / p50(round, 1)),
        )?;
    }
    Ok(())
}

struct Blocking {
    conversation: liminal_blocking::Conversation,
    _server: Served,
}

impl Blocking {
    fn start() -> Result<Self, Box<dyn Error>> {
        let server = Served::start("blocking")?;
        let handle = liminal_blocking::connect_and_spawn(&server.address)?;
        Ok(Self { conversation: handle.open("echo")?, _server: server })
    }
}

impl Asker for Blocking {
    fn measure(&mut self, payload: &Bytes, count: usize) -> Result<Samples, Box<dyn Error>> {
        try_sample(count, || Ok(self.conversation.ask(payload.clone(), TIMEOUT).map(drop)?))
    }
}

struct Smol {
    server: Served,
}

impl Asker for Smol {
    fn measure(&mut self, payload: &Bytes, count: usize) -> Result<Samples, Box<dyn Error>> {
        smol::block_on(async {
            let (handle, driver) = liminal_smol::connect(&self.server.address).await?;
            beside(driver.run(), async {
                let conversation = handle.open("echo").await?;
                let mut times = Times::with_capacity(count);
                for _ in 0..count {
                    times.start();
                    conversation.ask(payload.clone(), TIMEOUT).await?;
                    times.stop();
                }
                Ok(times.samples())
            })
            .await
        })
    }
}

struct AsyncStd {
    server: Served,
}

impl Asker for AsyncStd {
    fn measure(&mut self, payload: &Bytes, count: usize) -> Result<Samples, Box<dyn Error>> {
        async_std::task::block_on(async {
            let (handle, driver) = liminal_async_std::connect(&self.server.address).await?;
            beside(driver.run(), async {
                let conversation = handle.open("echo").await?;
                let mut times = Times::with_capacity(count);
                for _ in 0..count {
                    times.start();
                    conversation.ask(payload.clone(), TIMEOUT).await?;
                    times.stop();
                }
                Ok(times.samples())
            })
            .await
        })
    }
}

/// Runs the driver in the same task as what uses its handle.
async fn beside<T>(driver: impl Future, work: impl Future<Output = T>) -> T {
    smol::future::or(
        async {
            driver.await;
            std::future::pending().await
        },
        work,
    )
    .await
}
