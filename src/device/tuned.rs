//! Products whose tile and splits were measured on the card at hand, instead of taken from the model of `tiling`.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::device::{Device, Executor, Shape};
use super::kernel::{Constant, Extents, KernelKey, extent};
use super::kernel_table::Geometry;
use super::pipeline::Pipeline;
use super::tiling::{LEAST_DEPTH, Product, Splits, tiles};

/// The kernel that has tiles to choose from.
const KERNEL: &str = "matmul";

/// How a product of one size is computed on a card: what was fastest of what was measured there. It is part of a run's
/// config, since another tile or another number of splits rounds sums differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TunedProduct {
    /// The features of its kernel, joined by `-`: how the weights are stored, and what else the kernel does. Its shape
    /// is not among them, nor whether the result is scaled.
    pub features: String,
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
    /// As [`tile_name`] names it.
    pub tile: String,
    pub splits: usize,
}

/// `128x64x16/2x2`: rows, columns and depth of a tile, and how many blocks of 4 x 4 an invocation computes, down and
/// across. A `+` follows if its rows are padded.
pub fn tile_name(tile: &Geometry) -> String {
    let constant = |name| tile.constant(name).unwrap_or_default();
    let [m, n, depth, down, across] = ["TILE_M", "TILE_N", "DEPTH", "DOWN", "ACROSS"].map(constant);
    format!("{m}x{n}x{depth}/{down}x{across}{}", if constant("PAD") > 0 { "+" } else { "" })
}

/// Those that tell products of one size apart.
fn telling(features: &[&str]) -> String {
    let telling = |feature: &&str| ![Shape::Tiled.feature(), "site"].contains(feature);
    features.iter().copied().filter(telling).collect::<Vec<_>>().join("-")
}

fn tile_called(name: &str) -> Option<&'static Geometry> {
    tiles(KERNEL).find(|tile| tile_name(tile) == name)
}

impl TunedProduct {
    /// How a recorded dispatch computes a product. `None` if it is of another kernel, or of a form without tiles.
    pub fn of(key: &KernelKey, extents: Extents<'_>) -> Option<TunedProduct> {
        let is_set = |constant: &(&'static str, u32)| key.constants.contains(&(constant.0, Constant::U32(constant.1)));
        let tile = tiles(KERNEL).find(|tile| tile.constants.iter().all(is_set));
        let tile = tile.filter(|_| key.kernel == KERNEL)?;
        let [rows, columns, depth, splits] =
            ["rows", "columns", "depth", "splits"].map(|name| extent(KERNEL, extents, name));
        Some(TunedProduct { features: telling(&key.features), rows, columns, depth, tile: tile_name(tile), splits })
    }

    /// Whether this version of tabtune can compute it so.
    pub fn is_known(&self) -> bool {
        let most = (self.depth / LEAST_DEPTH).max(1);
        tile_called(&self.tile).is_some() && (1..=most).contains(&self.splits)
    }

    /// Whether both are the same product, however it is computed.
    pub fn is_of(&self, other: &TunedProduct) -> bool {
        self.features == other.features && self.sizes() == other.sizes()
    }

    pub fn multiply_adds(&self) -> usize {
        self.sizes().into_iter().fold(1, usize::saturating_mul)
    }

    fn sizes(&self) -> [usize; 3] {
        [self.rows, self.columns, self.depth]
    }

    fn split(&self) -> Splits {
        Splits::of_depth(self.depth, self.splits)
    }

    /// This product with the other tiles, first those that cost least by the model of [`tiling`](super::tiling). None
    /// has more splits than this one, so that none takes more memory.
    pub fn alternatives(&self) -> Vec<TunedProduct> {
        let features: Vec<&str> = self.features.split('-').filter(|feature| !feature.is_empty()).collect();
        let extents = [("rows", self.rows), ("columns", self.columns), ("depth", self.depth)];
        let product = Product::of(KERNEL, &features, &extents);
        let mut counts = vec![1, self.splits / 2, self.splits];
        counts.retain(|count| *count > 0);
        counts.dedup();
        // Of each tile, the number of splits that costs least.
        let best_of = |tile: &'static Geometry| {
            let costs = counts.iter().filter_map(|count| Some((product.seconds(tile, *count)?, tile, *count)));
            costs.min_by(|a, b| a.0.total_cmp(&b.0))
        };
        let mut costs: Vec<_> = tiles(KERNEL).filter_map(best_of).collect();
        costs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let named =
            |(_, tile, splits): (f64, &Geometry, usize)| TunedProduct { tile: tile_name(tile), splits, ..self.clone() };
        costs.into_iter().map(named).filter(|other| other != self).collect()
    }
}

/// What is known of the products of a device.
#[derive(Debug, Clone, Default)]
pub(super) struct Tuned {
    /// How plans compute them from now on.
    in_force: Vec<TunedProduct>,
    /// How they are fastest here.
    measured: Vec<TunedProduct>,
}

impl Device {
    /// From now on, plans compute these products so. Only the tiled form has tiles.
    ///
    /// # Panics
    ///
    /// If one of them is not known.
    pub fn tune(&self, products: Vec<TunedProduct>) {
        assert!(products.iter().all(TunedProduct::is_known), "{products:?}: a tile or splits that there are not");
        self.tuned.borrow_mut().in_force = products;
    }

    /// How plans compute products from now on, where that was measured.
    pub fn tuned(&self) -> Vec<TunedProduct> {
        self.tuned.borrow().in_force.clone()
    }

    /// How products are fastest on this device, of which there is nothing to measure any more. Each stands there once.
    pub fn measured(&self) -> Vec<TunedProduct> {
        self.tuned.borrow().measured.clone()
    }

    /// Adds to what was measured on this device, now or at another time.
    pub fn remember(&self, products: &[TunedProduct]) {
        let measured = &mut self.tuned.borrow_mut().measured;
        for product in products {
            if product.is_known() && !measured.iter().any(|one| one.is_of(product)) {
                measured.push(product.clone());
            }
        }
    }

    /// Drops those of these pipelines that no plan has.
    pub(crate) fn forget_pipelines(&self, keys: &[KernelKey]) {
        if let Executor::Card(card) = &self.executor {
            let is_used = |pipeline: &Rc<Pipeline>| Rc::strong_count(pipeline) > 1;
            card.pipelines.borrow_mut().retain(|key, pipeline| is_used(pipeline) || !keys.contains(key));
        }
    }

    /// How a product of this size is computed, if that was measured.
    fn tuned_product(&self, kernel: &str, features: &[&str], extents: Extents<'_>) -> Option<TunedProduct> {
        let tuned = &self.tuned.borrow().in_force;
        // Most devices have none, and are asked for every dispatch that is recorded.
        if tuned.is_empty() || kernel != KERNEL || self.shape != Shape::Tiled {
            return None;
        }
        let sizes = ["rows", "columns", "depth"].map(|name| extent(kernel, extents, name));
        let features = telling(features);
        let is_it = |known: &&TunedProduct| known.sizes() == sizes && known.features == features;
        tuned.iter().find(is_it).cloned()
    }

    pub(super) fn tuned_splits(&self, kernel: &str, features: &[&str], extents: Extents<'_>) -> Option<Splits> {
        Some(self.tuned_product(kernel, features, extents)?.split())
    }

    /// The row of the kernel table for a dispatch: the tile that was measured to be fastest for a product, or what
    /// [`Geometry::of`] says. A product may be recorded without the splits with which it was measured.
    pub fn geometry(&self, kernel: &str, features: &[&str], extents: Extents<'_>) -> &'static Geometry {
        let tuned = self.tuned_product(kernel, features, extents);
        let same = |tuned: &TunedProduct| tuned.split().count == extent(kernel, extents, "splits");
        let tile = tuned.filter(same).and_then(|tuned| tile_called(&tuned.tile));
        tile.unwrap_or_else(|| Geometry::of(kernel, features, self.shape, extents, self.tiling))
    }
}
