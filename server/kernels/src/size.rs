//! Rows of values and the check that sizes fit together.
use std::ops::Range;

/// A slice has not the length its fellows ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected {expected} values, found {found}")]
pub struct SizeError {
    /// What was counted.
    pub what: &'static str,
    /// How many there should be.
    pub expected: usize,
    /// How many there are.
    pub found: usize,
}

impl SizeError {
    pub(crate) fn check(what: &'static str, expected: usize, found: usize) -> Result<(), Self> {
        if expected == found {
            Ok(())
        } else {
            Err(Self {
                what,
                expected,
                found,
            })
        }
    }

    /// That `found` values are whole rows of `width`.
    pub(crate) fn check_rows(what: &'static str, width: usize, found: usize) -> Result<(), Self> {
        let expected = found.checked_div(width).map_or(1, |rows| rows * width);
        Self::check(what, expected, found)
    }
}

/// Rows of values, perhaps some columns of wider rows: queries inside the output of one product
/// that also yields keys and values need no copy.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
    columns: (usize, usize),
}

impl<'a> Rows<'a> {
    /// Rows of `width` values, one after another.
    pub fn new(values: &'a [f32], width: usize) -> Result<Self, SizeError> {
        SizeError::check_rows("rows", width, values.len())?;
        Ok(Self {
            values,
            stride: width,
            columns: (0, width),
        })
    }

    /// Only `columns` of each row.
    pub fn columns(self, columns: Range<usize>) -> Result<Self, SizeError> {
        let (start, end) = self.columns;
        if columns.start > columns.end || columns.end > end - start {
            return Err(SizeError {
                what: "columns of rows",
                expected: end - start,
                found: columns.end,
            });
        }
        Ok(Self {
            columns: (start + columns.start, start + columns.end),
            ..self
        })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.stride).unwrap_or(0)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values a row has.
    pub fn width(&self) -> usize {
        self.columns.1 - self.columns.0
    }

    /// The row at `index`, which must be less than `len()`.
    pub(crate) fn row(&self, index: usize) -> &'a [f32] {
        let start = index * self.stride;
        &self.values[start + self.columns.0..start + self.columns.1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_columns_are_cut_from_the_same_rows() {
        let values: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let rows = Rows::new(&values, 6).unwrap();
        let columns = rows.columns(2..6).unwrap().columns(1..3).unwrap();
        assert_eq!((columns.len(), columns.width()), (2, 2));
        assert_eq!(columns.row(1), [9.0, 10.0]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let values = [0.0; 12];
        let rows = Rows::new(&values, 6).unwrap();
        assert!(Rows::new(&values, 5).is_err());
        assert!(Rows::new(&values, 0).is_err());
        assert!(rows.columns(4..7).is_err());
        assert!(rows.columns(1..4).unwrap().columns(0..4).is_err());
    }
}
