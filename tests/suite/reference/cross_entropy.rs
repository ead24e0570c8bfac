//! The loss of next-token prediction, in natural logarithms (`torch.nn.functional.cross_entropy`).

/// Σ over rows with a target of (lse - logits[target]), lse = ln Σⱼ exp logitsⱼ, for logits [rows, V].
/// Returns that sum and the number of targets: the mean is taken by the caller, over the whole accumulated batch.
pub fn cross_entropy_forward(logits: &[f64], targets: &[Option<usize>], v: usize) -> (f64, usize) {
    let mut loss = 0.0;
    for (row, target) in targets.iter().enumerate() {
        let Some(target) = target else { continue };
        let logits = &logits[row * v..][..v];
        loss += log_sum_exp(logits) - logits[*target];
    }
    (loss, targets.iter().flatten().count())
}

/// dlogits = (softmax(logits) - onehot(target)) · inv_targets, and zero in rows without a target.
/// `inv_targets` is 1 / (targets of the whole accumulated batch).
pub fn cross_entropy_backward(logits: &[f64], targets: &[Option<usize>], v: usize, inv_targets: f64) -> Vec<f64> {
    let mut dlogits = vec![0.0; logits.len()];
    for (row, target) in targets.iter().enumerate() {
        let Some(target) = target else { continue };
        let logits = &logits[row * v..][..v];
        let lse = log_sum_exp(logits);
        for j in 0..v {
            dlogits[row * v + j] = (logits[j] - lse).exp() * inv_targets;
        }
        dlogits[row * v + target] -= inv_targets;
    }
    dlogits
}

fn log_sum_exp(row: &[f64]) -> f64 {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}
