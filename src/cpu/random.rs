//! Random numbers as a pure function of (seed, step, micro-batch, site, index), bit for bit those of
//! `shaders/shared/random.wesl`.

use super::step::Step;

/// Jarzynski and Olano 2020, "Hash functions for GPU rendering": PCG's output permutation of one step of its generator.
fn pcg(value: u32) -> u32 {
    let state = value.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}

pub(super) fn key_of_site(step: &Step, site: u32) -> u32 {
    let of_step = pcg(pcg(step.seed).wrapping_add(step.step));
    pcg(pcg(of_step.wrapping_add(step.micro)).wrapping_add(site))
}

/// Uniform in [0, 1), a multiple of 2^-24.
pub(super) fn unit(key: u32, index: u32) -> f32 {
    (pcg(pcg(index) ^ key) >> 8) as f32 * 5.960_464_5e-8
}
