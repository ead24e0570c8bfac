//! The tiles and splits of products: that each tile fits every card, and that the model of their cost chooses what a
//! sweep of tiles on a card found to be fastest.

use tabtune::device::kernel_table::MOST_GROUPS;
use tabtune::device::tiling::tiles;
use tabtune::device::{Device, Geometry, Shape, Splits, Tiling};

/// TILE_M, TILE_N, DEPTH, rows and columns per invocation, PAD.
type Tile = [u32; 6];

/// The fastest tile for a product, its TFLOP/s, and those of the only tile that there was before, 64 x 64 x 16 with
/// 8 x 4.
type Best = (Tile, f64, f64);

/// The sweep on an NVIDIA H100 in Dawn, in f32: M, N, K, then the best for a wᵀ and for a w.
const SWEEP: [([usize; 3], [Best; 2]); 6] = [
    ([2048, 640, 576], [([64, 64, 32, 8, 4, 0], 20.0, 18.4), ([64, 64, 32, 8, 4, 0], 21.9, 19.2)]),
    ([2048, 1536, 576], [([64, 64, 16, 8, 8, 0], 27.0, 24.6), ([128, 64, 16, 8, 8, 0], 28.4, 27.7)]),
    ([2048, 640, 1536], [([64, 64, 16, 8, 4, 1], 13.1, 12.5), ([64, 64, 32, 8, 4, 0], 16.4, 13.8)]),
    ([256, 49_152, 576], [([128, 128, 16, 16, 8, 0], 34.8, 18.8), ([128, 128, 16, 8, 8, 1], 29.1, 27.1)]),
    ([1024, 2048, 2048], [([64, 128, 16, 8, 8, 0], 23.4, 22.8), ([64, 64, 16, 8, 4, 1], 25.7, 25.5)]),
    ([2048, 8192, 2048], [([128, 128, 16, 16, 8, 0], 32.9, 25.8), ([128, 128, 16, 16, 8, 0], 31.5, 29.0)]),
];

/// Where another tile is chosen, and why.
const EXCEPTIONS: [(Tile, [usize; 3], bool, &str); 2] = [
    ([64, 64, 32, 8, 4, 0], [2048, 640, 1536], true, "the model has both within 1 %"),
    ([128, 128, 16, 16, 8, 0], [256, 49_152, 576], false, "the best takes 16.5 KiB, too many"),
];

/// The linears of SmolLM2-135M at 4 x 512 tokens, with an adapter of rank 8, forward (`true`) and backward, and its
/// head in chunks.
const SMOLLM2: [([usize; 3], bool); 22] = [
    ([2048, 576, 576], true),
    ([2048, 576, 576], false),
    ([2048, 192, 576], true),
    ([2048, 576, 192], false),
    ([2048, 1536, 576], true),
    ([2048, 576, 1536], false),
    ([2048, 576, 1536], true),
    ([2048, 1536, 576], false),
    ([2048, 8, 576], true),
    ([2048, 8, 1536], true),
    ([2048, 576, 8], true),
    ([2048, 1536, 8], true),
    ([2048, 8, 576], false),
    ([2048, 8, 1536], false),
    ([2048, 576, 8], false),
    ([2048, 1536, 8], false),
    // q, k and v as one, and gate and up.
    ([2048, 960, 576], true),
    ([2048, 576, 960], false),
    ([2048, 3072, 576], true),
    ([2048, 576, 3072], false),
    ([64, 49152, 576], true),
    ([64, 576, 49152], false),
];

fn constant(tile: &Geometry, name: &str) -> u32 {
    tile.constant(name).unwrap_or_else(|| panic!("{:?} has no {name}", tile.constants))
}

fn tile_of(tile: &Geometry) -> Tile {
    let names = ["TILE_M", "TILE_N", "DEPTH", "DOWN", "ACROSS", "PAD"];
    let [m, n, depth, down, across, pad] = names.map(|name| constant(tile, name));
    [m, n, depth, 4 * down, 4 * across, pad]
}

/// The tile of a product, its splits, and how many work groups that makes.
fn choice([rows, columns, depth]: [usize; 3], transposed: bool) -> (Tile, Splits, u32) {
    let device = Device::dry(Shape::Tiled);
    let features: &[&str] = if transposed { &[] } else { &["nn"] };
    let mut extents = vec![("rows", rows), ("columns", columns), ("depth", depth)];
    let splits = device.splits("matmul", features, &extents);
    extents.push(("splits", splits.count));
    let tile = Geometry::of("matmul", features, Shape::Tiled, &extents, Tiling::default());
    (tile_of(tile), splits, tile.groups("matmul", &extents, MOST_GROUPS).iter().product())
}

#[test]
fn every_tile_fits_the_default_limits_of_webgpu() {
    for tile in tiles("matmul") {
        let [m, n, depth, down, across, pad] = tile_of(tile);
        let group = constant(tile, "GROUP");
        assert_eq!(group * down * across, m * n, "{:?}", tile.constants);
        assert!(group <= 256, "{:?}", tile.constants);
        let bytes = depth * (m + n + 8 * pad) * 4;
        assert!(bytes <= 16 << 10, "{:?} takes {bytes} bytes", tile.constants);
        assert_eq!(32 % depth, 0, "{:?}: a split begins at a multiple of 32", tile.constants);
    }
}

#[test]
fn the_cheapest_tile_is_the_fastest_of_the_sweep() {
    for (shape, forms) in SWEEP {
        for (transposed, (best, rate, before)) in [true, false].into_iter().zip(forms) {
            assert!(rate > before, "{shape:?}: the sweep's best is better than what there was");
            let exception = EXCEPTIONS.iter().find(|(_, of, form, _)| (*of, *form) == (shape, transposed));
            let expected = exception.map_or(best, |(tile, ..)| *tile);
            // The sweep had no splits.
            let ([rows, columns, depth], features): (_, &[&str]) = (shape, if transposed { &[] } else { &["nn"] });
            let extents = [("rows", rows), ("columns", columns), ("depth", depth), ("splits", 1)];
            let tile = Geometry::of("matmul", features, Shape::Tiled, &extents, Tiling::default());
            assert_eq!(tile_of(tile), expected, "{shape:?}, transposed: {transposed}");
        }
    }
}

/// 264 groups are two for each of the card's multiprocessors.
#[test]
fn products_of_a_large_step_have_enough_work_groups() {
    for (shape, transposed) in SMOLLM2 {
        let (tile, splits, groups) = choice(shape, transposed);
        assert!(groups >= 264, "{shape:?}, transposed: {transposed}: {tile:?} in {splits:?} is {groups} groups");
    }
    let device = Device::dry(Shape::Tiled);
    for (rows, columns) in [(8, 576), (576, 8), (8, 1536), (1536, 8)] {
        let mut extents = [("columns", columns), ("rows", rows), ("splits", 1)];
        extents[2].1 = device.row_splits("matmul_tn", &extents, 2048).count;
        let tile = Geometry::of("matmul_tn", &[], Shape::Tiled, &extents, Tiling::default());
        let groups: u32 = tile.groups("matmul_tn", &extents, MOST_GROUPS).iter().product();
        assert!(groups >= 264, "[{rows}, {columns}]: {extents:?} is {groups} groups");
    }
}

#[test]
fn splits_cover_the_sum_and_none_is_empty() {
    for terms in [1, 31, 32, 33, 576, 1000, 49_152] {
        for count in 1..=64 {
            let splits = Splits::of(terms, count, 32);
            assert!(splits.count <= count && splits.each.is_multiple_of(32), "{terms} in {count}: {splits:?}");
            assert!(splits.count * splits.each >= terms, "{terms} in {count}: {splits:?}");
            assert!((splits.count - 1) * splits.each < terms, "{terms} in {count}: {splits:?}");
        }
    }
}

#[test]
fn only_cards_split_products() {
    for shape in [Shape::Direct, Shape::Cpu] {
        let device = Device::dry(shape);
        let extents = [("rows", 80), ("columns", 576), ("depth", 49_152)];
        assert_eq!(device.splits("matmul", &["nn"], &extents), Splits { count: 1, each: 49_152 });
        assert_eq!(device.row_splits("matmul_tn", &[("rows", 8), ("columns", 576)], 2048).count, 1);
    }
}
