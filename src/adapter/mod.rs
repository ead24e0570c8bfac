//! LoRA adapters: which linears, what rank, and the flat buffers that hold every A and B of a model.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "adapters come from anywhere"
)]

pub mod check;
pub mod full;
pub mod merge;
pub mod named;
pub mod peft;
mod peft_config;
pub mod spec;

use std::ops::Range;
use std::rc::Rc;

pub use check::{ExportCheck, ExportCheckDraft};
pub use full::Full;
pub use peft::AdapterFiles;
pub use spec::{AdapterSpec, SiteSpec};

use crate::device::{Buffer, Device, Tensor, Usage};
use crate::error::{Error, Result};
use crate::model::{Config, Lora, Transformer, llama};
use crate::ops::Param;
use crate::random::SplitMix64;

/// Bytes from one site's uniform to the next.
const SITE_BYTES: usize = 256;
/// Every matrix begins at a multiple of this many numbers, which is 256 bytes.
const ALIGNMENT: usize = 64;

/// Where one site's A [rank, cols] and B [rows, rank] stand in the flat buffers, in numbers. This rank is the planned
/// one: a multiple of four, and at least the site's. The padding is zero and stays zero, because each of its gradients
/// has a zero factor.
struct Place {
    rank: usize,
    rows: usize,
    cols: usize,
    a: Range<usize>,
    b: Range<usize>,
}

impl Place {
    /// The first place at or behind `start`; `None` if it is beyond what can be counted.
    fn after(start: usize, site: &SiteSpec, config: &Config) -> Option<Place> {
        let (rows, cols) = site.target.shape(config);
        let rank = site.rank.checked_next_multiple_of(4)?;
        let range = |start: usize, numbers: Option<usize>| {
            let start = start.checked_next_multiple_of(ALIGNMENT)?;
            Some(start..start.checked_add(numbers?)?)
        };
        let a = range(start, rank.checked_mul(cols))?;
        let b = range(a.end, rank.checked_mul(rows))?;
        Some(Place { rank, rows, cols, a, b })
    }
}

/// Everything that a run trains, in one flat buffer, its gradients in another, and how many numbers each holds.
#[derive(Clone)]
pub struct Params {
    pub p: Rc<Buffer>,
    pub g: Rc<Buffer>,
    pub length: usize,
}

/// The parameters of an adapter on the device, and the gradients beside them.
pub struct Adapter {
    pub spec: AdapterSpec,
    pub p: Rc<Buffer>,
    pub g: Rc<Buffer>,
    /// Numbers in `p`, padding included: a multiple of 64.
    pub length: usize,
    layers: usize,
    /// One for each site of the spec, in its order.
    places: Vec<Place>,
    uniforms: Rc<Buffer>,
}

impl Adapter {
    /// Room for an adapter whose parameters are all zero. Errors: `AdapterMismatch` for a layer that the model does not
    /// have, `GpuLimit`.
    pub fn new(device: &Device, config: &Config, spec: AdapterSpec) -> Result<Adapter> {
        spec.check(config)?;
        let too_large = || Error::GpuLimit { what: "adapter".to_string(), needed: u64::MAX, limit: device.max_binding };
        let mut places: Vec<Place> = Vec::with_capacity(spec.sites().len());
        for site in spec.sites() {
            let end = places.last().map_or(0, |place| place.b.end);
            places.push(Place::after(end, site, config).ok_or_else(too_large)?);
        }
        let length =
            places.last().map_or(0, |place| place.b.end).checked_next_multiple_of(ALIGNMENT).ok_or_else(too_large)?;
        let bytes = (length as u64).checked_mul(4).ok_or_else(too_large)?;
        let uniforms =
            device.buffer("sites", (places.len() as u64).saturating_mul(SITE_BYTES as u64), Usage::Uniform)?;
        let (p, g) = (
            device.buffer("adapter", bytes, Usage::Storage)?,
            device.buffer("adapter gradient", bytes, Usage::Storage)?,
        );
        let adapter = Adapter { spec, p, g, length, layers: config.layers, places, uniforms };
        adapter.write_uniforms(device);
        Ok(adapter)
    }

    fn write_uniforms(&self, device: &Device) {
        for ((number, at), site) in (0u32..).zip((0u64..).step_by(SITE_BYTES)).zip(self.spec.sites()) {
            let scale = site.scale() as f32;
            device.write(&self.uniforms, at, bytemuck::cast_slice(&[scale.to_bits(), number, site.rank as u32, 0]));
        }
    }

    fn sites(&self) -> impl Iterator<Item = (&SiteSpec, &Place)> {
        self.spec.sites().iter().zip(&self.places)
    }

    /// The start of training: A uniform in ±1/sqrt(in), as PEFT's Kaiming initialisation with a = sqrt(5); B zero.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64(seed);
        let mut flat = vec![0.0; self.length];
        for (site, place) in self.sites() {
            let bound = 1.0 / (place.cols as f64).sqrt();
            let a = flat.get_mut(place.a.clone()).unwrap_or_default();
            for value in a.chunks_mut(place.cols).take(site.rank).flatten() {
                *value = ((2.0 * random.unit() - 1.0) * bound) as f32;
            }
        }
        flat
    }

    /// A model that shares the frozen weights and has this adapter on its linears.
    pub fn attach(&self, model: &Transformer) -> Transformer {
        let mut model = model.clone();
        for linear in model.blocks.iter_mut().flat_map(|block| block.linears.values_mut()) {
            linear.lora = None;
        }
        let param = |at: &Range<usize>, rows: usize, cols: usize| {
            let offset = (at.start as u64).saturating_mul(4);
            let tensor = |buffer: &Rc<Buffer>| Tensor::in_buffer(buffer.clone(), offset, rows, cols);
            Param { value: tensor(&self.p), grad: tensor(&self.g) }
        };
        for ((site, place), at) in self.sites().zip((0u64..).step_by(SITE_BYTES)) {
            let lora = Lora {
                a: param(&place.a, place.rank, place.cols),
                b: param(&place.b, place.rows, place.rank),
                site: Tensor::in_buffer(self.uniforms.clone(), at, 1, 4),
                dropout: false,
            };
            if let Some(linear) = model.blocks.get_mut(site.layer).and_then(|block| block.linears.get_mut(&site.target))
            {
                linear.lora = Some(lora);
            }
        }
        model
    }

    /// Whether `swap` can take an adapter: it has the same linears, and no rank above the planned one.
    pub fn has_room_for(&self, spec: &AdapterSpec) -> bool {
        let fits = |(site, (planned, place)): (&SiteSpec, (&SiteSpec, &Place))| {
            site.key() == planned.key() && site.rank <= place.rank
        };
        spec.sites().len() == self.places.len() && spec.sites().iter().zip(self.sites()).all(fits)
    }

    /// Puts another adapter in the place of this one: every plan that was recorded with it now computes the other. A
    /// smaller rank is padded with zeros, and the scales are data, so nothing is recorded or compiled. On an error
    /// nothing has changed.
    ///
    /// Errors: `AdapterMismatch` if there is no room for it, and whatever the files have wrong.
    pub fn swap(&mut self, device: &Device, files: &AdapterFiles) -> Result<()> {
        let pairs = files.pairs()?;
        let spec = AdapterSpec::from_sites(pairs.iter().map(|pair| pair.site).collect());
        if !self.has_room_for(&spec) {
            let reason = "it has other linears or a larger rank than what it would take the place of".to_string();
            return Err(Error::AdapterMismatch { reason });
        }
        let flat = self.flat(&pairs)?;
        self.spec = spec;
        self.write_uniforms(device);
        self.write(device, &flat);
        Ok(())
    }

    pub fn params(&self) -> Params {
        Params { p: self.p.clone(), g: self.g.clone(), length: self.length }
    }

    /// Replaces every parameter; `flat` is in this adapter's layout.
    pub fn write(&self, device: &Device, flat: &[f32]) {
        device.write(&self.p, 0, bytemuck::cast_slice(flat));
    }

    /// The parameters as they are now, in this adapter's layout.
    pub async fn read(&self, device: &Device) -> Result<Vec<f32>> {
        Ok(bytemuck::pod_collect_to_vec(&device.read(&self.p, 0, (self.length as u64).saturating_mul(4)).await?))
    }

    /// Trained numbers, padding not counted.
    pub fn parameters(&self) -> usize {
        self.sites().map(|(site, place)| site.rank.saturating_mul(place.rows.saturating_add(place.cols))).sum()
    }

    /// (module path, A [R, in], B [out, R]) of every adapted linear, without padding, from numbers in this adapter's
    /// layout.
    pub fn matrices(&self, flat: &[f32]) -> Vec<(String, Matrix, Matrix)> {
        let named = |pair: Pair| (llama::module(pair.site.layer, pair.site.target), pair.a, pair.b);
        self.pairs(flat).into_iter().map(named).collect()
    }

    fn pairs(&self, flat: &[f32]) -> Vec<Pair> {
        let numbers = |range: &Range<usize>| flat.get(range.clone()).unwrap_or_default();
        let pair = |(site, place): (&SiteSpec, &Place)| {
            let a = numbers(&place.a).chunks(place.cols).take(site.rank).flatten().copied().collect();
            let b = numbers(&place.b).chunks(place.rank).flat_map(|row| row.iter().take(site.rank).copied()).collect();
            Pair {
                site: *site,
                a: Matrix { rows: site.rank, cols: place.cols, values: a },
                b: Matrix { rows: place.rows, cols: site.rank, values: b },
            }
        };
        self.sites().map(pair).collect()
    }

    /// The inverse of `pairs`, which are of this adapter's linears in its order, with ranks up to the planned ones.
    /// Errors: `AdapterMismatch`.
    fn flat(&self, pairs: &[Pair]) -> Result<Vec<f32>> {
        let mut flat = vec![0.0; self.length];
        for (pair, place) in pairs.iter().zip(&self.places) {
            pair.check(place.rows, place.cols)?;
            let copy = |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            copy(flat.get_mut(place.a.clone()).unwrap_or_default(), &pair.a.values);
            let b = flat.get_mut(place.b.clone()).unwrap_or_default();
            b.chunks_mut(place.rank).zip(pair.b.values.chunks(pair.site.rank)).for_each(|(to, from)| copy(to, from));
        }
        Ok(flat)
    }
}

/// A matrix on the host, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub values: Vec<f32>,
}

/// A [R, in] and B [out, R] of one site on the host, without padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    pub site: SiteSpec,
    pub a: Matrix,
    pub b: Matrix,
}

impl Pair {
    /// Errors: `AdapterMismatch` unless B A has the shape of the matrix that it is added to.
    fn check(&self, rows: usize, cols: usize) -> Result<()> {
        if (self.b.rows, self.a.cols) == (rows, cols) {
            return Ok(());
        }
        let module = llama::module(self.site.layer, self.site.target);
        let reason = format!(
            "on `{module}` it changes a [{}, {}] matrix, the model's is [{rows}, {cols}]",
            self.b.rows, self.a.cols
        );
        Err(Error::AdapterMismatch { reason })
    }
}
