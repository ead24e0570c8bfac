//! The three products of a linear, y = x Wᵀ with W [out, in] as `torch.nn.Linear` stores it, and its gradients.

/// y[r, o] = Σᵢ x[r, i] · w[o, i], for x [rows, in], w [out, in] and y [rows, out].
pub fn matmul(x: &[f64], w: &[f64], rows: usize, n_in: usize, n_out: usize) -> Vec<f64> {
    let mut y = vec![0.0; rows * n_out];
    for r in 0..rows {
        for o in 0..n_out {
            for i in 0..n_in {
                y[r * n_out + o] += x[r * n_in + i] * w[o * n_in + i];
            }
        }
    }
    y
}

/// dx = dy W: dx[r, i] = Σₒ dy[r, o] · w[o, i].
pub fn matmul_nn(dy: &[f64], w: &[f64], rows: usize, n_in: usize, n_out: usize) -> Vec<f64> {
    let mut dx = vec![0.0; rows * n_in];
    for r in 0..rows {
        for o in 0..n_out {
            for i in 0..n_in {
                dx[r * n_in + i] += dy[r * n_out + o] * w[o * n_in + i];
            }
        }
    }
    dx
}

/// dw = dyᵀ x: dw[o, i] = Σᵣ dy[r, o] · x[r, i].
pub fn matmul_tn(dy: &[f64], x: &[f64], rows: usize, n_in: usize, n_out: usize) -> Vec<f64> {
    let mut dw = vec![0.0; n_out * n_in];
    for r in 0..rows {
        for o in 0..n_out {
            for i in 0..n_in {
                dw[o * n_in + i] += dy[r * n_out + o] * x[r * n_in + i];
            }
        }
    }
    dw
}
