//! y = x Wᵀ with W [out, in], as `torch.nn.Linear` stores it; and the same with a low-rank term beside it.

/// y[r, o] = Σᵢ x[r, i] · w[o, i], for x [rows, in], w [out, in] and y [rows, out].
pub fn project_forward(x: &[f64], w: &[f64], rows: usize, n_in: usize, n_out: usize) -> Vec<f64> {
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
pub fn project_backward_input(dy: &[f64], w: &[f64], rows: usize, n_in: usize, n_out: usize) -> Vec<f64> {
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
pub fn project_backward_weight(dy: &[f64], x: &[f64], rows: usize, n_in: usize, n_out: usize) -> Vec<f64> {
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

/// One adapter as PEFT stores it: A [R, in], B [out, R]; `scale` is what multiplies the low-rank term (alpha / R).
#[derive(Clone, Debug)]
pub struct Lora {
    pub a: Vec<f64>,
    pub b: Vec<f64>,
    pub scale: f64,
    pub rank: usize,
}

/// y = x Wᵀ + s (x Aᵀ) Bᵀ (Hu et al. 2021, "LoRA", section 4.1).
pub fn lora_forward(x: &[f64], w: &[f64], lora: &Lora, rows: usize, n_in: usize, n_out: usize) -> Vec<f64> {
    let u = project_forward(x, &lora.a, rows, n_in, lora.rank);
    let low_rank = project_forward(&u, &lora.b, rows, lora.rank, n_out);
    let mut y = project_forward(x, w, rows, n_in, n_out);
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
    let u = project_forward(x, &lora.a, rows, n_in, lora.rank);
    let v = project_backward_input(&dy_scaled, &lora.b, rows, lora.rank, n_out);
    let low_rank = project_backward_input(&v, &lora.a, rows, n_in, lora.rank);
    let mut dx = project_backward_input(dy, w, rows, n_in, n_out);
    for i in 0..dx.len() {
        dx[i] += low_rank[i];
    }
    let da = project_backward_weight(&v, x, rows, n_in, lora.rank);
    let db = project_backward_weight(&dy_scaled, &u, rows, lora.rank, n_out);
    (dx, da, db)
}
