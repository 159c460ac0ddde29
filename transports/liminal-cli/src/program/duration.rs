//! Durations, as people write them.

use std::time::Duration;

use thiserror::Error;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{0}; write 300ms, 5s or 2m")]
pub struct DurationError(#[from] humantime::DurationError);

/// Reads a duration: `300ms`, `5s`, `2m`, `1h 30m`.
///
/// ```
/// use std::time::Duration;
///
/// use liminal_cli::program::duration;
///
/// assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
/// assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
/// assert!(duration("5").is_err());
/// ```
///
/// # Errors
///
/// [`DurationError`] says what is wrong and what to write instead.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    Ok(humantime::parse_duration(text)?)
}
