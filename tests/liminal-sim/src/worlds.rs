//! Worlds to begin with: the bus with everything that it can do.

pub mod small;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use liminal_core::participant::{AsyncContext, async_fn, from_fn};
use liminal_core::{Context, CrashPolicy, Participant, Received, Settings};
use liminal_proto::{Config, ExitReason, Keepalive, Limits};

use crate::{Network, Plan, Script, Sim, Workload};

/// What openers ask for of a bus; nobody serves the last.
const SUBJECTS: [&str; 10] =
    ["echo", "route", "undo", "lost", "slow", "async", "log", "moody", "erratic", "nobody"];
/// What they ask for besides, and as often, of its clients.
const OF_CLIENTS: [&str; 10] =
    ["relay", "far", "remedy", "relay", "far", "relay", "remedy", "relay", "far", "route"];

/// Openers that do whatever the tape says with participants of every kind under every crash policy, while
/// everything goes wrong that can: three that dial one bus, and as the tape says one more in the program of the
/// bus, up to three clients that serve on it, and as many of all on a second bus; at times with little credit.
///
/// ```
/// use liminal_sim::{Network, worlds};
///
/// worlds::everything(Network::Faithful).seeds(0..5).check();
/// ```
#[must_use]
pub fn everything(network: Network) -> Sim<()> {
    let name = match network {
        Network::Faithful => "everything",
        Network::Byzantine => "everything, byzantine",
    };
    Sim::new(name, move |plan| {
        plan.network(network);
        let (is_local, has_another) =
            [(false, false), (true, false), (false, true), (true, true)][plan.draw(4)];
        configure(plan);
        stage_everything(plan, is_local);
        if has_another {
            stage_everything(plan.another_bus(), is_local);
        }
    })
}

/// How long a peer is silent until it is asked for a sign of life. It is given up after as long as by default, and
/// those who have nothing to say take half the steps for that.
const SILENCE: Keepalive = Keepalive { silence: Duration::from_secs(30), unanswered_max: 1 };

/// As the tape says there is little credit, for conversations and for all of them together.
fn configure(plan: &mut Plan) {
    let Limits { conversation_window, connection_window, .. } = Limits::default();
    let windows = [(conversation_window, connection_window), (8_000, 20_000), (1_000, 3_000), (300, 100)];
    let (conversation_window, connection_window) = windows[plan.draw(4)];
    let limits = Limits { conversation_window, connection_window, ..Limits::default() };
    plan.config(Config { limits, keepalive: Some(SILENCE), ..Config::default() });
}

fn stage_everything(plan: &mut Plan, is_local: bool) {
    serve_everything(plan);
    let clients = plan.draw(4);
    serve_by_clients(plan, clients);
    let subjects = if clients > 0 { [SUBJECTS, OF_CLIENTS].concat() } else { SUBJECTS.to_vec() };
    for _ in 0..3 {
        plan.opener(Workload::on(&subjects));
    }
    if is_local {
        plan.local_opener(Workload::on(&subjects));
    }
}

/// The worlds that saved scenarios are of, by the names of their simulations.
pub const NAMES: [&str; 4] = ["everything", "everything, byzantine", "errands", "last seat"];

/// The world of this name. `None`: it is none of [`NAMES`].
#[must_use]
pub fn named(name: &str) -> Option<Sim<()>> {
    let [all, byzantine, several, seat] = NAMES;
    match name {
        name if name == all => Some(everything(Network::Faithful)),
        name if name == byzantine => Some(everything(Network::Byzantine)),
        name if name == several => Some(errands()),
        name if name == seat => Some(last_seat()),
        _ => None,
    }
}

/// Several openers, each with a conversation of its own on a participant of another kind: nobody's conversation
/// depends on who is first, as long as nothing goes wrong.
#[must_use]
pub fn errands() -> Sim<()> {
    Sim::new("errands", |plan| {
        serve_everything(plan);
        let ask = |subject, first: &'static str, second: &'static str| {
            Script::new().open(subject).ask(first).ask(second).wait_for_replies().close()
        };
        plan.opener(ask("echo", "to be", "or not to be"));
        plan.opener(ask("slow", "in two parts", "with a pause"));
        plan.opener(ask("async", "wait", "for me"));
        plan.opener(Script::new().open("log").confirm("for the record").say("only").close());
        plan.opener(Script::new().open("moody").ask("one").ask("two").ask("three").wait_for_replies());
        plan.opener(
            Script::new().open("erratic").ask("one").ask("two").ask("three").wait_for_replies().close(),
        );
        plan.opener(Script::new().open("nobody").wait_for_replies());
    })
}

/// Two buyers want the last seat: who asks first has it.
#[must_use]
pub fn last_seat() -> Sim<()> {
    Sim::new("last seat", |plan| {
        let seats = Arc::new(AtomicBool::new(true));
        plan.serve("desk", move || {
            let seats = Arc::clone(&seats);
            from_fn(move |context, _| {
                let is_free = seats.swap(false, Ordering::AcqRel);
                context.reply(if is_free { "yours" } else { "sold out" });
            })
        });
        for _ in 0..2 {
            plan.opener(Script::new().open("desk").ask("a seat").wait_for_replies().close());
        }
    })
}

fn serve_everything(plan: &mut Plan) {
    let echo = || from_fn(|context, message| context.reply(message.payload));
    for subject in ["echo", "route", "route", "route", "undo", "lost", "fix"] {
        plan.serve(subject, echo);
    }
    plan.serve("slow", || Slow)
        .serve("moody", || Moody(0))
        .serve("erratic", || Moody(0))
        .serve_async("async", || async_fn(sleepy));
    plan.trace_only("log");
    plan.on_crash("route", CrashPolicy::RouteToNext);
    plan.on_crash("erratic", CrashPolicy::RouteToNext);
    plan.on_crash("undo", CrashPolicy::Compensate("fix".into()));
    plan.on_crash("lost", CrashPolicy::Compensate("nobody".into()));
}

/// What so many clients serve: what nobody else does, under every crash policy, and some of what the bus serves
/// itself. As the tape says there is little room at any time, for conversations, for what is on its way to a client,
/// and for what a client holds.
fn serve_by_clients(plan: &mut Plan, count: usize) {
    plan.on_crash("relay", CrashPolicy::RouteToNext);
    plan.on_crash("remedy", CrashPolicy::Compensate("fix".into()));
    let is_narrow = count > 0 && plan.draw(4) == 3;
    if is_narrow {
        plan.settings(Settings { delivered_bytes_per_link_max: 600, ..Settings::default() });
    }
    for nth in 0..count {
        let capacity = [8, 1, 2, 3][plan.draw(4)];
        plan.client(capacity);
        if is_narrow {
            plan.settings(Settings { held_bytes_per_link_max: 6_000, ..Settings::for_client() });
        }
        let echo = || from_fn(|context, message| context.reply(message.payload));
        match nth {
            0 => plan.serve("far", echo).serve("relay", || Moody(1)).serve("remedy", || Moody(0)),
            1 => plan.serve("far", || Slow).serve("relay", || Slow).serve("fix", echo),
            _ => plan.serve_async("relay", || async_fn(sleepy)).serve("route", echo),
        };
    }
}

/// Replies in two parts, with a pause between them.
struct Slow;

impl Participant for Slow {
    fn message(&mut self, context: &mut Context<'_>, message: Received) {
        context.reply_part(message.payload.slice(..message.payload.len() / 2));
        context.wake_after(Duration::from_millis(700));
    }

    fn woken(&mut self, context: &mut Context<'_>) {
        context.reply("the rest");
    }
}

/// Has enough of every third message, at times in the middle of the reply, and does not answer every fourth.
struct Moody(u32);

impl Participant for Moody {
    fn message(&mut self, context: &mut Context<'_>, message: Received) {
        self.0 += 1;
        if self.0.is_multiple_of(3) {
            if message.payload.len().is_multiple_of(2) {
                context.reply_part("it is");
            }
            return context.exit(ExitReason::Normal);
        }
        if !self.0.is_multiple_of(4) {
            context.reply(message.payload);
        }
    }
}

/// Takes its time where somebody waits for it: so it is through with all that was said when their deadlines have
/// passed, however much that was.
async fn sleepy(mut context: AsyncContext, message: Received) {
    if !message.expects_reply {
        return;
    }
    context.reply_part("wait");
    context.sleep(Duration::from_millis(message.payload.len() as u64)).await;
    context.reply(message.payload);
}
