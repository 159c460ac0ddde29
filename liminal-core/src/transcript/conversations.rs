//! What the conversations of a run came to, so that two runs can be compared.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use liminal_proto::{Metadata, Pid, RecordNumber};

use super::{BusId, Digest, Entry, Noted, OpenerId, Transcript};
use crate::{ConversationKey, LinkId, Record, Recorded};

/// Whose a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// An opener that the transcript knows.
    Opener(OpenerId),
    /// A connection of which only the bus's side is known: by the order in which they opened something first,
    /// from 1 on.
    Stranger(u64),
    /// The bus itself, to compensate.
    Bus,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opener(opener) => opener.fmt(f),
            Self::Stranger(nth) => write!(f, "stranger-{nth}"),
            Self::Bus => f.write_str("bus"),
        }
    }
}

/// What one conversation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationDigest {
    /// Whose it is.
    pub owner: Owner,
    /// Which of its owner's, in the order of opening, from 1 on. (Those of the bus come in no order that
    /// anybody chose; they are numbered by their digests.)
    pub nth: u64,
    /// How many records it has.
    pub records: u64,
    /// A number that differs, as good as certainly, between conversations that went differently.
    pub digest: u64,
}

impl Transcript {
    /// What each conversation came to, by owner and in the order of opening: equal in two runs in which the
    /// same was said, answered and suffered, on whatever clock and whatever transport.
    ///
    /// In a digest are
    ///
    /// - the messages and requests of the owner in their order, with all of their payload, and with each what
    ///   became of it: its parts and its reply with their payloads, or how it ended without one;
    /// - the lives of the participants in their order: who joined, would not, left, exited, and why.
    ///
    /// Not in it is what two honest runs need not agree on: times and deadlines, the numbers that buses and
    /// connections give out (of conversations, messages and participants, which count as the first, the second,
    /// … of their conversation), and how the records of the two sides are interleaved, because whether a second
    /// question is accepted before or after the reply to the first is decided by the network when nobody waits
    /// for it. So the numbers of records are not in it either: a reply counts by the message that it answers.
    /// What the bus says itself, to compensate, names such numbers: of its conversations the payloads are left
    /// out.
    ///
    /// Conversations of which the transcript does not say whose they are do not count, nor do those that were
    /// refused before they had a record.
    #[must_use]
    pub fn conversations(&self) -> Vec<ConversationDigest> {
        let mut courses = Courses::default();
        self.entries().iter().for_each(|entry| courses.on_entry(entry));
        courses.digests()
    }

    /// All of [`conversations`](Self::conversations) in one number.
    #[must_use]
    pub fn conversations_digest(&self) -> u64 {
        let mut digest = Digest::new();
        for it in self.conversations() {
            digest.text(&it.owner);
            digest.number(it.nth);
            digest.number(it.digest);
        }
        digest.0
    }
}

/// What is known of all conversations so far.
#[derive(Default)]
struct Courses {
    openers: BTreeMap<(BusId, LinkId), OpenerId>,
    strangers: BTreeMap<(BusId, LinkId), u64>,
    /// In the order of opening.
    courses: BTreeMap<(BusId, ConversationKey), Course>,
}

impl Courses {
    fn on_entry(&mut self, entry: &Entry) {
        let bus = entry.bus;
        match &entry.what {
            Noted::Dialled { opener, link } => {
                self.openers.insert((bus, *link), *opener);
            }
            Noted::Owned { conversation, link, .. } => {
                let owner = self.owner(bus, *link);
                self.courses.entry((bus, *conversation)).or_insert_with(|| Course::new(owner));
            }
            Noted::Recorded { conversation, record } => {
                if let Some(course) = self.courses.get_mut(&(bus, *conversation)) {
                    course.on_record(record);
                }
            }
            Noted::Serves { .. }
            | Noted::Said { .. }
            | Noted::Told { .. }
            | Noted::Gone { .. }
            | Noted::LinkClosed { .. }
            | Noted::Called { .. }
            | Noted::CalledOn { .. }
            | Noted::LetGo { .. }
            | Noted::Heard { .. }
            | Noted::Cancelled { .. }
            | Noted::Answered { .. }
            | Noted::Died { .. }
            | Noted::Uncompensated(_)
            | Noted::Paused { .. }
            | Noted::Unread { .. }
            | Noted::Credit { .. }
            | Noted::BusLost
            | Noted::BusStarted { .. }
            | Noted::Held { .. }
            | Noted::Waited { .. }
            | Noted::Measured { .. }
            | Noted::Calm
            | Noted::Over
            | Noted::Broken { .. } => {}
        }
    }

    fn owner(&mut self, bus: BusId, link: LinkId) -> Owner {
        if link == LinkId::BUS {
            return Owner::Bus;
        }
        if let Some(opener) = self.openers.get(&(bus, link)) {
            return Owner::Opener(*opener);
        }
        let next = self.strangers.len() as u64 + 1;
        Owner::Stranger(*self.strangers.entry((bus, link)).or_insert(next))
    }

    fn digests(&self) -> Vec<ConversationDigest> {
        let courses = self.courses.values().filter(|course| course.records > 0);
        let mut digests: Vec<_> = courses.map(Course::digest).collect();
        // Stable, so that those of one owner stay in the order of opening.
        digests.sort_by_key(|it| (it.owner, if it.owner == Owner::Bus { it.digest } else { 0 }));
        let mut before = None;
        for it in &mut digests {
            let (owner, nth) = before.unwrap_or((it.owner, 0));
            it.nth = if owner == it.owner { nth + 1 } else { 1 };
            before = Some((it.owner, it.nth));
        }
        digests
    }
}

/// One conversation.
struct Course {
    owner: Owner,
    records: u64,
    /// Each message of the owner, with what became of it.
    messages: BTreeMap<RecordNumber, Digest>,
    /// Its participants, in the order in which they appear.
    pids: Vec<Pid>,
    lives: Digest,
}

impl Course {
    const fn new(owner: Owner) -> Self {
        Self { owner, records: 0, messages: BTreeMap::new(), pids: Vec::new(), lives: Digest::new() }
    }

    fn on_record(&mut self, record: &Record) {
        self.records += 1;
        match &record.what {
            Recorded::Message { payload, metadata, .. } => {
                self.on_message(record.number, &"message", (payload, metadata));
            }
            Recorded::Request { payload, metadata, .. } => {
                self.on_message(record.number, &"request", (payload, metadata));
            }
            Recorded::Reply { request, last, payload, metadata } => {
                self.on_fate(*request, if *last { &"reply" } else { &"part" }, (payload, metadata));
            }
            Recorded::RequestEnded { request, how } => {
                self.on_fate(*request, &format_args!("ended {how:?}"), (&[], &Metadata::default()));
            }
            Recorded::Joined { pid } => self.on_life(*pid, &"joined"),
            Recorded::JoinRefused { pid, text } => self.on_life(*pid, &format_args!("refused {text:?}")),
            Recorded::Left { pid, why } => self.on_life(*pid, &format_args!("left {why:?}")),
            Recorded::Exited { pid, reason, goes_on } => {
                self.on_life(*pid, &format_args!("exited {reason}, goes on: {goes_on}"));
            }
            Recorded::Failed => self.lives.text(&"failed"),
        }
    }

    fn on_message(&mut self, number: RecordNumber, kind: &dyn fmt::Display, said: (&[u8], &Metadata)) {
        self.messages.insert(number, Digest::new());
        self.on_fate(number, kind, said);
    }

    fn on_fate(
        &mut self,
        of: RecordNumber,
        what: &dyn fmt::Display,
        (payload, metadata): (&[u8], &Metadata),
    ) {
        let Some(message) = self.messages.get_mut(&of) else { return };
        message.text(what);
        if self.owner != Owner::Bus {
            message.bytes(payload);
            if !metadata.is_empty() {
                message.bytes(metadata.as_bytes());
            }
        }
    }

    fn on_life(&mut self, pid: Pid, what: &dyn fmt::Display) {
        let nth = self.pids.iter().position(|it| *it == pid).unwrap_or_else(|| {
            self.pids.push(pid);
            self.pids.len() - 1
        });
        self.lives.number(nth as u64);
        self.lives.text(what);
    }

    fn digest(&self) -> ConversationDigest {
        let mut digest = Digest::new();
        self.messages.values().for_each(|message| digest.number(message.0));
        digest.number(self.lives.0);
        ConversationDigest { owner: self.owner, nth: 0, records: self.records, digest: digest.0 }
    }
}

impl Digest {
    fn number(&mut self, number: u64) {
        number.to_le_bytes().into_iter().for_each(|byte| self.byte(byte));
    }

    /// With its length in front of it: what follows cannot be taken for a part of it.
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        bytes.iter().for_each(|byte| self.byte(*byte));
    }

    /// With an end that no text contains.
    fn text(&mut self, text: &dyn fmt::Display) {
        // Writing to a number cannot fail.
        let _ = write!(self, "{text}");
        self.byte(0xFF);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use bytes::Bytes;
    use liminal_proto::{ConversationId, ExitReason, Instant, MessageId};

    use super::*;
    use crate::Leaving;

    type Step = (u64, Recorded);

    const fn instant(second: u64) -> Instant {
        Instant::ORIGIN.after(core::time::Duration::from_secs(second))
    }

    fn request(id: u64, payload: &'static str) -> Recorded {
        let payload = Bytes::from_static(payload.as_bytes());
        Recorded::Request {
            id: MessageId::new(id),
            deadline: instant(id),
            metadata: Metadata::default(),
            payload,
        }
    }

    fn reply(to: u64, payload: &'static str) -> Recorded {
        let payload = Bytes::from_static(payload.as_bytes());
        Recorded::Reply { request: RecordNumber::new(to), last: true, metadata: Metadata::default(), payload }
    }

    const fn joined(pid: u64) -> Recorded {
        Recorded::Joined { pid: Pid::new(pid) }
    }

    const fn left(pid: u64) -> Recorded {
        Recorded::Left { pid: Pid::new(pid), why: Leaving::Closed }
    }

    /// A run of one opener with these records, by the key of their conversation.
    fn run(link: u64, second: u64, steps: Vec<Step>) -> Transcript {
        let mut transcript = Transcript::new();
        let bus = BusId::new(1);
        let mut note = |what| transcript.note(instant(second), bus, what);
        let link = LinkId::new(link);
        note(Noted::Dialled { opener: OpenerId::new(1), link });
        let mut numbers = BTreeMap::new();
        for (key, what) in steps {
            let (conversation, id) = (ConversationKey::new(key), ConversationId::new(key));
            let number = numbers.entry(key).or_insert(0);
            if *number == 0 {
                note(Noted::Owned { conversation, link, id });
            }
            *number += 1;
            let record = Record { number: RecordNumber::new(*number), at: instant(second), what };
            note(Noted::Recorded { conversation, record });
        }
        transcript
    }

    #[test]
    fn times_links_keys_pids_and_ids_do_not_matter() {
        let one =
            run(1, 1, vec![(7, joined(3)), (7, request(1, "hello")), (7, reply(2, "world")), (7, left(3))]);
        let other =
            run(9, 5, vec![(8, joined(4)), (8, request(5, "hello")), (8, reply(2, "world")), (8, left(4))]);
        assert_ne!(one.digest(), other.digest());
        assert_eq!(one.conversations(), other.conversations());
        assert_eq!(one.conversations_digest(), other.conversations_digest());
    }

    #[test]
    fn how_the_two_sides_are_interleaved_does_not_matter() {
        let waited = vec![
            (1, joined(1)),
            (1, request(1, "a")),
            (1, reply(2, "A")),
            (1, request(2, "b")),
            (1, reply(4, "B")),
        ];
        let hurried = vec![
            (1, request(1, "a")),
            (1, joined(1)),
            (1, request(2, "b")),
            (1, reply(1, "A")),
            (1, reply(3, "B")),
        ];
        assert_eq!(run(1, 1, waited).conversations(), run(1, 1, hurried).conversations());
    }

    #[test]
    fn whatever_was_said_answered_or_suffered_matters() {
        let course = || vec![(1, joined(1)), (1, request(1, "a")), (1, reply(2, "A")), (1, left(1))];
        let exited =
            Recorded::Exited { pid: Pid::new(1), reason: ExitReason::Signal { signal: 9 }, goes_on: false };
        let changes: Vec<(usize, Recorded)> = vec![
            (0, joined(2)),
            (1, request(1, "b")),
            (
                1,
                Recorded::Message {
                    id: MessageId::new(1),
                    metadata: Metadata::default(),
                    payload: Bytes::from_static(b"a"),
                },
            ),
            (2, reply(2, "B")),
            (2, request(2, "A")),
            (3, exited),
            (3, Recorded::Left { pid: Pid::new(1), why: Leaving::OwnerLost }),
            (3, Recorded::Failed),
        ];
        let digest = run(1, 1, course()).conversations_digest();
        for (at, what) in changes {
            let mut steps = course();
            steps[at].1 = what.clone();
            assert_ne!(run(1, 1, steps).conversations_digest(), digest, "{what:?}");
        }
        let mut swapped = vec![(1, request(1, "a")), (1, request(2, "b"))];
        let two = run(1, 1, swapped.clone()).conversations_digest();
        swapped.swap(0, 1);
        assert_ne!(run(1, 1, swapped).conversations_digest(), two);
    }

    #[test]
    fn conversations_come_by_owner_in_the_order_of_opening() {
        let transcript = run(1, 1, vec![(5, joined(2)), (4, joined(1)), (5, left(2))]);
        let all = transcript.conversations();
        let shown: Vec<_> = all.iter().map(|it| (it.owner, it.nth, it.records)).collect();
        let owner = Owner::Opener(OpenerId::new(1));
        assert_eq!(shown, [(owner, 1, 1), (owner, 2, 2)]);
    }

    #[test]
    fn what_the_bus_says_itself_counts_without_its_payload() {
        let bus =
            |payload| run(0, 1, vec![(1, joined(1)), (1, request(1, payload)), (1, left(1))]).conversations();
        assert_eq!(bus("pid 4711"), bus("pid 12"));
        assert_eq!(bus("")[0].owner, Owner::Bus);
    }

    #[test]
    fn a_connection_of_which_only_one_side_is_known_is_a_stranger() {
        let mut transcript = run(3, 1, vec![(1, joined(1))]);
        transcript.entries_mut().remove(0);
        assert_eq!(transcript.conversations()[0].owner, Owner::Stranger(1));
    }
}
