//! A participant against a model of it, with `proptest-state-machine`: whatever buyers say in whatever order,
//! the ticket desk answers what the model says.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a failed test says so")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use liminal_core::{Context, Participant, Received};
use liminal_proto::{ConversationId, Event};
use liminal_sim::{Caller, Fault, Opener, Plan, Sim, Tape, Then, strategy};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

const SEATS: u32 = 2;
const BUYERS: usize = 3;

// ── The model ───────────────────────────────────────────────────────────────────────────────────────

/// How many seats are free and how many each buyer holds; what the desk has answered so far, and what the
/// network does meanwhile.
#[derive(Clone, Debug)]
struct Model {
    free: u32,
    held: [u32; BUYERS],
    answers: Vec<&'static str>,
    tape: Tape,
}

/// A buyer says something.
#[derive(Clone, Copy, Debug)]
struct Says(usize, &'static str);

impl Model {
    fn answer(&mut self, Says(buyer, what): Says) -> &'static str {
        let held = &mut self.held[buyer];
        match what {
            "reserve" if self.free == 0 => return "sold out",
            "reserve" => (self.free, *held) = (self.free - 1, *held + 1),
            _ if *held == 0 => return "you hold none",
            "buy" => *held = 0,
            _ => (self.free, *held) = (self.free + 1, *held - 1),
        }
        "done"
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Says;

    fn init_state() -> BoxedStrategy<Self> {
        let model = |tape| Self { free: SEATS, held: [0; BUYERS], answers: Vec::new(), tape };
        strategy::tape(64).prop_map(model).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Says> {
        (0..BUYERS, select(vec!["reserve", "buy", "cancel"]))
            .prop_map(|(buyer, what)| Says(buyer, what))
            .boxed()
    }

    fn apply(mut model: Self, says: &Says) -> Self {
        let answer = model.answer(*says);
        model.answers.push(answer);
        model
    }
}

// ── The participant ─────────────────────────────────────────────────────────────────────────────────

/// Serves one buyer. One that is not careful frees a seat for whoever cancels, with or without a reservation.
struct Clerk<const CAREFUL: bool> {
    free: Arc<Mutex<u32>>,
    mine: u32,
}

impl<const CAREFUL: bool> Clerk<CAREFUL> {
    fn answer(&mut self, what: &[u8]) -> &'static str {
        let mut free = self.free.lock().unwrap();
        match what {
            b"reserve" if *free == 0 => return "sold out",
            b"reserve" => (*free, self.mine) = (*free - 1, self.mine + 1),
            _ if self.mine == 0 => {
                *free += u32::from(what == b"cancel" && !CAREFUL);
                return "you hold none";
            }
            b"buy" => self.mine = 0,
            _ => (*free, self.mine) = (*free + 1, self.mine - 1),
        }
        "done"
    }
}

impl<const CAREFUL: bool> Participant for Clerk<CAREFUL> {
    fn message(&mut self, context: &mut Context<'_>, message: Received) {
        context.reply(self.answer(&message.payload));
    }
}

// ── The one against the other ───────────────────────────────────────────────────────────────────────

/// Says what the steps say, each when the one before it was answered, each buyer in a conversation of its own.
#[derive(Default)]
struct Buyers {
    steps: Vec<Says>,
    conversations: [Option<ConversationId>; BUYERS],
    asked: usize,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Opener for Buyers {
    fn told(&mut self, event: &Event) {
        if let Event::Reply(reply) = event {
            self.heard.lock().unwrap().push(String::from_utf8_lossy(&reply.payload).into_owned());
        }
    }

    fn act(&mut self, caller: &mut Caller<'_>) -> Then {
        if self.asked > self.heard.lock().unwrap().len() {
            return Then::WhenTold;
        }
        let Some(Says(buyer, what)) = self.steps.get(self.asked).copied() else { return Then::Done };
        let conversation = self.conversations[buyer].or_else(|| caller.open("desk"));
        self.conversations[buyer] = conversation;
        match conversation.and_then(|it| caller.ask(it, None, what)) {
            Some(_) => self.asked += 1,
            None => return Then::After(Duration::from_millis(1)),
        }
        Then::WhenTold
    }
}

/// The desk with these buyers, who hear what the model says.
fn simulation<const CAREFUL: bool>(steps: &[Says], answers: &[&'static str]) -> Sim<Arc<Mutex<Vec<String>>>> {
    let (steps, answers) = (steps.to_vec(), answers.to_vec());
    let all = answers.len();
    let plan = move |plan: &mut Plan| {
        let free = Arc::new(Mutex::new(SEATS));
        plan.serve("desk", move || Clerk::<CAREFUL> { free: Arc::clone(&free), mine: 0 });
        let heard = Arc::default();
        plan.opener(Buyers { steps: steps.clone(), heard: Arc::clone(&heard), ..Buyers::default() });
        // What arrives in pieces arrives, so the model need not know of losses.
        plan.only_faults(&[Fault::Chunks]);
        heard
    };
    Sim::new("desk and model", plan)
        .always("the desk says what the model says", move |view| {
            view.state.lock().unwrap().iter().zip(&answers).all(|(heard, answer)| heard == answer)
        })
        .eventually("everybody is answered", Duration::ZERO, move |view| {
            view.state.lock().unwrap().len() == all
        })
        // Proptest does that, and of the steps, too.
        .shrink_runs_max(0)
}

struct Against<const CAREFUL: bool>;

impl<const CAREFUL: bool> StateMachineTest for Against<CAREFUL> {
    type SystemUnderTest = Vec<Says>;
    type Reference = Model;

    fn init_test(_: &Model) -> Vec<Says> {
        Vec::new()
    }

    fn apply(mut steps: Vec<Says>, _: &Model, says: Says) -> Vec<Says> {
        steps.push(says);
        steps
    }

    /// All steps are one run: a world runs from its beginning to its end.
    fn teardown(steps: Vec<Says>, model: Model) {
        if let Err(failure) = simulation::<CAREFUL>(&steps, &model.answers).check_tape(&model.tape) {
            panic!("{failure}");
        }
    }
}

fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

prop_state_machine! {
    #![proptest_config(cases(100))]

    #[test]
    fn the_desk_answers_what_the_model_says(sequential 1..20 => Against<true>);

    #[test]
    #[should_panic(expected = "desk and model: always the desk says what the model says")]
    fn a_desk_that_takes_back_a_seat_of_another_is_found(sequential 1..20 => Against<false>);
}
