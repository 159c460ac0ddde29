//! A request that a server passes on to a participant on another connection, and its reply, against bare relays
//! that pass the same bytes on. Asker, server and responder are processes of their own.

use std::time::Instant;

use bytes::Bytes;

use crate::Failure;
use crate::ask::{Asker, asker};
use crate::peer::{self, Peer};
use crate::report::{Report, Unit};
use crate::served::{Kind, Served};
use crate::stats::{Samples, median};

/// What responders serve.
pub(crate) const SUBJECT: &str = "relayed";
const PAYLOAD: usize = 64;
const ROUNDS: usize = 7;
const WARM_UP: usize = 500;
const REQUESTS: usize = 3_000;
const IN_FLIGHT: usize = 100;
const LOAD: usize = 30_000;

/// A server, one that serves through it, and those that ask.
struct Relay {
    kind: Kind,
    asker: Box<dyn Asker>,
    crowd: Box<dyn Peer>,
    times: Vec<Samples>,
    rates: Vec<f64>,
    _others: [Served; 3],
}

impl Relay {
    fn start(kind: Kind) -> Result<Self, Failure> {
        let server = Served::relay_alone(kind, PAYLOAD)?;
        let responder = Served::responder(kind, &server.address, PAYLOAD)?;
        let asker = asker(kind, server, SUBJECT, PAYLOAD)?;
        let shared = Served::relay(kind, PAYLOAD)?;
        let crowded = Served::responder(kind, &shared.address, PAYLOAD)?;
        let crowd = peer::connect(kind, &shared.address, SUBJECT, PAYLOAD, IN_FLIGHT)?;
        let others = [responder, shared, crowded];
        Ok(Self { kind, asker, crowd, times: Vec::new(), rates: Vec::new(), _others: others })
    }

    /// One request at a time.
    fn ask(&mut self, count: usize) -> Result<Samples, Failure> {
        self.asker.measure(&Bytes::from_static(&[7; PAYLOAD]), count)
    }

    /// Many at a time, on one connection. How many were replied to in a second.
    fn crowd(&mut self, count: usize) -> Result<f64, Failure> {
        let (started, mut left) = (Instant::now(), count);
        peer::exchange(&mut *self.crowd, || {
            let more = left > 0;
            left = left.saturating_sub(1);
            more
        })?;
        Ok(count as f64 / started.elapsed().as_secs_f64())
    }
}

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    let mut relays = Kind::ALL.into_iter().map(Relay::start).collect::<Result<Vec<_>, _>>()?;
    for relay in &mut relays {
        relay.ask(WARM_UP)?;
        relay.crowd(WARM_UP)?;
    }
    for _ in 0..ROUNDS {
        for relay in &mut relays {
            let times = relay.ask(REQUESTS)?;
            relay.times.push(times);
        }
        for relay in &mut relays {
            let rate = relay.crowd(LOAD)?;
            relay.rates.push(rate);
        }
    }
    for relay in &relays {
        let bare = relays.iter().find(|it| it.kind == relay.kind.bare()).unwrap_or(relay);
        tell(report, relay, bare)?;
    }
    Ok(())
}

fn tell(report: &mut Report, relay: &Relay, bare: &Relay) -> Result<(), Failure> {
    let (name, of) = (relay.kind.name(), bare.kind.name());
    let label = |what: &str| format!("{name}: {what}");
    let micros = |relay: &Relay, percent| {
        relay.times.iter().map(|samples| samples.micros(percent)).collect::<Vec<_>>()
    };
    report.tell(label("p50"), median(micros(relay, 50)), Unit::Micros)?;
    report.tell(label("p99"), median(micros(relay, 99)), Unit::Micros)?;
    report.tell(label(&format!("{IN_FLIGHT} in flight")), median(relay.rates.clone()), Unit::PerSecond)?;
    if relay.kind.is_bare() {
        return Ok(());
    }
    let pairs = |own: &[f64], other: &[f64]| median(own.iter().zip(other).map(|(a, b)| a / b).collect());
    let slower = pairs(&micros(relay, 50), &micros(bare, 50));
    report.judge_pinned(label(&format!("p50 against {of}")), slower, Unit::Ratio, 1.25)?;
    let fewer = pairs(&bare.rates, &relay.rates);
    report.judge_pinned(label(&format!("{IN_FLIGHT} in flight, {of} against it")), fewer, Unit::Ratio, 2.0)
}
