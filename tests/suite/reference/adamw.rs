//! The update: norm, clip, AdamW, and the learning rate of each step.

/// √ Σ g² over all gradients together, as returned by `torch.nn.utils.clip_grad_norm_`.
pub fn global_norm(grads: &[&[f64]]) -> f64 {
    grads.iter().flat_map(|g| g.iter()).map(|g| g * g).sum::<f64>().sqrt()
}

/// The factor that multiplies every gradient: min(1, max_norm / (norm + 1e-6)), as in `clip_grad_norm_`.
pub fn clip_coefficient(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}

/// The hyper-parameters of `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
}

/// Step `step` ≥ 1 (Loshchilov and Hutter 2019, algorithm 2, in the order of `torch.optim.AdamW`), where g is already
/// clipped: p ← p (1 - lr wd); m ← β₁ m + (1 - β₁) g; v ← β₂ v + (1 - β₂) g²; p ← p - lr m̂ / (√v̂ + eps), m̂ = m / (1
/// - β₁ˢ), v̂ = v / (1 - β₂ˢ).
pub fn adamw_step(p: &mut [f64], g: &[f64], m: &mut [f64], v: &mut [f64], step: i32, o: &AdamW) {
    for i in 0..p.len() {
        p[i] *= 1.0 - o.lr * o.weight_decay;
        m[i] = o.beta1 * m[i] + (1.0 - o.beta1) * g[i];
        v[i] = o.beta2 * v[i] + (1.0 - o.beta2) * g[i] * g[i];
        let m_hat = m[i] / (1.0 - o.beta1.powi(step));
        let v_hat = v[i] / (1.0 - o.beta2.powi(step));
        p[i] -= o.lr * m_hat / (v_hat.sqrt() + o.eps);
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Schedule {
    Linear,
    Cosine,
    Constant,
}

/// The learning rate of step s = 1…N, W = ⌈warmup · N⌉ steps of which warm up. It is peak · min(1, s/W), multiplied
/// after W by, for linear: (N - s + 1) / (N - W + 1); cosine: (1 + cos(π (s - W) / (N - W))) / 2, which is 0 at N;
/// constant: 1.
pub fn learning_rate(schedule: Schedule, peak: f64, warmup: f64, s: u32, n: u32) -> f64 {
    let (s, n) = (f64::from(s), f64::from(n));
    let w = (warmup * n).ceil();
    if s <= w {
        return peak * s / w;
    }
    peak * match schedule {
        Schedule::Linear => (n - s + 1.0) / (n - w + 1.0),
        Schedule::Cosine => (1.0 + (std::f64::consts::PI * (s - w) / (n - w)).cos()) / 2.0,
        Schedule::Constant => 1.0,
    }
}
