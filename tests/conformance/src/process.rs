//! What a whole process uses while its connections have nothing to do. Other tests would count, so these
//! checks are for a test program of their own, one after the other. Linux only.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use liminal_driver::client::{Connectivity, Reconnect};
use liminal_proto::Config;

use crate::WAIT;
use crate::cases::reconnect::LATER;
use crate::puppet::say;
use crate::stage::{Setup, Stage, World};
use crate::transport::{Conversation, Handle, Transport};
use crate::wire::Wire;

static ALONE: Mutex<()> = Mutex::new(());

/// Connections in the checks below.
pub const CONNECTIONS: usize = 100;

/// How often threads of this process gave up the processor to wait, since they were started.
fn waits() -> u64 {
    let mut waits = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end meanwhile.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        let mut counts = status.lines().filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        waits += counts.next().map_or(0, |n| n.trim().parse().unwrap());
    }
    waits
}

/// How long threads of this process ran, in hundredths of a second.
fn ran() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Resident memory, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines().filter_map(|line| line.strip_prefix("VmRSS:"));
    let kib = lines.next().unwrap().trim_end_matches("kB").trim();
    kib.parse::<usize>().unwrap() << 10
}

/// Waits until there are no more threads than this: those of connections that are over end by themselves.
fn await_threads(most: usize) {
    let until = Instant::now() + WAIT;
    while threads() > most {
        assert!(Instant::now() < until, "{} threads stay behind", threads() - most);
        thread::sleep(Duration::from_millis(10));
    }
}

/// A client that has lost its connection, and pauses before it dials again.
fn away(transport: &dyn Transport, world: &World<'_>) -> Arc<dyn Handle> {
    let wire = Wire::to(world.address(), 4096);
    let handle = transport.connect(&wire.address(), Config::default(), true).unwrap();
    handle.reconnect(LATER).unwrap();
    wire.cut();
    handle.connectivity_changed(&Connectivity::Connected { connection: 1 });
    handle
}

/// [`CONNECTIONS`] that have nothing to do, each with a driver, one that waits for something long, and a client that
/// has no connection and pauses: for a second nothing wakes anybody. Each has `threads_max` threads at most, those of its driver included.
pub fn idle_connections_wake_nobody(transport: &dyn Transport, threads_max: usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Executors and reactors start threads of their own once.
    drop(Stage::default().serve(transport, Setup::V2).open("async"));
    let world = Stage::default().serve(transport, Setup::V2);
    let before = threads();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| world.open("inline")).collect();
    for (handle, conversation) in &clients {
        assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
        handle.reconnect(Reconnect::default()).unwrap();
    }
    let _away = away(transport, &world);
    let more = threads().saturating_sub(before);
    assert!(more <= threads_max * CONNECTIONS + 8, "{more} threads for {CONNECTIONS} connections");
    // A runtime may look after itself now and then. What connections do to stay alive they do in every second.
    let mut seconds = Vec::new();
    for _ in 0..5 {
        let (waits, hundredths) = a_second_beside_one_who_waits(&*clients[0].1);
        // This thread itself waited once.
        if waits < 10 && hundredths < 10 {
            return;
        }
        seconds.push((waits, hundredths));
    }
    panic!("wake-ups and hundredths of a second of processor time, in each second: {seconds:?}");
}

/// How many wake-ups there are in a second while somebody waits for what does not come, and how much
/// processor time they take, in hundredths of a second.
fn a_second_beside_one_who_waits(conversation: &dyn Conversation) -> (u64, u64) {
    thread::scope(|scope| {
        scope.spawn(|| conversation.receive_reply(Duration::from_millis(1600)));
        thread::sleep(Duration::from_millis(400));
        let before = (waits(), ran());
        thread::sleep(Duration::from_secs(1));
        (waits() - before.0, ran() - before.1)
    })
}

/// Threads of servers that have ended, and of their connections, are gone.
pub fn no_thread_stays_behind(transport: &dyn Transport) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let round = || {
        let world = Stage::default().serve(transport, Setup::V2);
        let clients: Vec<_> = (0..20).map(|_| world.open("blocking")).collect();
        for (_, conversation) in &clients {
            assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
        }
        drop(away(transport, &world));
        drop(clients);
        world.finish();
    };
    // Executors, reactors and pools start threads of their own once.
    (0..2).for_each(|_| round());
    thread::sleep(Duration::from_millis(700));
    let before = threads();
    (0..3).for_each(|_| round());
    await_threads(before);
}

/// Clients that ask for more and more and read nothing: what each of them may cost is bounded.
pub fn readers_that_stop_cost_a_bounded_amount(transport: &dyn Transport) {
    const READERS: usize = 8;
    const REQUEST: usize = 100_000;
    // What a link may queue, hold and have decoded at worst, and as much again for what an allocator keeps.
    const EACH_MAX: usize = 2 * (5 << 20);
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let world = Stage::default().serve(transport, Setup::V2);
    let (_handle, neighbour) = world.open("inline");
    neighbour.ask(vec![7; 1_000_000].into(), WAIT).unwrap();
    let before = resident();
    let mut most = 0;
    let mut readers = Vec::new();
    for number in 0..READERS {
        let dialect = Setup::all(transport)[number % 2].dialect();
        let mut raw = crate::raw::Raw::connect_narrow(world.address());
        raw.shake_hands(dialect);
        raw.open(1, 1, ["inline", "blocking", "async"][number % 3]);
        // Some 30 MB each, or as much as is taken.
        let _ =
            (1..=300).take_while(|&number| raw.try_send(&raw.ask_bytes(1, number, &[7; REQUEST]))).count();
        most = most.max(resident());
        assert_eq!(neighbour.ask(say::COUNT.into(), WAIT / 4).unwrap(), (number + 2).to_string());
        readers.push(raw);
    }
    let grown = most.saturating_sub(before);
    assert!(grown < READERS * EACH_MAX, "{} MiB for {READERS} readers that stopped", grown >> 20);
}
