//! The output head and the loss in one: what the engine computes in chunks without ever holding all logits.

use super::{cross_entropy_backward, cross_entropy_forward, project_backward_input, project_forward};

/// The cross-entropy of logits = hidden Wᵀ, for hidden [rows, C] and W [V, C]. Returns (Σ loss, number of labels).
pub fn head_forward(hidden: &[f64], weight: &[f64], labels: &[Option<usize>], c: usize) -> (f64, usize) {
    let v = weight.len() / c;
    let logits = project_forward(hidden, weight, labels.len(), c, v);
    cross_entropy_forward(&logits, labels, v)
}

/// dhidden = dlogits W, zero in rows without a label. The head is frozen.
pub fn head_backward(hidden: &[f64], weight: &[f64], labels: &[Option<usize>], c: usize, inv_labels: f64) -> Vec<f64> {
    let v = weight.len() / c;
    let logits = project_forward(hidden, weight, labels.len(), c, v);
    let dlogits = cross_entropy_backward(&logits, labels, v, inv_labels);
    project_backward_input(&dlogits, weight, labels.len(), c, v)
}
