//! What the program `liminal-server` is made of. A program that wants a server inside itself uses a
//! transport crate instead.

mod children;
mod crash;
mod error;
mod log;
mod offer;
mod options;
mod serve;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use liminal_cli::program;

use crate::options::Options;

const NAME: &str = "liminal-server";

/// Serves until it is stopped, and gives the exit code of the process. The first argument is the name of
/// the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => return program::answer(NAME, &error),
    };
    log::start(options.log);
    match serve::serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            program::complain(NAME, &error);
            error.exit_code().into()
        }
    }
}
