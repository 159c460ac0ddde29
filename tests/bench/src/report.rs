//! Figures, from the process that measures to the one that shows them.

use std::fmt;
use std::io::{self, Write};

use crate::Failure;
use crate::options::Cores;

/// One thing that was measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) label: String,
    /// Not a number: it could not be measured here.
    pub(crate) value: f64,
    pub(crate) unit: Unit,
    /// What it may be at most.
    pub(crate) asked: Option<f64>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanos,
    Micros,
    Millis,
    PerSecond,
    Kib,
    Ratio,
    Count,
}

impl Unit {
    const ALL: [Self; 7] =
        [Self::Nanos, Self::Micros, Self::Millis, Self::PerSecond, Self::Kib, Self::Ratio, Self::Count];

    const fn symbol(self) -> &'static str {
        match self {
            Self::Nanos => "ns",
            Self::Micros => "µs",
            Self::Millis => "ms",
            Self::PerSecond => "/s",
            Self::Kib => "KiB",
            Self::Ratio => "×",
            Self::Count => "",
        }
    }

    /// A value of this unit, as people read it.
    pub(crate) fn show(self, value: f64) -> String {
        if value.is_nan() {
            return "unknown".into();
        }
        let digits = match self {
            Self::PerSecond => 0,
            Self::Nanos | Self::Micros | Self::Kib => 1,
            Self::Millis | Self::Ratio | Self::Count => 2,
        };
        let text = format!("{value:.digits$} {}", self.symbol());
        text.trim_end().to_owned()
    }
}

impl Figure {
    /// Whether it misses what is asked of it.
    pub(crate) fn falls_short(&self) -> bool {
        self.asked.is_some_and(|asked| self.value > asked)
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let label = fields.next()?.to_owned();
        let value = fields.next()?.parse().ok()?;
        let symbol = fields.next()?;
        let unit = Unit::ALL.into_iter().find(|unit| unit.symbol() == symbol)?;
        let asked = fields.next()?.parse().ok();
        Some(Self { label, value, unit, asked })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t{}\t", self.label, self.value, self.unit.symbol())?;
        self.asked.map_or(Ok(()), |asked| write!(f, "{asked}"))
    }
}

/// Where a part tells its figures.
#[derive(Debug)]
pub(crate) struct Report {
    out: io::Stdout,
    cores: Cores,
}

impl Report {
    pub(crate) const fn new(out: io::Stdout, cores: Cores) -> Self {
        Self { out, cores }
    }

    /// A figure that nothing is asked of.
    pub(crate) fn tell(&mut self, label: impl Into<String>, value: f64, unit: Unit) -> Result<(), Failure> {
        self.write(&Figure { label: label.into(), value, unit, asked: None })
    }

    /// A figure that may be this much at most.
    pub(crate) fn judge(
        &mut self,
        label: impl Into<String>,
        value: f64,
        unit: Unit,
        asked: f64,
    ) -> Result<(), Failure> {
        self.write(&Figure { label: label.into(), value, unit, asked: Some(asked) })
    }

    /// A figure of which something is asked on one core alone.
    pub(crate) fn judge_pinned(
        &mut self,
        label: impl Into<String>,
        value: f64,
        unit: Unit,
        asked: f64,
    ) -> Result<(), Failure> {
        match self.cores {
            Cores::Pinned => self.judge(label, value, unit, asked),
            Cores::Unpinned => self.tell(label, value, unit),
        }
    }

    fn write(&mut self, figure: &Figure) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{figure}")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_passes_between_processes_unchanged() {
        for unit in Unit::ALL {
            for asked in [None, Some(1.4)] {
                let figure = Figure { label: "smol, p50".into(), value: 1.25, unit, asked };
                assert_eq!(Figure::parse(&figure.to_string()), Some(figure));
            }
        }
        assert_eq!(Figure::parse("something else"), None);
    }

    #[test]
    fn what_is_unknown_never_falls_short_and_the_bound_itself_is_met() {
        let figure = |value| Figure { label: String::new(), value, unit: Unit::Ratio, asked: Some(1.2) };
        assert!(!figure(1.2).falls_short() && !figure(f64::NAN).falls_short());
        assert!(figure(1.21).falls_short());
        assert!(!Figure { asked: None, ..figure(9.0) }.falls_short());
    }

    #[test]
    fn values_are_shown_with_the_digits_that_mean_something() {
        assert_eq!(Unit::PerSecond.show(123_456.7), "123457 /s");
        assert_eq!(Unit::Micros.show(12.34), "12.3 µs");
        assert_eq!(Unit::Count.show(0.0), "0.00");
        assert_eq!(Unit::Kib.show(f64::NAN), "unknown");
    }
}
