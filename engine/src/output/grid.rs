//! Aligned columns of text without lines around them.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

/// Prints `rows` under `header`, each column as wide as its widest cell.
pub(crate) fn print_grid(out: &mut dyn Write, header: &[String], rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    print_row(out, header, &widths)?;
    rows.iter().try_for_each(|row| print_row(out, row, &widths))
}

fn print_row(out: &mut dyn Write, row: &[String], widths: &[usize]) -> io::Result<()> {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        if !line.is_empty() {
            line.push_str("  ");
        }
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width - cell.width().min(*width)));
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let texts = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut out = Vec::new();
        let rows = [texts(&["1", "größer"]), texts(&["1000", ""])];
        print_grid(&mut out, &texts(&["ID", "NAME"]), &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ID    NAME\n1     größer\n1000\n");
    }
}
