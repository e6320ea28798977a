//! Rows of text as one block of bytes that SQL takes apart with `substr`.
//!
//! Parsing JSON is half of what an insert costs on `SQLite`. Here each column has one width in all rows, so the place of
//! a value is a sum.

use std::borrow::Cow;

/// What values are padded with: none of them ends with it, neither a key nor what is in one. (SQL trims no NUL.)
const PADDING: u8 = b'/';

/// A row; a missing value is packed like an empty one.
pub(crate) type Texts<'a, const N: usize> = [Option<Cow<'a, str>>; N];

/// The rows one after the other, each value padded to the width of its column, and these widths, in bytes.
pub(crate) fn pack<const N: usize>(rows: &[Texts<'_, N>]) -> (Vec<u8>, [usize; N]) {
    let length = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
    let widths = std::array::from_fn(|at| rows.iter().map(|row| length(&row[at])).max().unwrap_or(0));
    let mut bytes = Vec::with_capacity(rows.len() * widths.iter().sum::<usize>());

    for row in rows {
        for (value, width) in row.iter().zip(widths) {
            let end = bytes.len() + width;
            bytes.extend_from_slice(value.as_deref().unwrap_or("").as_bytes());
            bytes.resize(end, PADDING);
        }
    }
    (bytes, widths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_one_width() {
        let rows = [[Some("é".into()), None, Some("".into())], [Some("abc".into()), Some("d".into()), None]];
        assert_eq!(pack(&rows), ("é//abcd".into(), [3, 1, 0]));
        assert_eq!(pack::<2>(&[]), (Vec::new(), [0, 0]));
    }
}
