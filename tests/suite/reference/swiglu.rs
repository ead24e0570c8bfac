//! The gated feed-forward activation (Shazeer 2020, "GLU Variants Improve Transformer", equation 6), between gate/up
//! and down.

/// h = silu(g) · u, with silu(g) = g σ(g) and σ(g) = 1 / (1 + e⁻ᵍ).
pub fn swiglu_forward(g: &[f64], u: &[f64]) -> Vec<f64> {
    g.iter().zip(u).map(|(g, u)| g * sigmoid(*g) * u).collect()
}

/// dg = dh · u · σ(g) (1 + g (1 - σ(g))), du = dh · silu(g). Returns (dg, du).
pub fn swiglu_backward(dh: &[f64], g: &[f64], u: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut dg, mut du) = (vec![0.0; g.len()], vec![0.0; u.len()]);
    for i in 0..g.len() {
        let sigma = sigmoid(g[i]);
        dg[i] = dh[i] * u[i] * sigma * (1.0 + g[i] * (1.0 - sigma));
        du[i] = dh[i] * g[i] * sigma;
    }
    (dg, du)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
