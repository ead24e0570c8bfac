//! How tokens are chosen, compared with the distribution that the settings describe.

use tabtune::generate::{Sampling, choose};
use tabtune::random::SplitMix64;

const GREEDY: Sampling = Sampling { max_tokens: 1, temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0, strength: 1.0 };
const DRAWS: usize = 40_000;

/// The probability of every token: softmax(logits / temperature), restricted to the `top_k` likeliest tokens, then to
/// the fewest of these whose sum reaches `top_p`.
fn probabilities(logits: &[f32], sampling: &Sampling) -> Vec<f64> {
    let normal = |weights: Vec<f64>| {
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|w| w / sum).collect::<Vec<f64>>()
    };
    let soft = normal(logits.iter().map(|&z| (f64::from(z) / sampling.temperature).exp()).collect());
    let likelier =
        |p: &[f64], i: usize| (0..p.len()).filter(|&j| p[j] > p[i] || (p[j] == p[i] && j < i)).collect::<Vec<usize>>();
    let in_k = |i: usize| sampling.top_k == 0 || likelier(&soft, i).len() < sampling.top_k;
    let of_k = normal((0..soft.len()).map(|i| if in_k(i) { soft[i] } else { 0.0 }).collect());
    let in_p = |i: usize| likelier(&of_k, i).iter().map(|&j| of_k[j]).sum::<f64>() < sampling.top_p;
    normal((0..of_k.len()).map(|i| if in_p(i) { of_k[i] } else { 0.0 }).collect())
}

fn frequencies(logits: &[f32], sampling: &Sampling) -> Vec<f64> {
    let mut random = SplitMix64(99);
    let mut counts = vec![0.0; logits.len()];
    for _ in 0..DRAWS {
        counts[choose(logits, sampling, &mut random) as usize] += 1.0 / DRAWS as f64;
    }
    counts
}

#[test]
fn tokens_are_chosen_as_often_as_they_are_likely() {
    let logits = [0.3, -1.0, 2.0, 0.0, 1.9, -30.0, 1.0];
    for temperature in [0.25, 0.7, 1.0, 3.0] {
        for top_k in [0, 1, 2, 5, 7, 50] {
            for top_p in [0.2, 0.5, 0.9, 1.0] {
                let sampling = Sampling { temperature, top_k, top_p, ..GREEDY };
                let (found, expected) = (frequencies(&logits, &sampling), probabilities(&logits, &sampling));
                for (f, e) in found.iter().zip(&expected) {
                    // Five standard deviations of the mean of all draws; a token of probability 0 is never drawn.
                    let most = 5.0 * (e * (1.0 - e) / DRAWS as f64).sqrt();
                    assert!((f - e).abs() <= most + 1e-9, "{sampling:?}: found {found:?}, expected {expected:?}");
                }
            }
        }
    }
}

#[test]
fn without_temperature_the_first_of_the_likeliest_tokens_is_chosen() {
    let mut random = SplitMix64(1);
    for (logits, expected) in
        [(&[1.0f32, 3.0, 2.0][..], 1), (&[-1.0, -4.0, -1.0], 0), (&[0.0, 7.0, 7.0, 6.0, 7.0], 1), (&[5.0], 0)]
    {
        assert_eq!(choose(logits, &GREEDY, &mut random), expected);
        let narrow = Sampling { temperature: 2.0, top_k: 1, ..GREEDY };
        assert_eq!(choose(logits, &narrow, &mut random), expected);
    }
}
