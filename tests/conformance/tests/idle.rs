//! Idleness costs nothing. A process of its own, because other tests would count.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use liminal_conformance::adapters::{AsyncStd, Blocking, Smol};
use liminal_conformance::stage::{Setup, Stage};
use liminal_conformance::{Transport, WAIT};

static ALONE: Mutex<()> = Mutex::new(());

/// How often threads of this process were switched to, and how long they ran, in hundredths of a second.
fn used() -> (u64, u64) {
    let mut switches = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end meanwhile.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        let counts = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
        switches += counts.map(|(_, n)| n.trim().parse::<u64>().unwrap()).sum::<u64>();
    }
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (switches, fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

/// 100 connections that have nothing to do, each with a driver, and one that waits for something long.
fn idles(transport: &dyn Transport) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let world = Stage::default().serve(transport, Setup::V2);
    let clients: Vec<_> = (0..100).map(|_| world.open("inline")).collect();
    for (_, conversation) in &clients {
        assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
    }
    thread::scope(|scope| {
        scope.spawn(|| clients[0].1.receive_reply(Duration::from_millis(1600)));
        thread::sleep(Duration::from_millis(400));
        let before = used();
        thread::sleep(Duration::from_secs(1));
        let after = used();
        let (switches, hundredths) = (after.0 - before.0, after.1 - before.1);
        assert!(switches < 50 && hundredths < 10, "{switches} switches, {hundredths}0 ms");
    });
}

#[test]
fn blocking_idles() {
    idles(&Blocking);
}

#[test]
fn smol_idles() {
    idles(&Smol);
}

#[test]
fn async_std_idles() {
    idles(&AsyncStd);
}

/// Threads of a server that has ended are gone.
#[test]
fn no_thread_stays_behind() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    for transport in [&Blocking as &dyn Transport, &Smol, &AsyncStd] {
        // Executors and reactors start threads of their own once.
        drop(Stage::default().serve(transport, Setup::V2).open("async"));
        let round = || {
            let world = Stage::default().serve(transport, Setup::V2);
            let clients: Vec<_> = (0..20).map(|_| world.open("blocking")).collect();
            for (_, conversation) in &clients {
                assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
            }
            drop(clients);
            world.finish();
        };
        round();
        thread::sleep(Duration::from_millis(700));
        let before = threads();
        (0..3).for_each(|_| round());
        let until = std::time::Instant::now() + WAIT;
        while threads() > before {
            assert!(std::time::Instant::now() < until, "{} threads stay behind", threads() - before);
            thread::sleep(Duration::from_millis(10));
        }
    }
}
