//! Reads a frozen matrix in either storage format, as `shaders/shared/weight.wesl` does. Half-precision numbers are
//! unpacked a panel of rows at a time, never the whole matrix.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::constants::Constants;

/// How many numbers of a half-precision matrix are unpacked at once: as many as stay in a core's own cache.
const PANEL: usize = 1 << 16;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    F32,
    F16,
}

impl Format {
    pub fn of(constants: &Constants<'_>) -> Format {
        if constants.has("f16") { Format::F16 } else { Format::F32 }
    }

    /// Copies row `row` of `width` numbers.
    pub fn copy_row(self, words: &[u32], row: usize, to: &mut [f32]) {
        let (from, width) = (row * to.len(), to.len());
        match self {
            Format::F32 => to.copy_from_slice(&bytemuck::cast_slice(words)[from..from + width]),
            Format::F16 => halves(words)[from..from + width].convert_to_f32_slice(to),
        }
    }

    /// Calls `each` with every one of `count` rows of `width` numbers.
    pub fn rows(self, words: &[u32], first: usize, count: usize, width: usize, mut each: impl FnMut(&[f32])) {
        match self {
            Format::F32 => {
                let numbers: &[f32] = bytemuck::cast_slice(words);
                numbers[first * width..(first + count) * width].chunks(width).for_each(each);
            }
            Format::F16 => {
                let mut row = vec![0.0; width];
                for i in first..first + count {
                    self.copy_row(words, i, &mut row);
                    each(&row);
                }
            }
        }
    }

    /// Calls `each` with (first row, rows, numbers) for panels that cover `rows` rows of `width` numbers.
    pub fn panels(self, words: &[u32], rows: usize, width: usize, mut each: impl FnMut(usize, usize, &[f32])) {
        match self {
            Format::F32 => each(0, rows, bytemuck::cast_slice(words)),
            Format::F16 => {
                let most = (PANEL / width.max(1)).clamp(8, rows.max(8));
                let mut panel = vec![0.0; most * width];
                for first in (0..rows).step_by(most) {
                    let count = most.min(rows - first);
                    let numbers = &mut panel[..count * width];
                    halves(words)[first * width..][..count * width].convert_to_f32_slice(numbers);
                    each(first, count, numbers);
                }
            }
        }
    }
}

fn halves(words: &[u32]) -> &[f16] {
    half::slice::HalfBitsSliceExt::reinterpret_cast(bytemuck::cast_slice::<u32, u16>(words))
}
