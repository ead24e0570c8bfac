//! Root mean square normalisation (Zhang and Sennrich 2019, equation 4; `LlamaRMSNorm` in transformers).

/// With rstd = 1 / √(meanᵢ xᵢ² + eps) of each row: yᵢ = xᵢ · rstd · weightᵢ. Returns y [rows, C] and rstd [rows].
pub fn rms_norm_forward(x: &[f64], weight: &[f64], eps: f64) -> (Vec<f64>, Vec<f64>) {
    let c = weight.len();
    let mut y = vec![0.0; x.len()];
    let mut rstd = vec![0.0; x.len() / c];
    for r in 0..rstd.len() {
        let x = &x[r * c..][..c];
        let mean_square = x.iter().map(|x| x * x).sum::<f64>() / c as f64;
        rstd[r] = 1.0 / (mean_square + eps).sqrt();
        for i in 0..c {
            y[r * c + i] = x[i] * rstd[r] * weight[i];
        }
    }
    (y, rstd)
}

/// ∂rstd/∂xᵢ = -rstd³ xᵢ / C, hence dxᵢ = rstd · (weightᵢ dyᵢ - xᵢ · rstd² · meanⱼ weightⱼ dyⱼ xⱼ). The weight is
/// frozen.
pub fn rms_norm_backward(dy: &[f64], x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let c = weight.len();
    let (_, rstd) = rms_norm_forward(x, weight, eps);
    let mut dx = vec![0.0; x.len()];
    for r in 0..rstd.len() {
        let (x, dy) = (&x[r * c..][..c], &dy[r * c..][..c]);
        let mut mean = 0.0;
        for i in 0..c {
            mean += weight[i] * dy[i] * x[i] / c as f64;
        }
        for i in 0..c {
            dx[r * c + i] = rstd[r] * (weight[i] * dy[i] - x[i] * rstd[r] * rstd[r] * mean);
        }
    }
    dx
}
