//! `liminal sim replay`: one scenario, in the simulator and over sockets.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use liminal_core::Transcript;
use liminal_core::transcript::Noted;
use liminal_sim::{Format, Network, Race, Ran, Scenario, Stage, check_promises, draw_diagram, worlds};

use super::play::play;
use super::report::{Verdict, report, say};
use crate::error::Error;
use crate::program::Transport;

/// Make the run of a scenario again, and say what each of its conversations came to
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The scenario
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Over real sockets, too
    #[arg(long, value_enum, value_name = "TRANSPORT")]
    over: Option<Transport>,
    /// Draw who says what to whom (what does not hold is always drawn)
    #[arg(long)]
    diagram: bool,
    /// Write the run of the simulator down as text, mermaid or json, and nothing else
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["over", "diagram"])]
    format: Option<Format>,
}

impl Replay {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<(), Error> {
        let scenario = read(&self.file)?;
        let sim =
            worlds::named(&scenario.sim).ok_or_else(|| Error::UnknownSimulation(scenario.sim.clone()))?;
        let ran = sim.run(&scenario.tape);
        if ran.network == Network::Byzantine && self.over.is_some() {
            return Err(Error::ByzantineOverSockets);
        }
        let stage = self.over.map(|_| sim.stage(&scenario.tape)).transpose()?;
        if let Some(format) = self.format {
            let run = format.write(&ran.transcript, ran.entry);
            out.write_all(run.as_bytes()).map_err(Error::output)?;
            return self.judge_both(out, &ran, &[], None);
        }
        self.show(out, &scenario, &ran)?;
        let races = if ran.network == Network::Faithful { sim.races(&scenario.tape) } else { Vec::new() };
        say(out, "races", races_text(&races, ran.network))?;
        let played = match self.over.zip(stage) {
            Some((transport, stage)) => {
                let played = over(out, stage, &ran, transport)?;
                self.judge(out, &played, &format!("over {transport}"))?;
                Some((transport, played))
            }
            None => None,
        };
        self.judge_both(out, &ran, &races, played)
    }

    /// What came of it in the simulator.
    fn show(&self, out: &mut impl Write, scenario: &Scenario, ran: &Ran) -> Result<(), Error> {
        say(out, "scenario", format_args!("{} ({})", self.file.display(), scenario.sim))?;
        say(out, "saved for", &scenario.broken)?;
        say(out, "faults", &ran.swarm)?;
        let verdict = Verdict { broken: ran.broken.clone(), entry: ran.entry };
        report(out, "in the simulator", &ran.transcript, &verdict)?;
        self.draw(out, &ran.transcript, &verdict)
    }

    fn judge(&self, out: &mut impl Write, played: &Transcript, place: &str) -> Result<(), Error> {
        let verdict = Verdict::of(played);
        report(out, place, played, &verdict)?;
        self.draw(out, played, &verdict)
    }

    fn draw(&self, out: &mut impl Write, transcript: &Transcript, verdict: &Verdict) -> Result<(), Error> {
        if self.diagram || verdict.broken.is_some() {
            let diagram = draw_diagram(transcript, verdict.entry);
            write!(out, "\n{diagram}\n").map_err(Error::output)?;
        }
        Ok(())
    }

    /// What is to be said of both runs, and how the command ends.
    fn judge_both(
        &self,
        out: &mut impl Write,
        ran: &Ran,
        races: &[Race],
        played: Option<(Transport, Transcript)>,
    ) -> Result<(), Error> {
        let broken = |place: String, text: String| Err(Error::Broken { place, text });
        if let Some(text) = &ran.broken {
            return broken("in the simulator".into(), text.clone());
        }
        let Some((transport, played)) = played else { return Ok(()) };
        let place = format!("over {transport}");
        if let Some(text) = Verdict::of(&played).broken {
            return broken(place, text);
        }
        match (played.conversations() == ran.transcript.conversations(), races) {
            (true, _) => say(out, "together", "it came to the same"),
            (false, []) => Err(Error::Differs(place)),
            (false, _) => say(out, "together", "it came to something else, as it may, because it races"),
        }
    }
}

fn read(path: &Path) -> Result<Scenario, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::ScenarioUnreadable { path: path.into(), source })?;
    text.parse().map_err(|source| Error::NoScenario { path: path.into(), source })
}

/// Plays it over sockets.
fn over(out: &mut impl Write, stage: Stage, ran: &Ran, transport: Transport) -> Result<Transcript, Error> {
    let time = time(&ran.transcript);
    if time > Duration::ZERO {
        say(
            out,
            "time",
            format_args!("about {time:.1?}, because over {transport} what sleeps really sleeps"),
        )?;
    }
    out.flush().map_err(Error::output)?;
    let began = Instant::now();
    let played = play(stage, transport)?;
    say(out, "took", format_args!("{:.1?}", began.elapsed()))?;
    Ok(played)
}

/// How long it took until everybody was done and nothing was under way.
fn time(transcript: &Transcript) -> Duration {
    let busy = transcript.entries().iter().take_while(|entry| entry.what != Noted::Calm);
    let moves = busy.filter(|entry| !entry.what.is_measurement());
    moves.last().map_or(Duration::ZERO, |entry| entry.at.since(liminal_proto::Instant::ORIGIN))
}

fn races_text(races: &[Race], network: Network) -> String {
    let why = |race: &Race| match race {
        Race::Order => "which of several things that can happen at a moment happens first",
        Race::Network => "in which pieces bytes travel, and how long that takes",
        Race::Faults => "its faults, which are made in the simulator alone",
        _ => "something that this command has no word for",
    };
    let whys: Vec<_> = races.iter().map(why).collect();
    match &whys[..] {
        [] if network == Network::Byzantine => "not asked, because bytes are changed on their way".into(),
        [] => "no: in other orders, over other networks and without faults it comes to the same".into(),
        whys => format!("yes; what it comes to is decided by: {}", whys.join("; ")),
    }
}

impl Verdict {
    /// Whether the promises hold in what has really happened.
    fn of(played: &Transcript) -> Self {
        let broken = check_promises(played, Network::Faithful);
        Self { entry: broken.as_ref().map(|it| it.entry), broken: broken.map(|it| it.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use liminal_core::Recorded;
    use liminal_sim::Tape;

    use super::*;

    fn ends(ran: &Ran, races: &[Race], played: Transcript) -> u8 {
        let replay = Replay { file: PathBuf::new(), over: None, diagram: false, format: None };
        let ended = replay.judge_both(&mut Vec::new(), ran, races, Some((Transport::Smol, played)));
        ended.err().map_or(0, |error| error.exit_code())
    }

    fn ran() -> Ran {
        worlds::last_seat().run(&Tape::default())
    }

    #[test]
    fn the_same_ends_well_and_something_else_does_only_in_a_race() {
        let other = || worlds::errands().run(&Tape::default()).transcript;
        assert_eq!(ends(&ran(), &[], ran().transcript), 0);
        assert_eq!(ends(&ran(), &[], other()), 7);
        assert_eq!(ends(&ran(), &[Race::Order], other()), 0);
    }

    #[test]
    fn what_does_not_hold_ends_as_broken_wherever_it_was() {
        let mut broken = ran();
        broken.broken = Some("always so: it is not.".into());
        assert_eq!(ends(&broken, &[], ran().transcript), 6);
        let mut played = ran().transcript;
        let is_reply = |what: &Noted| matches!(what, Noted::Recorded { record, .. } if matches!(record.what, Recorded::Reply { .. }));
        played.entries_mut().retain(|entry| !is_reply(&entry.what));
        assert_eq!(ends(&ran(), &[Race::Order], played), 6);
    }

    #[test]
    fn the_time_is_that_until_nothing_is_under_way() {
        let time = time(&worlds::errands().run(&Tape::default()).transcript);
        assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&time), "{time:?}");
    }
}
