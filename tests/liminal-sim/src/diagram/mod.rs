//! A run for people and for programs: as a sequence diagram in text or for Mermaid, and as JSON lines.

mod json;
mod mermaid;
mod story;
mod text;
mod words;

use std::str::FromStr;

use liminal_core::Transcript;
use thiserror::Error;

/// How a run is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// A sequence diagram in text, with openers at the left, buses in the middle, and participants at the
    /// right. A client that serves stands where its bus does, or, where that is not known, as its link between
    /// buses and participants. What is of no interest is left out, and a long story is cut.
    #[default]
    Text,
    /// The same for [Mermaid](https://mermaid.js.org), which draws it.
    Mermaid,
    /// Every entry of the transcript as an object on a line of its own, nothing left out.
    ///
    /// Every object has `at_ns` (the virtual time), `bus` (its number) and `what`: `dialled`, `serves`, `said`,
    /// `told`, `gone`, `link_closed`, `owned`, `recorded`, `called`, `called_on`, `let_go`, `heard`, `cancelled`,
    /// `answered`, `died`, `uncompensated`, `paused`, `unread`, `bus_lost`, `bus_started`, `measured`, `held`,
    /// `waited`, `credit`, `calm`, `over` or `broken`. Where the run shows what does not hold, `here_it_shows` is true.
    ///
    /// The others depend on `what`: `opener`, `link`, `ticket`, `offer`, `pid` and `record` are numbers, and
    /// so are `after` (the bus that was there before), `conversation` (with `said`, `told` and `heard` the id that it
    /// has on the link, otherwise the number that the bus gave it; `id` is then what its owner calls it, or with
    /// `called_on` and `let_go` what it is called on the link), `stream` (which names an offer on its link),
    /// `message`, `delivered_as` (what a message is called on the link) and `answers`. `event`, `kind`, `call` and
    /// `answer` name what was said or told, recorded, called and answered. `of` names what there is credit for: a
    /// conversation by its number, all `messages` or all `replies`, with `here` and `there` for the two sides. `payload` is a text, or `payload_hex` where the bytes are none. Times end in `_ns`;
    /// `reason`, `outcome`, `why` and `text` are for people.
    JsonLines,
}

/// A text names no format.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a run is written down as text, mermaid or json: {0:?} is none of them")]
pub struct NotAFormat(pub String);

impl FromStr for Format {
    type Err = NotAFormat;

    fn from_str(text: &str) -> Result<Self, NotAFormat> {
        match text {
            "text" => Ok(Self::Text),
            "mermaid" => Ok(Self::Mermaid),
            "json" => Ok(Self::JsonLines),
            _ => Err(NotAFormat(text.to_owned())),
        }
    }
}

impl Format {
    /// Writes a run down. The entry at which something broke is marked.
    #[must_use]
    pub fn write(self, transcript: &Transcript, broken_at: Option<usize>) -> String {
        match self {
            Self::Text => text::draw(transcript, broken_at),
            Self::Mermaid => mermaid::draw(transcript, broken_at),
            Self::JsonLines => json::lines(transcript, broken_at),
        }
    }
}

/// Who says what to whom, as [`Format::Text`] has it.
#[must_use]
pub fn draw(transcript: &Transcript, broken_at: Option<usize>) -> String {
    Format::Text.write(transcript, broken_at)
}
