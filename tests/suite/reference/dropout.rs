//! Dropout whose mask is a hash of the position of each number (Srivastava et al. 2014; the hash: Jarzynski and Olano
//! 2020).

/// The step, micro-batch and site that a mask belongs to, and the run's seed.
#[derive(Debug, Clone, Copy)]
pub struct MaskOf {
    pub seed: u32,
    pub step: u32,
    pub micro: u32,
    pub site: u32,
}

/// mask / (1 - p) for `n` numbers: 0 with probability p, else 1 / (1 - p). Forward and backward multiply by it.
pub fn dropout_factors(of: MaskOf, p: f32, n: usize) -> Vec<f64> {
    let mut key = 0u32;
    for part in [of.seed, of.step, of.micro, of.site] {
        key = pcg(key.wrapping_add(part));
    }
    let unit = |i: usize| f64::from(pcg(pcg(i as u32) ^ key) >> 8) / f64::from(1 << 24);
    (0..n).map(|i| if unit(i) < f64::from(p) { 0.0 } else { 1.0 / (1.0 - f64::from(p)) }).collect()
}

fn pcg(value: u32) -> u32 {
    let state = value.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}
