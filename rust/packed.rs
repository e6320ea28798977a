//! Rows of text as one block of bytes that SQL splits with `substr`.
//!
//! Parsing JSON is half of the cost of an insert on `SQLite`. Here each column has the same width in all rows, so the
//! place of a value is a sum. Values that all rows share are not in the block, and values of full width need no
//! trimming.

use std::borrow::Cow;

/// The padding of values. No value ends with it, since keys and their parts never do. (SQL cannot trim NUL.)
const PADDING: u8 = b'/';

/// A row; a missing value is packed like an empty one.
pub(crate) type Texts<'a, const N: usize> = [Option<Cow<'a, str>>; N];

/// The form of a column in a block.
#[derive(Debug, PartialEq, Eq)]
pub enum Column {
    /// One value for all rows, which is not in the block.
    Same(Option<String>),
    /// A value in each row.
    Own {
        /// The bytes in each row.
        width: usize,
        /// True if any value has padding.
        padded: bool,
    },
}

/// Returns the concatenated rows, with each value padded to the width of its column.
pub(crate) fn pack<const N: usize>(rows: &[Texts<'_, N>]) -> (Vec<u8>, [Column; N]) {
    let columns = std::array::from_fn(|at| column(rows.iter().map(|row| row[at].as_deref())));
    let widths = columns.each_ref().map(|column| match column {
        Column::Same(_) => 0,
        Column::Own { width, .. } => *width,
    });
    let mut bytes = Vec::with_capacity(rows.len() * widths.iter().sum::<usize>());
    for row in rows {
        for (value, width) in row.iter().zip(widths).filter(|(_, width)| *width > 0) {
            let end = bytes.len() + width;
            bytes.extend_from_slice(value.as_deref().unwrap_or("").as_bytes());
            bytes.resize(end, PADDING);
        }
    }
    (bytes, columns)
}

fn column<'a>(values: impl Iterator<Item = Option<&'a str>> + Clone) -> Column {
    let first = values.clone().next().flatten();
    if values.clone().all(|value| value == first) {
        return Column::Same(first.map(str::to_owned));
    }
    let lengths = values.map(|value| value.map_or(0, str::len));
    let width = lengths.clone().max().unwrap_or(0);
    Column::Own { width, padded: lengths.min() != Some(width) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_one_width() {
        let rows = [
            [Some("é".into()), None, Some("x".into()), Some("ab".into()), None],
            [Some("abc".into()), Some("d".into()), Some("x".into()), Some("cd".into()), None],
        ];
        let columns = [
            Column::Own { width: 3, padded: true },
            Column::Own { width: 1, padded: true },
            Column::Same(Some("x".to_owned())),
            Column::Own { width: 2, padded: false },
            Column::Same(None),
        ];
        assert_eq!(pack(&rows), ("é//ababcdcd".into(), columns));
        assert_eq!(pack::<1>(&[]), (Vec::new(), [Column::Same(None)]));
    }
}
