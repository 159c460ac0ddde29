use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use liminal_core::{Command, Rights};
use liminal_proto::{ConversationId, Expects, Message, MessageId, Metadata, StreamId, Terms};

use super::*;
use crate::server::Flushed;

/// Runs nothing.
struct Nowhere;

impl Spawn for Nowhere {
    fn spawn(&self, task: Task) -> Result<(), Task> {
        Err(task)
    }
}

impl Sleeper for Nowhere {
    fn sleep_until(&self, _: time::Instant) -> Sleep {
        Box::pin(pending())
    }
}

/// A link that only counts.
struct Counting {
    id: LinkId,
    /// What it was told, and how much of that as one that looks on.
    told: AtomicUsize,
    shown: AtomicUsize,
    /// Whether it has written what it was shown as soon as it is flushed.
    reads: AtomicBool,
    /// It was shown something, and has not said that it is written.
    looked_on: AtomicBool,
    said: AtomicBool,
    flushes: AtomicUsize,
    put_off: AtomicUsize,
}

impl Counting {
    fn new(id: LinkId) -> Arc<Self> {
        let [told, shown, flushes, put_off] = [0; 4].map(AtomicUsize::new);
        let [reads, looked_on, said] = [false; 3].map(AtomicBool::new);
        Arc::new(Self { id, told, shown, reads, looked_on, said, flushes, put_off })
    }
}

impl Outlet for Counting {
    fn id(&self) -> LinkId {
        self.id
    }

    fn push(&self, command: Command) -> bool {
        self.told.fetch_add(1, SeqCst);
        if command.is_looked_on() {
            self.shown.fetch_add(1, SeqCst);
            self.looked_on.store(true, SeqCst);
        }
        !self.said.swap(true, SeqCst)
    }

    fn flush(&self, _: Instant, _: usize) -> Flushed {
        self.said.store(false, SeqCst);
        self.flushes.fetch_add(1, SeqCst);
        let drained = self.reads.load(SeqCst) && self.looked_on.swap(false, SeqCst);
        Flushed { drained, ..Flushed::default() }
    }

    fn is_full(&self) -> bool {
        false
    }

    fn take_changes(&self) -> Vec<(ConversationId, bool)> {
        Vec::new()
    }

    fn put_off(&self) {
        self.looked_on.store(true, SeqCst);
        self.put_off.fetch_add(1, SeqCst);
    }

    fn drop_transport(&self, _: Instant) {}
}

/// A hub on which "log" is recorded, and where those who look on are told one record until that is written.
fn hub() -> Arc<Hub> {
    let mut options = ServerOptions::default();
    options.bus.delivered_bytes_per_link_max = 1;
    let hub = Hub::new(options, Box::new(Nowhere), Arc::new(Nowhere), Pool::new(0));
    hub.register("log".into(), Kind::TraceOnly).unwrap();
    hub
}

fn open(number: u64) -> Event {
    let conversation = ConversationId::new(number);
    Event::Open { conversation, subject: "log".into(), terms: Terms::default() }
}

fn say(number: u64) -> Event {
    Event::Message(Message {
        conversation: ConversationId::new(1),
        id: MessageId::new(number),
        expects: Expects::Acceptance,
        timeout: None,
        redelivered: 0,
        payload: "said".into(),
        metadata: Metadata::default(),
    })
}

#[test]
fn who_looks_on_as_fast_as_it_is_told_is_told_a_bounded_part_before_others_go_on() {
    const SAID: usize = 100;
    let hub = hub();
    let (speaker, watcher) = (hub.attach(Counting::new), hub.attach(Counting::new));
    hub.lock().bus.grant(watcher.id, Rights::MONITOR);
    let now = hub.clock().now();
    hub.events(now, watcher.id, [Event::Watch { monitor: StreamId::new(1), subject: Some("log".into()) }]);
    // While it reads nothing, all but the first waits for it.
    hub.events(now, speaker.id, [open(1)].into_iter().chain((1..=SAID as u64).map(say)));
    let link = watcher.link();
    let shown = || link.shown.load(SeqCst);
    assert!(shown() < TOLD_PER_ROUND, "{} shown", shown());

    link.reads.store(true, SeqCst);
    let mut rounds = 0;
    while shown() < SAID {
        let (before, flushes, put_off) = (shown(), link.flushes.load(SeqCst), link.put_off.load(SeqCst));
        hub.flush_at(now, link);
        let more = shown() - before;
        assert!((1..=TOLD_PER_ROUND).contains(&more), "{more} in a row");
        assert!(link.flushes.load(SeqCst) - flushes <= TOLD_PER_ROUND + 1);
        rounds += 1;
        // What is left is for its own thread or task, which is told so.
        let is_left = usize::from(shown() < SAID);
        assert!(link.put_off.load(SeqCst) - put_off >= is_left);
        // Others go on meanwhile.
        let told = speaker.link().told.load(SeqCst);
        hub.events(now, speaker.id, [say((SAID + rounds) as u64)]);
        assert!(speaker.link().told.load(SeqCst) > told);
    }
    assert!(rounds >= SAID / (2 * TOLD_PER_ROUND), "{rounds} rounds");
}
