//! Token ids to rows of the embedding.

/// y[r, :] = weight[ids[r], :], for weight [V, C] and y [rows, C]. The embedding is frozen, so there is no backward.
pub fn embed_forward(ids: &[u32], weight: &[f64], c: usize) -> Vec<f64> {
    let mut y = Vec::with_capacity(ids.len() * c);
    for &id in ids {
        y.extend_from_slice(&weight[id as usize * c..][..c]);
    }
    y
}
