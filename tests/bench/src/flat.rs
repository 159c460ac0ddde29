//! What the 4,000th request on a conversation costs against the first ones.

use std::error::Error;
use std::io::Write;

use crate::ask::TIMEOUT;
use crate::served::Served;
use crate::stats::{median, try_sample};

const ROUNDS: usize = 7;
const WINDOW: usize = 200;
const REQUESTS: usize = 4_000;

pub(crate) fn run(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let server = Served::start("blocking")?;
    let handle = liminal_blocking::connect_and_spawn(&server.address)?;
    let payload = bytes::Bytes::from_static(&[7; 64]);
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
    writeln!(
        out,
        "\nOne conversation, blocking, p50 µs: requests 1 to {WINDOW} {:.1}, requests {} to {REQUESTS} {:.1}, ratio {:.2}",
        median(firsts),
        REQUESTS - WINDOW + 1,
        median(lasts),
        median(ratios)
    )?;
    Ok(())
}
