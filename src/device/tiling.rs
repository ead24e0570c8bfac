//! Which tile of the kernel table a product takes on a card, and into how many splits its sum is cut, by a model of
//! what it costs. WebGPU does not say how many multiprocessors a card has, so the model is of one card, fitted to a
//! sweep of tiles there (tests/suite/tiling.rs): it ranks them as the sweep does, although it takes products for up to
//! 1.6 times as long as they took. It is a pure function of the shape, so that every run gives the same bits. For other
//! cards it is a guess, from which a run measures ([`tuned`](super::tuned)).

use super::device::{Device, Shape};
use super::kernel::{Extents, extent};
use super::kernel_table::{Geometry, KERNELS};

/// Multiprocessors of the card, and how many work groups keep them busy.
const PROCESSORS: usize = 132;
const GROUPS: usize = 2 * PROCESSORS;
/// Multiply-adds in registers per second.
const PEAK: f64 = 32.7e12;
/// Bytes per second of what splits write and their sum reads, and the seconds that its dispatch takes anyway.
const BANDWIDTH: f64 = 2.5e12;
const LAUNCH: f64 = 5e-6;
/// Registers and bytes of work-group memory of a multiprocessor, and the registers of an invocation besides its sums.
const REGISTERS: usize = 65_536;
const SHARED: usize = 228 << 10;
const OTHER_REGISTERS: usize = 40;
/// Products with fewer multiply-adds are not worth a second dispatch and its pipelines.
const WORTH_SPLITTING: usize = 8_000_000;
/// Seconds that splits must save: the sweep had none.
const SPLIT_GAIN: f64 = 25e-6;
const MOST_SPLITS: usize = 64;
/// A split of K has this many numbers on average, and exactly a multiple of `DEPTH_STEP`, as every DEPTH divides it.
pub(super) const LEAST_DEPTH: usize = 64;
const DEPTH_STEP: usize = 32;
/// A split of rows has a multiple of this many: one for each slice of a work group.
const ROW_STEP: usize = 8;
/// The tiles that a card has work for in any product; there is no data for smaller ones where there are many of these.
const USUAL_TILE: usize = 64;

/// What tests pretend: a row of the kernel table's tiles, and a number of splits, whatever they cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tiling {
    pub tile: Option<usize>,
    pub splits: Option<usize>,
}

/// How the terms of a sum are divided between work groups: `count` splits of `each` terms, the last of which may have
/// fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Splits {
    pub count: usize,
    pub each: usize,
}

impl Splits {
    /// About `count` splits, each of a multiple of `step` terms.
    pub fn of(terms: usize, count: usize, step: usize) -> Splits {
        let each = terms.div_ceil(count).next_multiple_of(step);
        Splits { count: terms.div_ceil(each).max(1), each }
    }

    /// Of the K of a product.
    pub(super) fn of_depth(depth: usize, count: usize) -> Splits {
        if count > 1 { Splits::of(depth, count, DEPTH_STEP) } else { Splits { count: 1, each: depth } }
    }
}

impl Device {
    /// How to split the product of a [rows, depth] and w. Only the tiled form knows splits.
    pub fn splits(&self, kernel: &str, features: &[&str], extents: Extents<'_>) -> Splits {
        let depth = extent(kernel, extents, "depth");
        if self.shape != Shape::Tiled {
            return Splits { count: 1, each: depth };
        }
        if let Some(count) = self.tiling.splits {
            return Splits::of(depth, count, DEPTH_STEP);
        }
        if let Some(tuned) = self.tuned_splits(kernel, features, extents) {
            return tuned;
        }
        let product = Product::of(kernel, features, extents);
        let whole = Splits { count: 1, each: depth };
        let Some((unsplit, tile)) = product.cheapest(kernel, 1) else { return whole };
        if product.multiply_adds() < WORTH_SPLITTING || product.groups(tile) >= PROCESSORS {
            return whole;
        }
        let cost = |count| Some((product.cheapest(kernel, count)?.0, count));
        let counts = 2..=(depth / LEAST_DEPTH).min(MOST_SPLITS);
        match counts.filter_map(cost).min_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((seconds, count)) if seconds + SPLIT_GAIN < unsplit => Splits::of_depth(depth, count),
            _ => whole,
        }
    }

    /// How to split a sum over the rows of a micro-batch, given how large its result is.
    pub fn row_splits(&self, kernel: &str, extents: Extents<'_>, rows: usize) -> Splits {
        if self.shape != Shape::Tiled {
            return Splits { count: 1, each: rows };
        }
        let geometry = Geometry::of(kernel, &[], self.shape, extents, self.tiling);
        let groups = geometry.groups(kernel, extents, self.max_groups).map(|count| count as usize);
        let (p, q) = (extent(kernel, extents, "rows"), extent(kernel, extents, "columns"));
        let count = match self.tiling.splits {
            Some(count) => count,
            None if rows.saturating_mul(p * q) < WORTH_SPLITTING => 1,
            None => GROUPS.div_ceil(groups.iter().product::<usize>().max(1)).min(rows / LEAST_DEPTH).max(1),
        };
        // Rounded down, so that there are no fewer groups than that.
        let each = if count == 1 { rows } else { (rows / count / ROW_STEP * ROW_STEP).max(ROW_STEP) };
        Splits { count: rows.div_ceil(each), each }
    }
}

impl Tiling {
    /// The tile for a product, given its splits.
    pub(super) fn tile(self, kernel: &str, features: &[&str], extents: Extents<'_>) -> &'static Geometry {
        let forced = self.tile.and_then(|tile| tiles(kernel).nth(tile));
        let product = Product::of(kernel, features, extents);
        let cheapest = || product.cheapest(kernel, extent(kernel, extents, "splits")).map(|(_, tile)| tile);
        let tile = forced.or_else(cheapest).or_else(|| tiles(kernel).next());
        tile.unwrap_or_else(|| panic!("kernel table: {kernel} has no tile"))
    }
}

/// The rows of the kernel table that this file chooses from.
pub fn tiles(kernel: &str) -> impl Iterator<Item = &'static Geometry> {
    let rows = KERNELS.iter().filter(move |row| row.name == kernel).flat_map(|row| row.geometry);
    rows.filter(|row| row.constant("TILE_M").is_some())
}

/// a [rows, depth] by w, which is [columns, depth] if `transposed`, else [depth, columns].
pub(super) struct Product {
    rows: usize,
    columns: usize,
    depth: usize,
    transposed: bool,
}

impl Product {
    pub fn of(kernel: &str, features: &[&str], extents: Extents<'_>) -> Product {
        let size = |name| extent(kernel, extents, name);
        let (rows, columns, depth) = (size("rows"), size("columns"), size("depth"));
        Product { rows, columns, depth, transposed: !features.contains(&"nn") }
    }

    fn multiply_adds(&self) -> usize {
        self.rows.saturating_mul(self.columns).saturating_mul(self.depth)
    }

    /// The work groups of a tile, without splits.
    fn groups(&self, tile: &Geometry) -> usize {
        let covered = |size: usize, name| tile.constant(name).map_or(1, |tile| size.div_ceil(tile as usize));
        covered(self.rows, "TILE_M") * covered(self.columns, "TILE_N")
    }

    fn cheapest(&self, kernel: &str, splits: usize) -> Option<(f64, &'static Geometry)> {
        let costs = tiles(kernel).filter_map(|tile| Some((self.seconds(tile, splits)?, tile)));
        costs.min_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// `None` for what is not considered: small tiles and splits where the card has enough work groups without.
    pub fn seconds(&self, tile: &Geometry, splits: usize) -> Option<f64> {
        let constant = |name| tile.constant(name).map(|value| value as usize);
        let (m, n, depth) = (constant("TILE_M")?, constant("TILE_N")?, constant("DEPTH")?);
        let (down, across, group) = (4 * constant("DOWN")?, 4 * constant("ACROSS")?, constant("GROUP")?);
        let groups = self.groups(tile);
        let usual = self.rows.div_ceil(USUAL_TILE) * self.columns.div_ceil(USUAL_TILE);
        if groups >= GROUPS && splits > 1 || usual >= GROUPS && m * n < USUAL_TILE * USUAL_TILE {
            return None;
        }
        // How many groups a multiprocessor gets, and how many of them it runs at a time.
        let turns = (groups * splits).div_ceil(PROCESSORS);
        let by_registers = REGISTERS / (group * (down * across + OTHER_REGISTERS));
        let busy = turns.min(by_registers.min(SHARED / (depth * (m + n) * 4)).max(1)) as f64;
        let terms = self.depth.div_ceil(splits) as f64;
        let ratio = |a: usize, b: usize| a as f64 / b as f64;

        // More sums in flight hide more latency, those of one invocation less so than those of several.
        let in_flight = busy * group as f64 * ((down * across) as f64).powf(0.7274);
        let hidden = in_flight / (in_flight + 2146.02);
        // What a multiply-add costs besides itself: reads of the tiles, staging of a and of w, barriers, and the first
        // reads and the stores of a group. A pad saves some conflicts of banks.
        let (stage_a, stage_w) = if self.transposed { (27.9, 7.4515) } else { (27.86, 28.96) };
        let slower = 1.0
            + 1.3725 * (ratio(1, down) + ratio(1, across))
            + stage_a / n as f64
            + stage_w / m as f64
            + (9.3528 / depth as f64 + 429.87 / terms) / busy
            - 0.078 * f64::from(tile.constant("PAD")?);
        let product = (turns * m * n) as f64 * terms * slower / hidden / (PEAK / PROCESSORS as f64);
        let parts = (self.rows * self.columns * 4 * (2 * splits + 1)) as f64 / BANDWIDTH + LAUNCH;
        Some(product + if splits > 1 { parts } else { 0.0 })
    }
}
