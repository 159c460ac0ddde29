//! Worlds that are small enough for all their runs: at most three participants, four messages and two faults.
//!
//! Together they have every operation of a conversation in them: open, message, request, reply, close, exit,
//! and the move to the next participant. A link between two parties that tells the one of the death of the
//! other is that of an owner to its conversation: it stands from the open to the end of the close, or to the
//! loss of the connection. So open is the link here, close and loss are the unlink.

use std::time::Duration;

use liminal_core::CrashPolicy;
use liminal_core::participant::from_fn;
use liminal_proto::wire::Dialect;

use crate::{Failure, Fault, Plan, Report, Script, Sim, Speaks, Track};

/// A small world.
#[derive(Debug)]
pub struct Small {
    /// The world.
    pub sim: Sim<()>,
    /// The decisions that are searched; the others stay benign.
    pub tracks: &'static [Track],
    /// Whether a debug build makes all its runs in a moment.
    pub quick: bool,
}

impl Small {
    /// Makes all its runs, or as many as `runs_max`, and says whether those were all.
    ///
    /// # Errors
    ///
    /// The first failure, made small.
    pub fn check(&self, runs_max: u64) -> Result<(Report, bool), Box<Failure>> {
        self.sim.check_exhaustively(self.tracks, runs_max)
    }
}

/// What breaks when a fault may fall between any two moments at which something is due.
const FAULTS: &[Track] = &[Track::Faults];
/// Who goes first, in every order.
const SCHEDULE: &[Track] = &[Track::Schedule];
/// Both: a fault may fall between any two steps.
const BOTH: &[Track] = &[Track::Schedule, Track::Faults];

const OF_CALLS: &[Fault] =
    &[Fault::Panic, Fault::LatePanic, Fault::Hang, Fault::Twice, Fault::Busy, Fault::Refuse];
const OF_CONNECTIONS: &[Fault] = &[Fault::Reset, Fault::HalfClose, Fault::OpenerCrash, Fault::OpenerVanishes];
const OF_PROCESSES: &[Fault] = &[Fault::BusPause, Fault::BusCrash, Fault::OpenerPause];
const OF_TIME: &[Fault] = &[Fault::Stall, Fault::BlackHole];
const OF_OFFERS: &[Fault] = &[Fault::Kill, Fault::Withdraw];
const OF_CLIENTS: &[Fault] = &[Fault::Reset, Fault::OpenerCrash, Fault::Kill, Fault::Withdraw];
const DEATHS: &[Fault] = &[Fault::Kill, Fault::LatePanic];

/// Every small world.
#[must_use]
pub fn all() -> Vec<Small> {
    let mut all = Vec::new();
    for (version, speaks) in [("2.0", Speaks::Only(Dialect::V2)), ("1.0", Speaks::Only(Dialect::V1))] {
        let named = |what: &str| format!("small: {what}, {version}");
        let world = |what: &str, tracks, faults: &'static [Fault], stage: fn(&mut Plan) -> Script| {
            Small::new(&named(what), tracks, move |plan| {
                let script = stage(plan.only_faults(faults).faults_max(2));
                plan.opener_speaking(speaks, script);
            })
        };
        all.extend([
            world("calls fail", FAULTS, OF_CALLS, alone),
            world("connections break", FAULTS, OF_CONNECTIONS, alone),
            world("processes stop", FAULTS, OF_PROCESSES, alone),
            world("the network stands still", FAULTS, OF_TIME, alone),
            world("participants die", FAULTS, DEATHS, alone),
            world("the next takes over", FAULTS, OF_OFFERS, three),
            world("the next takes over from calls that fail", FAULTS, OF_CALLS, three),
            world("an exit is compensated", FAULTS, OF_CALLS, compensated),
            world("in every order", SCHEDULE, &[], brief),
            world("a death in every order", BOTH, &[Fault::Kill], briefest),
            world("a loss in every order", BOTH, &[Fault::Reset], briefest),
            world("the next takes over in every order", BOTH, &[Fault::Kill], brief_three),
            world("calls of a client fail", FAULTS, OF_CALLS, afar),
            world("connections break, and that of a client", FAULTS, OF_CONNECTIONS, afar),
            world("participants of a client die, or are taken back", FAULTS, OF_OFFERS, afar),
            world("the next takes over from a client", FAULTS, OF_CLIENTS, afar_and_here),
            world("a client serves in every order", SCHEDULE, &[], briefest_afar),
            world("a death at a client in every order", BOTH, &[Fault::Kill], briefest_afar),
            world("a withdrawal in every order", BOTH, &[Fault::Withdraw], briefest_afar),
            world("the loss of a client in every order", BOTH, &[Fault::Reset], briefest_afar_and_here),
            Small::new(&named("two owners link and unlink in every order"), SCHEDULE, move |plan| {
                for _ in 0..2 {
                    echo(plan, "echo", 1);
                    plan.opener_speaking(speaks, Script::new().open("echo").close());
                }
            }),
        ]);
    }
    all
}

fn alone(plan: &mut Plan) -> Script {
    echo(plan, "echo", 1);
    talk("echo")
}

fn three(plan: &mut Plan) -> Script {
    echo(plan, "route", 3);
    plan.on_crash("route", CrashPolicy::RouteToNext);
    talk("route")
}

/// A client has one place.
fn afar(plan: &mut Plan) -> Script {
    echo(plan.client(1), "far", 1);
    talk_later("far")
}

/// A client and the bus serve the same.
fn afar_and_here(plan: &mut Plan) -> Script {
    echo(plan, "route", 1);
    echo(plan.client(1), "route", 1);
    plan.on_crash("route", CrashPolicy::RouteToNext);
    talk_later("route")
}

fn briefest_afar(plan: &mut Plan) -> Script {
    echo(plan.client(1), "far", 1);
    plan.faults_max(1);
    served().open("far").ask("1").close()
}

fn briefest_afar_and_here(plan: &mut Plan) -> Script {
    echo(plan, "route", 1);
    echo(plan.client(1), "route", 1);
    plan.faults_max(1).on_crash("route", CrashPolicy::RouteToNext);
    served().open("route").ask("1").close()
}

fn compensated(plan: &mut Plan) -> Script {
    echo(plan, "undo", 1);
    echo(plan, "fix", 2);
    plan.on_crash("undo", CrashPolicy::Compensate("fix".into()));
    talk("undo")
}

fn brief(plan: &mut Plan) -> Script {
    echo(plan, "echo", 1);
    Script::new().open("echo").ask("1").say("2").close()
}

fn briefest(plan: &mut Plan) -> Script {
    echo(plan, "echo", 1);
    plan.faults_max(1);
    Script::new().open("echo").ask("1").close()
}

fn brief_three(plan: &mut Plan) -> Script {
    echo(plan, "route", 3);
    plan.faults_max(1);
    plan.on_crash("route", CrashPolicy::RouteToNext);
    Script::new().open("route").ask("1").close()
}

impl Small {
    fn new(name: &str, tracks: &'static [Track], plan: impl Fn(&mut Plan) + 'static) -> Self {
        let slow = ["process", "network", "that of a client", "from a client", "taken back"];
        let quick = tracks == FAULTS && !slow.iter().any(|it| name.contains(it));
        Self { sim: Sim::new(name, plan), tracks, quick }
    }
}

fn echo(plan: &mut Plan, subject: &str, count: usize) {
    for _ in 0..count {
        plan.serve(subject, || from_fn(|context, message| context.reply(message.payload)));
    }
}

/// Four messages of every kind, with a pause in the middle.
fn talk(subject: &str) -> Script {
    talk_in(Script::new().open(subject))
}

/// The same when those who serve have said so.
fn talk_later(subject: &str) -> Script {
    talk_in(served().open(subject))
}

fn talk_in(script: Script) -> Script {
    script.ask("1").say("2").wait(Duration::from_millis(2)).confirm("3").ask("4").close()
}

/// Gives those who serve the time to say so.
fn served() -> Script {
    Script::new().wait(Duration::from_millis(1))
}
