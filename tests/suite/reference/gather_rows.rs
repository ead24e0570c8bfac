//! The labelled rows of an activation, packed together.

/// y[slot] = x[rows[slot]], for x [rows, C] and y [labelled, C].
pub fn gather_rows_forward(x: &[f64], rows: &[usize], c: usize) -> Vec<f64> {
    rows.iter().flat_map(|row| x[row * c..(row + 1) * c].to_vec()).collect()
}

/// dx[rows[slot]] = dy[slot], and zero in rows that are not in the list, for dx [n, C].
pub fn gather_rows_backward(dy: &[f64], rows: &[usize], n: usize, c: usize) -> Vec<f64> {
    let mut dx = vec![0.0; n * c];
    for (slot, row) in rows.iter().enumerate() {
        for j in 0..c {
            dx[row * c + j] = dy[slot * c + j];
        }
    }
    dx
}
