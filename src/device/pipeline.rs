//! Pipelines made from the kernel table. A pipeline is (kernel, features, constants); its layout comes from the table,
//! never from the shader compiler's guess.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::ahead::Ahead;
use super::buffer::Buffer;
use super::card::Card;
use super::kernel::{Access, KernelKey};
use super::ready::Ready;

pub(super) type Layouts = HashMap<Vec<Access>, Rc<(wgpu::BindGroupLayout, wgpu::PipelineLayout)>>;

/// A kernel that can be bound already; its pipeline is compiled later.
pub struct Pipeline {
    pub key: KernelKey,
    layout: Rc<(wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    pub(super) raw: OnceCell<wgpu::ComputePipeline>,
}

impl Pipeline {
    pub(super) fn is_compiled(&self) -> bool {
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

impl Card {
    pub(super) fn pipeline(&self, key: &KernelKey) -> Rc<Pipeline> {
        if let Some(known) = self.pipelines.borrow().get(key) {
            return known.clone();
        }
        let layout = self.layout(key.module().bindings);
        let pipeline = Rc::new(Pipeline { key: key.clone(), layout, raw: OnceCell::new() });
        self.pipelines.borrow_mut().insert(key.clone(), pipeline.clone());
        pipeline
    }

    /// Starts to compile a pipeline. A browser compiles all those that were started side by side.
    pub(super) fn start_compiling(&self, pipeline: &Rc<Pipeline>) -> Compiling {
        let label = pipeline.key.label();
        let source = wgpu::ShaderSource::Wgsl(pipeline.key.wgsl().into());
        let module = self.module(wgpu::ShaderModuleDescriptor { label: Some(&label), source });
        let ahead = Ahead::start(&self.raw, || drop(self.create_pipeline(pipeline, &module)));
        Compiling { pipeline: pipeline.clone(), module, ahead }
    }

    /// A module whose loops are not counted natively. Else each would have a counter of 64 bits in every invocation,
    /// which keeps drivers from unrolling the loop; browsers do as they like.
    #[allow(unsafe_code, reason = "wgpu cannot know that our loops end")]
    fn module(&self, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
        let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
        // SAFETY: modules come from the kernel table alone, whose loops all end: each has a counter that grows by at
        // least one towards a bound that the loop does not change, or is halved until it is 0. Accesses are checked.
        unsafe { self.raw.create_shader_module_trusted(descriptor, checks) }
    }

    /// Makes a pipeline ready to be dispatched. A browser may leave some of the work to its first dispatch.
    pub(super) fn finish_compiling(&self, compiling: Compiling) {
        let Compiling { pipeline, module, ahead } = compiling;
        ahead.hand_over(&self.raw, || drop(pipeline.raw.set(self.create_pipeline(&pipeline, &module))));
    }

    fn create_pipeline(&self, pipeline: &Pipeline, module: &wgpu::ShaderModule) -> wgpu::ComputePipeline {
        let label = pipeline.key.label();
        // Zeroing is unnecessary: every kernel writes its work-group memory before reading it.
        let compilation_options =
            wgpu::PipelineCompilationOptions { constants: &[], zero_initialize_workgroup_memory: false };
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
    pub(super) fn bind(&self, pipeline: &Pipeline, ranges: &[(Rc<Buffer>, u64, u64)]) -> BindGroup {
        let entries: Vec<wgpu::BindGroupEntry> = ranges
            .iter()
            .enumerate()
            .map(|(binding, (buffer, offset, bytes))| wgpu::BindGroupEntry {
                binding: binding as u32,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: buffer.raw(),
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

impl Card {
    /// Encodes the dispatches in one compute pass and submits them.
    pub(super) fn encode<'a>(&self, dispatches: impl Iterator<Item = (&'a Ready, [u32; 3])>) {
        self.queue.submit([self.record(dispatches)]);
    }

    /// Encodes the dispatches in one compute pass.
    pub(super) fn record<'a>(&self, dispatches: impl Iterator<Item = (&'a Ready, [u32; 3])>) -> wgpu::CommandBuffer {
        let mut encoder = self.raw.create_command_encoder(&Default::default());
        pass(&mut encoder, dispatches);
        encoder.finish()
    }
}

/// Encodes the dispatches in one compute pass.
fn pass<'a>(encoder: &mut wgpu::CommandEncoder, dispatches: impl Iterator<Item = (&'a Ready, [u32; 3])>) {
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for (ready, groups) in dispatches {
        ready.encode(&mut pass, groups);
    }
}
