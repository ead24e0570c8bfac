//! Matrix products, by the `gemm` crate. Its function is unsafe, so this file checks that every number it reads or
//! writes lies inside the slices; it is the only file of the crate that calls something unsafe.

use super::parallel::threads;

/// A matrix in a slice. The number at (i, j) is `data[i * row + j * col]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    /// Numbers from one row to the next.
    pub row: usize,
    /// Numbers from one column to the next.
    pub col: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `cols` neighbouring numbers, `stride` apart.
    pub fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Matrix<'a> {
        Matrix { data, rows, cols, row: stride, col: 1 }
    }

    pub fn transposed(self) -> Matrix<'a> {
        Matrix { data: self.data, rows: self.cols, cols: self.rows, row: self.col, col: self.row }
    }
}

/// Whether one thread computes a product, because others compute others, or all threads share it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    One,
    All,
}

/// Products with fewer multiply-adds are not worth a second thread.
const WORTH_IT: usize = 1 << 20;

/// y = scale · a b, or y += scale · a b, for y of a's rows and b's columns, whose rows are `stride` numbers apart.
///
/// # Panics
///
/// If the shapes do not fit each other or the slices.
pub(super) fn product(
    y: &mut [f32],
    stride: usize,
    a: Matrix<'_>,
    b: Matrix<'_>,
    scale: f32,
    accumulate: bool,
    by: Threads,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "a product of {m} x {k} and {} x {n}", b.rows);
    if m == 0 || n == 0 {
        return;
    }
    assert!(n <= stride, "rows of {n} numbers, {stride} apart");
    assert!(extent(m, n, stride, 1) <= y.len(), "y of {m} x {n} in {} numbers", y.len());
    if k == 0 {
        if !accumulate {
            y.chunks_mut(stride).take(m).for_each(|row| row[..n].fill(0.0));
        }
        return;
    }
    for matrix in [&a, &b] {
        let Matrix { data, rows, cols, row, col } = matrix;
        assert!(extent(*rows, *cols, *row, *col) <= data.len(), "{rows} x {cols} in {} numbers", data.len());
    }
    let step = |numbers: usize| isize::try_from(numbers).unwrap_or_else(|_| panic!("a stride of {numbers} numbers"));
    let shared = by == Threads::All && m.saturating_mul(n).saturating_mul(k) >= WORTH_IT;
    // SAFETY: the pointers are those of live slices. Offsets go from 0 to `extent - 1`, which was compared with the
    // lengths above. y is borrowed exclusively, so it overlaps neither a nor b.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            step(stride),
            accumulate,
            a.data.as_ptr(),
            step(a.col),
            step(a.row),
            b.data.as_ptr(),
            step(b.col),
            step(b.row),
            1.0,
            scale,
            false,
            false,
            false,
            if shared { all_threads() } else { gemm::Parallelism::None },
        );
    }
}

/// How many numbers a matrix reaches over, from its first to its last.
fn extent(rows: usize, cols: usize, row: usize, col: usize) -> usize {
    let last = (rows - 1).checked_mul(row).zip((cols - 1).checked_mul(col));
    let extent = last.and_then(|(down, across)| down.checked_add(across)?.checked_add(1));
    extent.unwrap_or_else(|| panic!("a matrix of {rows} x {cols} numbers, {row} and {col} apart"))
}

fn all_threads() -> gemm::Parallelism {
    match threads() {
        1 => gemm::Parallelism::None,
        #[cfg(not(target_arch = "wasm32"))]
        count => gemm::Parallelism::Rayon(count),
        #[cfg(target_arch = "wasm32")]
        _ => gemm::Parallelism::None,
    }
}
