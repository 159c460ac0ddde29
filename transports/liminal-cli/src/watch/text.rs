//! A record in words, in one line.

use std::fmt::{self, Write as _};

use liminal_core::Watched;
use liminal_proto::{Gap, LogId, LogRecord, Logged, Outcome, RecordNumber};

/// Characters of what was said, or its bytes where it is no text, that are shown.
const PREVIEW: usize = 60;

pub(super) fn of(watched: &Watched, unanswered: &[RecordNumber]) -> String {
    let mut line = String::new();
    // Into a text everything can be written.
    let _ = match watched {
        Watched::Record(record) => write_record(&mut line, record, unanswered),
        Watched::Gap(gap) => write_gap(&mut line, gap),
    };
    line
}

fn write_record(f: &mut String, record: &LogRecord, unanswered: &[RecordNumber]) -> fmt::Result {
    let LogRecord { log, number, subject, what } = record;
    write!(f, "{log}:{number} ")?;
    match what {
        Logged::Joined { pid } => write!(f, "participant {pid} joined"),
        Logged::Message { content, .. } => write!(f, "message, {}", Said(&content.payload)),
        Logged::Request { content, timeout, .. } => {
            write!(f, "request, within {timeout:?}, {}", Said(&content.payload))
        }
        Logged::Reply { request, last, content } => {
            let part = if *last { "" } else { "part of a " };
            write!(f, "{part}reply to {log}:{request}, {}", Said(&content.payload))
        }
        Logged::RequestEnded { request, how } => write!(f, "no reply to {log}:{request}: {}", How(how)),
        Logged::JoinRefused { pid, text } => {
            write!(f, "participant {pid} would not join")?;
            text.as_ref().map_or(Ok(()), |text| write!(f, ": {}", text.escape_debug()))
        }
        Logged::Left { pid, cancelled } => {
            let how = if *cancelled { "cancelled, for its opener is gone" } else { "closed" };
            write!(f, "{how}, participant {pid} left")
        }
        Logged::Exited { pid, reason, goes_on } => {
            write!(f, "participant {pid} {reason}")?;
            write_unanswered(f, *log, unanswered)?;
            f.write_str(if *goes_on { "; another is to take its place" } else { "" })
        }
        Logged::Failed => f.write_str("failed: nobody takes the place of the participant"),
        what => write!(f, "something that this version does not know: {what:?}"),
    }?;
    write_subject(f, subject.as_ref())
}

fn write_gap(f: &mut String, gap: &Gap) -> fmt::Result {
    let Gap { log, from, to, why, subject } = gap;
    write!(f, "{log}:{from}")?;
    if to > from {
        write!(f, "-{to}")?;
    }
    write!(f, " left out: {why}")?;
    write_subject(f, subject.as_ref())
}

fn write_subject(f: &mut String, subject: Option<&String>) -> fmt::Result {
    subject.map_or(Ok(()), |subject| write!(f, "; opened on {subject:?}"))
}

fn write_unanswered(f: &mut String, log: LogId, unanswered: &[RecordNumber]) -> fmt::Result {
    for (before, request) in std::iter::once("; unanswered: ").chain(std::iter::repeat(", ")).zip(unanswered)
    {
        write!(f, "{before}{log}:{request}")?;
    }
    Ok(())
}

/// What was said: its length, and how it begins.
struct Said<'a>(&'a [u8]);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        write!(f, "{} {}: \"", bytes.len(), if bytes.len() == 1 { "byte" } else { "bytes" })?;
        let whole = match std::str::from_utf8(bytes) {
            Ok(text) => {
                let shown = text.char_indices().nth(PREVIEW).map_or(text.len(), |(end, _)| end);
                write!(f, "{}", text.get(..shown).unwrap_or_default().escape_debug())?;
                shown == text.len()
            }
            Err(_) => {
                write!(f, "{}", bytes.get(..PREVIEW).unwrap_or(bytes).escape_ascii())?;
                bytes.len() <= PREVIEW
            }
        };
        f.write_str(if whole { "\"" } else { "\"…" })
    }
}

/// How a request ended.
struct How<'a>(&'a Outcome);

impl fmt::Display for How<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Outcome::Refused { reason, text } => {
                write!(f, "{reason}")?;
                text.as_ref().map_or(Ok(()), |text| write!(f, ": {}", text.escape_debug()))
            }
            Outcome::Exited => f.write_str("the participant has exited"),
            Outcome::Deadline => f.write_str("its time is over"),
            how => write!(f, "{how:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_cut_and_escaped() {
        let long = "ä".repeat(PREVIEW + 1);
        let cut = format!("122 bytes: \"{}\"…", "ä".repeat(PREVIEW));
        let cases: [(&[u8], &str); 6] = [
            (b"", "0 bytes: \"\""),
            (b"x", "1 byte: \"x\""),
            (b"two\nlines, \"quoted\" \x1b[1m", "24 bytes: \"two\\nlines, \\\"quoted\\\" \\u{1b}[1m\""),
            (b"\xff\0", "2 bytes: \"\\xff\\x00\""),
            (long.as_bytes(), &cut),
            (&[0xFF; PREVIEW], &format!("60 bytes: \"{}\"", "\\xff".repeat(PREVIEW))),
        ];
        for (said, shown) in cases {
            assert_eq!(Said(said).to_string(), shown);
        }
    }
}
