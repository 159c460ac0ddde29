//! What it costs who asks that others may look on: nobody does, somebody watches elsewhere, and here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::Failure;
use crate::ask::TIMEOUT;
use crate::report::{Report, Unit};
use crate::served::{Kind, Served};
use crate::stats::{median, try_sample};

const ROUNDS: usize = 9;
const WINDOW: usize = 500;
/// How long whoever watches waits before it looks whether that is over.
const SHORT: Duration = Duration::from_millis(10);

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    for kind in Kind::TRANSPORTS {
        let server = Served::start(kind, 64)?;
        let handle = liminal_blocking::connect_and_spawn(&server.address)?;
        let onlooker = liminal_blocking::connect_and_spawn(&server.address)?;
        let conversation = handle.open("echo")?;
        let payload = Bytes::from_static(&[7; 64]);
        let ask = || Ok(conversation.ask(payload.clone(), TIMEOUT).map(drop)?);
        let sample = || try_sample(WINDOW, ask).map(|samples| samples.micros(50));
        let (mut alone, mut elsewhere, mut here) = (Vec::new(), Vec::new(), Vec::new());
        // The first round warms up.
        for round in 0..=ROUNDS {
            let before = sample()?;
            let watch = onlooker.watch("elsewhere")?;
            let beside = sample()?;
            drop(watch);
            let watch = onlooker.watch("echo")?;
            let over = AtomicBool::new(false);
            let watched = thread::scope(|scope| {
                scope.spawn(|| {
                    let mut told = Ok(None);
                    while !over.load(Ordering::Relaxed) && told.is_ok() {
                        told = watch.next_within(SHORT);
                    }
                });
                let watched = sample();
                over.store(true, Ordering::Relaxed);
                watched
            })?;
            if round > 0 {
                alone.push(before);
                elsewhere.push(beside / before);
                here.push(watched / before);
            }
        }
        let label = |what: &str| format!("{}: {what}", kind.name());
        report.tell(label("nobody watches, p50"), median(alone), Unit::Micros)?;
        report.judge(
            label("somebody watches elsewhere, against nobody"),
            median(elsewhere),
            Unit::Ratio,
            1.1,
        )?;
        report.tell(label("somebody watches this, against nobody"), median(here), Unit::Ratio)?;
    }
    Ok(())
}
