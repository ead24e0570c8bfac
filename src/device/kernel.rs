//! The table of kernels that `build.rs` links, and the pipelines made from it. A pipeline is (kernel, features,
//! constants); its layout comes from the table, never from the shader compiler's guess.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use super::ahead::Ahead;
use super::card::{Buffer, Device, Shape};
use super::kernel_table::{Geometry, KERNELS, MOST_GROUPS};

/// How a kernel uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    Uniform,
    Read,
    ReadWrite,
}

pub struct Module {
    pub kernel: &'static str,
    pub features: &'static [&'static str],
    pub bindings: &'static [Access],
    pub overrides: &'static [Override],
    pub wgsl: &'static str,
}

/// An `override` constant declared by a module.
pub struct Override {
    pub name: &'static str,
    pub kind: ConstantKind,
    /// Whether a value must be given, because there is no default.
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstantKind {
    U32,
    F32,
    Bool,
}

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// The value of an `override` constant. Real numbers are kept as bits, so that keys can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Constant {
    U32(u32),
    F32(u32),
    Bool(bool),
}

impl Constant {
    fn kind(self) -> ConstantKind {
        match self {
            Constant::U32(_) => ConstantKind::U32,
            Constant::F32(_) => ConstantKind::F32,
            Constant::Bool(_) => ConstantKind::Bool,
        }
    }

    /// The value in the form that wgpu expects.
    fn number(self) -> f64 {
        match self {
            Constant::U32(value) => f64::from(value),
            Constant::F32(bits) => f64::from(f32::from_bits(bits)),
            Constant::Bool(value) => f64::from(u8::from(value)),
        }
    }
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Constant::U32(value) => write!(f, "{value}"),
            Constant::F32(bits) => write!(f, "{:e}", f32::from_bits(*bits)),
            Constant::Bool(value) => write!(f, "{value}"),
        }
    }
}

impl From<usize> for Constant {
    fn from(value: usize) -> Constant {
        Constant::U32(u32::try_from(value).unwrap_or_else(|_| panic!("{value} does not fit a 32-bit constant")))
    }
}

impl From<f32> for Constant {
    fn from(value: f32) -> Constant {
        Constant::F32(value.to_bits())
    }
}

impl From<bool> for Constant {
    fn from(value: bool) -> Constant {
        Constant::Bool(value)
    }
}

/// Values for a kernel's `override` constants, in the order in which the op and the kernel table list them.
pub type Constants = Vec<(&'static str, Constant)>;

/// The size of each dimension of a problem, under the names that the kernel table uses.
pub type Extents<'a> = &'a [(&'static str, usize)];

/// What identifies a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelKey {
    pub kernel: &'static str,
    pub features: Vec<&'static str>,
    pub constants: Constants,
}

impl Geometry {
    /// The row of the table for a kernel in a shape: the first row whose first tile covers the problem, otherwise the
    /// last.
    pub fn of(kernel: &str, shape: Shape, extents: Extents<'_>) -> &'static Geometry {
        let Some(row) = KERNELS.iter().find(|row| row.name == kernel) else { panic!("kernel table: no {kernel}") };
        let fits = |geometry: &&Geometry| ["", shape.feature()].contains(&geometry.shape);
        let covers = |geometry: &&Geometry| {
            geometry.grid.first().is_none_or(|(name, tile)| extent(kernel, extents, name) <= *tile as usize)
        };
        let candidates = || row.geometry.iter().filter(fits);
        let chosen = candidates().find(covers).or(candidates().next_back());
        chosen.unwrap_or_else(|| panic!("kernel table: {kernel} has no row for {shape:?}"))
    }

    /// The number of work groups that cover a problem, per dimension.
    pub fn groups(&self, kernel: &str, extents: Extents<'_>) -> [u32; 3] {
        let mut groups = [1; 3];
        for (dimension, (name, tile)) in self.grid.iter().enumerate() {
            groups[dimension] = match *tile {
                0 => {
                    let all = groups[dimension - 1];
                    groups[dimension - 1] = all.min(MOST_GROUPS);
                    all.div_ceil(groups[dimension - 1].max(1))
                }
                tile => extent(kernel, extents, name).div_ceil(tile as usize) as u32,
            };
        }
        groups
    }
}

fn extent(kernel: &str, extents: Extents<'_>, name: &str) -> usize {
    let found = extents.iter().find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("{kernel}: the op does not say how many {name} there are")).1
}

impl KernelKey {
    /// The linked module. Asking for a pair that the table lacks is a bug in `ops`, found by every test that records a
    /// plan.
    pub fn module(&self) -> &'static Module {
        let same = |m: &&Module| {
            m.kernel == self.kernel
                && m.features.len() == self.features.len()
                && self.features.iter().all(|f| m.features.contains(f))
        };
        let module = MODULES.iter().find(same);
        module.unwrap_or_else(|| panic!("kernel table: no {} with {:?}", self.kernel, self.features))
    }

    /// Panics unless every constant exists in the module, has the right type and is given once, and none is missing.
    pub fn check_constants(&self) {
        let (label, overrides) = (self.label(), self.module().overrides);
        for (i, (name, value)) in self.constants.iter().enumerate() {
            let known = overrides.iter().find(|known| known.name == *name);
            let known = known.unwrap_or_else(|| panic!("{label} has no constant {name}"));
            assert_eq!(known.kind, value.kind(), "{label}: the type of {name}");
            assert!(self.constants[..i].iter().all(|(other, _)| other != name), "{label}: {name} is given twice");
        }
        for known in overrides.iter().filter(|known| known.required) {
            let given = self.constants.iter().any(|(name, _)| *name == known.name);
            assert!(given, "{label}: the constant {} is missing", known.name);
        }
    }

    /// The name that tools and listings show: kernel and features.
    pub fn label(&self) -> String {
        let mut label = self.kernel.to_string();
        for feature in &self.features {
            label.push('-');
            label.push_str(feature);
        }
        label
    }
}

pub(super) type Layouts = HashMap<Vec<Access>, Rc<(wgpu::BindGroupLayout, wgpu::PipelineLayout)>>;

/// A kernel that can be bound already; its pipeline is compiled later.
pub struct Pipeline {
    pub key: KernelKey,
    layout: Rc<(wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    pub(super) raw: OnceCell<wgpu::ComputePipeline>,
}

impl Pipeline {
    pub(crate) fn is_compiled(&self) -> bool {
        self.raw.get().is_some()
    }
}

/// A pipeline that is being compiled.
pub(crate) struct Compiling {
    pipeline: Rc<Pipeline>,
    module: wgpu::ShaderModule,
    ahead: Ahead,
}

impl Compiling {
    /// Waits until the browser has compiled it.
    pub(crate) async fn wait(&mut self) {
        self.ahead.wait().await;
    }
}

/// Buffers bound to a kernel.
pub struct BindGroup {
    pub(super) raw: wgpu::BindGroup,
    /// Keeps the buffers from being destroyed while a plan can still be submitted.
    _buffers: Vec<Rc<Buffer>>,
}

impl Device {
    pub(crate) fn pipeline(&self, key: &KernelKey) -> Rc<Pipeline> {
        if let Some(known) = self.pipelines.borrow().get(key) {
            return known.clone();
        }
        let layout = self.layout(key.module().bindings);
        let pipeline = Rc::new(Pipeline { key: key.clone(), layout, raw: OnceCell::new() });
        self.pipelines.borrow_mut().insert(key.clone(), pipeline.clone());
        pipeline
    }

    /// Whether the pipeline with this key has been compiled.
    pub fn is_compiled(&self, key: &KernelKey) -> bool {
        self.pipelines.borrow().get(key).is_some_and(|pipeline| pipeline.is_compiled())
    }

    /// Starts to compile a pipeline. A browser compiles all those that were started side by side.
    pub(crate) fn start_compiling(&self, pipeline: &Rc<Pipeline>) -> Compiling {
        let label = pipeline.key.label();
        let source = wgpu::ShaderSource::Wgsl(pipeline.key.module().wgsl.into());
        let module = self.raw.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some(&label), source });
        let ahead = Ahead::start(&self.raw, || drop(self.create_pipeline(pipeline, &module)));
        Compiling { pipeline: pipeline.clone(), module, ahead }
    }

    /// Makes a pipeline ready to be dispatched. A browser may leave some of the work to its first dispatch.
    pub(crate) fn finish_compiling(&self, compiling: Compiling) {
        let Compiling { pipeline, module, ahead } = compiling;
        ahead.hand_over(&self.raw, || drop(pipeline.raw.set(self.create_pipeline(&pipeline, &module))));
    }

    fn create_pipeline(&self, pipeline: &Pipeline, module: &wgpu::ShaderModule) -> wgpu::ComputePipeline {
        let label = pipeline.key.label();
        let constants: Vec<(&str, f64)> =
            pipeline.key.constants.iter().map(|(name, value)| (*name, value.number())).collect();
        // Zeroing is unnecessary: every kernel writes its work-group memory before reading it.
        let compilation_options =
            wgpu::PipelineCompilationOptions { constants: &constants, zero_initialize_workgroup_memory: false };
        self.raw.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline.layout.1),
            module,
            entry_point: Some("main"),
            compilation_options,
            cache: None,
        })
    }

    /// Binds ranges (buffer, offset, bytes) in the order of the kernel's bindings.
    pub(crate) fn bind(&self, pipeline: &Pipeline, ranges: &[(Rc<Buffer>, u64, u64)]) -> BindGroup {
        let entries: Vec<wgpu::BindGroupEntry> = ranges
            .iter()
            .enumerate()
            .map(|(binding, (buffer, offset, bytes))| wgpu::BindGroupEntry {
                binding: binding as u32,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &buffer.raw,
                    offset: *offset,
                    size: std::num::NonZeroU64::new((*bytes).max(16)),
                }),
            })
            .collect();
        let descriptor = wgpu::BindGroupDescriptor {
            label: Some(pipeline.key.kernel),
            layout: &pipeline.layout.0,
            entries: &entries,
        };
        BindGroup {
            raw: self.raw.create_bind_group(&descriptor),
            _buffers: ranges.iter().map(|(buffer, ..)| buffer.clone()).collect(),
        }
    }

    fn layout(&self, bindings: &[Access]) -> Rc<(wgpu::BindGroupLayout, wgpu::PipelineLayout)> {
        let make = || {
            let entries: Vec<wgpu::BindGroupLayoutEntry> = bindings
                .iter()
                .enumerate()
                .map(|(binding, access)| wgpu::BindGroupLayoutEntry {
                    binding: binding as u32,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::Buffer {
                        ty: match access {
                            Access::Uniform => wgpu::BufferBindingType::Uniform,
                            Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                            Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                        },
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                    count: None,
                })
                .collect();
            let group =
                self.raw.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
            let descriptor =
                wgpu::PipelineLayoutDescriptor { label: None, bind_group_layouts: &[Some(&group)], immediate_size: 0 };
            let pipeline = self.raw.create_pipeline_layout(&descriptor);
            Rc::new((group, pipeline))
        };
        self.layouts.borrow_mut().entry(bindings.to_vec()).or_insert_with(make).clone()
    }
}

/// A dispatch with everything resolved, so that replaying it looks nothing up.
pub struct Ready {
    pub pipeline: Rc<Pipeline>,
    pub group: BindGroup,
    pub groups: [u32; 3],
}

impl Device {
    /// Runs a single work group of a dispatch, so that the browser compiles its pipeline.
    pub(crate) fn submit_one_group(&self, ready: &Ready) {
        self.encode([(ready, [1; 3])].into_iter());
    }

    /// Encodes the dispatches in one compute pass and submits them. Panics if a pipeline was not compiled.
    pub(crate) fn submit(&self, dispatches: &[Ready]) {
        self.encode(dispatches.iter().map(|ready| (ready, ready.groups)));
    }

    fn encode<'a>(&self, dispatches: impl Iterator<Item = (&'a Ready, [u32; 3])>) {
        let mut encoder = self.raw.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for (ready, [x, y, z]) in dispatches {
                let pipeline = ready.pipeline.raw.get();
                let pipeline = pipeline.unwrap_or_else(|| panic!("{} was not compiled", ready.pipeline.key.label()));
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, &ready.group.raw, &[]);
                pass.dispatch_workgroups(x, y, z);
            }
        }
        self.queue.submit([encoder.finish()]);
    }
}
