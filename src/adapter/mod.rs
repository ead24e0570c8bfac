//! LoRA adapters: which linears, what rank, and the flat buffers that hold every A and B of a model.

pub mod check;
pub mod peft;

use std::rc::Rc;

pub use check::ExportCheck;
pub use peft::AdapterFiles;

use crate::error::{Error, Result};
use crate::gpu::{Buffer, Gpu, Tensor, Usage};
use crate::model::{Config, Lora, Target, Transformer};
use crate::ops::Param;
use crate::random::SplitMix64;

/// What to adapt and how: the scale of B A is alpha / rank.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AdapterSpec {
    pub rank: usize,
    pub alpha: f64,
    pub targets: Vec<Target>,
}

impl AdapterSpec {
    /// `targets`: `all-linear`, `attention`, or names such as `q_proj,v_proj`. Errors: `Setting`.
    pub fn new(rank: usize, alpha: f64, targets: &str) -> Result<AdapterSpec> {
        let unknown = || Error::Setting {
            name: "targets".to_string(),
            value: targets.to_string(),
            expected: "all-linear, attention, or some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj".to_string(),
        };
        let mut list = match targets {
            "all-linear" => Target::ALL.to_vec(),
            "attention" => Target::ATTENTION.to_vec(),
            names => names.split(',').map(|name| Target::parse(name.trim())).collect::<Option<_>>().ok_or_else(unknown)?,
        };
        list.sort();
        list.dedup();
        Ok(AdapterSpec { rank, alpha, targets: list })
    }

    /// Errors: `Setting` for a rank of 0 or above a matrix's smaller side, and for an alpha that is not a positive number.
    fn check(&self, config: &Config) -> Result<()> {
        let setting = |name: &str, value: String, expected: String| Error::Setting { name: name.to_string(), value, expected };
        let most = self.targets.iter().map(|target| target.shape(config)).map(|(rows, cols)| rows.min(cols)).min();
        let Some(most) = most else { return Err(setting("targets", "none".to_string(), "at least one linear".to_string())) };
        if self.rank == 0 || self.rank > most {
            return Err(setting(
                "rank",
                self.rank.to_string(),
                format!("a whole number from 1 to {most}, the smaller side of the smallest adapted matrix"),
            ));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(setting("alpha", self.alpha.to_string(), "a positive number".to_string()));
        }
        Ok(())
    }

    /// The rank as it is stored: a multiple of four. The padding is zero and stays zero, because each of its gradients has a zero factor.
    fn stored_rank(&self) -> usize {
        self.rank.next_multiple_of(4)
    }
}

/// Where one linear's A and B stand in the flat buffers, in numbers.
struct Site {
    layer: usize,
    target: Target,
    rows: usize,
    cols: usize,
    a: usize,
    b: usize,
}

/// The parameters of an adapter on the device, and the gradients beside them.
pub struct Adapter {
    pub spec: AdapterSpec,
    pub p: Rc<Buffer>,
    pub g: Rc<Buffer>,
    /// Numbers in `p`, padding included: a multiple of 64.
    pub length: usize,
    sites: Vec<Site>,
    scales: Rc<Buffer>,
}

impl Adapter {
    /// Room for an adapter whose parameters are all zero. Errors: `Setting`, `GpuLimit`.
    pub fn new(gpu: &Gpu, config: &Config, spec: AdapterSpec) -> Result<Adapter> {
        spec.check(config)?;
        let rank = spec.stored_rank();
        let mut sites = Vec::new();
        let mut length = 0;
        for layer in 0..config.layers {
            for &target in &spec.targets {
                let (rows, cols) = target.shape(config);
                let a = length;
                let b = a + (rank * cols).next_multiple_of(64);
                length = b + (rows * rank).next_multiple_of(64);
                sites.push(Site { layer, target, rows, cols, a, b });
            }
        }
        let buffer = |label| gpu.buffer(label, length as u64 * 4, Usage::Storage);
        let scales = gpu.buffer("sites", sites.len() as u64 * 256, Usage::Uniform)?;
        let adapter = Adapter { p: buffer("adapter")?, g: buffer("adapter gradient")?, length, sites, scales, spec };
        adapter.write_scales(gpu);
        Ok(adapter)
    }

    fn write_scales(&self, gpu: &Gpu) {
        let scale = (self.spec.alpha / self.spec.rank as f64) as f32;
        for i in 0..self.sites.len() {
            gpu.write(&self.scales, i as u64 * 256, bytemuck::cast_slice(&[scale.to_bits(), i as u32, self.spec.rank as u32, 0]));
        }
    }

    /// The start of training: A uniform in ±1/sqrt(in), as PEFT's Kaiming initialisation with a = sqrt(5); B zero.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64(seed);
        let mut flat = vec![0.0; self.length];
        for site in &self.sites {
            let bound = 1.0 / (site.cols as f64).sqrt();
            for value in &mut flat[site.a..site.a + self.spec.rank * site.cols] {
                *value = ((2.0 * random.unit() - 1.0) * bound) as f32;
            }
        }
        flat
    }

    /// A model that shares the frozen weights and has this adapter on its linears.
    pub fn attach(&self, model: &Transformer) -> Transformer {
        let mut model = model.clone();
        let rank = self.spec.stored_rank();
        for linear in model.blocks.iter_mut().flat_map(|block| block.linears.values_mut()) {
            linear.lora = None;
        }
        for (i, site) in self.sites.iter().enumerate() {
            let param = |at: usize, rows: usize, cols: usize| Param {
                value: Tensor::in_buffer(self.p.clone(), at as u64 * 4, rows, cols),
                grad: Tensor::in_buffer(self.g.clone(), at as u64 * 4, rows, cols),
            };
            let lora = Lora {
                a: param(site.a, rank, site.cols),
                b: param(site.b, site.rows, rank),
                site: Tensor::in_buffer(self.scales.clone(), i as u64 * 256, 1, 4),
                dropout: false,
            };
            if let Some(linear) = model.blocks[site.layer].linears.get_mut(&site.target) {
                linear.lora = Some(lora);
            }
        }
        model
    }

    /// Replaces every parameter; `flat` is in this adapter's layout.
    pub fn write(&self, gpu: &Gpu, flat: &[f32]) {
        gpu.write(&self.p, 0, bytemuck::cast_slice(flat));
    }

    /// The parameters as they are now, in this adapter's layout.
    pub async fn read(&self, gpu: &Gpu) -> Result<Vec<f32>> {
        Ok(bytemuck::pod_collect_to_vec(&gpu.read(&self.p, 0, self.length as u64 * 4).await?))
    }

    /// Trained numbers, padding not counted.
    pub fn parameters(&self) -> usize {
        self.sites.iter().map(|site| self.spec.rank * (site.rows + site.cols)).sum()
    }

    /// (module path, A [R, in], B [out, R]) of every adapted linear, without padding, from numbers in this adapter's layout.
    pub fn matrices(&self, flat: &[f32]) -> Vec<(String, Matrix, Matrix)> {
        let (rank, stored) = (self.spec.rank, self.spec.stored_rank());
        let matrix = |site: &Site| {
            let a = flat[site.a..site.a + rank * site.cols].to_vec();
            let b = flat[site.b..site.b + site.rows * stored].chunks(stored).flat_map(|row| row.iter().take(rank).copied()).collect();
            let module = crate::model::llama::module(site.layer, site.target);
            (module, Matrix { rows: rank, cols: site.cols, values: a }, Matrix { rows: site.rows, cols: rank, values: b })
        };
        self.sites.iter().map(matrix).collect()
    }

    /// The inverse of `matrices` for one linear: puts A and B, which have the right shapes, into `flat`.
    fn place(&self, site: &Site, a: &[f32], b: &[f32], flat: &mut [f32]) {
        let (rank, stored) = (self.spec.rank, self.spec.stored_rank());
        flat[site.a..site.a + a.len()].copy_from_slice(a);
        for (row, values) in b.chunks(rank).enumerate() {
            let at = site.b + row * stored;
            flat[at..at + rank].copy_from_slice(values);
        }
    }
}

/// A matrix on the host, row by row.
pub struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub values: Vec<f32>,
}
