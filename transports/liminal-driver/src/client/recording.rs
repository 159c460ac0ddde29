//! What a client writes down for a [`Recorder`].

use std::collections::BTreeMap;
use std::time::Duration;

use liminal_core::transcript::OpenerId;
use liminal_proto::{ConversationId, Event, Instant, Message, MessageId, Outcome};

use crate::Recorder;
use crate::recorder::Opener;

/// A client that is recorded. Times are those that its connection was told.
#[derive(Debug)]
pub(super) struct Recording {
    opener: Opener,
    /// Until when what was asked must have ended, where a time was named.
    deadlines: BTreeMap<(ConversationId, MessageId), Instant>,
    /// When the connection was through with all that it had been told.
    through: Instant,
}

impl Recording {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self { opener: recorder.opener(), deadlines: BTreeMap::new(), through: Instant::ORIGIN }
    }

    pub(super) const fn opener(&self) -> OpenerId {
        self.opener.id()
    }

    pub(super) fn said(&mut self, at: Instant, event: Event) {
        if let Event::Message(Message { conversation, id, timeout: Some(timeout), .. }) = &event {
            let deadline = at.after((*timeout).max(Duration::from_millis(1)));
            self.deadlines.insert((*conversation, *id), deadline);
        }
        self.opener.said(at, event);
    }

    /// The connection tells something.
    pub(super) fn told(&mut self, at: Instant, event: &Event) {
        match event {
            Event::Reply(reply) => self.heard_of(at, (reply.conversation, reply.answers), reply.last),
            Event::Outcome { conversation, message, .. } => {
                self.heard_of(at, (*conversation, *message), true);
            }
            Event::Closed(_) => self.deadlines.clear(),
            // What is told of the conversations of others is no part of what this one has said and heard.
            Event::Monitoring { .. }
            | Event::NotMonitoring { .. }
            | Event::Unmonitored { .. }
            | Event::Notice { .. }
            | Event::Record { .. }
            | Event::Gap { .. } => return,
            _ => {}
        }
        self.opener.told(at, event.clone());
    }

    /// Nobody waits for the end of a message any more: to whoever did, its time is over.
    pub(super) fn gave_up(&mut self, at: Instant, conversation: ConversationId, message: MessageId) {
        self.told(at, &Event::Outcome { conversation, message, outcome: Outcome::Deadline });
    }

    pub(super) const fn waits(&mut self, at: Instant) {
        self.through = at;
    }

    /// A process is always a little late when its time has come: what comes behind a deadline that the connection
    /// was not told of before comes from one that stood still.
    fn heard_of(&mut self, at: Instant, request: (ConversationId, MessageId), ends: bool) {
        let deadline = self.deadlines.get(&request).copied();
        if ends {
            self.deadlines.remove(&request);
        }
        if deadline.is_some_and(|deadline| self.through < deadline && deadline < at) {
            self.opener.stood_still(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use liminal_core::transcript::Noted;
    use liminal_core::{Bus, Settings};
    use liminal_proto::{Expects, Metadata, Reply};

    use super::*;

    const REQUEST: (ConversationId, MessageId) = (ConversationId::new(1), MessageId::new(2));

    const fn second(number: u64) -> Instant {
        Instant::ORIGIN.after(Duration::from_secs(number))
    }

    /// A client that asks at 1 s for 2 s, is through at that moment, and is told of the end then.
    fn stood_still(through: u64, told: u64) -> bool {
        let recorder = Recorder::new();
        let mut recording = Recording::new(&recorder);
        recorder.linked(second(0), recorder.bus(), Bus::new(Settings::default()).connect(second(0)));
        let ((conversation, id), payload) = (REQUEST, Bytes::new());
        let timeout = Some(Duration::from_secs(2));
        let asked = Message {
            conversation,
            id,
            expects: Expects::Reply,
            timeout,
            redelivered: 0,
            payload: payload.clone(),
            metadata: Metadata::default(),
        };
        recording.said(second(1), Event::Message(asked));
        recording.waits(second(through));
        let reply = Reply {
            conversation,
            answers: id,
            last: true,
            record: None,
            metadata: Metadata::default(),
            payload,
        };
        recording.told(second(told), &Event::Reply(reply));
        assert!(recording.deadlines.is_empty());
        recorder.take().entries().iter().any(|entry| matches!(entry.what, Noted::Paused { .. }))
    }

    #[test]
    fn who_is_told_the_time_late_stood_still() {
        assert!(stood_still(2, 4));
    }

    #[test]
    fn who_answers_in_time_or_was_told_the_time_did_not_stand_still() {
        assert!(!stood_still(2, 3), "in time");
        assert!(!stood_still(4, 5), "the connection knew, and should have ended it");
    }
}
