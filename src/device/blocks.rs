//! Numbers as ggml's Q8_0 and Q4_0 hold them: blocks of 32 neighbours, each a scale in f16 and then the whole numbers.
//! Rounding is that of ggml's reference, so that a file which ggml wrote and one which is quantised here are equal.

use half::f16;

use super::stored::Format;

/// The bytes of a block.
pub fn block_bytes(format: Format) -> usize {
    2 + format.group() * format.bits() / 8
}

/// The blocks of these numbers, of which there are whole groups. Their format has scales.
pub fn quantise(format: Format, values: &[f32]) -> Vec<u8> {
    let groups = values.as_chunks::<32>().0;
    let mut blocks = Vec::with_capacity(groups.len() * block_bytes(format));
    for group in groups {
        // The first of the largest, with its sign.
        let largest = group.iter().fold(0.0, |most: f32, x| if x.abs() > most.abs() { *x } else { most });
        let scale = if format == Format::Int8 { largest.abs() / 127.0 } else { largest / -8.0 };
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        blocks.extend(f16::from_f32(scale).to_le_bytes());
        if format == Format::Int8 {
            blocks.extend(group.iter().map(|x| (x * inverse).round() as i8 as u8));
        } else {
            // Exact products, rounded once, are what ggml's fused ones are.
            let number = |x: f32| ((f64::from(x) * f64::from(inverse) + 8.5) as f32 as u8).min(15);
            let (low, high) = group.split_at(16);
            blocks.extend(low.iter().zip(high).map(|(low, high)| number(*low) | number(*high) << 4));
        }
    }
    blocks
}
