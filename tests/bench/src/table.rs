//! The table of one part: a row for each figure, a column for each choice of cores.

use std::fmt;

use crate::options::Cores;
use crate::report::Figure;

/// The figures of one part.
#[derive(Debug, Default)]
pub(crate) struct Table {
    columns: Vec<(Cores, Vec<Figure>)>,
}

impl Table {
    pub(crate) fn add(&mut self, cores: Cores, figures: Vec<Figure>) {
        self.columns.push((cores, figures));
    }

    /// What falls short, one line each.
    pub(crate) fn short(&self) -> impl Iterator<Item = String> {
        self.columns.iter().flat_map(|(cores, figures)| {
            figures.iter().filter(|figure| figure.falls_short()).map(|figure| {
                let value = figure.unit.show(figure.value);
                format!("{}, {}: {value}, asked {}", figure.label, cores.name(), asked(figure))
            })
        })
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let names = self.columns.iter().map(|(cores, _)| cores.name().to_owned());
        let head = std::iter::once(String::new()).chain(names).chain(["asked".into(), String::new()]);
        let mut rows = vec![head.collect::<Vec<_>>()];
        let count = self.columns.iter().map(|(_, figures)| figures.len()).max().unwrap_or(0);
        rows.extend((0..count).map(|at| self.row(at)));
        rows
    }

    /// Every process measures the same figures in the same order.
    fn row(&self, at: usize) -> Vec<String> {
        let figures: Vec<_> = self.columns.iter().map(|(_, figures)| figures.get(at)).collect();
        let there = || figures.iter().copied().flatten();
        let values = figures.iter().map(|figure| figure.map(|it| it.unit.show(it.value)).unwrap_or_default());
        let label = there().next().map(|figure| figure.label.clone()).unwrap_or_default();
        let judged = self.columns.iter().zip(&figures).find_map(|((cores, _), figure)| {
            figure.filter(|figure| figure.asked.is_some()).map(|figure| (*cores, figure))
        });
        let all = there().all(|figure| figure.asked.is_some());
        let asked = match judged {
            None => String::new(),
            Some((_, figure)) if all => asked(figure),
            Some((cores, figure)) => format!("{} {}", asked(figure), cores.name()),
        };
        let mark = match judged {
            None => "",
            Some(_) if there().any(Figure::falls_short) => "SHORT",
            Some((_, figure)) if figure.value.is_nan() => "",
            Some(_) => "met",
        };
        std::iter::once(label).chain(values).chain([asked, mark.into()]).collect()
    }
}

fn asked(figure: &Figure) -> String {
    match figure.asked {
        Some(0.0) => "none".into(),
        Some(asked) => format!("≤ {}", figure.unit.show(asked)),
        None => String::new(),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let columns = rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (at, row) in rows.iter().enumerate() {
            for (cell, &width) in row.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if at == 0 {
                widths.iter().try_for_each(|width| write!(f, "|{}", "-".repeat(width + 2)))?;
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Unit;

    fn figure(value: f64, asked: Option<f64>) -> Figure {
        Figure { label: "smol".into(), value, unit: Unit::Ratio, asked }
    }

    #[test]
    fn both_choices_of_cores_stand_side_by_side_and_what_falls_short_is_marked() {
        let mut table = Table::default();
        table.add(Cores::Pinned, vec![figure(1.3, Some(1.4)), figure(1.5, Some(1.4)), figure(2.0, None)]);
        table.add(Cores::Unpinned, vec![figure(6.0, None), figure(6.0, None), figure(3.0, None)]);
        assert_eq!(
            table.to_string(),
            "|      | pinned | unpinned | asked           |       |\n\
             |------|--------|----------|-----------------|-------|\n\
             | smol | 1.30 × | 6.00 ×   | ≤ 1.40 × pinned | met   |\n\
             | smol | 1.50 × | 6.00 ×   | ≤ 1.40 × pinned | SHORT |\n\
             | smol | 2.00 × | 3.00 ×   |                 |       |\n"
        );
        assert_eq!(table.short().collect::<Vec<_>>(), ["smol, pinned: 1.50 ×, asked ≤ 1.40 ×"]);
    }

    #[test]
    fn what_could_not_be_measured_is_neither_met_nor_short() {
        let mut table = Table::default();
        table.add(Cores::Unpinned, vec![figure(f64::NAN, Some(0.0))]);
        assert!(table.to_string().ends_with("| smol | unknown  | none  |  |\n"));
        assert_eq!(table.short().count(), 0);
    }
}
