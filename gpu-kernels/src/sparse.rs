//! A sparse matrix by rows: for each user the items, or the other way round.

use crate::KernelError;
use crate::funk::{Rating, Side, check_ratings};

/// For each row its columns in ascending order, each once, with values. Follows from the set of entries, not their
/// order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sparse {
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
    width: usize,
}

impl Sparse {
    /// Takes ratings of `users` users and `items` items, with a row for each id of `side`. The values of a pair that
    /// comes up more than once are added.
    ///
    /// # Errors
    /// [`KernelError::UnknownId`] or [`KernelError::NotFinite`] naming the first bad rating.
    pub fn new(ratings: &[Rating], users: usize, items: usize, side: Side) -> Result<Self, KernelError> {
        check_ratings(ratings, users, items)?;
        let (rows, width) = if side == Side::User { (users, items) } else { (items, users) };
        let turned = |rating: &Rating| match side {
            Side::User => (rating.user, rating.item, rating.value),
            Side::Item => (rating.item, rating.user, rating.value),
        };
        let mut entries: Vec<(u32, u32, f32)> = ratings.iter().map(turned).collect();
        entries.sort_unstable_by_key(|(row, column, value)| (*row, *column, value.to_bits()));

        let mut starts = vec![0; rows + 1];
        let (mut columns, mut values) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        let mut last = None;
        for (row, column, value) in entries {
            if last == Some((row, column)) {
                *values.last_mut().expect("an entry was added") += value;
                continue;
            }
            last = Some((row, column));
            columns.push(column);
            values.push(value);
            starts[row as usize + 1] = columns.len();
        }
        // A row without entries ends where the one before it does.
        for row in 0..rows {
            starts[row + 1] = starts[row + 1].max(starts[row]);
        }
        KernelError::check_finite("sum of entry", &values)?;
        Ok(Self { starts, columns, values, width })
    }

    /// A matrix of `rows` × `width` without entries.
    pub fn empty(rows: usize, width: usize) -> Self {
        Self { starts: vec![0; rows + 1], columns: Vec::new(), values: Vec::new(), width }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// How many columns there are.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The columns of a row that have an entry, ascending. Panics if there is no such row.
    pub fn columns(&self, row: usize) -> &[u32] {
        &self.columns[self.starts[row]..self.starts[row + 1]]
    }

    /// The values that go with [`Sparse::columns`].
    pub fn values(&self, row: usize) -> &[f32] {
        &self.values[self.starts[row]..self.starts[row + 1]]
    }

    /// Some rows, in the order given.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let mut selected = Self::empty(0, self.width);
        for row in rows {
            selected.columns.extend(self.columns(*row));
            selected.values.extend(self.values(*row));
            selected.starts.push(selected.columns.len());
        }
        selected
    }

    /// Of neighbouring rows the first entry of each and the number of entries, counted from the first row's, and the
    /// columns.
    pub(crate) fn part(&self, rows: std::ops::Range<usize>) -> (Vec<u64>, &[u32]) {
        let (first, last) = (self.starts[rows.start], self.starts[rows.end]);
        let starts = self.starts[rows.start..=rows.end].iter().map(|start| (start - first) as u64).collect();
        (starts, &self.columns[first..last])
    }

    /// All values, row after row.
    pub(crate) fn all_values(&self) -> &[f32] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_pairs_are_added_up() {
        let of = |user, item, value| Rating { user, item, value };
        let ratings = [of(3, 1, 1.0), of(0, 2, 2.0), of(3, 0, 3.0), of(3, 1, 4.0)];
        let by_user = Sparse::new(&ratings, 5, 4, Side::User).expect("good ratings");
        let rows: Vec<_> = (0..5).map(|row| (by_user.columns(row), by_user.values(row))).collect();
        let none = (&[][..], &[][..]);
        assert_eq!(rows, [(&[2][..], &[2.0][..]), none, none, (&[0, 1][..], &[3.0, 5.0][..]), none]);

        let by_item = Sparse::new(&ratings, 5, 4, Side::Item).expect("good ratings");
        assert_eq!((by_item.rows(), by_item.width(), by_item.columns(1)), (4, 5, &[3][..]));
        assert_eq!(Sparse::new(&[], 0, 0, Side::User), Ok(Sparse::empty(0, 0)));
        assert!(Sparse::new(&[of(5, 0, 1.0)], 5, 4, Side::User).is_err());
        assert!(Sparse::new(&[of(0, 0, f32::MAX), of(0, 0, f32::MAX)], 1, 1, Side::User).is_err());
    }
}
