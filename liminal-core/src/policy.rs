//! What becomes of a conversation whose participant exits.

use alloc::string::String;

/// What becomes of a conversation whose participant exits. Set for a subject with
/// [`Bus::on_crash`](crate::Bus::on_crash); a conversation keeps the one it was opened with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashPolicy {
    /// The conversation fails at once: open requests end as exited, and later messages are refused.
    #[default]
    Fail,
    /// The conversation goes on with the next participant of its subject.
    ///
    /// What was accepted and not yet delivered, and the request in hand if no part of its reply was
    /// given, move to it in their order and with their deadlines, before anything newer. Each says how
    /// often it was moved ([`Received::redelivered`](crate::Received::redelivered)), and is moved
    /// [`moves_max`](crate::Settings::moves_max) times at most. The message in hand that wants no reply
    /// was delivered, and is not given to another.
    ///
    /// The next participant is one that has not exited in this conversation, if there is one, and the
    /// one with the fewest conversations among these. It is told nothing of what was said before, and it
    /// joins when there is something to say to it. When none can be found before the first deadline of
    /// what waits, the conversation fails.
    RouteToNext,
    /// The conversation fails at once, and the bus itself opens another on this subject, with a notice of
    /// what was left undone.
    ///
    /// The notice is a request, and a reply to it says that it was handled. It must come within
    /// [`compensation_time`](crate::Settings::compensation_time), and the policy of the new conversation
    /// is [`Fail`](Self::Fail). When nobody replies, [`Uncompensated`](crate::Uncompensated) says so.
    ///
    #[doc = include_str!("../COMPENSATION.md")]
    Compensate(String),
}
