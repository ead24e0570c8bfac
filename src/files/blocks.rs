//! Quantised numbers as GGUF files hold them: blocks of 32 or 256 numbers of a row that share their scales.
//!
//! Formulas: ggml's `dequantize_row_*` (<https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>).

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the blocks come from anywhere"
)]

/// How the numbers of a block are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(non_camel_case_types, reason = "these are the names that everybody uses")]
pub enum Blocks {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl Blocks {
    /// How many numbers a block holds, and in how many bytes.
    pub fn size(self) -> (u64, u64) {
        match self {
            Blocks::Q4_0 => (32, 18),
            Blocks::Q4_1 => (32, 20),
            Blocks::Q5_0 => (32, 22),
            Blocks::Q5_1 => (32, 24),
            Blocks::Q8_0 => (32, 34),
            Blocks::Q4_K => (256, 144),
            Blocks::Q5_K => (256, 176),
            Blocks::Q6_K => (256, 210),
        }
    }

    /// Appends the numbers of `bytes`, which are whole blocks, to `out`.
    pub fn to_f32(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Blocks::Q4_0 => bytes.as_chunks().0.iter().for_each(|block| q4_0(block, out)),
            Blocks::Q4_1 => bytes.as_chunks().0.iter().for_each(|block| q4_1(block, out)),
            Blocks::Q5_0 => bytes.as_chunks().0.iter().for_each(|block| q5_0(block, out)),
            Blocks::Q5_1 => bytes.as_chunks().0.iter().for_each(|block| q5_1(block, out)),
            Blocks::Q8_0 => bytes.as_chunks().0.iter().for_each(|block| q8_0(block, out)),
            Blocks::Q4_K => bytes.as_chunks().0.iter().for_each(|block| q4_k(block, out)),
            Blocks::Q5_K => bytes.as_chunks().0.iter().for_each(|block| q5_k(block, out)),
            Blocks::Q6_K => bytes.as_chunks().0.iter().for_each(|block| q6_k(block, out)),
        }
    }
}

fn q4_0([d0, d1, q @ ..]: &[u8; 18], out: &mut Vec<f32>) {
    let d = f16(*d0, *d1);
    out.extend(nibbles(q).map(|q| d * (f32::from(q) - 8.0)));
}

fn q4_1([d0, d1, m0, m1, q @ ..]: &[u8; 20], out: &mut Vec<f32>) {
    let (d, m) = (f16(*d0, *d1), f16(*m0, *m1));
    out.extend(nibbles(q).map(|q| d * f32::from(q) + m));
}

fn q5_0([d0, d1, h0, h1, h2, h3, q @ ..]: &[u8; 22], out: &mut Vec<f32>) {
    let (d, high) = (f16(*d0, *d1), u32::from_le_bytes([*h0, *h1, *h2, *h3]));
    out.extend(nibbles(q).enumerate().map(|(i, q)| d * (f32::from(with_fifth_bit(q, high >> i)) - 16.0)));
}

fn q5_1([d0, d1, m0, m1, h0, h1, h2, h3, q @ ..]: &[u8; 24], out: &mut Vec<f32>) {
    let (d, m) = (f16(*d0, *d1), f16(*m0, *m1));
    let high = u32::from_le_bytes([*h0, *h1, *h2, *h3]);
    out.extend(nibbles(q).enumerate().map(|(i, q)| d * f32::from(with_fifth_bit(q, high >> i)) + m));
}

fn q8_0([d0, d1, q @ ..]: &[u8; 34], out: &mut Vec<f32>) {
    let d = f16(*d0, *d1);
    out.extend(q.iter().map(|q| d * f32::from(*q as i8)));
}

/// Appends `numbers`, which are whole blocks, as ggml's `quantize_row_q8_0_ref` packs them. Returns false if a scale is
/// beyond f16.
pub fn to_q8_0(numbers: &[f64], out: &mut Vec<u8>) -> bool {
    let mut finite = true;
    for block in numbers.as_chunks::<32>().0 {
        let block = block.map(|x| x as f32);
        let d = block.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let stored = half::f16::from_f32(d);
        finite &= stored.is_finite();
        out.extend(stored.to_le_bytes());
        out.extend(block.map(|x| (x * inverse).round() as i8 as u8));
    }
    finite
}

fn q4_k(block: &[u8; 144], out: &mut Vec<f32>) {
    let ([d0, d1, m0, m1], rest) = parts::<4>(block);
    let (scales, q) = parts::<12>(rest);
    let steps = eighths(f16(*d0, *d1), f16(*m0, *m1), scales);
    for ((step, least), q) in steps.zip(eighths_of(q)) {
        out.extend(q.map(|q| step * f32::from(q) - least));
    }
}

fn q5_k(block: &[u8; 176], out: &mut Vec<f32>) {
    let ([d0, d1, m0, m1], rest) = parts::<4>(block);
    let (scales, rest) = parts::<12>(rest);
    let (high, q) = parts::<32>(rest);
    let steps = eighths(f16(*d0, *d1), f16(*m0, *m1), scales);
    for (eighth, ((step, least), q)) in steps.zip(eighths_of(q)).enumerate() {
        let q = q.zip(high).map(|(q, high)| with_fifth_bit(q, u32::from(*high) >> eighth));
        out.extend(q.map(|q| step * f32::from(q) - least));
    }
}

/// Two halves of 128 numbers, each of four runs of 32, whose scales hold for 16 numbers.
fn q6_k(block: &[u8; 210], out: &mut Vec<f32>) {
    let (low, rest) = parts::<128>(block);
    let (high, rest) = parts::<64>(rest);
    let (scales, rest) = parts::<16>(rest);
    let ([d0, d1], _) = parts::<2>(rest);
    let d = f16(*d0, *d1);
    for ((low, high), scales) in low.chunks(64).zip(high.chunks(32)).zip(scales.chunks(8)) {
        for (run, scales) in scales.chunks(2).enumerate() {
            let low = low.chunks(32).nth(run % 2).unwrap_or_default();
            for ((low, high), scale) in low.chunks(16).zip(high.chunks(16)).zip(scales) {
                let step = d * f32::from(*scale as i8);
                out.extend(low.iter().zip(high).map(|(low, high)| {
                    let low = if run < 2 { low & 15 } else { low >> 4 };
                    step * (f32::from(low | ((high >> (2 * run)) & 3) << 4) - 32.0)
                }));
            }
        }
    }
}

/// The scale and the minimum of each run of 32 numbers, six bits each, in the 12 bytes that hold them.
fn eighths(d: f32, m: f32, packed: &[u8; 12]) -> impl Iterator<Item = (f32, f32)> {
    let [s0, s1, s2, s3, m0, m1, m2, m3, l0, l1, l2, l3] = *packed;
    let first = [(s0, m0), (s1, m1), (s2, m2), (s3, m3)].map(|(scale, least)| (scale & 63, least & 63));
    let second = [(l0, s0, m0), (l1, s1, m1), (l2, s2, m2), (l3, s3, m3)]
        .map(|(low, scale, least)| ((low & 15) | (scale >> 6) << 4, (low >> 4) | (least >> 6) << 4));
    first.into_iter().chain(second).map(move |(scale, least)| (d * f32::from(scale), m * f32::from(least)))
}

/// The runs of 32 numbers of four bits: 32 bytes hold one in their low halves and the next one in their high ones.
fn eighths_of(q: &[u8]) -> impl Iterator<Item = impl Iterator<Item = u8>> {
    q.chunks(32).flat_map(|q| [0, 4].map(|shift| q.iter().map(move |q| (q >> shift) & 15)))
}

/// The low halves of all bytes, then the high ones.
fn nibbles(q: &[u8]) -> impl Iterator<Item = u8> {
    q.iter().map(|q| q & 15).chain(q.iter().map(|q| q >> 4))
}

fn with_fifth_bit(low: u8, high: u32) -> u8 {
    low | ((high & 1) as u8) << 4
}

fn f16(low: u8, high: u8) -> f32 {
    half::f16::from_le_bytes([low, high]).to_f32()
}

/// The first `N` bytes of a block, and the rest.
fn parts<const N: usize>(block: &[u8]) -> (&[u8; N], &[u8]) {
    block.split_first_chunk().unwrap_or_else(|| unreachable!("the sizes of a block's parts are those of the block"))
}
