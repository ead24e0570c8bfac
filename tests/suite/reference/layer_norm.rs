//! Layer normalisation (Ba, Kiros and Hinton 2016, equation 4; `torch.nn.LayerNorm`).

/// With mean and rstd = 1 / √(meanᵢ (xᵢ - mean)² + eps) of each row: yᵢ = (xᵢ - mean) · rstd · weightᵢ + biasᵢ.
pub fn layer_norm_forward(x: &[f64], weight: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
    let c = weight.len();
    let mut y = vec![0.0; x.len()];
    for (x, y) in x.chunks(c).zip(y.chunks_mut(c)) {
        let (normal, _) = normalised(x, eps);
        for i in 0..c {
            y[i] = normal[i] * weight[i] + bias[i];
        }
    }
    y
}

/// With gᵢ = weightᵢ dyᵢ and x̂ = (x - mean) · rstd: ∂x̂ⱼ/∂xᵢ = rstd · (δᵢⱼ - 1/C - x̂ᵢ x̂ⱼ / C), hence
/// dxᵢ = rstd · (gᵢ - meanⱼ gⱼ - x̂ᵢ · meanⱼ gⱼ x̂ⱼ). Weight and bias are frozen.
pub fn layer_norm_backward(dy: &[f64], x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let c = weight.len();
    let mut dx = vec![0.0; x.len()];
    for ((x, dy), dx) in x.chunks(c).zip(dy.chunks(c)).zip(dx.chunks_mut(c)) {
        let (normal, rstd) = normalised(x, eps);
        let g: Vec<f64> = weight.iter().zip(dy).map(|(w, dy)| w * dy).collect();
        let mean_g = g.iter().sum::<f64>() / c as f64;
        let mean_product = g.iter().zip(&normal).map(|(g, n)| g * n).sum::<f64>() / c as f64;
        for i in 0..c {
            dx[i] = rstd * (g[i] - mean_g - normal[i] * mean_product);
        }
    }
    dx
}

/// x̂ and rstd of one row.
fn normalised(x: &[f64], eps: f64) -> (Vec<f64>, f64) {
    let c = x.len() as f64;
    let mean = x.iter().sum::<f64>() / c;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / c;
    let rstd = 1.0 / (variance + eps).sqrt();
    (x.iter().map(|x| (x - mean) * rstd).collect(), rstd)
}
