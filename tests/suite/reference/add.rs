//! The residual connection.

/// z = x + y.
pub fn add_forward(x: &[f64], y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| x + y).collect()
}

/// dx = dz and dy = dz. Returns (dx, dy).
pub fn add_backward(dz: &[f64]) -> (Vec<f64>, Vec<f64>) {
    (dz.to_vec(), dz.to_vec())
}
