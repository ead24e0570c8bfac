//! Splits loops over the rows of a slice between threads. In a browser there is one thread.

#[cfg(not(target_arch = "wasm32"))]
use rayon::prelude::*;

/// Sets how many threads kernels use. Call it once, before anything is computed: later calls change nothing.
#[cfg(not(target_arch = "wasm32"))]
pub fn set_threads(count: usize) {
    // It can only fail because the threads exist already.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(count).build_global();
}

/// How many threads kernels use: one per core, unless something else was set.
pub fn threads() -> usize {
    #[cfg(not(target_arch = "wasm32"))]
    return rayon::current_num_threads();
    #[cfg(target_arch = "wasm32")]
    1
}

/// A loop over fewer numbers costs less than handing a part of it to another thread.
#[cfg(not(target_arch = "wasm32"))]
const WORTH_IT: usize = 16_384;

/// Calls `each` with the index and the numbers of every row of `width` numbers.
pub(super) fn each_row(y: &mut [f32], width: usize, each: impl Fn(usize, &mut [f32]) + Sync + Send) {
    #[cfg(not(target_arch = "wasm32"))]
    if y.len() >= WORTH_IT && threads() > 1 {
        let least = share(y.len(), width);
        return y.par_chunks_mut(width).with_min_len(least).enumerate().for_each(|(row, y)| each(row, y));
    }
    y.chunks_mut(width).enumerate().for_each(|(row, y)| each(row, y));
}

/// Like [`each_row`], for two outputs that have as many rows.
pub(super) fn each_row_of_two(
    (a, a_width): (&mut [f32], usize),
    (b, b_width): (&mut [f32], usize),
    each: impl Fn(usize, &mut [f32], &mut [f32]) + Sync + Send,
) {
    #[cfg(not(target_arch = "wasm32"))]
    if a.len() >= WORTH_IT && threads() > 1 {
        let least = share(a.len(), a_width);
        let rows = a.par_chunks_mut(a_width).zip(b.par_chunks_mut(b_width)).with_min_len(least);
        return rows.enumerate().for_each(|(row, (a, b))| each(row, a, b));
    }
    a.chunks_mut(a_width).zip(b.chunks_mut(b_width)).enumerate().for_each(|(row, (a, b))| each(row, a, b));
}

/// How many rows a thread takes at least, so that each gets a few turns.
#[cfg(not(target_arch = "wasm32"))]
fn share(numbers: usize, width: usize) -> usize {
    numbers.div_ceil(width).div_ceil(4 * threads())
}

/// The results of `count` independent tasks, in order.
pub(super) fn each_task<T: Send>(count: usize, task: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    #[cfg(not(target_arch = "wasm32"))]
    if count > 1 && threads() > 1 {
        return (0..count).into_par_iter().map(&task).collect();
    }
    (0..count).map(task).collect()
}
