//! Learned positions (`GPT2Model.wpe` in transformers).

/// y[row] + table[positions[row]], y [rows, C] and table [context, C].
pub fn learned_positions_forward(y: &[f64], table: &[f64], positions: &[usize], c: usize) -> Vec<f64> {
    let mut sum = y.to_vec();
    for (row, position) in positions.iter().enumerate() {
        for i in 0..c {
            sum[row * c + i] += table[position * c + i];
        }
    }
    sum
}
