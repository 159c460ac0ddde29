//! What stands in the log of what a participant said.

use std::fmt::{self, Write};

/// The most of it that a line of the log holds, in bytes: as much as a reason text has on the wire.
const BYTES_MAX: usize = 1 << 10;

/// Text of bounded length.
pub(super) struct Brief(String);

impl Brief {
    /// The beginning of what `shown` shows. No more of it is made than is kept, however long it would be.
    pub(super) fn of(shown: &impl fmt::Display) -> Self {
        let mut brief = Self(String::new());
        if write!(brief, "{shown}").is_err() {
            brief.0.push('…');
        }
        brief
    }
}

impl Write for Brief {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = BYTES_MAX - self.0.len();
        let end = (0..=room.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
        let kept = text.get(..end.unwrap_or(0)).unwrap_or_default();
        self.0.push_str(kept);
        if kept.len() < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use liminal_proto::ExitReason;

    use super::{BYTES_MAX, Brief};

    #[test]
    fn last_words_are_cut_and_escaped() {
        let crashed = |text: String| Brief::of(&ExitReason::Crashed { text }).to_string();
        assert_eq!(crashed("boom".into()), "crashed: boom");
        for rude in ["\u{1b}[2J\r\nWARN forged\u{202e}\0", "ä€\u{1f980}", "\u{7}"] {
            let shown = crashed(rude.repeat(1_000_000));
            assert!(shown.starts_with("crashed: ") && shown.ends_with('…'), "{shown:?}");
            assert!((BYTES_MAX - 16..=BYTES_MAX + 3).contains(&shown.len()), "{} bytes", shown.len());
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
        }
    }
}
