//! The kit itself: what it finds, prints, saves and replays.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "only tests use it")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use liminal_core::participant::{async_fn, from_fn};
use liminal_core::transcript::{Entry, Noted};
use liminal_core::{CrashPolicy, Recorded};
use liminal_proto::wire::Dialect;
use liminal_sim::{
    Caller, Fault, Format, Opener, Scenario, Script, Sim, Speaks, Tape, Then, Track, scenarios_in,
};

/// A participant that loses count when it is asked a third time.
fn forgetful() -> Sim<Arc<AtomicU64>> {
    Sim::new("forgetful", |plan| {
        let wrong = Arc::new(AtomicU64::new(0));
        let of_participants = Arc::clone(&wrong);
        plan.serve("count", move || {
            let wrong = Arc::clone(&of_participants);
            let mut count = 0;
            from_fn(move |context, message| {
                count += 1;
                wrong.fetch_add(u64::from(count > 2), Ordering::Relaxed);
                context.reply(message.payload);
            })
        });
        plan.opener(Script::new().open("count").ask("1").ask("2").ask("3").wait_for_replies().close());
        wrong
    })
    .always("it counts", |view| view.state.load(Ordering::Relaxed) == 0)
}

#[test]
fn a_failure_tells_the_property_the_faults_the_story_and_how_to_replay_it() {
    let text = forgetful().try_check().expect_err("it is found").to_string();
    for part in [
        "forgetful: always it counts",
        "no faults",
        "r6 \"3\"?\n            ^^^ here it shows\n",
        "never reached at the bus: Created × ",
        "c1 ask m5 \"3\"",
        "LIMINAL_SIM_REPLAY='forgetful=...' cargo test",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}

#[test]
fn a_failure_can_be_drawn_by_mermaid_and_read_by_programs() {
    let failure = forgetful().try_check().expect_err("it is found");
    let drawing = failure.run(Format::Mermaid);
    assert!(drawing.starts_with("sequenceDiagram\n"), "{drawing}");
    assert!(drawing.contains("o1->>bus: 0ns c1 ask m5 #34;3#34;\n"), "{drawing}");
    assert_eq!(failure.run(Format::JsonLines).matches("\"here_it_shows\":true").count(), 1);
    for (name, format) in [("text", Format::Text), ("mermaid", Format::Mermaid), ("json", Format::JsonLines)]
    {
        assert_eq!(name.parse(), Ok(format));
    }
    assert!("svg".parse::<Format>().is_err());
}

#[test]
fn a_failure_is_saved_and_is_a_regression_test_from_then_on() {
    let folder = std::env::temp_dir().join(format!("liminal-sim-{}", std::process::id()));
    let failure = forgetful().scenarios(&folder).try_check().expect_err("it is found");
    let saved = scenarios_in(&folder);
    assert_eq!(saved, [Scenario { sim: "forgetful".into(), broken: failure.broken, tape: failure.tape }]);
    let replayed = forgetful().scenarios(&folder).seeds(0..0).try_check();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(replayed.is_err(), "the saved run is made though there are no seeds");
}

#[test]
fn a_failure_that_needs_one_fault_shrinks_to_one_fault() {
    let failure = Sim::new("mortal", |plan| {
        plan.serve("echo", || from_fn(|context, message| context.reply(message.payload)));
        plan.opener(Script::new().open("echo").ask("1").wait(Duration::from_secs(1)).ask("2").close());
    })
    .always("nobody dies", |view| !liminal_sim::draw_diagram(view.transcript, None).contains("exited"))
    .try_check()
    .expect_err("somebody dies");
    assert!(failure.tape.len() <= 40, "{failure}");
    assert_eq!(failure.swarm.matches("/256").count(), 1, "{failure}");
}

#[test]
fn what_never_happens_although_it_should_sometimes_fails() {
    let sim = forgetful().seeds(0..0).sometimes("pigs fly", |_| false);
    assert!(sim.try_check().expect_err("it is missed").broken.starts_with("sometimes pigs fly"));
}

/// Waits to be told what nobody tells.
struct Waiting;

impl Opener for Waiting {
    fn act(&mut self, caller: &mut Caller<'_>) -> Then {
        caller.open("echo");
        Then::WhenTold
    }
}

#[test]
fn an_opener_that_is_never_done_does_not_dial_again_at_the_end() {
    let sim = Sim::new("patient", |plan| {
        plan.trace_only("echo").only_faults(&[]).opener_speaking(Speaks::Only(Dialect::V1), Waiting);
    });
    assert_eq!(sim.run(&Tape::default()).broken, None);
}

#[test]
fn an_assertion_in_an_opener_or_a_property_fails_the_run() {
    struct Strict;
    impl Opener for Strict {
        fn act(&mut self, _: &mut Caller<'_>) -> Then {
            panic!("too strict");
        }
    }
    let strict = Sim::new("strict", |plan| {
        plan.opener(Strict);
    });
    let failing = forgetful().always("it asserts", |_| panic!("too strict"));
    for broken in [strict.run(&Tape::default()).broken, failing.run(&Tape::default()).broken] {
        assert!(broken.as_deref().is_some_and(|it| it.contains("too strict")), "{broken:?}");
    }
}

#[test]
fn an_async_participant_has_the_time_of_its_context_alone() {
    let begun = std::time::Instant::now();
    let report = Sim::new("sleeper", |plan| {
        let replies = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&replies);
        plan.serve_async("sleep", move || {
            let told = Arc::clone(&told);
            async_fn(move |mut context, message| {
                let told = Arc::clone(&told);
                async move {
                    let before = context.now();
                    context.sleep(Duration::from_secs(4)).await;
                    told.lock().unwrap().push(context.now().since(before));
                    context.reply(message.payload);
                }
            })
        });
        plan.only_faults(&[])
            .opener(Script::new().open("sleep").ask("1").ask("2").wait_for_replies().close());
        replies
    })
    .seeds(0..1)
    .eventually("it slept", Duration::ZERO, |view| !view.state.lock().unwrap().is_empty())
    .always("for as long as it said", |view| {
        view.state.lock().unwrap().iter().all(|slept| *slept == Duration::from_secs(4))
    })
    .check();
    assert!(report.time > Duration::from_secs(70) && begun.elapsed() < report.time);
}

#[test]
fn a_small_world_is_searched_to_its_end() {
    let sim = Sim::new("small", |plan| {
        plan.serve("echo", || from_fn(|context, message| context.reply(message.payload)));
        plan.serve("echo", || from_fn(|context, message| context.reply(message.payload)));
        plan.on_crash("echo", CrashPolicy::RouteToNext);
        plan.only_faults(&[Fault::Kill, Fault::LatePanic, Fault::Reset]).faults_max(2).rest(Duration::from_secs(6));
        let script = Script::new().open("echo").ask("1").wait(Duration::from_millis(2)).ask("2").close();
        plan.opener_speaking(Speaks::Only(Dialect::V2), script);
    })
    .sometimes("two participants die", |view| {
        let exited = |entry: &Entry| matches!(&entry.what, Noted::Recorded { record, .. } if matches!(record.what, Recorded::Exited { .. }));
        view.transcript.entries().iter().filter(|entry| exited(entry)).count() == 2
    });
    let (report, complete) = sim.check_exhaustively(&[Track::Faults], 20_000).expect("every promise holds");
    assert!(complete && report.runs > 100, "{report:?}");
}

#[test]
fn every_run_of_the_small_worlds_that_take_a_moment_keeps_every_promise() {
    for small in liminal_sim::worlds::small::all().iter().filter(|small| small.quick) {
        let (report, complete) = small.check(20_000).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(complete && report.runs > 0, "{}: {report:?}", small.sim.name());
    }
}

#[test]
fn a_run_that_a_search_has_found_is_made_small_and_can_be_replayed() {
    let sim = || {
        Sim::new("mortal", |plan| {
            plan.serve("echo", || from_fn(|context, message| context.reply(message.payload)));
            plan.only_faults(&[Fault::Kill]).faults_max(1);
            let script = Script::new().open("echo").ask("1").close();
            plan.opener_speaking(Speaks::Only(Dialect::V2), script);
        })
        .always("nobody dies", |view| {
            !view.transcript.entries().iter().any(|entry| matches!(entry.what, Noted::Died { .. }))
        })
    };
    let search = sim().check_exhaustively(&[Track::Schedule, Track::Faults], 100_000);
    let failure = search.expect_err("somebody dies");
    assert_eq!(sim().run(&failure.tape).broken, Some(failure.broken));
}

#[test]
fn equal_tapes_give_equal_transcripts() {
    let sim = liminal_sim::worlds::everything(liminal_sim::Network::Faithful);
    for seed in 0..20 {
        let digest = || sim.run(&Tape::from_seed(seed)).transcript.digest();
        assert_eq!(digest(), digest(), "seed {seed}");
    }
}
