//! Rows with few values that are not 0, one after the other (compressed sparse rows).
//!
//! ```text
//! starts  0        2     3           columns and values of row r: starts[r] .. starts[r + 1]
//! columns 4 17     9     …           ascending in each row
//! values  0.6 0.8  1.0   …
//! ```

use crate::FitError;

/// One row: its columns in ascending order, each once, and their values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// Where the values stand.
    pub columns: &'a [u32],
    /// As many values.
    pub values: &'a [f64],
}

/// Rows of equal width.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseRows {
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
    width: usize,
}

impl SparseRows {
    /// No rows yet, of `width` columns.
    pub fn new(width: usize) -> Self {
        Self { starts: vec![0], columns: Vec::new(), values: Vec::new(), width }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`FitError::Length`] unless there are as many values as columns, [`FitError::Value`] unless columns ascend and lie
    /// within the width.
    pub fn push(&mut self, row: Row<'_>) -> Result<(), FitError> {
        FitError::check_length("values", row.values.len(), row.columns.len())?;
        let mut least = 0;
        for (column, value) in row.columns.iter().zip(row.values) {
            let column = *column as usize;
            if column < least || column >= self.width {
                let expected = "ascending columns within the width";
                return Err(FitError::Value { row: self.len(), column, value: *value, expected });
            }
            least = column + 1;
        }
        self.columns.extend(row.columns);
        self.values.extend(row.values);
        self.starts.push(self.columns.len());
        Ok(())
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many columns there are.
    pub fn width(&self) -> usize {
        self.width
    }

    /// A row. Panics if there is no such row.
    pub fn row(&self, row: usize) -> Row<'_> {
        let range = self.starts[row]..self.starts[row + 1];
        Row { columns: &self.columns[range.clone()], values: &self.values[range] }
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|row| self.row(row))
    }

    /// The rows of both, those of `self` first. Both have the same width.
    pub(crate) fn append(&mut self, other: &Self) {
        let before = self.columns.len();
        self.columns.extend_from_slice(&other.columns);
        self.values.extend_from_slice(&other.values);
        self.starts.extend(other.starts[1..].iter().map(|start| start + before));
    }

    /// The same values by column: in each, rows ascend.
    pub(crate) fn by_column(&self) -> Self {
        let mut starts = vec![0; self.width + 1];
        for column in &self.columns {
            starts[*column as usize + 1] += 1;
        }
        for column in 0..self.width {
            starts[column + 1] += starts[column];
        }
        let mut next = starts.clone();
        let (mut columns, mut values) = (vec![0; self.columns.len()], vec![0.0; self.values.len()]);
        for (number, row) in self.iter().enumerate() {
            for (column, value) in row.columns.iter().zip(row.values) {
                let place = &mut next[*column as usize];
                (columns[*place], values[*place]) = (number as u32, *value);
                *place += 1;
            }
        }
        Self { starts, columns, values, width: self.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_and_turned() {
        let mut rows = SparseRows::new(3);
        let of = |columns, values| Row { columns, values };
        rows.push(of(&[0, 2], &[1.0, 2.0])).expect("a good row");
        rows.push(of(&[], &[])).expect("a good row");
        assert!(rows.push(of(&[2, 0], &[1.0, 2.0])).is_err());
        assert!(rows.push(of(&[3], &[1.0])).is_err());
        assert!(rows.push(of(&[1], &[])).is_err());
        let mut more = SparseRows::new(3);
        more.push(of(&[2], &[3.0])).expect("a good row");
        rows.append(&more);
        assert_eq!((rows.len(), rows.width(), rows.row(2)), (3, 3, of(&[2], &[3.0])));

        let columns = rows.by_column();
        let turned: Vec<_> = columns.iter().collect();
        assert_eq!(turned, [of(&[0], &[1.0]), of(&[], &[]), of(&[0, 2], &[2.0, 3.0])]);
        assert_eq!(columns.by_column(), rows);
    }
}
