//! Reads a frozen matrix in any storage format, as `shaders/shared/weight.wesl` does. Numbers that are not f32 are
//! unpacked a panel of rows at a time, never the whole matrix.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::binding::Slice;
use super::constants::Constants;

/// How the numbers of a frozen matrix are stored. Kernels compute in f32 in every format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    F32,
    /// Two numbers per u32, which needs no optional feature of a device.
    F16,
    /// Groups of 32 whole numbers along a row, with a scale in f16 for each group: the numbers of ggml's Q8_0.
    Int8,
    /// The same in four bits, less eight: the numbers of ggml's Q4_0. A byte holds a number of the first half of its
    /// group in its low bits, and one of the second half in its high bits.
    Int4,
}

impl Format {
    const ALL: [Format; 4] = [Format::F32, Format::F16, Format::Int8, Format::Int4];

    /// Of the matrix that a kernel with these constants reads.
    pub(super) fn of(constants: &Constants<'_>) -> Format {
        let named = |format: &Format| format.feature().is_some_and(|feature| constants.has(feature));
        Format::ALL.into_iter().find(named).unwrap_or(Format::F32)
    }

    /// The kernel feature that reads this format.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Format::F32 => None,
            Format::F16 => Some("f16"),
            Format::Int8 => Some("int8"),
            Format::Int4 => Some("int4"),
        }
    }

    /// Bits per number, without scales.
    pub fn bits(self) -> usize {
        match self {
            Format::F32 => 32,
            Format::F16 => 16,
            Format::Int8 => 8,
            Format::Int4 => 4,
        }
    }

    /// How many neighbours in a row share a scale; 1 if there are no scales. Rows have whole groups.
    pub fn group(self) -> usize {
        match self {
            Format::F32 | Format::F16 => 1,
            Format::Int8 | Format::Int4 => 32,
        }
    }

    /// What a kernel binds before the matrix (two bindings), the matrix, and what it binds after it.
    pub(super) fn split<'a, 'b>(
        self,
        bound: &'a mut [Slice<'b>],
    ) -> (&'a mut [Slice<'b>], Weight<'a>, &'a mut [Slice<'b>]) {
        let (before, rest) = bound.split_at_mut(2);
        let (operands, after) = rest.split_at_mut(if self.group() > 1 { 2 } else { 1 });
        let scales = operands.get(1).map_or(&[][..], Slice::words);
        (before, Weight { format: self, words: operands[0].words(), scales }, after)
    }
}

/// How many numbers of a matrix are unpacked at once: as many as stay in a core's own cache.
const PANEL: usize = 1 << 16;

/// The operands of a matrix.
#[derive(Clone, Copy)]
pub struct Weight<'a> {
    pub format: Format,
    pub words: &'a [u32],
    /// Two per word; empty if the format has none.
    pub scales: &'a [u32],
}

impl Weight<'_> {
    /// Copies the numbers from `first` on. Both ends are those of groups.
    pub fn copy(&self, first: usize, to: &mut [f32]) {
        let (from, bytes) = (first * self.format.bits() / 8, to.len() * self.format.bits() / 8);
        let bytes = &bytemuck::cast_slice::<u32, u8>(self.words)[from..from + bytes];
        let group = self.format.group();
        let scales = halves(self.scales).iter().skip(first / group).map(|scale| scale.to_f32());
        match self.format {
            Format::F32 => to.copy_from_slice(bytemuck::cast_slice(bytes)),
            Format::F16 => halves(bytemuck::cast_slice(bytes)).convert_to_f32_slice(to),
            Format::Int8 => {
                let groups = bytemuck::cast_slice::<u8, i8>(bytes).as_chunks::<32>().0;
                for ((to, numbers), scale) in to.as_chunks_mut::<32>().0.iter_mut().zip(groups).zip(scales) {
                    for (to, number) in to.iter_mut().zip(numbers) {
                        *to = scale * f32::from(*number);
                    }
                }
            }
            Format::Int4 => {
                let groups = bytes.as_chunks::<16>().0;
                for ((to, pairs), scale) in to.as_chunks_mut::<32>().0.iter_mut().zip(groups).zip(scales) {
                    let (low, high) = to.split_at_mut(16);
                    for ((low, high), pair) in low.iter_mut().zip(high).zip(pairs) {
                        *low = scale * f32::from((pair & 15) as i8 - 8);
                        *high = scale * f32::from((pair >> 4) as i8 - 8);
                    }
                }
            }
        }
    }

    /// Calls `each` with every one of `count` rows of `width` numbers.
    pub fn rows(&self, first: usize, count: usize, width: usize, mut each: impl FnMut(&[f32])) {
        if self.format == Format::F32 {
            let numbers: &[f32] = bytemuck::cast_slice(self.words);
            return numbers[first * width..(first + count) * width].chunks(width).for_each(each);
        }
        let mut row = vec![0.0; width];
        for i in first..first + count {
            self.copy(i * width, &mut row);
            each(&row);
        }
    }

    /// Calls `each` with (first row, rows, numbers) for panels that cover `rows` rows of `width` numbers.
    pub fn panels(&self, rows: usize, width: usize, mut each: impl FnMut(usize, usize, &[f32])) {
        if self.format == Format::F32 {
            return each(0, rows, bytemuck::cast_slice(self.words));
        }
        let most = (PANEL / width.max(1)).clamp(8, rows.max(8));
        let mut panel = vec![0.0; most * width];
        for first in (0..rows).step_by(most) {
            let count = most.min(rows - first);
            let numbers = &mut panel[..count * width];
            self.copy(first * width, numbers);
            each(first, count, numbers);
        }
    }
}

fn halves(words: &[u32]) -> &[f16] {
    half::slice::HalfBitsSliceExt::reinterpret_cast(bytemuck::cast_slice::<u32, u16>(words))
}
