//! What the desk answers.

use liminal_sim::{Tape, strategy};
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::ReferenceStateMachine;

use crate::{BUYERS, SEATS};

/// How many seats are free and how many each buyer holds; what the desk has answered so far, and what the
/// network does meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) free: u32,
    pub(crate) held: [u32; BUYERS],
    pub(crate) answers: Vec<&'static str>,
    pub(crate) tape: Tape,
}

/// A buyer says something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Says(pub(crate) usize, pub(crate) &'static str);

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
