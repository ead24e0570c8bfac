//! The tanh approximation of GELU (Hendrycks and Gimpel 2016, section 2; `gelu_new` in transformers), alone and as a
//! gate (Shazeer 2020, GEGLU).

use std::f64::consts::PI;

/// gelu(x) = x/2 · (1 + tanh z), with z = √(2/π) (x + 0.044715 x³).
pub fn gelu_forward(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| 0.5 * x * (1.0 + z(*x).tanh())).collect()
}

/// dx = dh · (½ (1 + tanh z) + x/2 · (1 - tanh² z) · √(2/π) (1 + 3 · 0.044715 x²)).
pub fn gelu_backward(dh: &[f64], x: &[f64]) -> Vec<f64> {
    let slope = |x: f64| {
        let t = z(x).tanh();
        0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * (2.0 / PI).sqrt() * (1.0 + 3.0 * 0.044715 * x * x)
    };
    dh.iter().zip(x).map(|(dh, x)| dh * slope(*x)).collect()
}

/// h = gelu(g) · u.
pub fn geglu_forward(g: &[f64], u: &[f64]) -> Vec<f64> {
    gelu_forward(g).iter().zip(u).map(|(gelu, u)| gelu * u).collect()
}

/// dg = dh · u · gelu'(g), du = dh · gelu(g). Returns (dg, du).
pub fn geglu_backward(dh: &[f64], g: &[f64], u: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let dgelu: Vec<f64> = dh.iter().zip(u).map(|(dh, u)| dh * u).collect();
    let du = dh.iter().zip(gelu_forward(g)).map(|(dh, gelu)| dh * gelu).collect();
    (gelu_backward(&dgelu, g), du)
}

fn z(x: f64) -> f64 {
    (2.0 / PI).sqrt() * (x + 0.044715 * x * x * x)
}
