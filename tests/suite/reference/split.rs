//! Columns of a matrix as matrices of their own.

/// The `width` columns from `first` on of x [rows, C].
pub fn split_forward(x: &[f64], c: usize, first: usize, width: usize) -> Vec<f64> {
    x.chunks(c).flat_map(|row| row[first..first + width].to_vec()).collect()
}
