//! What the 4,000th request on a conversation costs against the first ones.

use bytes::Bytes;

use crate::Failure;
use crate::ask::TIMEOUT;
use crate::report::{Report, Unit};
use crate::served::{Kind, Served};
use crate::stats::{median, try_sample};

const ROUNDS: usize = 7;
const WINDOW: usize = 200;
const REQUESTS: usize = 4_000;

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    let server = Served::start(Kind::Blocking, 64)?;
    let handle = liminal_blocking::connect_and_spawn(&server.address)?;
    let payload = Bytes::from_static(&[7; 64]);
    let mut ratios = Vec::new();
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let conversation = handle.open("echo")?;
        let ask = || Ok(conversation.ask(payload.clone(), TIMEOUT).map(drop)?);
        let first = try_sample(WINDOW, ask)?.micros(50);
        try_sample(REQUESTS - 2 * WINDOW, ask)?;
        let last = try_sample(WINDOW, ask)?.micros(50);
        // The first round warms up.
        if round > 0 {
            firsts.push(first);
            lasts.push(last);
            ratios.push(last / first);
        }
    }
    report.tell("the first 200, p50", median(firsts), Unit::Micros)?;
    report.tell("the last 200, p50", median(lasts), Unit::Micros)?;
    report.tell("the last against the first", median(ratios), Unit::Ratio)
}
