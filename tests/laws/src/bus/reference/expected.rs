//! What the bus must do, compared with what it does.

use super::*;

impl Reference {
    pub(in crate::bus) fn expect_command(&mut self, link: LinkId, command: &Command) {
        let key = (link, command.conversation().unwrap());
        let expected = self.commands.get_mut(&key).and_then(VecDeque::pop_front);
        assert_eq!(Some(command), expected.as_ref(), "on {link}");
    }

    pub(in crate::bus) fn last_asked_before_exit(&mut self, link: LinkId, id: ConversationId) -> u64 {
        self.asked_before_exit.get_mut(&(link, id)).and_then(VecDeque::pop_front).unwrap()
    }

    pub(in crate::bus) fn expect_uncompensated(&mut self, it: &Uncompensated) {
        let same = |(of, subject, why): &(u64, &str, Outcome)| {
            (*of, *subject, why) == (it.conversation.get(), &it.subject[..], &it.why)
        };
        let place = self.uncompensated.iter().position(same);
        self.uncompensated.remove(place.unwrap_or_else(|| panic!("{it} without a reason")));
    }

    pub(in crate::bus) fn expect_cancel(&mut self, ticket: Ticket) {
        let place = self.cancels.iter().position(|it| *it == ticket);
        self.cancels.remove(place.expect("cancelled without a reason"));
    }

    pub(in crate::bus) fn expect_run(&mut self, ticket: Ticket, invocation: &Invocation) {
        let place = usize::try_from(invocation.conversation.get()).unwrap() - 1;
        let it = &mut self.conversations[place];
        let link = &self.links[&it.link];
        assert_eq!((Some(invocation.pid.get()), Some(invocation.offer)), (it.pid, it.offer));
        let kind = it.next_call(self.now).expect("no call to make");
        assert!(!link.full || link.lost, "a call for a full link");
        it.seat = Seat::Running(ticket, kind);
        match (&invocation.what, kind) {
            (Call::Join { .. }, Kind::Join) => it.to_join = false,
            (
                Call::Message { id, record, expects_reply, redelivered, deadline, payload, metadata: _ },
                Kind::Message,
            ) => {
                let said = it.queue.remove(0);
                assert_eq!((said.id, said.record, said.moves), (*id, record.get(), *redelivered), "O4, O5");
                match &it.notice {
                    Some(notice) => notice.assert_said(payload, self.settings.notice_bytes_max),
                    None => assert_eq!(said.len, payload.len(), "O4"),
                }
                assert_eq!((said.asked, said.deadline), (*expects_reply, *deadline));
                assert!(deadline.is_none_or(|deadline| deadline > self.now), "Q4");
                it.hand = Some(said);
            }
            (Call::Wake { deadline }, Kind::Wake) => {
                assert_eq!(*deadline, it.hand.as_ref().and_then(|said| said.deadline));
            }
            (Call::Leave { why }, Kind::Leave) => {
                assert_eq!(*why, it.why);
                it.present = false;
            }
            (call, kind) => panic!("{call:?} instead of {kind:?}"),
        }
    }

    pub(in crate::bus) fn expect_wait(&self, wake: Wake) {
        for it in &self.conversations {
            let stopped = self.links[&it.link].full;
            assert!(stopped || it.next_call(self.now).is_none(), "a call is not made");
        }
        assert!(self.uncompensated.is_empty(), "not said: {:?}", self.uncompensated);
        assert!(self.cancels.is_empty(), "not cancelled: {:?}", self.cancels);
        let untold: Vec<_> = self.commands.values().flatten().collect();
        assert!(untold.is_empty(), "not told: {untold:?}");
        let first = self.conversations.iter().filter_map(|it| it.timer(self.now)).min();
        assert_eq!(wake.at(), first, "the wake");
        assert!(first.is_none_or(|at| at > self.now));
    }
}

impl Notice {
    /// The line says what it must, and lists as many messages as there is room for.
    fn assert_said(&self, line: &[u8], max: usize) {
        assert!(line.len() <= max && !line.contains(&b'\n'), "{} bytes", line.len());
        let said: serde_json::Value = serde_json::from_slice(line).unwrap();
        let numbers = (said["conversation"].as_u64(), said["pid"].as_u64(), said["record"].as_u64());
        assert_eq!(numbers, (Some(self.of as u64 + 1), Some(self.pid), Some(self.record)));
        let listed: Vec<_> = said["unanswered"].as_array().unwrap().iter().map(entry).collect();
        assert!(self.unanswered.starts_with(&listed), "{said} instead of {:?}", self.unanswered);
        let left_out = self.unanswered.len() - listed.len();
        assert_eq!(said["left_out"].as_u64(), Some(left_out as u64));
        if let Some((.., len)) = self.unanswered.get(listed.len()).filter(|_| self.alone) {
            assert!(line.len() + len.div_ceil(3) * 4 + 200 > max, "there was room for more: {said}");
        }
    }
}

fn entry(said: &serde_json::Value) -> (u64, u64, bool, bool, usize) {
    let payload = said["payload"].as_str().unwrap();
    let len = payload.len() / 4 * 3 - payload.matches('=').count();
    let id = said["id"].as_str().unwrap().parse().unwrap();
    let (asked, delivered) = (said["asked"].as_bool().unwrap(), said["delivered"].as_bool().unwrap());
    (said["record"].as_u64().unwrap(), id, asked, delivered, len)
}
