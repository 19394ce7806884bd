//! Rows as a table for people. Widths come from the first rows, so that a result of any size is shown as it arrives;
//! later cells that are wider push their line.

use std::io::Write;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use unicode_width::UnicodeWidthStr;

use super::{RowWriter, arrow_failure};
use crate::cli::Failure;

/// Rows whose cells decide the widths.
const MEASURED_ROWS: usize = 1_000;
/// Of a list, such as a vector of hundreds of numbers, so many characters are shown, and in a preview of a text.
const SHOWN_CHARS: usize = 60;

pub(super) struct TableWriter<W: Write> {
    schema: SchemaRef,
    /// Whether long texts are cut.
    preview: bool,
    out: W,
    layout: Layout,
    rows: u64,
}

enum Layout {
    /// Rows that were not printed yet.
    Measuring(Vec<Vec<String>>),
    /// The width of each column.
    Printing(Vec<usize>),
}

impl<W: Write> TableWriter<W> {
    pub(super) fn new(schema: SchemaRef, preview: bool, out: W) -> Self {
        Self { schema, preview, out, layout: Layout::Measuring(Vec::new()), rows: 0 }
    }

    fn begin(&mut self) -> Result<(), Failure> {
        let Layout::Measuring(rows) = &mut self.layout else { return Ok(()) };
        let rows = std::mem::take(rows);
        let header: Vec<String> = self.schema.fields().iter().map(|field| field.name().clone()).collect();
        let mut widths: Vec<usize> = header.iter().map(|name| name.width()).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.lines().map(UnicodeWidthStr::width).max().unwrap_or(0).max(*width);
            }
        }
        self.rule(&widths)?;
        self.row(&header, &widths, false)?;
        self.rule(&widths)?;
        for row in &rows {
            self.row(row, &widths, true)?;
        }
        self.layout = Layout::Printing(widths);
        Ok(())
    }

    fn rule(&mut self, widths: &[usize]) -> Result<(), Failure> {
        let dashes: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        Ok(writeln!(self.out, "+{}+", dashes.join("+"))?)
    }

    /// Prints one row; as many lines as its highest cell has.
    fn row(&mut self, cells: &[String], widths: &[usize], align: bool) -> Result<(), Failure> {
        let height = cells.iter().map(|cell| cell.lines().count()).max().unwrap_or(1).max(1);
        for place in 0..height {
            let line: Vec<&str> = cells.iter().map(|cell| cell.lines().nth(place).unwrap_or_default()).collect();
            self.line(&line, widths, align)?;
        }
        Ok(())
    }

    fn line(&mut self, cells: &[&str], widths: &[usize], align: bool) -> Result<(), Failure> {
        write!(self.out, "|")?;
        for ((cell, width), field) in cells.iter().zip(widths).zip(self.schema.fields()) {
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            if align && field.data_type().is_numeric() {
                write!(self.out, " {padding}{cell} |")?;
            } else {
                write!(self.out, " {cell}{padding} |")?;
            }
        }
        Ok(writeln!(self.out)?)
    }
}

impl<W: Write> RowWriter for TableWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.rows += batch.num_rows() as u64;
        let mut new_rows = texts(batch, self.preview)?;
        if let Layout::Measuring(rows) = &mut self.layout {
            rows.append(&mut new_rows);
            if rows.len() >= MEASURED_ROWS {
                self.begin()?;
            }
        } else if let Layout::Printing(widths) = &self.layout {
            let widths = widths.clone();
            for row in &new_rows {
                self.row(row, &widths, true)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.begin()?;
        if let Layout::Printing(widths) = &self.layout {
            let widths = widths.clone();
            self.rule(&widths)?;
        }
        writeln!(self.out, "{} {}", self.rows, if self.rows == 1 { "row" } else { "rows" })?;
        Ok(self.out.flush()?)
    }
}

/// The cells as texts.
fn texts(batch: &RecordBatch, preview: bool) -> Result<Vec<Vec<String>>, Failure> {
    let options = FormatOptions::default().with_display_error(true);
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref() as &dyn Array, &options))
        .collect::<Result<_, _>>()
        .map_err(arrow_failure)?;
    let cells = columns.iter().zip(batch.columns());
    let cell = |(column, array): (&ArrayFormatter<'_>, &ArrayRef), row: usize| {
        let text = column.value(row).to_string();
        match array.data_type() {
            list if list.is_list() => short_list(text),
            _ if preview => beginning(text),
            _ => text,
        }
    };
    Ok((0..batch.num_rows()).map(|row| cells.clone().map(|column| cell(column, row)).collect()).collect())
}

/// A list with as many of its values as a line has room for; the other forms of output have all.
fn short_list(list: String) -> String {
    let Some((limit, _)) = list.char_indices().nth(SHOWN_CHARS) else { return list };
    let end = list[..limit].rfind(", ").unwrap_or(limit);
    format!("{}, …]", &list[..end])
}

/// A text on one line, without its end if it is long.
fn beginning(text: String) -> String {
    let one_line = if text.contains('\n') { text.split_whitespace().collect::<Vec<_>>().join(" ") } else { text };
    match one_line.char_indices().nth(SHOWN_CHARS) {
        Some((limit, _)) => format!("{}…", one_line[..limit].trim_end()),
        None => one_line,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::super::{RowFormat, row_writer};
    use super::*;
    use crate::output::OutputFormat;

    fn printed(format: OutputFormat, rows: usize) -> String {
        let fields = vec![Field::new("n", DataType::Int64, false), Field::new("name", DataType::Utf8, true)];
        let schema = Arc::new(Schema::new(fields));
        let mut out = Vec::new();
        let mut writer = row_writer(RowFormat::Output(format), schema.clone(), &mut out).unwrap();
        if rows > 0 {
            let numbers = Int64Array::from_iter_values((0..rows as i64).map(|n| n * 100));
            let names: StringArray = (0..rows).map(|n| (n > 0).then(|| format!("row {n}"))).collect();
            writer.write(&RecordBatch::try_new(schema, vec![Arc::new(numbers), Arc::new(names)]).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_form_shows_two_rows() {
        let table = "+-----+-------+\n| n   | name  |\n+-----+-------+\n|   0 |       |\n| 100 | row 1 |\n+-----+-------+\n2 rows\n";
        assert_eq!(printed(OutputFormat::Table, 2), table);
        assert_eq!(printed(OutputFormat::Csv, 2), "n,name\n0,\n100,row 1\n");
        assert_eq!(printed(OutputFormat::Jsonl, 2), "{\"n\":0,\"name\":null}\n{\"n\":100,\"name\":\"row 1\"}\n");
        assert_eq!(printed(OutputFormat::Json, 2), "[{\"n\":0,\"name\":null},{\"n\":100,\"name\":\"row 1\"}]\n");
    }

    #[test]
    fn an_empty_result_still_shows_its_columns() {
        assert_eq!(printed(OutputFormat::Csv, 0), "n,name\n");
        assert_eq!(printed(OutputFormat::Json, 0), "[]\n");
        assert!(printed(OutputFormat::Table, 0).contains("| n | name |"));
        assert_eq!(printed(OutputFormat::Jsonl, 0), "");
    }

    #[test]
    fn previews_show_how_long_texts_begin() {
        assert_eq!(beginning("short".to_owned()), "short");
        assert_eq!(beginning("two\n  lines".to_owned()), "two lines");
        assert_eq!(beginning("ö".repeat(61)), format!("{}…", "ö".repeat(60)));
    }

    #[test]
    fn long_lists_are_cut_between_values() {
        assert_eq!(short_list("[1, 2]".to_owned()), "[1, 2]");
        let long = format!("[{}]", vec!["0.25"; 100].join(", "));
        let short = short_list(long);
        assert!(short.starts_with("[0.25, 0.25") && short.ends_with("0.25, …]"), "{short}");
        assert!(short.chars().count() <= SHOWN_CHARS + 4, "{short}");
    }
}
