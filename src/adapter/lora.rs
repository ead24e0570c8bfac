//! A LoRA adapter on the device: every A and B of a model in one flat buffer.

use std::ops::Range;
use std::rc::Rc;

use super::flat::{ALIGNMENT, Params, SiteRanges, part, part_mut};
use super::pair::{HostMatrix, Pair};
use super::{AdapterFiles, AdapterSpec, SiteSpec};
use crate::device::{Buffer, Device, Segments, Tensor, Usage};
use crate::error::{Error, Result};
use crate::model::{Config, Lora, Transformer};
use crate::ops::Param;
use crate::random::SplitMix64;
use crate::warning::Warning;

/// Bytes from one site's uniform to the next.
const SITE_BYTES: usize = 256;

/// The parameters of an adapter on the device, and their gradients.
pub struct Adapter {
    pub spec: AdapterSpec,
    pub p: Rc<Buffer>,
    pub g: Rc<Buffer>,
    /// Numbers in `p`, padding included: a multiple of 64.
    pub length: usize,
    pub config: Config,
    /// What there was to say about the files that it was loaded from.
    pub warnings: Vec<Warning>,
    /// One for each site of the spec, in its order.
    ranges: Vec<SiteRanges>,
    uniforms: Rc<Buffer>,
}

impl Adapter {
    /// Makes room for an adapter; its parameters are zero. Errors: `AdapterMismatch` for a layer that the model does
    /// not have, `GpuLimit`.
    pub fn new(device: &Device, config: &Config, spec: AdapterSpec) -> Result<Adapter> {
        spec.check(config)?;
        let too_large = || Error::GpuLimit { what: "adapter".to_string(), needed: u64::MAX, limit: device.max_binding };
        let mut all: Vec<SiteRanges> = Vec::with_capacity(spec.sites().len());
        for site in spec.sites() {
            let end = all.last().map_or(0, |ranges| ranges.b.end);
            all.push(SiteRanges::after(end, site, config).ok_or_else(too_large)?);
        }
        let length =
            all.last().map_or(0, |ranges| ranges.b.end).checked_next_multiple_of(ALIGNMENT).ok_or_else(too_large)?;
        let bytes = (length as u64).checked_mul(4).ok_or_else(too_large)?;
        let uniforms = device.buffer("sites", (all.len() as u64).saturating_mul(SITE_BYTES as u64), Usage::Uniform)?;
        let (p, g) = (
            device.buffer("adapter", bytes, Usage::Storage)?,
            device.buffer("adapter gradient", bytes, Usage::Storage)?,
        );
        let adapter =
            Adapter { spec, p, g, length, config: config.clone(), warnings: Vec::new(), ranges: all, uniforms };
        adapter.write_uniforms(device);
        Ok(adapter)
    }

    fn write_uniforms(&self, device: &Device) {
        for ((number, at), site) in (0u32..).zip((0u64..).step_by(SITE_BYTES)).zip(self.spec.sites()) {
            let scale = site.scale() as f32;
            device.write(&self.uniforms, at, bytemuck::cast_slice(&[scale.to_bits(), number, site.rank as u32, 0]));
        }
    }

    fn sites(&self) -> impl Iterator<Item = (&SiteSpec, &SiteRanges)> {
        self.spec.sites().iter().zip(&self.ranges)
    }

    /// The start of training: A uniform in ±1/sqrt(in), as PEFT's Kaiming initialisation with a = sqrt(5); B zero.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64(seed);
        let mut flat = vec![0.0; self.length];
        for (site, ranges) in self.sites() {
            let bound = 1.0 / (ranges.cols as f64).sqrt();
            let a = part_mut(&mut flat, &ranges.a);
            for value in a.chunks_mut(ranges.cols).take(site.rank).flatten() {
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
        for ((site, ranges), at) in self.sites().zip((0u64..).step_by(SITE_BYTES)) {
            let lora = Lora {
                a: param(&ranges.a, ranges.rank, ranges.cols),
                b: param(&ranges.b, ranges.rows, ranges.rank),
                site: Tensor::in_buffer(self.uniforms.clone(), at, 1, 4),
                dropout: false,
            };
            model.linear_mut(site.layer, site.target).lora = Some(lora);
        }
        model
    }

    /// Whether `swap` can take an adapter: it has the same linears, and no rank above the planned one.
    pub fn has_room_for(&self, spec: &AdapterSpec) -> bool {
        let fits = |(site, (planned, ranges)): (&SiteSpec, (&SiteSpec, &SiteRanges))| {
            site.key() == planned.key() && site.rank <= ranges.rank
        };
        spec.sites().len() == self.ranges.len() && spec.sites().iter().zip(self.sites()).all(fits)
    }

    /// Replaces this adapter with another: every plan that was recorded with it now computes the new one. A smaller
    /// rank is padded with zeros and the scales are data, so nothing is recorded or compiled. On an error nothing
    /// changes.
    ///
    /// Errors: `AdapterMismatch` if there is no room for it, and those of `AdapterFiles::load`.
    pub fn swap(&mut self, device: &Device, files: &AdapterFiles) -> Result<()> {
        let (pairs, warnings) = files.read(&self.config)?;
        let spec = AdapterSpec::from_sites(pairs.iter().map(|pair| pair.site).collect());
        if !self.has_room_for(&spec) {
            let reason = "it has other linears or a larger rank than the adapter that it would replace".to_string();
            return Err(Error::AdapterMismatch { reason });
        }
        let flat = self.flat(&pairs)?;
        (self.spec, self.warnings) = (spec, warnings);
        self.write_uniforms(device);
        self.write(device, &flat);
        Ok(())
    }

    pub fn params(&self) -> Params {
        let whole = |buffer: &Rc<Buffer>| Segments(vec![Tensor::in_buffer(buffer.clone(), 0, 1, self.length)]);
        Params { p: whole(&self.p), g: whole(&self.g) }
    }

    /// Replaces every parameter; `flat` is in this adapter's layout.
    pub fn write(&self, device: &Device, flat: &[f32]) {
        assert_eq!(flat.len(), self.length, "the numbers of an adapter");
        device.write(&self.p, 0, bytemuck::cast_slice(flat));
    }

    /// The parameters as they are now, in this adapter's layout.
    pub async fn read(&self, device: &Device) -> Result<Vec<f32>> {
        Ok(bytemuck::pod_collect_to_vec(&device.read(&self.p, 0, (self.length as u64).saturating_mul(4)).await?))
    }

    /// How many numbers are trained, padding not counted.
    pub fn parameters(&self) -> usize {
        self.spec.parameters(&self.config)
    }

    /// (module path, A [R, in], B [out, R]) of every adapted linear, without padding, from numbers in this adapter's
    /// layout.
    pub fn matrices(&self, flat: &[f32]) -> Vec<(String, HostMatrix, HostMatrix)> {
        let named = |pair: Pair| (self.config.family.module(pair.site.layer, pair.site.target), pair.a, pair.b);
        self.pairs(flat).into_iter().map(named).collect()
    }

    pub(super) fn pairs(&self, flat: &[f32]) -> Vec<Pair> {
        let pair = |(site, ranges): (&SiteSpec, &SiteRanges)| {
            let a = part(flat, &ranges.a).chunks(ranges.cols).take(site.rank).flatten().copied().collect();
            let b =
                part(flat, &ranges.b).chunks(ranges.rank).flat_map(|row| row.iter().take(site.rank).copied()).collect();
            Pair {
                site: *site,
                a: HostMatrix { rows: site.rank, cols: ranges.cols, values: a },
                b: HostMatrix { rows: ranges.rows, cols: site.rank, values: b },
            }
        };
        self.sites().map(pair).collect()
    }

    /// The inverse of `pairs`. The linears must be this adapter's, in its order, with at most the planned ranks.
    /// Errors: `AdapterMismatch`.
    pub(super) fn flat(&self, pairs: &[Pair]) -> Result<Vec<f32>> {
        assert_eq!(pairs.len(), self.ranges.len(), "the linears of an adapter");
        let mut flat = vec![0.0; self.length];
        for (pair, ranges) in pairs.iter().zip(&self.ranges) {
            pair.check(&self.config)?;
            assert!(pair.site.rank <= ranges.rank, "rank {} has no room in {}", pair.site.rank, ranges.rank);
            let copy = |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            copy(part_mut(&mut flat, &ranges.a), &pair.a.values);
            let b = part_mut(&mut flat, &ranges.b);
            b.chunks_mut(ranges.rank).zip(pair.b.values.chunks(pair.site.rank)).for_each(|(to, from)| copy(to, from));
        }
        Ok(flat)
    }
}
