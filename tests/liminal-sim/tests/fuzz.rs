//! A simulation as the target of a fuzzer. Alone in its process, whose panic hook it stands in for.

#![allow(clippy::panic, reason = "panics are what it is about")]

use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use liminal_core::participant::from_fn;
use liminal_sim::{Script, Sim};

/// How many panics the hook of a fuzzer, which ends the process, would have seen.
static SEEN: AtomicUsize = AtomicUsize::new(0);

/// Whose participant panics at the second question.
fn nervous() -> Sim<()> {
    Sim::new("nervous", |plan| {
        plan.serve("ask", || {
            let mut asked = 0;
            from_fn(move |context, message| {
                asked += 1;
                assert!(asked < 2, "one question too many");
                context.reply(message.payload);
            })
        });
        plan.opener(Script::new().open("ask").ask("1").ask("2").wait_for_replies().close());
    })
}

#[test]
fn a_fuzzer_hears_of_what_does_not_hold_and_not_of_participants_that_panic() {
    panic::set_hook(Box::new(|_| {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }));
    nervous().fuzz(b"any bytes at all");
    assert_eq!(SEEN.load(Ordering::Relaxed), 0, "the participant was heard of");

    let quiet = |view: &liminal_sim::View<'_, ()>| {
        !liminal_sim::draw_diagram(view.transcript, None).contains("one question too many")
    };
    let sim = nervous().always("nobody is nervous", quiet);
    let found = catch_unwind(AssertUnwindSafe(|| sim.fuzz(b"any bytes at all")));
    let story = found.err().and_then(|panic| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    assert!(story.starts_with("nervous: always nobody is nervous"), "{story}");
    assert!(story.contains("replay: LIMINAL_SIM_REPLAY='nervous=...'"), "it was made small: {story}");
    assert_eq!(SEEN.load(Ordering::Relaxed), 1, "the finding is heard of once");

    let broken: Sim<()> = Sim::new("broken", |_| panic!("no plan"));
    assert!(catch_unwind(AssertUnwindSafe(|| broken.fuzz(b""))).is_err());
    assert_eq!(SEEN.load(Ordering::Relaxed), 2, "a plan that panics is heard of");
}
