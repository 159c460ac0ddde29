//! What follows from what was done: outcomes, exits, moves, ends.

use super::*;
use liminal_proto::Metadata;

impl Reference {
    pub(super) fn first_due(&self, at: usize) -> Option<u64> {
        let it = &self.conversations[at];
        let open = it.queue.iter().chain(&it.hand).filter_map(|said| Some((said.deadline?, said.record)));
        open.filter(|(deadline, _)| *deadline <= self.now).min().map(|(_, record)| record)
    }

    /// Ends an open request without a reply.
    pub(super) fn end(&mut self, at: usize, record: u64, how: Outcome) {
        let it = &mut self.conversations[at];
        let said = it.queue.iter_mut().chain(&mut it.hand).find(|said| said.record == record).unwrap();
        said.deadline = None;
        let id = said.id;
        self.record(at);
        self.outcome(at, id, how);
    }

    fn end_all(&mut self, at: usize, how: &Outcome) {
        let it = &self.conversations[at];
        let open = it.queue.iter().chain(&it.hand).filter_map(|said| Some((said.deadline?, said.record)));
        let mut open: Vec<_> = open.collect();
        open.sort();
        for (_, record) in open {
            self.end(at, record, how.clone());
        }
    }

    pub(super) fn reply(&mut self, at: usize, payload: bytes::Bytes, last: bool) {
        let Some(said) = self.conversations[at].hand.clone().filter(|said| said.deadline.is_some()) else {
            return;
        };
        let record = self.record(at);
        let it = &mut self.conversations[at];
        if let Some(hand) = &mut it.hand {
            hand.parted = true;
            if last {
                hand.deadline = None;
            }
        }
        let (link, conversation) = (it.link, it.id);
        let record = Some(RecordNumber::new(record));
        let reply =
            Reply { conversation, answers: said.id, record, last, metadata: Metadata::default(), payload };
        self.tell(link, conversation, Command::Reply(reply));
    }

    pub(super) fn returned(&mut self, at: usize, answer: Answer) {
        let it = &mut self.conversations[at];
        let Seat::Running(_, kind) = it.seat else { panic!("nothing runs") };
        it.seat = Seat::Idle;
        it.cancelled = false;
        let joins = !matches!(answer, Answer::Refused { .. } | Answer::Busy);
        let exits = matches!(answer, Answer::Exited(_));
        if it.phase == Phase::Closed {
            it.hand = None;
            it.present = (it.present || (kind == Kind::Join && joins)) && !exits;
            if (kind, &answer) == (Kind::Leave, &Answer::Busy) {
                it.present = true;
                self.wait(at, self.settings.busy_time, kind);
            }
            return;
        }
        if kind == Kind::Join && joins {
            self.join(at);
        }
        match (kind, answer) {
            (_, Answer::Exited(reason)) => self.exit(at, reason),
            (_, Answer::WakeAfter(time)) => self.wait(at, time, Kind::Wake),
            (Kind::Join, Answer::Refused { reason, text }) => self.refuse_join(at, reason, text),
            (Kind::Join, Answer::Busy) => self.refuse_join(at, ReasonCode::BUSY, None),
            (Kind::Join, _) => {}
            (Kind::Wake, Answer::Busy) => self.wait(at, self.settings.busy_time, Kind::Wake),
            (_, Answer::Busy) => match self.conversations[at].hand.clone() {
                Some(said)
                    if !said.asked
                        || (said.deadline.is_some() && self.conversations[at].notice.is_some()) =>
                {
                    self.conversations[at].hand = None;
                    self.conversations[at].queue.insert(0, said);
                    self.wait(at, self.settings.busy_time, Kind::Message);
                }
                _ => self.through(at, ReasonCode::BUSY, None),
            },
            (_, Answer::Refused { reason, text }) => self.through(at, reason, text),
            _ => self.through(at, ReasonCode::NO_REPLY, None),
        }
    }

    fn through(&mut self, at: usize, reason: ReasonCode, text: Option<String>) {
        if let Some(said) = self.conversations[at].hand.clone().filter(|said| said.deadline.is_some()) {
            self.end(at, said.record, Outcome::Refused { reason, text });
        }
        self.drop_hand(at);
    }

    fn drop_hand(&mut self, at: usize) {
        if let Some(said) = self.conversations[at].hand.take() {
            self.consumed(at, said.asked, said.len);
        }
    }

    /// Of what is dealt with and wanted no reply its sender is told, as long as the conversation is not over.
    pub(super) fn consumed(&mut self, at: usize, asked: bool, len: usize) {
        let it = &self.conversations[at];
        let (link, conversation) = (it.link, it.id);
        if !asked && matches!(it.phase, Phase::Created | Phase::Active | Phase::Completing) {
            self.tell(link, conversation, Command::Consumed { conversation, len });
        }
    }

    fn wait(&mut self, at: usize, time: Duration, kind: Kind) {
        self.conversations[at].seat = Seat::Waiting(self.now.after(time), kind);
    }

    pub(super) fn join(&mut self, at: usize) {
        self.record(at);
        let it = &mut self.conversations[at];
        it.present = true;
        it.joined = true;
        it.refused.clear();
        (it.nobody_by, it.retry_at) = (None, None);
        let opens = !std::mem::replace(&mut it.opened, true);
        it.searches &= it.policy != Policy::Fail;
        if it.phase == Phase::Created {
            it.phase = Phase::Active;
        }
        let (link, conversation, pid) = (it.link, it.id, Pid::new(it.pid.unwrap()));
        let opened = Command::Opened { conversation, pid: Some(pid) };
        self.tell(link, conversation, if opens { opened } else { Command::Joined { conversation, pid } });
    }

    fn refuse_join(&mut self, at: usize, reason: ReasonCode, text: Option<String>) {
        let it = &mut self.conversations[at];
        it.engaged = false;
        let busy = reason == ReasonCode::BUSY;
        if it.searches && (busy || it.notice.is_none()) {
            it.refused.extend(it.offer);
            let next = if it.opened || it.notice.is_some() {
                None
            } else {
                let (subject, refused) = (it.subject, it.refused.clone());
                self.pick(subject, &refused, &[])
            };
            let it = &self.conversations[at];
            if it.opened || it.notice.is_some() || next.is_some() {
                self.record(at);
                next.into_iter().for_each(|offer| self.invite(at, offer));
                return;
            }
        }
        self.end_all(at, &Outcome::Refused { reason, text: text.clone() });
        self.record(at);
        let it = &mut self.conversations[at];
        it.queue.clear();
        it.close_by = None;
        it.phase = Phase::Failed;
        it.known = false;
        let (link, id) = (it.link, it.id);
        self.refuse_open(link, id, reason, text);
    }

    pub(super) fn exit(&mut self, at: usize, reason: ExitReason) {
        self.conversations[at].engaged = false;
        if self.conversations[at].policy == Policy::RouteToNext {
            return self.reroute(at, reason);
        }
        let record = RecordNumber::new(self.record(at));
        let (open, unanswered) = (self.open_requests(at), self.unanswered(at));
        let it = &mut self.conversations[at];
        let pid = it.pid.unwrap();
        let asked = it.queue.iter().chain(&it.hand).map(|said| said.id.get()).max().unwrap_or(0);
        let completing = it.phase == Phase::Completing;
        it.queue.clear();
        self.drop_hand(at);
        let it = &mut self.conversations[at];
        it.close_by = None;
        it.present = false;
        it.phase = Phase::Failed;
        let (link, conversation) = (it.link, it.id);
        let policy = it.policy;
        let exit = Exit { pid: Pid::new(pid), record, reason, goes_on: false, unanswered: open };
        self.asked_before_exit.entry((link, conversation)).or_default().push_back(asked);
        self.tell(link, conversation, Command::Exited { conversation, exit });
        if completing {
            self.ended(at);
        }
        if let Policy::Compensate(subject) = policy {
            let alone = self.conversations.iter().all(|it| it.link != LinkId::BUS || it.held() == 0);
            let notice = Notice { of: at, pid, record: record.get(), unanswered, open: true, alone };
            self.compensate(subject, notice);
        }
    }

    fn unanswered(&self, at: usize) -> Vec<(u64, u64, bool, bool, usize)> {
        let it = &self.conversations[at];
        let unended = it.hand.iter().filter(|said| said.deadline.is_some() || !said.asked);
        let entry = |said: &Said, delivered| (said.record, said.id.get(), said.asked, delivered, said.len);
        let waiting = it.queue.iter().map(|said| entry(said, false));
        unended.map(|said| entry(said, true)).chain(waiting).collect()
    }

    /// The bus's own conversations are over when their link has no seat for them any more.
    fn compensate(&mut self, subject: &'static str, notice: Notice) {
        let own = self.conversations.iter().filter(|it| it.link == LinkId::BUS && !it.is_over()).count();
        let of = notice.of as u64 + 1;
        let refused = |reason| Outcome::Refused { reason, text: None };
        if own >= self.settings.conversations_per_link_max {
            return self.uncompensated.push((of, subject, refused(ReasonCode::LIMIT)));
        }
        let Some(offer) = self.pick(subject, &[], &[]) else {
            return self.uncompensated.push((of, subject, refused(ReasonCode::NO_PARTICIPANT)));
        };
        let at = self.create(LinkId::BUS, ConversationId::new(of), subject, Policy::Fail);
        self.invite(at, offer);
        let by = self.now.after(self.settings.compensation_time);
        let record = self.record(at);
        let it = &mut self.conversations[at];
        let (id, deadline) = (MessageId::new(1), Some(by));
        it.queue.push(Said { id, record, asked: true, deadline, len: 0, moves: 0, parted: false });
        it.searches = true;
        it.notice = Some(notice);
        it.phase = Phase::Completing;
        it.close_by = Some(by);
    }

    /// What the bus is told as an owner.
    fn on_own(&mut self, at: usize, command: &Command) {
        let why = match command {
            Command::Reply(reply) if reply.last => None,
            Command::Outcome { outcome, .. } => Some(outcome.clone()),
            Command::Exited { .. } => Some(Outcome::Exited),
            _ => return,
        };
        let subject = self.conversations[at].subject;
        let notice = self.conversations[at].notice.as_mut().unwrap();
        if std::mem::take(&mut notice.open)
            && let Some(why) = why
        {
            self.uncompensated.push((notice.of as u64 + 1, subject, why));
        }
    }

    fn open_requests(&self, at: usize) -> Unanswered {
        let it = &self.conversations[at];
        let open = it.hand.iter().chain(&it.queue).filter(|said| said.deadline.is_some());
        let mut records: Vec<_> = open.map(|said| RecordNumber::new(said.record)).collect();
        let count = records.len() as u32;
        records.sort_unstable();
        Unanswered::new(count, records)
    }

    fn reroute(&mut self, at: usize, reason: ExitReason) {
        let record = RecordNumber::new(self.record(at));
        let unanswered = self.open_requests(at);
        let it = &mut self.conversations[at];
        let (link, conversation, pid) = (it.link, it.id, it.pid.unwrap());
        let exit = Exit { pid: Pid::new(pid), record, reason, goes_on: true, unanswered };
        (it.present, it.joined, it.exited) = (false, false, Some(pid));
        it.crashed.extend(it.offer);
        self.tell(link, conversation, Command::Exited { conversation, exit });
        let it = &mut self.conversations[at];
        match it.hand.clone() {
            Some(hand) if hand.deadline.is_some() && hand.parted => {
                self.end(at, hand.record, Outcome::Exited);
            }
            Some(hand) if hand.deadline.is_some() => {
                it.queue.insert(0, hand);
                it.hand = None;
            }
            _ => {}
        }
        self.drop_hand(at);
        for mut said in std::mem::take(&mut self.conversations[at].queue) {
            let spent = said.moves == self.settings.moves_max;
            said.moves += 1;
            let (number, open, len) = (said.record, said.deadline.is_some(), said.len);
            self.conversations[at].queue.push(said);
            if spent {
                if open {
                    self.end(at, number, Outcome::Exited);
                }
                self.conversations[at].queue.pop();
                self.consumed(at, open, len);
            }
        }
    }

    pub(super) fn fail_for_want(&mut self, at: usize) {
        self.record(at);
        let it = &mut self.conversations[at];
        let asked = it.queue.iter().map(|said| said.id.get()).max().unwrap_or(0);
        let completing = it.phase == Phase::Completing;
        it.queue.clear();
        it.close_by = None;
        it.phase = Phase::Failed;
        let (link, conversation) = (it.link, it.id);
        self.asked_before_exit.entry((link, conversation)).or_default().push_back(asked);
        self.tell(link, conversation, Command::Failed { conversation });
        if completing {
            self.ended(at);
        }
    }

    fn find_next(&mut self, at: usize) {
        let it = &mut self.conversations[at];
        if it.retry_at.is_some_and(|retry| retry > self.now) {
            return;
        }
        it.retry_at = None;
        let (subject, refused, crashed) = (it.subject, it.refused.clone(), it.crashed.clone());
        if let Some(offer) = self.pick(subject, &refused, &crashed) {
            return self.invite(at, offer);
        }
        let it = &mut self.conversations[at];
        it.nobody_by = it.nobody_by.or(Some(self.now.after(self.settings.reply_time)));
        if !std::mem::take(&mut it.refused).is_empty() {
            it.retry_at = Some(self.now.after(self.settings.busy_time));
        }
    }

    pub(super) fn settle(&mut self, at: usize) {
        let it = &self.conversations[at];
        let drained = it.phase == Phase::Completing && !it.to_join && it.queue.is_empty();
        if drained && it.seat == Seat::Idle {
            self.finish(at);
        }
        if self.conversations[at].lacks() {
            self.find_next(at);
            if self.conversations[at].nobody_by().is_some_and(|by| by <= self.now) {
                self.fail_for_want(at);
            }
        } else if self.conversations[at].opened && self.conversations[at].queue.is_empty() {
            let it = &mut self.conversations[at];
            (it.nobody_by, it.retry_at) = (None, None);
            it.refused.clear();
        }
    }

    pub(super) fn finish(&mut self, at: usize) {
        self.end_all(at, &Outcome::Deadline);
        self.leave(at, Leaving::Closed);
        self.ended(at);
    }

    pub(super) fn leave(&mut self, at: usize, why: Leaving) {
        self.cancel(at);
        if self.conversations[at].joined {
            self.record(at);
        }
        let it = &mut self.conversations[at];
        it.phase = Phase::Closed;
        it.why = why;
        it.queue.clear();
        it.close_by = None;
        if let Some(hand) = &mut it.hand {
            hand.deadline = None;
        }
        if matches!(it.seat, Seat::Waiting(..)) {
            it.seat = Seat::Idle;
            it.hand = None;
        }
    }

    pub(super) fn ended(&mut self, at: usize) {
        self.conversations[at].known = false;
        let (link, conversation) = (self.conversations[at].link, self.conversations[at].id);
        self.tell(link, conversation, Command::Ended { conversation });
    }

    pub(super) fn cancel(&mut self, at: usize) {
        let it = &mut self.conversations[at];
        if let Seat::Running(ticket, _) = it.seat
            && !it.cancelled
        {
            it.cancelled = true;
            self.cancels.push(ticket);
        }
    }

    pub(super) fn find(&self, link: LinkId, id: ConversationId) -> Option<usize> {
        self.conversations.iter().position(|it| it.link == link && it.id == id && it.known)
    }

    pub(super) fn record(&mut self, at: usize) -> u64 {
        self.conversations[at].records += 1;
        self.conversations[at].records
    }

    pub(super) fn outcome(&mut self, at: usize, message: MessageId, outcome: Outcome) {
        let (link, conversation) = (self.conversations[at].link, self.conversations[at].id);
        self.tell(link, conversation, Command::Outcome { conversation, message, outcome });
    }

    pub(super) fn refuse_open(
        &mut self,
        link: LinkId,
        id: ConversationId,
        reason: ReasonCode,
        text: Option<String>,
    ) {
        self.tell(link, id, Command::Refused { conversation: id, reason, text });
    }

    pub(super) fn refuse_message(
        &mut self,
        link: LinkId,
        message: &Message,
        reason: ReasonCode,
        text: Option<String>,
    ) {
        let (conversation, message) = (message.conversation, message.id);
        let outcome = Outcome::Refused { reason, text };
        self.tell(link, conversation, Command::Outcome { conversation, message, outcome });
    }

    pub(super) fn tell(&mut self, link: LinkId, id: ConversationId, command: Command) {
        if link == LinkId::BUS {
            let at = self.conversations.iter().rposition(|it| it.link == link && it.id == id);
            return self.on_own(at.unwrap(), &command);
        }
        if self.is_alive(link) {
            self.commands.entry((link, id)).or_default().push_back(command);
        }
    }
}
