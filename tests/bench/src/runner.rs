//! The process that a person starts: it has every part measured by a process of its own.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::ValueEnum as _;

use crate::options::Cores;
use crate::part::Part;
use crate::report::Figure;
use crate::table::Table;
use crate::{Failure, complain};

pub(crate) fn run(parts: &[Part]) -> Result<(), Failure> {
    let parts = if parts.is_empty() { Part::value_variants() } else { parts };
    let mut out = io::stdout();
    let mut short = Vec::new();
    for &part in parts {
        let program = if part.counts() { counting()? } else { env::current_exe()? };
        let mut table = Table::default();
        for &cores in part.cores() {
            complain(format_args!("{}, {}", part.name(), cores.name()));
            table.add(cores, figures(program.as_os_str(), part, cores)?);
        }
        writeln!(out, "## {}\n\n{table}", part.title())?;
        short.extend(table.short().map(|line| format!("{}: {line}", part.name())));
    }
    if !short.is_empty() {
        writeln!(out, "Short of what is asked:\n")?;
        short.iter().try_for_each(|line| writeln!(out, "- {line}"))?;
    }
    Ok(())
}

fn figures(program: &OsStr, part: Part, cores: Cores) -> Result<Vec<Figure>, Failure> {
    let mut command = Command::new(program);
    command.args(["measure", &part.name(), cores.name()]).stdout(Stdio::piped());
    let output = command.spawn()?.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{}, {} failed: {}", part.name(), cores.name(), output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| Figure::parse(line).ok_or_else(|| format!("{line:?} is no figure").into()))
        .collect()
}

/// The program whose allocator counts. It is built here, because cargo builds only what it runs.
fn counting() -> Result<PathBuf, Failure> {
    const NAME: &str = "liminal-bench-counting";
    let own = env::current_exe()?;
    let folder = own.parent().ok_or("this program lies nowhere")?;
    let target = folder.parent().ok_or("this program was not built by cargo")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--bin", NAME, "--manifest-path"]);
    build.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).arg("--target-dir").arg(target);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    complain("building the program that counts allocations");
    let status = build.status()?;
    if !status.success() {
        return Err(format!("{NAME} was not built: {status}").into());
    }
    Ok(folder.join(NAME).with_extension(env::consts::EXE_EXTENSION))
}
