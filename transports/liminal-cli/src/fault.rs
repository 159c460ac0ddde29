//! What is wrong with a frame, as one JSON object.

use std::io::Write;

use liminal_proto::wire::ErrorKind;
use serde_json::json;

use crate::error::Error;

/// Ends a command with the object that says what is wrong with a frame, and where it begins.
pub(crate) fn fault(
    out: &mut impl Write,
    kind: ErrorKind,
    offset: u64,
    message: impl ToString,
) -> Result<(), Error> {
    let object = json!({
        "error_kind": kind.name(),
        "reason_code": kind.reason_code().get(),
        "offset": offset,
        "message": message.to_string(),
    });
    writeln!(out, "{object}").map_err(Error::output)?;
    Err(Error::Fault)
}
