//! Flat storage: every matrix that a run trains, one after the other, each at a multiple of 256 bytes. Clipping and
//! AdamW then take a few dispatches, and saving takes one read for each buffer.

use std::ops::Range;

use super::spec::SiteSpec;
use crate::device::Segments;
use crate::model::Config;

/// Every matrix begins at a multiple of this many numbers, which is 256 bytes.
pub(super) const ALIGNMENT: usize = 64;

/// Everything that a run trains, and the gradients, in segments of the same lengths.
#[derive(Clone)]
pub struct Params {
    pub p: Segments,
    pub g: Segments,
}

/// Places matrices one after the other, and cuts the row into segments that fit a binding: between matrices or, for one
/// that no binding holds, between its rows. The cuts change nothing about where a number is.
pub(super) struct Layout {
    /// Numbers in the longest segment.
    most: usize,
    /// Where the segments after the first begin.
    cuts: Vec<usize>,
    /// Where the next matrix begins: a multiple of 256 bytes.
    end: usize,
}

/// So many rows of a multiple of four columns end at a multiple of 256 bytes.
const ROWS: usize = 16;

impl Layout {
    pub fn within(max_binding: u64) -> Layout {
        let most = usize::try_from(max_binding / 4).unwrap_or(usize::MAX);
        Layout { most: most.saturating_sub(most % ALIGNMENT), cuts: Vec::new(), end: 0 }
    }

    /// Where the next matrix is; `None` if a few of its rows do not fit a segment, or if it is beyond what can be
    /// counted.
    pub fn place(&mut self, rows: usize, cols: usize) -> Option<Range<usize>> {
        let start = self.end;
        let end = start.checked_add(rows.checked_mul(cols)?)?;
        let mut begun = self.cuts.last().copied().unwrap_or(0);
        if end.saturating_sub(begun) > self.most && start > begun {
            begun = start;
            self.cuts.push(begun);
        }
        while end.saturating_sub(begun) > self.most {
            let fitting = self.most.checked_div(cols)?;
            let rows = fitting.saturating_sub(fitting % ROWS);
            begun = begun.checked_add(rows.checked_mul(cols).filter(|numbers| *numbers > 0)?)?;
            self.cuts.push(begun);
        }
        self.end = end.checked_next_multiple_of(ALIGNMENT)?;
        Some(start..end)
    }

    /// How many numbers each segment has.
    pub fn lengths(self) -> Vec<usize> {
        let begins = std::iter::once(0).chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain([self.end]);
        begins.zip(ends).map(|(begin, end)| end.saturating_sub(begin)).collect()
    }
}

/// Where one site's A [rank, cols] and B [rows, rank] are in the flat buffers, in numbers. This is the planned rank: a
/// multiple of four that is at least the site's. The padding is zero and stays zero, because each of its gradients has
/// a zero factor.
pub(super) struct SiteRanges {
    pub rank: usize,
    pub rows: usize,
    pub cols: usize,
    pub a: Range<usize>,
    pub b: Range<usize>,
}

impl SiteRanges {
    /// The first ranges at or after `start`; `None` if they are beyond what can be counted.
    pub fn after(start: usize, site: &SiteSpec, config: &Config) -> Option<SiteRanges> {
        let (rows, cols) = site.target.shape(config);
        let rank = site.rank.checked_next_multiple_of(4)?;
        let range = |start: usize, numbers: Option<usize>| {
            let start = start.checked_next_multiple_of(ALIGNMENT)?;
            Some(start..start.checked_add(numbers?)?)
        };
        let a = range(start, rank.checked_mul(cols))?;
        let b = range(a.end, rank.checked_mul(rows))?;
        Some(SiteRanges { rank, rows, cols, a, b })
    }
}

/// The numbers of one matrix. Ranges are made together with their buffer, so one that does not fit is a bug.
pub(super) fn part<'a>(flat: &'a [f32], range: &Range<usize>) -> &'a [f32] {
    let length = flat.len();
    let Some(part) = flat.get(range.clone()) else { unreachable!("{range:?} is outside the {length} flat numbers") };
    part
}

pub(super) fn part_mut<'a>(flat: &'a mut [f32], range: &Range<usize>) -> &'a mut [f32] {
    let length = flat.len();
    let Some(part) = flat.get_mut(range.clone()) else {
        unreachable!("{range:?} is outside the {length} flat numbers")
    };
    part
}
