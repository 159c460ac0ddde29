//! Credit: how much one side may say before the other is through with what it said (`PROTOCOL.md` §7).
//!
//! In every conversation, and on the connection for all of them together, what is under way in one direction is
//! bounded by a window of its receiver. Each message takes its charge of both; when its receiver is through with
//! it, that is given back. Messages and replies have windows of their own on the connection, so that what is asked
//! never keeps what is answered from coming.

use crate::{CommandError, ConversationId, CreditGiven, Limits, SmallMap, StreamId, Violation};

/// What is said: by whoever opened a conversation, or in answer to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Message,
    Reply,
}

/// How much may be under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window(u32);

impl Window {
    pub(super) fn new(bytes: u32) -> Self {
        Self(bytes.clamp(1, Limits::CREDIT_MAX))
    }

    pub(super) const fn bytes(self) -> u32 {
        self.0
    }

    /// From how much on it is told what is to be given back: less is not worth a frame.
    pub(super) const fn worth_telling(self) -> u32 {
        if self.0 < 4 { 1 } else { self.0 / 4 }
    }

    /// What something of this length takes: its charge, but only so much that it fits while a quarter is not told.
    fn cost(self, len: usize) -> u32 {
        u32::try_from(Limits::charge(len)).unwrap_or(u32::MAX).min(self.0 - self.0 / 4)
    }
}

/// How credit stands at one side: in a conversation, or for all conversations together. In bytes, as they are
/// charged.
///
/// When nothing is under way, what one side may say is what the other may hear, and what a side may hear, has open
/// and owes make up its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditLeft {
    /// What this side may still say.
    pub to_say: u32,
    /// What the other side may still say.
    pub to_hear: u32,
    /// What the other side has said, and this one is not through with.
    pub open: u32,
    /// What this side is through with, and has not told: less than a quarter of its window, unless it withholds it.
    pub owed: u32,
}

/// The end of a window that speaks: what may still be said.
#[derive(Clone, Copy, Debug, Default)]
struct Balance {
    left: u32,
    /// It did not suffice for something that was to be said.
    wanting: bool,
}

impl Balance {
    const fn of(window: Window) -> Self {
        Self { left: window.0, wanting: false }
    }

    const fn covers(&mut self, cost: u32) -> bool {
        let covers = cost <= self.left;
        self.wanting |= !covers;
        covers
    }

    /// The other side gives more. Says whether somebody waits for that.
    fn add(&mut self, bytes: u32) -> Result<bool, Violation> {
        let left = self.left.checked_add(bytes).filter(|left| *left <= Limits::CREDIT_MAX);
        self.left = left.ok_or(Violation::TooMuchCredit { bytes, left: self.left })?;
        Ok(bytes > 0 && core::mem::take(&mut self.wanting))
    }
}

/// The end of a window that listens: what the other side may still say, and what it is to be given back.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    left: u32,
    /// Dealt with, and not told.
    owed: u32,
}

impl Account {
    const fn of(window: Window) -> Self {
        Self { left: window.0, owed: 0 }
    }

    fn take(&mut self, bytes: u32) -> Result<(), Violation> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(Violation::BeyondCredit { bytes, left: self.left })?;
        Ok(())
    }

    /// So much was dealt with; never more than there is.
    fn give_back(&mut self, window: Window, bytes: u32) {
        self.owed += bytes.min(self.open(window));
    }

    /// What was said and is not dealt with.
    const fn open(&self, window: Window) -> u32 {
        window.0 - self.left - self.owed
    }

    const fn is_due(&self, window: Window) -> bool {
        self.owed >= window.worth_telling()
    }

    fn tell(&mut self) -> u32 {
        self.left += self.owed;
        core::mem::take(&mut self.owed)
    }
}

/// The credit of one conversation, in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    balance: Balance,
    account: Account,
    /// How much of the window of the connection is taken by what was said here and is not dealt with.
    taken: u32,
}

impl Flow {
    /// The other side of the conversation gives more. Says whether somebody waits for that.
    pub(super) fn add(&mut self, bytes: u32) -> Result<bool, Violation> {
        self.balance.add(bytes)
    }
}

/// How much a side takes: what it says in its Windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub(super) payload_max: u32,
    pub(super) conversation: Window,
    pub(super) connection: Window,
}

impl Windows {
    fn costs(&self, len: usize) -> Costs {
        Costs { here: self.conversation.cost(len), in_all: self.connection.cost(len) }
    }
}

/// What something takes of the window of its conversation, and of that of all conversations together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Costs {
    here: u32,
    in_all: u32,
}

/// The credit of a connection, of both sides.
#[derive(Debug)]
pub(super) struct Credit {
    own: Windows,
    given: CreditGiven,
    /// What the other side takes, since it has said so.
    peer: Option<Windows>,
    balances: [Balance; 2],
    accounts: [Account; 2],
    /// Conversations that are owed something worth telling, for which there was no room.
    pub(super) due: SmallMap<StreamId, ()>,
}

impl Credit {
    pub(super) fn new(limits: &Limits, given: CreditGiven) -> Self {
        let own = Windows {
            payload_max: limits.frame_payload_max.clamp(1, Limits::FRAME_HARD_MAX),
            conversation: Window::new(limits.conversation_window),
            connection: Window::new(limits.connection_window),
        };
        let accounts = [Account::of(own.connection); 2];
        Self { own, given, peer: None, balances: [Balance::default(); 2], accounts, due: SmallMap::new() }
    }

    pub(super) const fn own(&self) -> Windows {
        self.own
    }

    pub(super) const fn knows_peer(&self) -> bool {
        self.peer.is_some()
    }

    /// The other side says what it takes.
    pub(super) fn meet(&mut self, peer: Windows) {
        self.balances = [Balance::of(peer.connection); 2];
        self.peer = Some(peer);
    }

    /// The longest payload of a frame that the other side takes.
    pub(super) fn payload_max(&self) -> u32 {
        self.peer.map_or(u32::MAX, |peer| peer.payload_max)
    }

    /// Whether what was polled counts as dealt with.
    pub(super) fn is_given_when_polled(&self) -> bool {
        self.given == CreditGiven::Polled
    }

    /// That of a new conversation.
    pub(super) fn flow(&self) -> Flow {
        Flow {
            balance: self.peer.map_or(Balance::default(), |peer| Balance::of(peer.conversation)),
            account: Account::of(self.own.conversation),
            taken: 0,
        }
    }

    // What this side says.

    /// Whether something of this length may be said now: what it takes.
    pub(super) fn check(
        &mut self,
        said: Said,
        flow: &mut Flow,
        key: ConversationId,
        len: usize,
    ) -> Result<Costs, CommandError> {
        let costs = self.peer.map_or(Costs::default(), |peer| peer.costs(len));
        if !flow.balance.covers(costs.here) {
            return Err(CommandError::NoCredit(Some(key)));
        }
        if !self.balances[said as usize].covers(costs.in_all) {
            return Err(CommandError::NoCredit(None));
        }
        Ok(costs)
    }

    /// It was said.
    pub(super) fn spend(&mut self, said: Said, flow: &mut Flow, Costs { here, in_all }: Costs) {
        flow.balance.left = flow.balance.left.saturating_sub(here);
        let balance = &mut self.balances[said as usize];
        balance.left = balance.left.saturating_sub(in_all);
    }

    /// The other side gives more for all conversations together. Says whether somebody waits for that.
    pub(super) fn add(&mut self, messages: u32, replies: u32) -> Result<bool, Violation> {
        let [of_messages, of_replies] = &mut self.balances;
        let (one, other) = (of_messages.add(messages)?, of_replies.add(replies)?);
        Ok(one || other)
    }

    /// Whether so much is worth telling, by the windows of the other side.
    pub(super) fn is_useful(&self, in_conversation: u32) -> bool {
        self.peer.is_some_and(|peer| in_conversation >= peer.conversation.worth_telling())
    }

    /// The same for all conversations together.
    pub(super) fn is_useful_in_all(&self, messages: u32, replies: u32) -> bool {
        self.peer.is_some_and(|peer| messages.max(replies) >= peer.connection.worth_telling())
    }

    // What the other side says.

    /// Something of this length has come, in a conversation that there is, or in none: then it is dealt with.
    pub(super) fn receive(
        &mut self,
        said: Said,
        flow: Option<&mut Flow>,
        len: usize,
    ) -> Result<(), Violation> {
        let Costs { here, in_all } = self.own.costs(len);
        let (window, account) = (self.own.connection, &mut self.accounts[said as usize]);
        account.take(in_all)?;
        match flow {
            Some(flow) => {
                flow.account.take(here)?;
                flow.taken += in_all;
            }
            None => account.give_back(window, in_all),
        }
        Ok(())
    }

    /// Something of this length is dealt with.
    pub(super) fn give_back(&mut self, said: Said, flow: &mut Flow, len: usize) {
        flow.account.give_back(self.own.conversation, self.own.conversation.cost(len));
        self.give_back_in_all(said, flow, len);
    }

    /// Something of this length holds up no other conversation any more.
    pub(super) fn give_back_in_all(&mut self, said: Said, flow: &mut Flow, len: usize) {
        let in_all = self.own.connection.cost(len).min(flow.taken);
        flow.taken -= in_all;
        self.accounts[said as usize].give_back(self.own.connection, in_all);
    }

    /// Nothing that was said in this conversation is of any use any more.
    pub(super) fn give_all_back(&mut self, said: Said, flow: &mut Flow) {
        flow.account.give_back(self.own.conversation, u32::MAX);
        let taken = core::mem::take(&mut flow.taken);
        self.accounts[said as usize].give_back(self.own.connection, taken);
    }

    /// Whether a conversation is owed something that is worth telling.
    pub(super) const fn is_due(&self, flow: &Flow) -> bool {
        flow.account.is_due(self.own.conversation)
    }

    /// How the credit of a conversation stands.
    pub(super) const fn left(&self, flow: &Flow) -> CreditLeft {
        let Flow { balance, account, .. } = flow;
        let open = account.open(self.own.conversation);
        CreditLeft { to_say: balance.left, to_hear: account.left, open, owed: account.owed }
    }

    /// The same for all conversations together.
    pub(super) const fn left_in_all(&self, said: Said) -> CreditLeft {
        let (balance, account) = (&self.balances[said as usize], &self.accounts[said as usize]);
        let open = account.open(self.own.connection);
        CreditLeft { to_say: balance.left, to_hear: account.left, open, owed: account.owed }
    }

    /// What a conversation is owed, to be told now.
    pub(super) fn tell(&mut self, flow: &mut Flow) -> u32 {
        flow.account.tell()
    }

    /// What is owed for all conversations together, to be told now: messages and replies. Both are told when one
    /// of them is worth it.
    pub(super) fn tell_in_all(&mut self) -> Option<(u32, u32)> {
        let due = self.is_due_in_all();
        let [messages, replies] = &mut self.accounts;
        due.then(|| (messages.tell(), replies.tell()))
    }

    const fn is_due_in_all(&self) -> bool {
        let ([messages, replies], window) = (&self.accounts, self.own.connection);
        messages.is_due(window) || replies.is_due(window)
    }

    /// Whether any conversation, or all of them together, are owed something that is worth telling.
    pub(super) const fn is_any_due(&self) -> bool {
        self.is_due_in_all() || !self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Account, Balance, Window};
    use crate::Limits;

    #[test]
    fn a_message_of_any_length_fits_into_a_window_of_which_not_a_quarter_is_owed() {
        for bytes in [0, 1, 2, 3, 4, 5, 7, 1000, 1 << 18, u32::MAX] {
            let window = Window::new(bytes);
            let owed = window.worth_telling() - 1;
            assert!(window.cost(usize::MAX) <= window.bytes() - owed, "{window:?}");
            assert!(window.cost(0) > 0, "{window:?}");
        }
    }

    #[test]
    fn a_message_costs_its_charge() {
        let window = Window::new(1 << 20);
        for (len, cost) in [(0, 256), (63, 319), (64, 128), (1000, 1064), (1 << 20, 3 << 18)] {
            assert_eq!(window.cost(len), cost, "{len}");
        }
    }

    #[test]
    fn credit_beyond_what_can_be_counted_is_a_fault() {
        let mut balance = Balance::of(Window::new(u32::MAX));
        assert!(balance.add(0).is_ok_and(|waits| !waits));
        assert!(balance.add(1).is_err());
        assert_eq!(balance.left, Limits::CREDIT_MAX);
    }

    proptest! {
        /// Whatever is said and dealt with, in whatever order: what may still be said, what is on its way, what is
        /// not dealt with and what is owed make up the window, and none of them is ever negative.
        #[test]
        fn credit_is_conserved(window in 1u32..5_000, steps in proptest::collection::vec((0u8..3, 0usize..9_000), 0..200)) {
            let window = Window::new(window);
            let (mut balance, mut account) = (Balance::of(window), Account::of(window));
            let mut open = alloc::collections::VecDeque::new();
            for (step, len) in steps {
                let cost = window.cost(len);
                match step {
                    0 if balance.covers(cost) => {
                        balance.left -= cost;
                        account.take(cost).unwrap();
                        open.push_back(cost);
                    }
                    1 => if let Some(cost) = open.pop_front() {
                        account.give_back(window, cost);
                    },
                    _ => if account.is_due(window) {
                        balance.add(account.tell()).unwrap();
                    },
                }
                prop_assert_eq!(account.open(window), open.iter().sum::<u32>());
                prop_assert_eq!(balance.left + account.open(window) + account.owed, window.bytes());
                prop_assert!(!open.is_empty() || account.is_due(window) || balance.covers(window.cost(usize::MAX)));
            }
        }
    }
}
