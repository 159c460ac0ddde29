//! A participant against a model of it, with `proptest-state-machine`: whatever buyers say in whatever order,
//! the ticket desk answers what the model says. `liminal_sim::guide::model` explains it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a failed test says so")]

mod buyers;
mod clerk;
mod model;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use liminal_sim::{Fault, Plan, Sim};
use proptest::test_runner::Config;
use proptest_state_machine::{StateMachineTest, prop_state_machine};

use crate::buyers::Buyers;
use crate::clerk::Clerk;
use crate::model::{Model, Says};

const SEATS: u32 = 2;
const BUYERS: usize = 3;

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
