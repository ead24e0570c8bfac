//! The loss of next-token prediction, in natural logarithms (`torch.nn.functional.cross_entropy`).

use super::{matmul, matmul_nn};

/// Σ over rows with a label of (lse - logits[label]), lse = ln Σⱼ exp logitsⱼ, for logits [rows, V]. Returns that sum
/// and the number of labels. The caller takes the mean, over the whole accumulated batch.
pub fn cross_entropy_forward(logits: &[f64], labels: &[Option<usize>], v: usize) -> (f64, usize) {
    let mut loss = 0.0;
    for (row, label) in labels.iter().enumerate() {
        let Some(label) = label else { continue };
        let logits = &logits[row * v..][..v];
        loss += log_sum_exp(logits) - logits[*label];
    }
    (loss, labels.iter().flatten().count())
}

/// dlogits = (softmax(logits) - onehot(label)) · inv_labels, and zero in rows without a label.
/// `inv_labels` is 1 / (labels of the whole accumulated batch).
pub fn cross_entropy_backward(logits: &[f64], labels: &[Option<usize>], v: usize, inv_labels: f64) -> Vec<f64> {
    let mut dlogits = vec![0.0; logits.len()];
    for (row, label) in labels.iter().enumerate() {
        let Some(label) = label else { continue };
        let logits = &logits[row * v..][..v];
        let lse = log_sum_exp(logits);
        for j in 0..v {
            dlogits[row * v + j] = (logits[j] - lse).exp() * inv_labels;
        }
        dlogits[row * v + label] -= inv_labels;
    }
    dlogits
}

fn log_sum_exp(row: &[f64]) -> f64 {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

/// The cross-entropy of logits = hidden Wᵀ, for hidden [rows, C] and W [V, C]. Returns (Σ loss, number of labels).
pub fn head_forward(hidden: &[f64], weight: &[f64], labels: &[Option<usize>], c: usize) -> (f64, usize) {
    let v = weight.len() / c;
    let logits = matmul(hidden, weight, labels.len(), c, v);
    cross_entropy_forward(&logits, labels, v)
}

/// dhidden = dlogits W, zero in rows without a label. The head is frozen.
pub fn head_backward(hidden: &[f64], weight: &[f64], labels: &[Option<usize>], c: usize, inv_labels: f64) -> Vec<f64> {
    let v = weight.len() / c;
    let logits = matmul(hidden, weight, labels.len(), c, v);
    let dlogits = cross_entropy_backward(&logits, labels, v, inv_labels);
    matmul_nn(&dlogits, weight, labels.len(), c, v)
}
