//! `liminal`: conversations and frames from a terminal.

use std::process::ExitCode;

fn main() -> ExitCode {
    liminal_cli::run(std::env::args_os())
}
