//! The table of kernels that `build.rs` links, and the pipelines made from it. A pipeline is (kernel, features,
//! constants); its layout comes from the table, never from the shader compiler's guess.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::ahead::Ahead;
use super::card::{Buffer, Device};

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
    pub wgsl: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// Values of a kernel's `override` constants, in the order in which the op names them.
pub type Constants = Vec<(&'static str, u32)>;

/// What makes one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelKey {
    pub kernel: &'static str,
    pub features: Vec<&'static str>,
    pub constants: Constants,
}

impl KernelKey {
    /// The linked module. A pair that the table lacks is a mistake in `ops`, which every test that records a plan
    /// finds.
    pub fn module(&self) -> &'static Module {
        let same = |m: &&Module| {
            m.kernel == self.kernel
                && m.features.len() == self.features.len()
                && self.features.iter().all(|f| m.features.contains(f))
        };
        MODULES.iter().find(same).unwrap_or_else(|| panic!("kernel table: no {} with {:?}", self.kernel, self.features))
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

/// A kernel ready to be bound; the pipeline itself is compiled later.
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

/// A pipeline under way.
pub(crate) struct Compiling {
    pipeline: Rc<Pipeline>,
    module: wgpu::ShaderModule,
    ahead: Ahead,
}

impl Compiling {
    /// Waits until a browser has compiled it.
    pub(crate) async fn wait(&mut self) {
        self.ahead.wait().await;
    }
}

/// Buffers bound to a kernel, once and for all.
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

    /// Whether a pipeline of this key has been compiled.
    pub fn is_compiled(&self, key: &KernelKey) -> bool {
        self.pipelines.borrow().get(key).is_some_and(|pipeline| pipeline.is_compiled())
    }

    /// Starts to compile a pipeline: in a browser beside others that were started.
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
            pipeline.key.constants.iter().map(|&(name, value)| (name, constant(name, value))).collect();
        // Every kernel writes its work-group memory before it reads it.
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

/// Constants travel as u32 so that keys can be compared; EPS is the one that is a real number, kept as its bits.
fn constant(name: &str, value: u32) -> f64 {
    if name == "EPS" { f64::from(f32::from_bits(value)) } else { f64::from(value) }
}

/// A dispatch with everything resolved: replaying it looks nothing up.
pub struct Ready {
    pub pipeline: Rc<Pipeline>,
    pub group: BindGroup,
    pub groups: [u32; 3],
}

impl Device {
    /// Runs a single group of a dispatch, so that the browser compiles its pipeline.
    pub(crate) fn submit_one_group(&self, ready: &Ready) {
        let mut encoder = self.raw.create_command_encoder(&Default::default());
        if let Some(pipeline) = ready.pipeline.raw.get() {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &ready.group.raw, &[]);
            pass.dispatch_workgroups(1, 1, 1);
        }
        self.queue.submit([encoder.finish()]);
    }

    /// Encodes the dispatches in one compute pass and submits them. Every pipeline must have been compiled.
    pub(crate) fn submit(&self, dispatches: &[Ready]) {
        let mut encoder = self.raw.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for ready in dispatches {
                if let Some(pipeline) = ready.pipeline.raw.get() {
                    pass.set_pipeline(pipeline);
                    pass.set_bind_group(0, &ready.group.raw, &[]);
                    pass.dispatch_workgroups(ready.groups[0], ready.groups[1], ready.groups[2]);
                }
            }
        }
        self.queue.submit([encoder.finish()]);
    }
}
