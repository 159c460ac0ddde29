//! The opener.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use liminal_proto::{ConversationId, Event};
use liminal_sim::{Caller, Opener, Then};

use crate::BUYERS;
use crate::model::Says;

/// Says what the steps say, each when the one before it was answered, each buyer in a conversation of its own.
#[derive(Default)]
pub(crate) struct Buyers {
    pub(crate) steps: Vec<Says>,
    pub(crate) conversations: [Option<ConversationId>; BUYERS],
    pub(crate) asked: usize,
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
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
