//! Runs a plan under many tapes, and makes what fails small.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use liminal_core::Transcript;

use crate::coverage::Coverage;
use crate::diagram::{Format, NotAFormat};
use crate::failure::Failure;
use crate::mark::Mark;
use crate::promises::{Promise, check_promises};
use crate::property::{Fared, Kind, Property, View};
use crate::scenario::{Scenario, scenarios_in};
use crate::tape::{Draws, Tape, next_branch, shrink};
use crate::world::Search;
use crate::{Plan, Ran, Report, Track, World};

/// The environment variable that has one run of a simulation replayed: its name, `=`, and a tape, as failures
/// print it. Other simulations run as ever.
pub const REPLAY: &str = "LIMINAL_SIM_REPLAY";

/// The environment variable that says how failures write their run down: `text`, `mermaid` or `json`, as
/// [`Format`] has them. Without it, as text.
pub const FORMAT: &str = "LIMINAL_SIM_FORMAT";

/// What making a failure small may cost, in steps: a few seconds without optimization. Runs that go round in
/// circles are long.
const SHRINK_STEPS_MAX: u64 = 2_000_000;

/// A simulation: a plan, and what must hold of it. `S` is the state of the user that properties look at.
///
/// The promises of the bus are checked in every run, too.
pub struct Sim<S> {
    name: String,
    plan: Box<dyn Fn(&mut Plan) -> S>,
    properties: Vec<Property<S>>,
    seeds: Range<u64>,
    shrink_runs_max: usize,
    scenarios: Option<PathBuf>,
    except: BTreeSet<Promise>,
    pub(crate) tamper: Option<Tamper>,
}

/// Changes what has happened before it is checked, to see that the change is found.
type Tamper = Box<dyn Fn(&mut Transcript)>;

impl<S> fmt::Debug for Sim<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("name", &self.name)
            .field("properties", &self.properties)
            .field("seeds", &self.seeds)
            .finish_non_exhaustive()
    }
}

impl<S> Sim<S> {
    /// A simulation of what `plan` sets up, afresh for each run. What it returns is what properties look at.
    pub fn new(name: &str, plan: impl Fn(&mut Plan) -> S + 'static) -> Self {
        Self {
            name: name.into(),
            plan: Box::new(plan),
            properties: Vec::new(),
            seeds: 0..200,
            shrink_runs_max: 2_000,
            scenarios: None,
            except: BTreeSet::new(),
            tamper: None,
        }
    }

    /// This holds after every step.
    #[must_use]
    pub fn always(self, name: &str, holds: impl Fn(&View<'_, S>) -> bool + 'static) -> Self {
        self.with(Property::new(name, Kind::Always, holds))
    }

    /// When faults have stopped and inputs have ended, this comes to hold within that time, which is at most the
    /// [time of rest](Plan::rest). To hold at one moment then is enough; what held only before does not count.
    #[must_use]
    pub fn eventually(
        self,
        name: &str,
        within: Duration,
        holds: impl Fn(&View<'_, S>) -> bool + 'static,
    ) -> Self {
        self.with(Property::new(name, Kind::Eventually(within), holds))
    }

    /// This holds at some time of some run. If it never does, the runs do not test what they are meant to.
    #[must_use]
    pub fn sometimes(self, name: &str, holds: impl Fn(&View<'_, S>) -> bool + 'static) -> Self {
        self.with(Property::new(name, Kind::Sometimes, holds))
    }

    fn with(mut self, property: Property<S>) -> Self {
        self.properties.push(property);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The seeds of the runs. Default: 200 of them.
    #[must_use]
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// How many runs may be made to make a failure small. Default: 2,000.
    #[must_use]
    pub const fn shrink_runs_max(mut self, runs: usize) -> Self {
        self.shrink_runs_max = runs;
        self
    }

    /// The folder of saved scenarios: those of this name are replayed first, and a failure is saved there.
    #[must_use]
    pub fn scenarios(mut self, folder: impl Into<PathBuf>) -> Self {
        self.scenarios = Some(folder.into());
        self
    }

    /// A promise that is not checked: participants that work longer than the [time of rest](Plan::rest) break
    /// P1, for example.
    #[must_use]
    pub fn except(mut self, promise: Promise) -> Self {
        self.except.insert(promise);
        self
    }

    /// Makes all runs, or the one that the environment names in [`REPLAY`].
    ///
    /// # Panics
    ///
    /// With the whole story, when something does not hold.
    #[expect(clippy::panic, reason = "this is what tests call, and a test fails by a panic")]
    pub fn check(&self) -> Report {
        match self.try_check() {
            Ok(report) => report,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// The same, without a panic.
    ///
    /// # Errors
    ///
    /// The first failure, made small.
    pub fn try_check(&self) -> Result<Report, Box<Failure>> {
        let mut report = Report { marks: vec![0; Mark::ALL.len()], ..Report::default() };
        let mut seen = vec![false; self.properties.len()];
        format_to_print().map_err(|text| self.misuse(text))?;
        if let Some(tape) = self.to_replay()? {
            self.one(&tape, &mut report, &mut seen)?;
            return Ok(report);
        }
        for Scenario { tape, .. } in self.saved() {
            self.one(&tape, &mut report, &mut seen)?;
        }
        for seed in self.seeds.clone() {
            self.one(&Tape::from_seed(seed), &mut report, &mut seen)?;
        }
        self.check_seen(&seen, &report.coverage)?;
        Ok(report)
    }

    /// Makes every decision of these tracks in turn, while the others stay benign: all runs of a small world,
    /// or as many as `runs_max` of them. Says whether those were all. [`Plan::faults_max`] keeps them finite.
    ///
    /// Of two orders of steps that change nothing for each other one is tried, and a run ends where another has
    /// been: such runs count for `runs_max`, and not in the report. So a property is not shown what lies
    /// between two such steps in both orders. Pieces in which bytes travel, and the end of the connections
    /// behind everything else, are not searched with the schedule; a fault is then due at once or never, and so
    /// comes between any two steps.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub fn check_exhaustively(
        &self,
        tracks: &'static [Track],
        runs_max: u64,
    ) -> Result<(Report, bool), Box<Failure>> {
        let mut report = Report { marks: vec![0; Mark::ALL.len()], ..Report::default() };
        let mut seen = vec![false; self.properties.len()];
        format_to_print().map_err(|text| self.misuse(text))?;
        let judge = |tape: &Tape, ran| self.judge(tape, ran, &mut report, &mut seen);
        let is_complete = self.search(tracks, runs_max, judge)?;
        if is_complete {
            self.check_seen(&seen, &report.coverage)?;
        }
        Ok((report, is_complete))
    }

    /// Shows `judge` every run that does not end where another has been. Says whether those were all.
    pub(crate) fn search(
        &self,
        tracks: &'static [Track],
        runs_max: u64,
        mut judge: impl FnMut(&Tape, Ran) -> Result<(), Box<Failure>>,
    ) -> Result<bool, Box<Failure>> {
        let mut next = Some((Tape::default(), 0));
        let (mut search, mut attempts) = (Search::default(), 0);
        while let Some((tape, repeated)) = next {
            if attempts == runs_max {
                return Ok(false);
            }
            attempts += 1;
            search.begin(repeated);
            let (ran, draws, after) = self.run_drawing(Draws::noting(tape, tracks), Some(search));
            search = after.unwrap_or_default();
            if !search.is_repetition {
                judge(draws.tape(), ran)?;
            }
            next = next_branch(&draws);
        }
        Ok(true)
    }

    /// One run.
    #[must_use]
    pub fn run(&self, tape: &Tape) -> Ran {
        self.run_drawing(Draws::new(tape.clone()), None).0
    }

    /// One run, for whoever has tapes from elsewhere: from proptest, from a fuzzer.
    ///
    /// # Errors
    ///
    /// What does not hold, made small.
    pub fn check_tape(&self, tape: &Tape) -> Result<Ran, Box<Failure>> {
        let ran = self.run(tape);
        if ran.broken.is_some() {
            return Err(self.failure_of(tape, &ran, &Coverage::default()));
        }
        Ok(ran)
    }

    /// What it sets up, made afresh, and what properties look at.
    pub(crate) fn plan(&self, draws: Draws) -> (Plan, S) {
        let mut plan = Plan::new(draws);
        let state = (self.plan)(&mut plan);
        (plan, state)
    }

    fn run_drawing(&self, draws: Draws, search: Option<Search>) -> (Ran, Draws, Option<Search>) {
        let (plan, state) = self.plan(draws);
        let network = plan.network;
        let mut world = World::new(plan, search);
        let mut fared = Fared::new(self.properties.len());
        if self.properties.is_empty() {
            world.run(&mut |_| {});
        } else {
            world.run(&mut |world| {
                let view = View { state: &state, transcript: world.transcript(), now: world.now() };
                fared.look(&self.properties, &view, world.is_calm());
            });
        }
        let ran = self.ran(&mut world, &fared, network);
        let (draws, search) = world.into_draws();
        (ran, draws, search)
    }

    fn ran(&self, world: &mut World, fared: &Fared, network: crate::Network) -> Ran {
        if let Some(tamper) = &self.tamper {
            tamper(world.transcript_mut());
        }
        let promise = check_promises(world.transcript(), network);
        let promise = promise.filter(|it| !self.except.contains(&it.promise));
        let entry = match &promise {
            Some(promise) => Some(promise.entry),
            None => fared.entry(&self.properties),
        };
        Ran {
            swarm: world.swarm().clone(),
            steps: world.steps(),
            turns: world.turns(),
            encounters: world.encounters(),
            time: world.now().since(liminal_proto::Instant::ORIGIN),
            broken: promise.map(|it| it.to_string()).or_else(|| fared.broken(&self.properties)),
            entry,
            seen: fared.seen().collect(),
            transcript: std::mem::take(world.transcript_mut()),
            network,
        }
    }

    /// What the environment says is not understood.
    fn misuse(&self, text: String) -> Box<Failure> {
        Box::new(Failure::new(&self.name, text, Coverage::default()))
    }

    /// The tape that the environment names for this simulation.
    fn to_replay(&self) -> Result<Option<Tape>, Box<Failure>> {
        let Ok(text) = std::env::var(REPLAY) else { return Ok(None) };
        let tape = match text.rsplit_once('=') {
            Some((sim, tape)) if sim == self.name => {
                tape.parse().map(Some).map_err(|error: crate::NotATape| error.to_string())
            }
            Some(_) => Ok(None),
            None => Err(format!(
                "{REPLAY} names a simulation and a tape with '=' between them: {text:?} does not"
            )),
        };
        tape.map_err(|broken| self.misuse(broken))
    }

    /// The scenarios of this name in the folder.
    fn saved(&self) -> Vec<Scenario> {
        let all = self.scenarios.as_deref().map(scenarios_in).unwrap_or_default();
        all.into_iter().filter(|scenario| scenario.sim == self.name).collect()
    }

    fn one(&self, tape: &Tape, report: &mut Report, seen: &mut [bool]) -> Result<(), Box<Failure>> {
        let ran = self.run(tape);
        // R6 costs a second run: some are enough, for what breaks it breaks it often.
        if report.runs.is_multiple_of(16) && ran.broken.is_none() && !self.except.contains(&Promise::R6) {
            let again = self.run(tape);
            if again.transcript != ran.transcript {
                let text = format!("{}: {}", Promise::R6, Promise::R6.text());
                let ran = Ran { broken: Some(text), ..again };
                return Err(self.failure(tape.clone(), ran, &report.coverage));
            }
        }
        self.judge(tape, ran, report, seen)
    }

    fn judge(
        &self,
        tape: &Tape,
        ran: Ran,
        report: &mut Report,
        seen: &mut [bool],
    ) -> Result<(), Box<Failure>> {
        if ran.broken.is_some() {
            return Err(self.failure_of(tape, &ran, &report.coverage));
        }
        report.add(&ran);
        for (seen, now) in seen.iter_mut().zip(&ran.seen) {
            *seen |= *now;
        }
        Ok(())
    }

    /// The failure of a run that broke something, made small.
    fn failure_of(&self, tape: &Tape, ran: &Ran, coverage: &Coverage) -> Box<Failure> {
        let mut steps = 0;
        let small = shrink(tape, self.shrink_runs_max, |tape| {
            if steps > SHRINK_STEPS_MAX {
                return false;
            }
            let again = self.run(tape);
            steps += again.steps;
            again.broken.zip(ran.broken.as_deref()).is_some_and(|(again, broken)| is_same(&again, broken))
        });
        let ran = self.run(&small);
        self.failure(small, ran, coverage)
    }

    fn check_seen(&self, seen: &[bool], coverage: &Coverage) -> Result<(), Box<Failure>> {
        let sometimes = self.properties.iter().zip(seen);
        let never = sometimes.into_iter().find(|(it, seen)| it.kind == Kind::Sometimes && !**seen);
        match never {
            Some((property, _)) => {
                let broken = format!("sometimes {}: in none of the runs.", property.name);
                Err(Box::new(Failure::new(&self.name, broken, coverage.clone())))
            }
            None => Ok(()),
        }
    }

    fn failure(&self, tape: Tape, ran: Ran, coverage: &Coverage) -> Box<Failure> {
        let mut coverage = coverage.clone();
        coverage.add(&ran.coverage());
        let broken = ran.broken.unwrap_or_default();
        let mut failure = Failure {
            tape,
            swarm: ran.swarm.to_string(),
            transcript: ran.transcript,
            entry: ran.entry,
            // What the variable says was understood before the first run.
            format: format_to_print().unwrap_or_default(),
            ..Failure::new(&self.name, broken, coverage)
        };
        failure.saved = self.scenarios.as_deref().and_then(|folder| failure.save(folder).ok());
        Box::new(failure)
    }
}

/// How the environment wants runs to be written down.
fn format_to_print() -> Result<Format, String> {
    let Ok(text) = std::env::var(FORMAT) else { return Ok(Format::default()) };
    text.parse().map_err(|error: NotAFormat| format!("{FORMAT}: {error}"))
}

/// Whether two failures are of the same promise or property: what stands before the first colon.
fn is_same(one: &str, other: &str) -> bool {
    one.split(':').next() == other.split(':').next()
}
