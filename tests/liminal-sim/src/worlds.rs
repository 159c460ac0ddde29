//! Worlds to begin with: the bus with everything that it can do.

pub mod small;

use std::time::Duration;

use liminal_core::participant::{AsyncContext, async_fn, from_fn};
use liminal_core::{Context, CrashPolicy, Participant, Received};
use liminal_proto::ExitReason;

use crate::{Network, Plan, Sim, Workload};

/// What openers ask for; nobody serves the last.
const SUBJECTS: [&str; 10] =
    ["echo", "route", "undo", "lost", "slow", "async", "log", "moody", "erratic", "nobody"];

/// Two to three openers that do whatever the tape says with participants of every kind under every crash
/// policy, while everything goes wrong that can.
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
        serve_everything(plan);
        plan.network(network);
        for _ in 0..3 {
            plan.opener(Workload::on(&SUBJECTS));
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

async fn sleepy(mut context: AsyncContext, message: Received) {
    context.reply_part("wait");
    context.sleep(Duration::from_millis(message.payload.len() as u64)).await;
    context.reply(message.payload);
}
