//! What is told of one run.

use std::fmt;
use std::io::Write;

use liminal_core::Transcript;
use liminal_core::transcript::ConversationDigest;
use liminal_sim::Promise;

use crate::error::Error;

/// Whether what was promised holds.
pub(super) struct Verdict {
    /// What does not, in words.
    pub(super) broken: Option<String>,
    /// The entry of the transcript at which that shows.
    pub(super) entry: Option<usize>,
}

/// One thing that is told, behind its name.
pub(super) fn say(out: &mut impl Write, name: &str, what: impl fmt::Display) -> Result<(), Error> {
    writeln!(out, "{name:11}{what}").map_err(Error::output)
}

/// What one run came to.
pub(super) fn report(
    out: &mut impl Write,
    place: &str,
    transcript: &Transcript,
    verdict: &Verdict,
) -> Result<(), Error> {
    writeln!(out, "\n{place}").map_err(Error::output)?;
    match &verdict.broken {
        None => say(out, "  promises", format_args!("hold, all {} that are checked", Promise::ALL.len()))?,
        Some(broken) => say(out, "  broken", broken)?,
    }
    for it in transcript.conversations() {
        let ConversationDigest { owner, nth, records, digest } = it;
        let owner = format!("{owner}'s");
        writeln!(out, "  {owner:13} conversation {nth}  {records:4} records  {digest:016x}")
            .map_err(Error::output)?;
    }
    let all = transcript.conversations_digest();
    say(out, "  digest", format_args!("{all:016x}\n"))
}
