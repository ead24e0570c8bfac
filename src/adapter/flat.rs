//! Flat storage: one buffer holds every matrix that a run trains, each at a multiple of 256 bytes. Clipping and AdamW
//! then take a few dispatches, and saving takes one read.

use std::ops::Range;
use std::rc::Rc;

use super::spec::SiteSpec;
use crate::device::Buffer;
use crate::model::Config;

/// Every matrix begins at a multiple of this many numbers, which is 256 bytes.
pub(super) const ALIGNMENT: usize = 64;

/// Everything that a run trains in one flat buffer, the gradients in another, and how many numbers each holds.
#[derive(Clone)]
pub struct Params {
    pub p: Rc<Buffer>,
    pub g: Rc<Buffer>,
    pub length: usize,
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
