//! A run over real sockets: servers and openers in this process, and everything that happens written down.

use std::collections::BTreeMap;
use std::time::Duration;

use liminal_core::Transcript;
use liminal_core::transcript::{BusId, Entry, Noted, OpenerId};
use liminal_driver::{Address, Recorder};
use liminal_proto::{Config, Event, Instant};
use liminal_sim::{Draws, Stage, StagedOpener};

use super::pending::Pending;
use super::transport::{Line, serve};
use crate::error::Error;
use crate::program::Transport;
use crate::running::Running;

/// Plays what is on a stage over a transport to its end, and says what has happened.
pub(super) fn play(stage: Stage, transport: Transport) -> Result<Transcript, Error> {
    let Stage { buses, openers, config, rest, draws } = stage;
    let recorder = Recorder::new();
    let servers: Result<Vec<Running>, Error> =
        buses.into_iter().map(|bus| serve(transport, bus, config.clone(), &recorder)).collect();
    let servers = servers?;
    let addresses = servers.iter().map(|server| server.address.clone()).collect();
    let players = openers.into_iter().map(|opener| Player { opener, line: None }).collect();
    let (names, transcript, pending) = (BTreeMap::new(), Transcript::new(), Pending::default());
    let mut play =
        Play { transport, config, rest, draws, recorder, addresses, players, names, transcript, pending };
    let played = play.run();
    // However that went: they are not left behind.
    let stopped: Result<Vec<()>, Error> = servers.into_iter().map(Running::stop).collect();
    played.and(stopped)?;
    play.hear(Duration::ZERO);
    Ok(play.transcript)
}

struct Play {
    transport: Transport,
    config: Config,
    rest: Duration,
    draws: Draws,
    recorder: Recorder,
    addresses: Vec<Address>,
    players: Vec<Player>,
    /// Whose each recorded connection is, and what it is called in the simulator.
    names: BTreeMap<OpenerId, (usize, OpenerId)>,
    transcript: Transcript,
    pending: Pending,
}

/// An opener, and its connection while it has one.
struct Player {
    opener: StagedOpener,
    line: Option<(OpenerId, Line)>,
}

impl Play {
    fn run(&mut self) -> Result<(), Error> {
        self.act_out()?;
        self.come_to_rest();
        self.transcript.note(self.now(), BusId::new(1), Noted::Calm);
        for player in &mut self.players {
            if let Some((_, line)) = player.line.take() {
                line.disconnect()?;
            }
        }
        self.hear(Duration::ZERO);
        Ok(())
    }

    fn now(&self) -> Instant {
        self.recorder.clock().now()
    }

    /// Lets openers act, each when it wants to, until all are done or nothing moves any more.
    fn act_out(&mut self) -> Result<(), Error> {
        while self.players.iter().any(|player| !player.opener.is_done()) {
            self.hear(Duration::ZERO);
            let now = self.now();
            let due = |player: &Player| player.opener.acts_at().is_some_and(|at| at <= now);
            let acting: Vec<usize> = (0..self.players.len()).filter(|it| due(&self.players[*it])).collect();
            for &of in &acting {
                self.act(of)?;
            }
            if acting.is_empty() {
                let next = self.players.iter().filter_map(|player| player.opener.acts_at()).min();
                let time = next.map_or(self.rest, |next| next.since(now));
                if self.hear(time) == 0 && next.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// An opener does its next thing, or dials for that.
    fn act(&mut self, of: usize) -> Result<(), Error> {
        let Self { players, draws, .. } = self;
        let Some(Player { opener, line }) = players.get_mut(of) else { return Ok(()) };
        let Some((name, line)) = line else { return self.dial(of) };
        line.act(|client| {
            let now = client.clock().now();
            for event in opener.act(now, *name, &mut client.connection, draws) {
                client.said(event);
            }
        });
        Ok(())
    }

    fn dial(&mut self, of: usize) -> Result<(), Error> {
        let Player { opener, line } = &mut self.players[of];
        let config = Config { max_dialect: opener.dialect, ..self.config.clone() };
        let dialled = Line::dial(self.transport, &self.addresses[opener.bus], config, &self.recorder)?;
        let name = opener.dials();
        if let Some(recorded) = dialled.opener() {
            self.names.insert(recorded, (of, name));
        }
        *line = Some((name, dialled));
        Ok(())
    }

    /// Gives what was begun the time that it takes.
    fn come_to_rest(&mut self) {
        let until = self.now().after(self.rest);
        loop {
            self.hear(Duration::ZERO);
            self.players
                .iter()
                .filter_map(|player| player.line.as_ref())
                .for_each(|(_, line)| line.catch_up());
            let news = self.hear(Duration::ZERO);
            let left = until.since(self.now());
            if (news == 0 && self.pending.is_empty()) || left.is_zero() {
                return;
            }
            if news == 0 {
                self.hear(left);
            }
        }
    }

    /// Takes over what has happened, waiting for it, and tells openers. Says how much that was; answers to
    /// pings do not count.
    fn hear(&mut self, time: Duration) -> usize {
        let mut heard = self.recorder.wait(time);
        let mut news = 0;
        for mut entry in std::mem::take(heard.entries_mut()) {
            self.pending.on_entry(&entry);
            news += usize::from(!matches!(entry.what, Noted::Told { event: Event::Pong, .. }));
            if let Noted::Told { opener, event } = &entry.what {
                self.tell(*opener, entry.at, event);
            }
            self.rename(&mut entry);
            self.transcript.entries_mut().push(entry);
        }
        news
    }

    fn tell(&mut self, opener: OpenerId, at: Instant, event: &Event) {
        let Some(&(of, _)) = self.names.get(&opener) else { return };
        let Player { opener, line } = &mut self.players[of];
        opener.told(at, event);
        if matches!(event, Event::Closed(_))
            && let Some((_, line)) = line.take()
        {
            // A driver that panicked has been reported.
            let _ = line.end();
        }
    }

    /// Calls an opener what it is called in the simulator.
    fn rename(&self, entry: &mut Entry) {
        let (Noted::Dialled { opener, .. }
        | Noted::Said { opener, .. }
        | Noted::Told { opener, .. }
        | Noted::Gone { opener }
        | Noted::Paused { opener: Some(opener), .. }) = &mut entry.what
        else {
            return;
        };
        if let Some((_, name)) = self.names.get(opener) {
            *opener = *name;
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use liminal_sim::{Network, Tape, check_promises, worlds};

    use super::*;

    /// How often this was noted.
    fn count(transcript: &Transcript, is_it: impl Fn(&Noted) -> bool) -> usize {
        transcript.entries().iter().filter(|entry| is_it(&entry.what)).count()
    }

    #[test]
    fn what_both_sides_of_every_connection_live_through_is_written_down_once() {
        for &transport in Transport::value_variants() {
            let stage = worlds::last_seat().stage(&Tape::default()).unwrap_or_else(|error| panic!("{error}"));
            let played = play(stage, transport).unwrap_or_else(|error| panic!("{transport}: {error}"));
            let ends = |event: &Event| matches!(event, Event::Closed(_));
            let seen = [
                count(&played, |it| matches!(it, Noted::Dialled { .. })),
                count(&played, |it| matches!(it, Noted::LinkClosed { .. })),
                count(&played, |it| matches!(it, Noted::Said { event, .. } if ends(event))),
                count(&played, |it| matches!(it, Noted::Told { event, .. } if ends(event))),
                count(&played, |it| matches!(it, Noted::Told { event: Event::Reply(_), .. })),
            ];
            assert_eq!(seen, [2; 5], "{transport}: {played:#?}");
            assert_eq!(
                [count(&played, |it| *it == Noted::Calm), count(&played, |it| *it == Noted::Over)],
                [1, 1]
            );
            assert_eq!(check_promises(&played, Network::Faithful), None, "{transport}");
        }
    }
}
