//! Benchmarks of liminal, as ratios within one run. `--help` says what there is to measure.

use std::process::ExitCode;

fn main() -> ExitCode {
    liminal_bench::run(None)
}
