//! The figures, as they are printed at the end.

use std::fmt;

const HEAD: [&str; 4] = ["what", "figure", "beside", "aim"];

/// Rows of what, figure, what it is beside others, and what is wanted.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// Adds a row, and shows it at once.
    pub(crate) fn add(
        &mut self,
        what: impl Into<String>,
        figure: impl ToString,
        beside: impl Into<String>,
        aim: &str,
    ) {
        let row = [what.into(), figure.to_string(), beside.into(), aim.to_owned()];
        eprintln!("   {}", row.join("  "));
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = HEAD.map(str::to_owned);
        let all = || std::iter::once(&head).chain(&self.rows);
        let widths: [usize; 4] = std::array::from_fn(|column| {
            all().map(|row| row[column].chars().count()).max().unwrap_or(0)
        });
        for (number, row) in all().enumerate() {
            for (cell, width) in row.iter().zip(widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                for width in widths {
                    write!(f, "| {:-<width$} ", "")?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// A figure as a part of another, where that was measured in the same run.
pub(crate) fn ratio(figure: f64, of: Option<f64>, name: &str) -> String {
    match of {
        Some(of) => format!("{:.2} of {name}", figure / of),
        None => format!("no figure of {name}"),
    }
}
