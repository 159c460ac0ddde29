//! `liminal-server`: the standalone server.

use std::process::ExitCode;

fn main() -> ExitCode {
    liminal_server::run(std::env::args_os())
}
