//! 64 connections that ask without a pause: whether all of them are served, and alike.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::Failure;
use crate::peer::{self, Peer};
use crate::report::{Report, Unit};
use crate::served::{Kind, Served};
use crate::stats::median;

const CONNECTIONS: usize = 64;
const PAYLOAD: usize = 64;
const TIME: Duration = Duration::from_secs(1);
const ROUNDS: usize = 3;

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    for kind in Kind::ALL {
        let served = Served::start(kind, PAYLOAD)?;
        let connect = |_| peer::connect(kind, &served.address, "echo", PAYLOAD, 1);
        let mut peers = (0..CONNECTIONS).map(connect).collect::<Result<Vec<_>, _>>()?;
        let rounds = (0..ROUNDS).map(|_| round(&mut peers)).collect::<Result<Vec<_>, _>>()?;
        let label = |what: &str| format!("{}: {what}", kind.name());
        let unserved = rounds.iter().flatten().filter(|&&replies| replies == 0).count() as f64;
        let spread = median(rounds.iter().map(|round| spread(round)).collect());
        let each = median(rounds.iter().flatten().map(|&replies| replies as f64).collect());
        report.tell(label("replies to each connection"), each, Unit::Count)?;
        if kind.is_bare() {
            report.tell(label("most against least served"), spread, Unit::Ratio)?;
        } else {
            report.judge(label("connections not served"), unserved, Unit::Count, 0.0)?;
            report.judge(label("most against least served"), spread, Unit::Ratio, 1.5)?;
        }
    }
    Ok(())
}

/// How many replies each connection had. One thread asks for all of them, and begins each turn with
/// another one: what is not fair then is the server, and not the system that chooses between threads of
/// clients.
fn round(peers: &mut [Box<dyn Peer>]) -> Result<Vec<usize>, Failure> {
    let end = Instant::now() + TIME;
    let mut replies = vec![0; peers.len()];
    let mut outstanding = peers.len();
    let mut first = 0;
    peers.iter_mut().try_for_each(|peer| peer.ask(1))?;
    while outstanding > 0 {
        first += 1;
        for at in readable(peers, first % peers.len())? {
            let (Some(peer), Some(had)) = (peers.get_mut(at), replies.get_mut(at)) else { continue };
            let arrived = peer.replies()?;
            *had += arrived;
            if Instant::now() < end {
                peer.ask(arrived)?;
            } else {
                outstanding -= arrived;
            }
        }
    }
    Ok(replies)
}

/// Waits until some of them have input, and says which, from the `first` on and around.
fn readable(peers: &[Box<dyn Peer>], first: usize) -> Result<Vec<usize>, Failure> {
    let mut all: Vec<_> = peers.iter().map(|peer| PollFd::new(peer.stream(), PollFlags::IN)).collect();
    poll(&mut all, None)?;
    let ready = all.iter().enumerate().filter(|(_, one)| !one.revents().is_empty()).map(|(at, _)| at);
    let mut ready: Vec<_> = ready.collect();
    let before = ready.partition_point(|&at| at < first);
    ready.rotate_left(before);
    Ok(ready)
}

fn spread(replies: &[usize]) -> f64 {
    let (most, least) = (replies.iter().max(), replies.iter().min());
    most.zip(least).map_or(f64::NAN, |(&most, &least)| most as f64 / least as f64)
}
