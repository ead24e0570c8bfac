//! A linear with a low-rank term beside it.

use super::{matmul, matmul_nn, matmul_tn};

/// One adapter as PEFT stores it: A [R, in], B [out, R]; `scale` multiplies the low-rank term (alpha / R).
#[derive(Clone, Debug)]
pub struct Lora {
    pub a: Vec<f64>,
    pub b: Vec<f64>,
    pub scale: f64,
    pub rank: usize,
}

/// y = x Wᵀ + s (x Aᵀ) Bᵀ (Hu et al. 2021, "LoRA", section 4.1).
pub fn lora_forward(x: &[f64], w: &[f64], lora: &Lora, rows: usize, n_in: usize, n_out: usize) -> Vec<f64> {
    let u = matmul(x, &lora.a, rows, n_in, lora.rank);
    let low_rank = matmul(&u, &lora.b, rows, lora.rank, n_out);
    let mut y = matmul(x, w, rows, n_in, n_out);
    for i in 0..y.len() {
        y[i] += lora.scale * low_rank[i];
    }
    y
}

/// With u = x Aᵀ and v = dy B: dx = dy W + s v A, da = s vᵀ x, db = s dyᵀ u. Returns (dx, da, db); W is frozen.
pub fn lora_backward(
    dy: &[f64],
    x: &[f64],
    w: &[f64],
    lora: &Lora,
    rows: usize,
    n_in: usize,
    n_out: usize,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let dy_scaled: Vec<f64> = dy.iter().map(|dy| lora.scale * dy).collect();
    let u = matmul(x, &lora.a, rows, n_in, lora.rank);
    let v = matmul_nn(&dy_scaled, &lora.b, rows, lora.rank, n_out);
    let low_rank = matmul_nn(&v, &lora.a, rows, n_in, lora.rank);
    let mut dx = matmul_nn(dy, w, rows, n_in, n_out);
    for i in 0..dx.len() {
        dx[i] += low_rank[i];
    }
    let da = matmul_tn(&v, x, rows, n_in, lora.rank);
    let db = matmul_tn(&dy_scaled, &u, rows, lora.rank, n_out);
    (dx, da, db)
}
